//! The agents that are attached to this coordinator, and what is on its way to them.
//!
//! Dispatch goes by applied state: a run that is queued for an attached agent is sent when its row
//! is seen, at most once per attachment. Progress and heartbeats stay here, out of the ledger.
//!
//! An agent has one line. It has more only while its identity is in doubt: two processes that live
//! at once use it ([`crate::doubles`] finds that out). Then no line gets work, and the doubt ends
//! some time after one alone is left.

use holdfast_common::{AgentId, RunId, Timestamp};
use holdfast_wire::v1::{AgentOrder, RivalLine, RunProgress};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

/// Orders that may wait for one agent.
pub(crate) const ORDERS_MAX: usize = 64;
/// Lines that one identity may have while it is in doubt.
const LINES_MAX: usize = 4;
/// How long an identity stays in doubt after two were seen last: longer than an agent takes to come
/// back on a line that it lost.
pub(crate) const DOUBT: Duration = Duration::from_secs(15);

/// Drawn by an agent at each start: two at once are two hosts with one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(pub(crate) u64);

#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    attached: HashMap<AgentId, Vec<Attachment>>,
    doubts: HashMap<AgentId, Doubt>,
    seen: HashMap<AgentId, Timestamp>,
    processes: HashMap<AgentId, Process>,
    progress: HashMap<RunId, RunProgress>,
    attachments: u64,
}

/// What an agent's line is when it comes.
pub(crate) struct NewLine {
    /// None of an agent that is too old to say.
    pub(crate) process: Option<Process>,
    pub(crate) since: Timestamp,
    pub(crate) orders: mpsc::Sender<AgentOrder>,
    /// Those of which it is told nothing.
    pub(crate) runs: Vec<RunId>,
    /// It knows the order to verify.
    pub(crate) verifies: bool,
}

/// A line that was taken: whoever drops it detaches it, however its end came.
#[must_use = "a line that nobody holds is detached"]
pub(crate) struct Line {
    hub: Arc<Hub>,
    pub(crate) agent: AgentId,
    pub(crate) number: u64,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.hub.detach(&self.agent, self.number) {
            tracing::info!(agent = %self.agent, "agent detached");
        }
    }
}

struct Attachment {
    number: u64,
    process: Option<Process>,
    since: Timestamp,
    orders: mpsc::Sender<AgentOrder>,
    sent: HashSet<(RunId, bool)>,
    verifies: bool,
    /// How often something was heard on it.
    reports: u64,
}

impl Attachment {
    /// One whose other side is gone counts nowhere, although nobody took it away yet.
    fn is_open(&self) -> bool {
        !self.orders.is_closed()
    }
}

struct Doubt {
    since: Timestamp,
    /// When two were known to live, by the clock that only goes on.
    known: Duration,
    /// The other one is attached to another member: the seat is left there.
    elsewhere: bool,
}

impl State {
    /// An agent's lines that still lead to somebody.
    fn lines(&self, agent: &AgentId) -> impl Iterator<Item = &Attachment> {
        self.attached.get(agent).into_iter().flatten().filter(|line| line.is_open())
    }
}

impl Hub {
    /// Takes an agent's line; older ones of the same agent are dropped.
    pub(crate) fn attach(self: &Arc<Self>, agent: AgentId, line: NewLine) -> Line {
        let mut state = self.lock();
        state.attached.remove(&agent);
        self.add(&mut state, agent, line)
    }

    /// Takes a line of an identity that is in doubt, beside those of other processes; nothing where
    /// there are too many.
    pub(crate) fn attach_in_doubt(self: &Arc<Self>, agent: AgentId, line: NewLine) -> Option<Line> {
        let mut state = self.lock();
        let lines = state.attached.entry(agent).or_default();
        lines.retain(|other| other.is_open() && other.process != line.process);
        (lines.len() < LINES_MAX).then(|| self.add(&mut state, agent, line))
    }

    fn add(self: &Arc<Self>, state: &mut State, agent: AgentId, line: NewLine) -> Line {
        state.attachments += 1;
        let number = state.attachments;
        let NewLine { process, since, orders, runs, verifies } = line;
        let sent = runs.into_iter().map(|run| (run, false)).collect();
        let line = Attachment { number, process, since, orders, sent, verifies, reports: 0 };
        state.attached.entry(agent).or_default().push(line);
        state.seen.insert(agent, since);
        state.processes.extend(process.map(|process| (agent, process)));
        self.changed.notify_one();
        Line { hub: self.clone(), agent, number }
    }

