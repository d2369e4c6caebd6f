//! Backups, checkpoints, members that lag, retention, points from elsewhere and two collectors, in
//! any order on the real ledger: no point ever needs a pack that may be gone.
//!
//! The test is what lies around the ledger: the members that answer offers by what they have
//! applied, the reach that a session gathers, the marks. Every failure says its seed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what is refused here is a failed test")]

mod story;

use holdfast_common::{Code, PackId};
use holdfast_ledger::{Actor, Command, LEVEL, Outcome, command::*, row::*};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use story::{Story, agent, collecting, ids, members::raise, recovering, retaining};

type Packs = BTreeSet<u8>;

const SEEDS: u64 = 100;
const STEPS: usize = 400;
/// Ids are single bytes: sessions and their points, their checkpoints, points from elsewhere.
const SESSIONS_MAX: u8 = 90;
const CHECKPOINTS_FROM: u8 = 100;
const FOREIGN_FROM: u8 = 200;
const AGENTS: u8 = 3;

/// xorshift64*: the same dice for ever.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        drawn as usize % bound
    }

    fn one_of<T: Copy>(&mut self, all: impl IntoIterator<Item = T>) -> Option<T> {
        let all: Vec<T> = all.into_iter().collect();
        (!all.is_empty()).then(|| all[self.below(all.len())])
    }
}

/// A session, as the member that serves it has it.
#[derive(Default)]
struct Session {
    number: u8,
    agent: u8,
    /// What that member has applied.
    applied: usize,
    /// Found to be held by an answer that is under way.
    found: Packs,
    reach: Packs,
    announced: Packs,
    copied: Option<(Packs, usize)>,
    has_checkpoint: bool,
    /// Its run was, and its member has not heard of it.
    is_cancelled: bool,
}

#[derive(Default)]
struct Collector {
    round: u64,
    step: usize,
    plan: Packs,
    /// Needed, and to be packed anew.
    live: Packs,
    /// After which entry its second mark was made.
    cleared: u64,
}

struct World {
    story: Story,
    dice: Dice,
    /// What offers were answered with after each entry.
    views: Vec<Packs>,
    sessions: Vec<Session>,
    collectors: [Collector; 2],
    /// Points that are committed and not forgotten.
    points: BTreeMap<u8, Packs>,
    next_session: u8,
    next_pack: u8,
    next_foreign: u8,
    doomed: usize,
    repacked: usize,
    /// The first number of every pack that there ever was.
    bases: BTreeMap<u8, u64>,
    forgotten: usize,
}

impl World {
    fn of(seed: u64) -> Self {
        let mut story = Story::with_agents(AGENTS);
        story.done(Actor::System, raise(LEVEL, &[1]));
        story.done(Actor::System, retaining::policy(Some(retaining::last(1))));
        let mut world = Self {
            story,
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            views: Vec::new(),
            sessions: Vec::new(),
            collectors: Default::default(),
            points: BTreeMap::new(),
            next_session: 1,
            next_pack: 1,
            next_foreign: FOREIGN_FROM,
            doomed: 0,
            repacked: 0,
            bases: BTreeMap::new(),
            forgotten: 0,
        };
        world.look();
        world
    }

    fn rows(&self) -> Vec<PackRow> {
        self.story.query().packs(&ids::vault(), None).unwrap()
    }

    /// Notes what would be answered now.
    fn look(&mut self) {
        self.bases.extend(self.rows().iter().map(|row| (byte(&row.id), row.base)));
        let offered = self.rows().into_iter().filter(PackRow::is_offered).map(|row| byte(&row.id));
        let offered = offered.collect();
        let index = usize::try_from(self.story.index()).unwrap();
        self.views.resize(index, Packs::new());
        self.views.push(offered);
    }

    fn say(&mut self, actor: Actor, command: impl Into<Command>) -> Result<Outcome, Code> {
        let said = self.story.said(actor, command).map_err(|error| error.code);
        self.look();
        said
    }

    fn applied(&self) -> usize {
        self.views.len() - 1
    }

    fn step(&mut self) {
        match self.dice.below(22) {
            0..=1 => self.begin(),
            2..=10 if !self.sessions.is_empty() => {
                let at = self.dice.below(self.sessions.len());
                let mut session = self.sessions.swap_remove(at);
                if self.act(&mut session) {
                    self.sessions.push(session);
                }
            }
            11 => self.forget(),
            12 => self.take_in(),
            13 => {
                self.story.pass(Duration::from_secs(60));
                let dead = self.rows().into_iter().filter(|row| row.state == PackState::Doomed);
                let dead = dead.map(|row| byte(&row.id)).collect::<Vec<_>>();
                if let Some(pack) = self.dice.one_of(dead) {
                    self.say(Actor::System, collecting::bury(&[pack])).unwrap();
                }
            }
            14 if self.dice.below(8) == 0 => {
                let at = self.dice.below(2);
                self.collectors[at] = Collector::default();
            }
            _ => self.collect(),
        }
    }

