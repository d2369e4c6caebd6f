//! Backups under any version of the keys, members that lag, rotation, closing, packs that nobody
//! has looked into, and packing anew, in any order on the real ledger: once a version is closed, no
//! point that is committed later needs a pack that only it opens.
//!
//! The test is what lies around the ledger: members that answer and compare by what they have
//! applied. To what a pack is sealed in truth the ledger is told late, or never. Every failure says
//! its seed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what is refused here is a failed test")]

mod story;

use holdfast_common::{Code, PackId};
use holdfast_ledger::{Actor, Command, LEVEL, Outcome, command::*, row::*};
use std::collections::{BTreeMap, BTreeSet};
use story::{
    Story, agent,
    collecting::{
        begin_collection, clear, condemn_live, end_collection, intend_repack, repack, seal, spare,
    },
    ids,
    keys::{close, intend_sealed, note_sealed, rotate},
    members::raise,
};

type Packs = BTreeSet<u8>;

const SEEDS: u64 = 60;
const STEPS: usize = 250;
const AGENTS: u8 = 3;
const VERSIONS_MAX: u32 = 6;

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

/// What a member knows that has applied so much.
#[derive(Clone, Default)]
struct View {
    rows: Vec<PackRow>,
    closed: ClosedKeys,
}

struct Session {
    number: u8,
    agent: u8,
    version: u32,
    applied: usize,
    /// First numbers of packs.
    reach: BTreeSet<u64>,
    announced: Packs,
}

struct World {
    story: Story,
    dice: Dice,
    views: Vec<View>,
    sessions: Vec<Session>,
    /// When each was committed, and what it needs.
    points: BTreeMap<u8, (u64, BTreeSet<u64>)>,
    /// To what every pack is sealed.
    truth: BTreeMap<u8, BTreeSet<u32>>,
    next_session: u8,
    next_pack: u8,
    /// A round, and where it was cleared.
    round: Option<(u64, u64)>,
    committed: usize,
    begun_anew: usize,
    repacked: usize,
}

impl World {
    fn of(seed: u64) -> Self {
        let mut story = Story::with_agents(AGENTS);
        story.done(Actor::System, raise(LEVEL, &[1]));
        let mut world = Self {
            story,
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            views: Vec::new(),
            sessions: Vec::new(),
            points: BTreeMap::new(),
            truth: BTreeMap::new(),
            next_session: 1,
            next_pack: 1,
            round: None,
            committed: 0,
            begun_anew: 0,
            repacked: 0,
        };
        world.look();
        world
    }

    fn rows(&self) -> Vec<PackRow> {
        self.story.query().packs(&ids::vault(), None).unwrap()
    }

    fn newest(&self) -> u32 {
        self.story.query().vault(&ids::vault()).unwrap().key_version
    }

    fn look(&mut self) {
        let closed = self.story.query().closed_keys(&ids::vault()).unwrap();
        let view = View { rows: self.rows(), closed };
        self.views.resize(usize::try_from(self.story.index()).unwrap(), View::default());
        self.views.push(view);
    }

    fn say(&mut self, actor: Actor, command: impl Into<Command>) -> Result<Outcome, Code> {
        let said = self.story.said(actor, command).map_err(|error| error.code);
        self.look();
        said
    }

    fn system(&mut self, command: impl Into<Command>) -> Result<Outcome, Code> {
        self.say(Actor::System, command)
    }

    fn step(&mut self) {
        match self.dice.below(24) {
            0..=1 => self.begin(),
            2..=14 if !self.sessions.is_empty() => {
                let at = self.dice.below(self.sessions.len());
                let mut session = self.sessions.swap_remove(at);
                if self.act(&mut session) {
                    self.sessions.push(session);
                }
            }
            15 if self.newest() < VERSIONS_MAX && self.dice.below(3) == 0 => {
                let newest = self.newest();
                self.system(rotate(newest, newest + 1)).unwrap();
            }
            16 if self.dice.below(2) == 0 => {
                let version = 1 + self.dice.below(VERSIONS_MAX as usize) as u32;
                let _not_there = self.system(close(version));
            }
            17..=18 => self.look_into(),
            _ => self.pack_anew(),
        }
    }

    fn begin(&mut self) {
        let free = (1..=AGENTS).filter(|who| self.sessions.iter().all(|s| s.agent != *who));
        let free: Vec<u8> = free.collect();
        let Some(agent) = self.dice.one_of(free) else { return };
        if self.next_session == u8::MAX {
            return;
        }
        let number = self.next_session;
        self.next_session += 1;
        self.story.begin(agent, number);
        self.look();
        let (version, applied) = (self.newest(), self.views.len() - 1);
        let (reach, announced) = Default::default();
        self.sessions.push(Session { number, agent, version, applied, reach, announced });
    }

