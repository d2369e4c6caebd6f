//! Ledger time: what the leader stamps on commands. Leases and retention go by it.
//!
//! It advances by the machine's monotonic clock and never goes back; the wall clock only slews it,
//! by one part in twenty, so that a clock that is off by a day expires nothing early. How long the
//! coordinator was down, the machine's uptime says, which nobody can set; a file beside the ledger
//! ties it to ledger time. Where the machine itself was started anew, only the wall clock is left:
//! an hour is believed, more waits for a person. Meanwhile the difference is told to whoever asks.

use holdfast_common::{Clock, Code, Error, Result, Timestamp, clock::Uptime};
use holdfast_runtime::files;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A difference that is noise and taken over at once.
const NOISE: Duration = Duration::from_secs(60);
const SLEW_PART: u32 = 20;
/// How long a machine may have been off for all that its wall clock says about it.
const OFF_BELIEVED: Duration = Duration::from_secs(3600);

pub(crate) struct LedgerTime {
    clock: Arc<dyn Clock>,
    last: Mutex<Stamp>,
    anchor: PathBuf,
}

#[derive(Clone, Copy, Debug)]
struct Stamp {
    time: Timestamp,
    elapsed: Duration,
    /// Since when the wall clock has been saying something else.
    apart: Option<Timestamp>,
}

/// How the wall clock differs from ledger time by more than noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockJump {
    pub(crate) since: Timestamp,
    pub(crate) wall: Timestamp,
    pub(crate) ledger: Timestamp,
}

/// What time it is for whoever leads, who stamps it on commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaderTime {
    pub(crate) now: Timestamp,
    /// What the wall clock says, where that is something else.
    pub(crate) wall: Option<Timestamp>,
}

impl LeaderTime {
    /// Refuses while nobody knows what time it is.
    pub(crate) fn insist_on_clock(&self) -> Result<()> {
        let Some(wall) = self.wall else { return Ok(()) };
        let message = format!("the leader's clock says {wall}, and ledger time is {}", self.now);
        Err(Error::new(Code::ClockDoubtful, message).next(
            "correct the leader's clock; if it is right, type `holdfast cluster confirm-clock`",
        ))
    }
}

impl LedgerTime {
    /// Continues from the newest stamp in the ledger, if there is one. `anchor` is the file that
    /// ties ledger time to the machine's uptime.
    pub(crate) fn new(clock: Arc<dyn Clock>, newest: Option<Timestamp>, anchor: PathBuf) -> Self {
        let (wall, uptime) = (clock.now(), clock.uptime());
        let vouched = Anchor::load(&anchor).zip(uptime).and_then(|(anchor, now)| anchor.at(&now));
        let time = newest.map_or(wall, |newest| continued(newest, vouched, wall));
        let last = Mutex::new(Stamp { time, elapsed: clock.elapsed(), apart: None });
        let this = Self { clock, last, anchor };
        this.drop_anchor(time);
        this
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.advance(&mut self.lock()).0
    }

    pub(crate) fn wall(&self) -> Timestamp {
        self.clock.now()
    }

    /// Follows the leader: what it stamped on an entry that was applied here just now. Own time
    /// goes on from there, so that a leader to come stamps nothing much older or newer.
    pub(crate) fn follow(&self, stamp: Timestamp) {
        let mut last = self.lock();
        self.advance(&mut last);
        last.time = stamp;
    }

    /// The wall clock's difference, as long as there is one.
    pub(crate) fn jump(&self) -> Option<ClockJump> {
        let mut last = self.lock();
        let (ledger, wall) = self.advance(&mut last);
        last.apart.map(|since| ClockJump { since, wall, ledger })
    }

    /// A person says that the wall clock is right. Ledger time follows it at once, forward only.
    pub(crate) fn confirm(&self) -> Timestamp {
        let mut last = self.lock();
        let (ledger, wall) = self.advance(&mut last);
        let time = ledger.max(wall);
        *last = Stamp { time, apart: last.apart.filter(|_| is_apart(time, wall)), ..*last };
        self.drop_anchor(time);
        time
    }

    fn advance(&self, last: &mut Stamp) -> (Timestamp, Timestamp) {
        let (elapsed, wall) = (self.clock.elapsed(), self.clock.now());
        let step = elapsed.saturating_sub(last.elapsed);
        let time = slewed(last.time, step, wall);
        let apart = is_apart(time, wall).then(|| last.apart.unwrap_or(time));
        *last = Stamp { time, elapsed, apart };
        (time, wall)
    }