    fn begin(&mut self) {
        let free = (1..=AGENTS).filter(|who| self.sessions.iter().all(|s| s.agent != *who));
        let free: Vec<u8> = free.collect();
        let Some(who) = self.dice.one_of(free) else { return };
        if self.next_session > SESSIONS_MAX {
            return;
        }
        let number = self.next_session;
        self.next_session += 1;
        let StartRun { run } = story::start_run(number, agent(who));
        let run = RunRow { policy: Some(story::name("docs")), ..run };
        self.say(Actor::System, StartRun { run }).unwrap();
        self.story.pass(Duration::from_secs(1));
        let (session, run, point) = (ids::session(number), ids::run(number), ids::point(number));
        self.say(Actor::Agent(agent(who)), BeginSession { session, run, point }).unwrap();
        let applied = self.applied();
        self.sessions.push(Session { number, agent: who, applied, ..Session::default() });
    }

    /// Whether the session goes on.
    fn act(&mut self, session: &mut Session) -> bool {
        match self.dice.below(12) {
            0 => {
                let further = self.applied() - session.applied;
                session.applied += self.dice.below(further + 1);
            }
            1..=3 => {
                let held = self.views[session.applied].clone();
                session.found.extend(self.dice.one_of(held));
            }
            4 => session.reach.append(&mut session.found),
            5..=6 => return self.announce(session),
            7 => return self.store(session),
            8 if session.found.is_empty() && session.copied.is_none() => {
                session.copied = Some((session.reach.clone(), session.applied));
            }
            9 => return self.commit_checkpoint(session),
            10 => return !self.commit(session),
            11 => match self.dice.below(8) {
                0..=1 => {
                    self.end(session);
                    return false;
                }
                2 => {
                    self.say(Actor::System, CancelRun { run: ids::run(session.number) }).unwrap();
                    session.is_cancelled = true;
                }
                _ => {}
            },
            _ => {}
        }
        true
    }

    fn announce(&mut self, session: &mut Session) -> bool {
        let pack = match self.dice.below(3) {
            0 if self.next_pack > 1 => 1 + self.dice.below(usize::from(self.next_pack) - 1) as u8,
            _ if self.next_pack < u8::MAX => {
                self.next_pack += 1;
                self.next_pack - 1
            }
            _ => return true,
        };
        let intend = story::intend(session.number, &[pack], PackHome::Object);
        match self.say(Actor::Agent(agent(session.agent)), intend) {
            Ok(_) => drop(session.announced.insert(pack)),
            Err(Code::PackRefused) => {}
            Err(code) => return self.is_lost(session, code),
        }
        true
    }

    fn store(&mut self, session: &mut Session) -> bool {
        let Some(pack) = self.dice.one_of(session.announced.clone()) else { return true };
        let store = story::store(session.number, pack, None);
        if let Err(code) = self.say(Actor::Agent(agent(session.agent)), store) {
            return self.is_lost(session, code);
        }
        session.announced.remove(&pack);
        session.reach.insert(pack);
        true
    }

    fn commit_checkpoint(&mut self, session: &mut Session) -> bool {
        let Some((reach, based)) = session.copied.take() else { return true };
        if session.has_checkpoint {
            return true;
        }
        let point = CHECKPOINTS_FROM + session.number;
        let commit = self.commit_of(session, point, PointState::Checkpoint, Some(based));
        match self.say(Actor::Agent(agent(session.agent)), commit) {
            Ok(_) => {
                session.has_checkpoint = true;
                self.points.insert(point, reach);
                true
            }
            Err(code) => self.is_lost(session, code),
        }
    }

    fn commit(&mut self, session: &Session) -> bool {
        let commit = self.commit_of(session, session.number, PointState::Complete, None);
        let said = self.say(Actor::Agent(agent(session.agent)), commit);
        match said {
            Ok(_) => drop(self.points.insert(session.number, session.reach.clone())),
            Err(code) => drop(self.is_lost(session, code)),
        }
        true
    }

    fn commit_of(
        &self,
        session: &Session,
        point: u8,
        state: PointState,
        based: Option<usize>,
    ) -> CommitPoint {
        let commit = story::commit(session.number, point, agent(session.agent), state);
        let row = self.story.query().session(&ids::session(session.number)).ok();
        let (previous, policy) = (row.and_then(|row| row.previous), Some(story::name("docs")));
        let point = PointRow { previous, policy, ..commit.point };
        let based = based.map(|based| based as u64);
        CommitPoint { point, based, ..commit }
    }