    /// Whether the session goes on.
    fn act(&mut self, session: &mut Session) -> bool {
        let actor = Actor::Agent(agent(session.agent));
        match self.dice.below(8) {
            0 => {
                let further = self.views.len() - 1 - session.applied;
                session.applied += self.dice.below(further + 1);
            }
            1..=3 => {
                let View { rows, closed } = &self.views[session.applied];
                let held = rows.iter().filter(|row| row.is_offered() && !closed.shuts(row));
                let held: Vec<u64> = held.map(|row| row.base).collect();
                session.reach.extend(self.dice.one_of(held));
            }
            4 => {
                let Some(pack) = self.new_pack() else { return true };
                self.truth.insert(pack, BTreeSet::from([session.version]));
                // Some are of before anybody said so.
                let intend = match self.dice.below(3) {
                    0 => story::intend(session.number, &[pack], PackHome::Object),
                    _ => intend_sealed(session.number, &[(pack, &[session.version])]),
                };
                match self.say(actor, intend) {
                    Ok(_) => drop(session.announced.insert(pack)),
                    Err(code) => return self.begins_anew(session, code),
                }
            }
            5..=6 => {
                let Some(pack) = self.dice.one_of(session.announced.clone()) else { return true };
                self.say(actor, story::store(session.number, pack, None)).unwrap();
                session.announced.remove(&pack);
                session.reach.insert(self.row(pack).base);
            }
            _ => return self.commit(session),
        }
        true
    }

    /// Its member compares by what it has applied, and the ledger says whether that is enough.
    fn commit(&mut self, session: &mut Session) -> bool {
        let View { rows, closed } = &self.views[session.applied];
        let is_needed = |row: &&PackRow| row.numbers().any(|(n, _)| session.reach.contains(&n));
        let is_alive = |row: &&PackRow| row.state != PackState::Doomed;
        let mut needed = rows.iter().filter(is_alive).filter(is_needed);
        if needed.any(|row| closed.shuts(row)) {
            return self.begins_anew(session, Code::SessionMissing);
        }
        let (number, who) = (session.number, agent(session.agent));
        let commit = story::commit(number, number, who, PointState::Complete);
        let row = self.story.query().session(&ids::session(number)).unwrap();
        let point = PointRow { previous: row.previous, ..commit.point };
        let keys_at = (self.dice.below(8) > 0).then_some(closed.at);
        match self.say(Actor::Agent(who), CommitPoint { point, keys_at, ..commit }) {
            Ok(_) => {
                self.points.insert(number, (self.story.index(), session.reach.clone()));
                self.committed += 1;
                false
            }
            Err(Code::VaultKeysClosed) => true,
            Err(code) => panic!("{code:?}"),
        }
    }

    fn begins_anew(&mut self, session: &Session, code: Code) -> bool {
        assert_eq!(code, Code::SessionMissing);
        self.begun_anew += 1;
        let (run, state) = (ids::run(session.number), RunState::Failed);
        let end = EndRun { run, state, error: None, silent_since: None };
        self.say(Actor::Agent(agent(session.agent)), end).unwrap();
        false
    }

    fn new_pack(&mut self) -> Option<u8> {
        let is_left = self.next_pack < u8::MAX;
        self.next_pack += u8::from(is_left);
        is_left.then_some(self.next_pack - 1)
    }

    fn row(&self, pack: u8) -> PackRow {
        self.story.query().pack(&ids::vault(), &ids::pack(pack)).unwrap().unwrap()
    }

    /// Somebody reads the front of a pack of before.
    fn look_into(&mut self) {
        let unknown = self.rows().into_iter().filter(|row| row.sealed_to.is_none());
        let unknown: Vec<u8> = unknown.map(|row| byte(&row.id)).collect();
        let Some(pack) = self.dice.one_of(unknown) else { return };
        let versions: Vec<u32> = self.truth[&pack].iter().copied().collect();
        self.system(note_sealed(&[(pack, &versions)], false)).unwrap();
    }