    /// Forgets a line, unless a newer one took its place.
    pub(crate) fn detach(&self, agent: &AgentId, number: u64) -> bool {
        self.drop_lines(agent, |line| line == number)
    }

    /// Ends some of an agent's lines; whether there were any.
    pub(crate) fn drop_lines(&self, agent: &AgentId, gone: impl Fn(u64) -> bool) -> bool {
        let mut state = self.lock();
        let Some(lines) = state.attached.get_mut(agent) else { return false };
        let before = lines.len();
        lines.retain(|line| !gone(line.number));
        let dropped = lines.len() < before;
        if lines.is_empty() {
            state.attached.remove(agent);
        }
        if dropped {
            self.changed.notify_one();
        }
        dropped
    }

    /// Cuts an agent off: its orders end.
    pub(crate) fn drop_agent(&self, agent: &AgentId) {
        self.lock().attached.remove(agent);
        self.changed.notify_one();
    }

    /// Cuts all agents off: they will try other members.
    pub(crate) fn drop_all(&self) {
        self.lock().attached.clear();
        self.changed.notify_one();
    }

    pub(crate) fn is_anybody_attached(&self) -> bool {
        self.lock().attached.values().flatten().any(Attachment::is_open)
    }

    pub(crate) fn is_attached(&self, agent: &AgentId) -> bool {
        self.lock().lines(agent).next().is_some()
    }

    /// Whether an agent that is attached here knows the order to verify.
    pub(crate) fn verifies(&self, agent: &AgentId) -> bool {
        let state = self.lock();
        let mut lines = state.lines(agent).peekable();
        lines.peek().is_some() && lines.all(|line| line.verifies)
    }

    /// Who has a line here, and since when.
    pub(crate) fn attached(&self) -> BTreeMap<AgentId, Timestamp> {
        let state = self.lock();
        let since = |agent| state.lines(agent).map(|line| line.since).max();
        state.attached.keys().filter_map(|agent| Some((*agent, since(agent)?))).collect()
    }

    /// Whether the seat of this agent is left where its other process is attached.
    pub(crate) fn is_seated_elsewhere(&self, agent: &AgentId) -> bool {
        self.lock().doubts.get(agent).is_some_and(|doubt| doubt.elsewhere)
    }

    /// Ends when an agent came or went.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Says something to everybody who is attached.
    pub(crate) fn tell_all(&self, order: &AgentOrder) {
        for line in self.lock().attached.values().flatten() {
            // A full line hears it with its next welcome.
            drop(line.orders.try_send(order.clone()));
        }
    }

    /// Answers on one line; whether it was still there and had room.
    pub(crate) fn answer(&self, agent: &AgentId, number: u64, order: AgentOrder) -> bool {
        let state = self.lock();
        let mut lines = state.attached.get(agent).into_iter().flatten();
        lines.any(|line| line.number == number && line.orders.try_send(order.clone()).is_ok())
    }

    pub(crate) fn saw(&self, agent: AgentId, number: u64, now: Timestamp) {
        let mut state = self.lock();
        state.seen.insert(agent, now);
        for line in state.attached.get_mut(&agent).into_iter().flatten() {
            line.reports += u64::from(line.number == number);
        }
    }

    pub(crate) fn last_seen(&self, agent: &AgentId) -> Option<Timestamp> {
        self.lock().seen.get(agent).copied()
    }

    /// Sends an order about a run once per attachment; `cancel` tells the two kinds apart. Work is
    /// for nobody whose identity is in doubt; to stop it does no harm.
    pub(crate) fn send(&self, agent: &AgentId, run: RunId, cancel: bool, order: AgentOrder) {
        let mut state = self.lock();
        if !cancel && state.doubts.contains_key(agent) {
            return;
        }
        for line in state.attached.get_mut(agent).into_iter().flatten() {
            // A full line is tried again with the next applied entry or heartbeat.
            let is_new = !line.sent.contains(&(run, cancel));
            if is_new && line.orders.try_send(order.clone()).is_ok() {
                line.sent.insert((run, cancel));
            }
        }
    }

    pub(crate) fn report(&self, run: RunId, progress: RunProgress) {
        self.lock().progress.insert(run, progress);
    }

    pub(crate) fn progress(&self, run: &RunId) -> Option<RunProgress> {
        self.lock().progress.get(run).cloned()
    }

    pub(crate) fn forget_run(&self, run: &RunId) {
        self.lock().progress.remove(run);
    }