    /// Only by its lease, or since its run was cancelled.
    fn is_lost(&mut self, session: &Session, code: Code) -> bool {
        let is_lease = matches!(code, Code::LeaseExpired | Code::SessionMissing);
        let is_cancelled = session.is_cancelled && code == Code::RunCancelled;
        assert!(is_lease || is_cancelled, "{code:?}");
        self.end(session);
        false
    }

    fn end(&mut self, session: &Session) {
        let end = EndRun {
            run: ids::run(session.number),
            state: RunState::Failed,
            error: None,
            silent_since: None,
        };
        self.say(Actor::Agent(agent(session.agent)), end).unwrap();
    }

    /// Retention, which asks for anything; the ledger says what may go.
    fn forget(&mut self) {
        let live: Vec<PointRow> = self.story.query().points(None).map(Result::unwrap).collect();
        let Some(point) = self.dice.one_of(self.points.keys().copied()) else { return };
        let Some(row) = live.iter().find(|row| row.id == ids::point(point)) else { return };
        let is_newer = |other: &&PointRow| other.agent == row.agent && other.id != row.id;
        let Some(newest) = live.iter().find(is_newer) else { return };
        let planned = self.story.planned(&[point], newest.id.as_bytes()[0]);
        if self.say(Actor::System, retaining::of_one(planned)).is_ok() {
            self.points.remove(&point);
            self.forgotten += 1;
        }
    }

    /// A point from elsewhere that needs one pack which lies here.
    fn take_in(&mut self) {
        let here = self.rows().into_iter().filter(|row| row.state == PackState::Stored);
        let here: Vec<u8> = here.map(|row| byte(&row.id)).collect();
        let Some(pack) = self.dice.one_of(here) else { return };
        if self.next_foreign == u8::MAX || self.dice.below(3) > 0 {
            return;
        }
        let number = self.next_foreign;
        self.next_foreign += 1;
        let import = ImportPoint { packs: Vec::new(), ..recovering::import(1, number, 0) };
        self.say(Actor::System, import).unwrap();
        self.points.insert(number, Packs::from([pack]));
    }

    fn needed(&self) -> Packs {
        self.points.values().flatten().copied().collect()
    }

    /// A step of one of the collectors, as far as the ledger lets it go.
    fn collect(&mut self) {
        // The second one sleeps most of the time, and seldom begins anything.
        let at = usize::from(self.dice.below(8) == 0);
        if at == 1 && self.collectors[at].step == 0 && self.dice.below(6) > 0 {
            return;
        }
        let Collector { round, step, plan, mut live, mut cleared } =
            std::mem::take(&mut self.collectors[at]);
        let (vault, system) = (ids::vault(), Actor::System);
        let named: Vec<u8> = plan.iter().copied().collect();
        let (step, round, plan) = match step {
            0 if self.dice.below(3) == 0 && self.open_round().is_some() => self.join(),
            0 => match self.say(system, collecting::begin_collection()) {
                Ok(Outcome::Number(round)) => (1, round, plan),
                other => panic!("{other:?}"),
            },
            1 => {
                let needed = self.needed();
                let needing = self.having(&needed);
                live = needing.iter().copied().filter(|_| self.dice.below(4) > 0).collect();
                let all = self.rows().into_iter().map(|row| byte(&row.id));
                (2, round, all.filter(|pack| !needing.contains(pack)).collect())
            }
            2 => {
                let live: Vec<u8> = std::mem::take(&mut live).into_iter().collect();
                let _is_over = self.say(Actor::System, collecting::condemn_live(round, &live));
                (3, round, self.condemn(round, &named))
            }
            3 => (self.next(4, collecting::seal(round)), round, Packs::new()),
            4 => match self.say(system, collecting::clear(round)) {
                Ok(Outcome::At(at)) => {
                    cleared = at;
                    (5, round, Packs::new())
                }
                Ok(other) => panic!("{other:?}"),
                Err(Code::CollectionEarly) => (4, round, Packs::new()),
                Err(_) => (0, 0, Packs::new()),
            },
            5 => {
                let new = self.story.query().new_points(&vault, round).unwrap();
                let new = new.iter().filter_map(|point| self.points.get(&point.as_bytes()[0]));
                (6, round, self.having(&new.flatten().copied().collect()))
            }
            6 => {
                self.say(system, collecting::spare(&named)).unwrap();
                let all = self.rows().into_iter().filter(|row| row.condemned == Some(round));
                (7, round, all.map(|row| byte(&row.id)).filter(|p| !plan.contains(p)).collect())
            }
            7 => match self.say(system, collecting::doom(round, &named, cleared)) {
                Ok(Outcome::Number(doomed)) => {
                    self.doomed += doomed as usize;
                    (8, round, Packs::new())
                }
                _ => (4, round, Packs::new()),
            },
            8 => (9, round, self.needed()),
            _ => match self.repack((round, cleared), &plan) {
                Ok(()) => (self.next(0, collecting::end_collection(round)), 0, Packs::new()),
                Err(_) => (4, round, Packs::new()),
            },
        };
        match step {
            0 => cleared = 0,
            5 if cleared == 0 => cleared = self.open_round().map_or(0, |row| row.cleared),
            _ => {}
        }
        self.collectors[at] = Collector { round, step, plan, live, cleared };
    }