    /// One step of a round that packs anything anew, and gives nothing else up.
    fn pack_anew(&mut self) {
        match self.round {
            None => {
                let Ok(Outcome::Number(round)) = self.system(begin_collection()) else { return };
                let stored = self.rows().into_iter().filter(PackRow::is_offered);
                let stored: Vec<u8> = stored.map(|row| byte(&row.id)).collect();
                self.system(condemn_live(round, &stored)).unwrap();
                self.system(seal(round)).unwrap();
                self.round = Some((round, 0));
            }
            Some((round, 0)) => match self.system(clear(round)) {
                Ok(Outcome::At(at)) => self.round = Some((round, at)),
                Ok(other) => panic!("{other:?}"),
                // It waits for sessions; some of them never end.
                Err(_) if self.dice.below(4) == 0 => self.end_round(round),
                Err(_) => {}
            },
            Some((round, cleared)) if self.dice.below(4) > 0 => self.remake((round, cleared)),
            Some((round, _)) => self.end_round(round),
        }
    }

    fn end_round(&mut self, round: u64) {
        let rows = self.rows().into_iter().filter(|row| row.condemned.is_some());
        let left: Vec<u8> = rows.map(|row| byte(&row.id)).collect();
        self.system(spare(&left)).unwrap();
        self.system(end_collection(round)).unwrap();
        self.round = None;
    }

    /// Two packs into one: whoever proposes it does not look at keys, the ledger does.
    fn remake(&mut self, (round, cleared): (u64, u64)) {
        let its = |row: &PackRow| row.condemned == Some(round) && row.live.is_some();
        let its: Vec<PackRow> = self.rows().into_iter().filter(its).collect();
        let Some(first) = self.dice.one_of(0..its.len()) else { return };
        let writer = its[first].writer;
        let alike: Vec<usize> = (0..its.len()).filter(|at| its[*at].writer == writer).collect();
        let second = self.dice.one_of(alike).unwrap();
        let chosen: BTreeSet<usize> = [first, second].into();
        let sources: Vec<u8> = chosen.iter().map(|at| byte(&its[*at].id)).collect();
        let needed: BTreeSet<u64> =
            self.points.values().flat_map(|(_, reach)| reach).copied().collect();
        let numbers = chosen.iter().flat_map(|at| its[*at].numbers());
        let numbers = numbers.map(|(number, _)| number).filter(|number| needed.contains(number));
        let taken: Vec<(u64, u32, u32)> =
            numbers.zip(0..).map(|(it, slot)| (it, slot, 1)).collect();
        let Some(made) = self.new_pack().filter(|_| (1..=10).contains(&taken.len())) else {
            return;
        };
        let truth: BTreeSet<u32> =
            sources.iter().flat_map(|pack| self.truth[pack].clone()).collect();
        let mut intend = intend_repack(round, made, writer.as_bytes()[0]);
        intend.pack.sealed_to = Some(truth.iter().copied().collect());
        self.truth.insert(made, truth);
        self.system(intend).unwrap();
        match self.system(repack((round, cleared), made, &taken, &sources)) {
            Ok(_) => self.repacked += sources.len(),
            Err(Code::ResourceConflict | Code::CollectionOver) => {}
            Err(code) => panic!("{code:?}"),
        }
    }

    /// What a point needs that was committed behind a version's end opens without that version.
    fn check(&self) -> Result<(), String> {
        let versions = self.story.query().key_versions(&ids::vault()).unwrap();
        let rows = self.rows();
        for (point, (at, reach)) in &self.points {
            let closed = |version: &KeyVersionRow| version.closed_at.is_some_and(|end| end < *at);
            let closed: Vec<u32> =
                versions.iter().filter(|v| closed(v)).map(|v| v.version).collect();
            let alive = rows.iter().filter(|row| row.state == PackState::Stored);
            for row in alive.filter(|row| row.numbers().any(|(n, _)| reach.contains(&n))) {
                let truth = &self.truth[&byte(&row.id)];
                if closed.iter().any(|version| truth.contains(version)) {
                    return Err(format!("{point} of {at} needs {row:?}, of {truth:?}"));
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
fn nothing_that_is_committed_behind_the_end_of_a_version_needs_it_whatever_is_done_before() {
    let (mut committed, mut begun_anew, mut repacked, mut closed) = (0, 0, 0, 0);
    for seed in 1..=SEEDS {
        let mut world = World::of(seed);
        for step in 0..STEPS {
            world.step();
            world.check().unwrap_or_else(|needs| panic!("seed {seed}, step {step}: {needs}"));
        }
        committed += world.committed;
        begun_anew += world.begun_anew;
        repacked += world.repacked;
        closed += world.views.last().unwrap().closed.versions.len();
    }
    let seeds = SEEDS as usize;
    assert!(committed > 5 * seeds, "only {committed} points were committed");
    assert!(begun_anew > seeds / 2, "only {begun_anew} sessions began anew");
    assert!(repacked > seeds / 2, "only {repacked} packs were packed anew");
    assert!(closed > seeds / 2, "only {closed} versions were closed");
}