    /// Lines of an agent that another process holds.
    pub(crate) fn rivals(&self, agent: &AgentId, process: Process) -> Vec<RivalLine> {
        let state = self.lock();
        let lines = state.lines(agent);
        lines
            .filter(|line| line.process.is_some_and(|other| other != process))
            .map(|line| RivalLine { number: line.number, reports: line.reports })
            .collect()
    }

    /// Two processes of this identity are known to live.
    pub(crate) fn doubt(&self, agent: AgentId, now: Timestamp, known: Duration, elsewhere: bool) {
        let mut state = self.lock();
        let new = Doubt { since: now, known, elsewhere };
        let doubt = state.doubts.entry(agent).or_insert(new);
        (doubt.known, doubt.elsewhere) = (known, elsewhere);
    }

    /// Whose line was here last, whether or not it still is.
    pub(crate) fn last_process(&self, agent: &AgentId) -> Option<Process> {
        self.lock().processes.get(agent).copied()
    }

    /// Whether this line still stands and is its agent's only one, beyond doubt.
    pub(crate) fn is_alone(&self, line: &Line) -> bool {
        let state = self.lock();
        let mut lines = state.lines(&line.agent).map(|one| one.number);
        !state.doubts.contains_key(&line.agent)
            && (lines.next(), lines.next()) == (Some(line.number), None)
    }

    pub(crate) fn is_in_doubt(&self, agent: &AgentId) -> bool {
        self.lock().doubts.contains_key(agent)
    }

    /// Whose identity is in doubt, and since when.
    pub(crate) fn doubts(&self) -> BTreeMap<AgentId, Timestamp> {
        self.lock().doubts.iter().map(|(agent, doubt)| (*agent, doubt.since)).collect()
    }

    /// The lines that are here although their other process is attached elsewhere, or was.
    pub(crate) fn with_rivals_elsewhere(&self) -> Vec<(AgentId, Process)> {
        let state = self.lock();
        let away = state.doubts.iter().filter(|(_, doubt)| doubt.elsewhere);
        let lines =
            away.flat_map(|(agent, _)| state.lines(agent).map(|line| (*agent, line.process)));
        lines.filter_map(|(agent, process)| Some((agent, process?))).collect()
    }