    /// The packs that have what these had once.
    fn having(&self, packs: &Packs) -> Packs {
        let bases: BTreeSet<u64> = packs.iter().map(|pack| self.bases[pack]).collect();
        let has = |row: &PackRow| row.numbers().any(|(first, _)| bases.contains(&first));
        let alive = self.rows().into_iter().filter(|row| row.state != PackState::Doomed);
        alive.filter(has).map(|row| byte(&row.id)).collect()
    }

    /// What is condemned for it goes into new packs, by a mark of all points.
    fn repack(&mut self, (round, cleared): (u64, u64), mark: &Packs) -> Result<(), Code> {
        loop {
            let rows = self.rows();
            let is_its = |row: &&PackRow| row.condemned == Some(round) && row.live.is_some();
            let its: Vec<&PackRow> = rows.iter().filter(is_its).collect();
            let Some(writer) = its.first().map(|row| row.writer) else { return Ok(()) };
            let its: Vec<&PackRow> = its.into_iter().filter(|row| row.writer == writer).collect();
            let sources: Vec<u8> = its.iter().take(2).map(|row| byte(&row.id)).collect();
            let bases: BTreeSet<u64> = mark.iter().map(|pack| self.bases[pack]).collect();
            let its = its.iter().take(2).flat_map(|row| row.numbers());
            let needed = its.map(|(first, _)| first).filter(|first| bases.contains(first));
            let taken: Vec<_> = needed.zip(0..).map(|(it, slot)| (it, slot, 1)).collect();
            if taken.is_empty() || taken.len() > 10 || self.next_pack == u8::MAX {
                self.say(Actor::System, collecting::spare(&sources))?;
                continue;
            }
            let (made, who) = (self.next_pack, writer.as_bytes()[0]);
            self.next_pack += 1;
            self.say(Actor::System, collecting::intend_repack(round, made, who))?;
            let repack = collecting::repack((round, cleared), made, &taken, &sources);
            self.say(Actor::System, repack)?;
            self.repacked += sources.len();
        }
    }

    fn open_round(&self) -> Option<CollectionRow> {
        let row = self.story.query().collection(&ids::vault()).unwrap();
        row.filter(|row| row.stage != Stage::Over)
    }

    /// The next leader goes on with a round where its row is.
    fn join(&self) -> (usize, u64, Packs) {
        let row = self.open_round().unwrap();
        let step = match row.stage {
            Stage::Marking => 1,
            Stage::Sealed => 4,
            Stage::Clear => 5,
            Stage::Over => 0,
        };
        (step, row.round, Packs::new())
    }

    fn condemn(&mut self, round: u64, packs: &[u8]) -> Packs {
        let _is_over = self.say(Actor::System, collecting::condemn(round, packs));
        Packs::new()
    }

    /// The next step, or the first when the round is another's.
    fn next(&mut self, step: usize, command: impl Into<Command>) -> usize {
        self.say(Actor::System, command).map_or(0, |_| step)
    }

    /// What any point needs is stored, and will be.
    fn check(&self) -> Result<(), String> {
        let rows = self.rows();
        for (point, reach) in &self.points {
            for pack in reach {
                let has_it = |row: &&PackRow| {
                    let base = self.bases.get(pack).copied();
                    row.state == PackState::Stored && row.numbers().any(|(n, _)| Some(n) == base)
                };
                match rows.iter().filter(has_it).count() {
                    1 => {}
                    packs => {
                        let row = rows.iter().find(|row| row.id == ids::pack(*pack));
                        return Err(format!("{packs} for point {point}, pack {pack}: {row:?}"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn byte(pack: &PackId) -> u8 {
    pack.as_bytes()[0]
}

#[test]
fn no_point_ever_needs_a_pack_that_may_be_gone_whatever_is_done_in_whatever_order() {
    let (mut doomed, mut repacked, mut forgotten) = (0, 0, 0);
    for seed in 1..=SEEDS {
        let mut world = World::of(seed);
        for step in 0..STEPS {
            world.step();
            world.check().unwrap_or_else(|lost| panic!("seed {seed}, step {step}: {lost}"));
        }
        doomed += world.doomed;
        repacked += world.repacked;
        forgotten += world.forgotten;
    }
    assert!(forgotten > 3 * SEEDS as usize, "only {forgotten} points were forgotten");
    assert!(doomed > 5 * SEEDS as usize, "only {doomed} packs were doomed");
    assert!(repacked > SEEDS as usize / 2, "only {repacked} packs were packed anew");
}