    /// Losing the file costs a question to a person after the next start, never more.
    fn drop_anchor(&self, time: Timestamp) {
        let Some(uptime) = self.clock.uptime() else { return };
        if let Err(error) = (Anchor { uptime, time }).save(&self.anchor) {
            tracing::warn!(%error, "the next start will only have the wall clock to go by");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stamp> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What ledger time was at some moment of the machine's uptime.
struct Anchor {
    uptime: Uptime,
    time: Timestamp,
}

impl Anchor {
    fn load(path: &Path) -> Option<Self> {
        let text = files::read_text(path).ok()?;
        let mut words = text.split_ascii_whitespace();
        let boot = words.next()?.to_owned();
        let elapsed = Duration::from_nanos(words.next()?.parse().ok()?);
        let time = Timestamp::from_nanos(words.next()?.parse().ok()?);
        Some(Self { uptime: Uptime { boot, elapsed }, time })
    }

    fn save(&self, path: &Path) -> Result<()> {
        let Uptime { boot, elapsed } = &self.uptime;
        let text = format!("{boot} {} {}\n", elapsed.as_nanos(), self.time.as_nanos());
        files::write_public(path, text.as_bytes())
    }

    /// Ledger time now, if the machine has not been started anew since.
    fn at(&self, now: &Uptime) -> Option<Timestamp> {
        let passed = now.elapsed.checked_sub(self.uptime.elapsed)?;
        (now.boot == self.uptime.boot).then(|| self.time.plus(passed))
    }
}

/// Where ledger time goes on after a start.
fn continued(newest: Timestamp, vouched: Option<Timestamp>, wall: Timestamp) -> Timestamp {
    match vouched {
        Some(vouched) => newest.max(vouched),
        None if wall.since(newest) <= OFF_BELIEVED => newest.max(wall),
        None => newest,
    }
}

fn is_apart(time: Timestamp, wall: Timestamp) -> bool {
    wall.since(time) > NOISE || time.since(wall) > NOISE
}

/// Where ledger time stands `step` after `last`, given what the wall clock says.
fn slewed(last: Timestamp, step: Duration, wall: Timestamp) -> Timestamp {
    let straight = last.plus(step);
    let slew = step / SLEW_PART;
    if wall >= straight {
        let ahead = wall.since(straight);
        return if ahead <= NOISE { wall } else { straight.plus(slew) };
    }
    let behind = straight.since(wall);
    straight.minus(slew.min(behind)).max(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);
    const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000_000_000);

    /// A machine whose clocks a test turns.
    #[derive(Default)]
    struct Machine(Mutex<(Timestamp, Duration, String)>);

    impl Machine {
        fn on(boot: &str, wall: Timestamp, up: Duration) -> Arc<Self> {
            Arc::new(Self(Mutex::new((wall, up, boot.to_owned()))))
        }

        fn pass(&self, span: Duration) {
            let mut clocks = self.0.lock().unwrap();
            clocks.0 = clocks.0.plus(span);
            clocks.1 += span;
        }

        fn set(&self, wall: Timestamp) {
            self.0.lock().unwrap().0 = wall;
        }
    }

    impl Clock for Machine {
        fn now(&self) -> Timestamp {
            self.0.lock().unwrap().0
        }

        fn elapsed(&self) -> Duration {
            self.0.lock().unwrap().1
        }

        fn uptime(&self) -> Option<Uptime> {
            let (_, elapsed, boot) = self.0.lock().unwrap().clone();
            Some(Uptime { boot, elapsed })
        }
    }

    #[test]
    fn a_wall_clock_a_day_ahead_moves_ledger_time_by_a_twentieth() {
        let now = slewed(START, HOUR, START.plus(DAY));
        assert_eq!(now.since(START), HOUR + HOUR / 20);
    }

    #[test]
    fn ledger_time_never_goes_back() {
        assert!(slewed(START, HOUR, START.minus(DAY)) >= START);
        assert_eq!(slewed(START, Duration::ZERO, START.minus(DAY)), START);
    }

    #[test]
    fn small_differences_follow_the_wall_clock() {
        let wall = START.plus(Duration::from_secs(31));
        assert_eq!(slewed(START, Duration::from_secs(30), wall), wall);
    }

    #[test]
    fn a_step_of_the_wall_clock_is_told_until_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::on("a", START, DAY);
        let time = LedgerTime::new(machine.clone(), None, dir.path().join("time"));
        machine.pass(HOUR);
        assert_eq!(time.jump(), None);
        for wall in [START.plus(HOUR + DAY), START.minus(DAY)] {
            machine.set(wall);
            let jump = time.jump().unwrap();
            assert_eq!((jump.wall, jump.ledger), (wall, START.plus(HOUR)));
            assert_eq!(jump.since, START.plus(HOUR));
            machine.set(START.plus(HOUR));
            assert_eq!(time.jump(), None);
        }
    }

    #[test]
    fn after_a_restart_the_uptime_says_how_long_it_was_and_not_the_wall_clock() {
        let dir = tempfile::tempdir().unwrap();
        let anchor = dir.path().join("time");
        let machine = Machine::on("a", START, DAY);
        LedgerTime::new(machine.clone(), None, anchor.clone());
        machine.pass(3 * DAY);
        for wall in [START, START.plus(3 * DAY), START.plus(9 * DAY)] {
            machine.set(wall);
            let time = LedgerTime::new(machine.clone(), Some(START.plus(HOUR)), anchor.clone());
            assert_eq!(time.now(), START.plus(3 * DAY), "{wall}");
        }
    }

    #[test]
    fn after_a_reboot_an_hour_is_believed_and_more_waits_for_a_person() {
        for (off, believed) in [(MINUTE, true), (HOUR, true), (DAY, false)] {
            let dir = tempfile::tempdir().unwrap();
            let anchor = dir.path().join("time");
            LedgerTime::new(Machine::on("a", START, DAY), None, anchor.clone());
            let machine = Machine::on("b", START.plus(off), 2 * DAY);
            let time = LedgerTime::new(machine.clone(), Some(START), anchor);
            assert_eq!(time.now(), if believed { START.plus(off) } else { START }, "{off:?}");
            assert_eq!(time.jump().is_none(), believed, "{off:?}");
            assert_eq!(time.confirm(), START.plus(off));
            assert_eq!(time.jump(), None);
            assert_eq!(time.now(), START.plus(off));
        }
    }

    #[test]
    fn confirming_a_clock_that_is_behind_takes_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::on("a", START, DAY);
        let time = LedgerTime::new(machine.clone(), Some(START.plus(DAY)), dir.path().join("t"));
        assert_eq!(time.confirm(), START.plus(DAY));
        assert!(time.jump().is_some());
    }
}