    /// Ends doubts for which there has been no reason for a while. Whoever is left comes anew, and
    /// says in its hello what it works on.
    pub(crate) fn settle_doubts(&self, elapsed: Duration) {
        let mut state = self.lock();
        let State { attached, doubts, .. } = &mut *state;
        doubts.retain(|agent, doubt| {
            let lines = attached.get(agent).into_iter().flatten();
            let mut processes = lines.filter(|line| line.is_open()).map(|line| line.process);
            let first = processes.next();
            if processes.any(|other| Some(other) != first) {
                doubt.known = elapsed;
            }
            let stays = elapsed.saturating_sub(doubt.known) < DOUBT;
            if !stays && attached.remove(agent).is_some() {
                self.changed.notify_one();
            }
            stays
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::v1::agent_order::Order;
    use tokio::sync::mpsc::{Receiver, error::TryRecvError};

    const AGENT: AgentId = AgentId::from_bytes([1; 16]);
    const RUN: RunId = RunId::from_bytes([2; 16]);
    const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000);

    fn line(process: Option<u64>) -> (NewLine, Receiver<AgentOrder>) {
        let (orders, receiver) = mpsc::channel(4);
        let process = process.map(Process);
        (NewLine { process, since: NOW, orders, runs: Vec::new(), verifies: false }, receiver)
    }

    fn order() -> AgentOrder {
        AgentOrder { order: Some(Order::StartBackup(Default::default())) }
    }

    #[test]
    fn the_same_process_or_an_old_agent_takes_the_place_of_its_line() {
        for process in [None, Some(7)] {
            let hub = Arc::new(Hub::default());
            let ((first, mut gone), (second, mut orders)) = (line(process), line(process));
            let replaced = hub.attach(AGENT, first);
            let _newest = hub.attach(AGENT, second);
            assert_eq!(gone.try_recv(), Err(TryRecvError::Disconnected));
            drop(replaced);
            hub.send(&AGENT, RUN, false, order());
            assert!(orders.try_recv().is_ok());
        }
    }

    #[test]
    fn only_lines_of_other_processes_are_rivals_and_reports_show_that_they_live() {
        let hub = Arc::new(Hub::default());
        let ((first, _orders), (old, _its_orders)) = (line(Some(7)), line(None));
        let first = hub.attach(AGENT, first);
        let number = first.number;
        assert_eq!(hub.rivals(&AGENT, Process(7)), []);
        assert_eq!(hub.rivals(&AGENT, Process(8)), [RivalLine { number, reports: 0 }]);
        hub.saw(AGENT, number, NOW);
        assert_eq!(hub.rivals(&AGENT, Process(8)), [RivalLine { number, reports: 1 }]);
        let _old = hub.attach(AGENT, old);
        assert_eq!(hub.rivals(&AGENT, Process(8)), [], "an old agent does not say");
    }

    #[test]
    fn nobody_gets_work_while_two_live_and_whoever_is_left_comes_anew() {
        let hub = Arc::new(Hub::default());
        let ((first, mut one), (second, mut two)) = (line(Some(7)), line(Some(8)));
        let _first = hub.attach(AGENT, first);
        hub.doubt(AGENT, NOW, Duration::ZERO, false);
        let second = hub.attach_in_doubt(AGENT, second).unwrap();
        hub.send(&AGENT, RUN, false, order());
        assert_eq!(one.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(two.try_recv(), Err(TryRecvError::Empty));
        hub.send(&AGENT, RUN, true, order());
        assert!(one.try_recv().is_ok() && two.try_recv().is_ok(), "a run may be cancelled");
        hub.settle_doubts(DOUBT * 2);
        assert!(hub.is_in_doubt(&AGENT), "both are there");
        drop(second);
        hub.settle_doubts(DOUBT * 3 - Duration::from_secs(1));
        assert!(hub.is_in_doubt(&AGENT), "it may come back");
        hub.settle_doubts(DOUBT * 3);
        assert!(!hub.is_in_doubt(&AGENT) && !hub.is_attached(&AGENT));
        assert_eq!(one.try_recv(), Err(TryRecvError::Disconnected), "it comes anew");
    }

    #[test]
    fn an_identity_in_doubt_has_a_bound_of_lines() {
        let hub = Arc::new(Hub::default());
        let kept: Vec<_> = (0..LINES_MAX as u64 + 1).map(|one| line(Some(one))).collect();
        let (lines, _orders): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
        let taken = lines.into_iter().map(|line| hub.attach_in_doubt(AGENT, line));
        assert_eq!(taken.collect::<Vec<_>>().iter().flatten().count(), LINES_MAX);
    }

    #[test]
    fn the_seat_is_left_where_the_other_process_is() {
        let hub = Arc::new(Hub::default());
        hub.doubt(AGENT, NOW, Duration::ZERO, true);
        let (line, _orders) = line(Some(8));
        let _line = hub.attach_in_doubt(AGENT, line);
        assert!(hub.is_seated_elsewhere(&AGENT));
        assert!(hub.attached().contains_key(&AGENT), "whoever was revoked has no line anywhere");
        assert_eq!(hub.with_rivals_elsewhere(), [(AGENT, Process(8))]);
        hub.doubt(AGENT, NOW, Duration::ZERO, false);
        assert!(!hub.is_seated_elsewhere(&AGENT) && hub.with_rivals_elsewhere().is_empty());
    }

    #[test]
    fn a_line_that_nobody_holds_is_detached() {
        let hub = Arc::new(Hub::default());
        let (line, _orders) = line(Some(7));
        let line = hub.attach(AGENT, line);
        assert!(hub.is_attached(&AGENT));
        drop(line);
        assert!(!hub.is_attached(&AGENT) && !hub.is_anybody_attached());
    }

    #[test]
    fn a_line_whose_other_side_is_gone_counts_nowhere() {
        let hub = Arc::new(Hub::default());
        let ((first, _orders), (second, gone)) = (line(Some(7)), line(Some(8)));
        let _first = hub.attach(AGENT, first);
        hub.doubt(AGENT, NOW, Duration::ZERO, false);
        let _second = hub.attach_in_doubt(AGENT, second).unwrap();
        drop(gone);
        assert_eq!(hub.rivals(&AGENT, Process(7)), []);
        hub.settle_doubts(DOUBT);
        assert!(!hub.is_in_doubt(&AGENT), "one alone is left");
        let (third, gone) = line(Some(9));
        let _third = hub.attach(AGENT, third);
        drop(gone);
        assert!(!hub.is_attached(&AGENT) && !hub.is_anybody_attached());
        assert!(hub.attached().is_empty());
    }
}
