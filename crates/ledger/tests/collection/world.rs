//! A vault so small that all that may happen to it can be looked at, with collection at work.
//!
//! ```text
//!   two names of packs · two locations · a leader's tables and a follower's, as old as it likes
//!   two sessions, each at one of them · points that are forgotten · one that is taken in
//!   two collectors, one of which led once: each stops between any two steps, for any time
//! ```
//!
//! A session ends at any moment, which is every skew of every clock. A delete that was sent once
//! lands whenever it likes, and again. Indexes of the log are not counted: what matters of them is
//! who came before whom, and that is kept as flags. Round numbers are told apart and no more, so a
//! number that nobody remembers is given again.

use super::{
    explorer::World,
    rules::{Barrier, Base, Rules, Scope},
};

/// Sets of packs.
pub(crate) type Packs = u8;
pub(crate) const PACKS: [usize; 2] = [0, 1];
pub(crate) const SESSIONS: [usize; 2] = [0, 1];
pub(crate) const COLLECTORS: [usize; 2] = [0, 1];
const LOCATIONS: [usize; 2] = [0, 1];

/// Points: the one that is there, one of each session, a checkpoint of the first, one of elsewhere.
pub(crate) const FIRST: usize = 0;
pub(crate) const CHECKPOINT: usize = 3;
pub(crate) const FOREIGN: usize = 4;
pub(crate) const POINTS: usize = 5;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum State {
    Unknown,
    Intended,
    Stored,
    Doomed,
    Gone,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Row {
    pub(crate) state: State,
    /// The round, or 0.
    pub(crate) condemned: u8,
    /// Whose it is, with the session's number from 1 on.
    pub(crate) owner: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Life {
    ToCome,
    Open,
    Over,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Session {
    pub(crate) life: Life,
    pub(crate) at_follower: bool,
    /// Began when the first collector led, which remembers it.
    pub(crate) under_first: bool,
    /// It began before the round was sealed.
    pub(crate) is_older: bool,
    pub(crate) is_cancelled: bool,
    /// What an answer under way was found to be held.
    pub(crate) found: Packs,
    pub(crate) reach: Packs,
    /// A checkpoint under way: what was copied, and whether that is older than the seal.
    pub(crate) copied: Option<(Packs, bool)>,
    pub(crate) has_checkpoint: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Stage {
    Idle,
    Marking,
    Sealed,
    Clear,
}

/// What a collector does next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum At {
    Begin,
    Mark,
    Condemn,
    Seal,
    Clear,
    MarkAgain,
    Doom,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Collector {
    pub(crate) at: At,
    pub(crate) round: u8,
    /// What it has chosen by its last mark; while it marks again, what was found to be needed.
    pub(crate) plan: Packs,
    /// Points that it has listed while it marks again, and those of them that it has yet to read.
    pub(crate) listed: u8,
    pub(crate) unread: u8,
}

impl Collector {
    pub(crate) const IDLE: Self = Self { at: At::Begin, round: 0, plan: 0, listed: 0, unread: 0 };
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Vault {
    pub(crate) rules: Rules,
    pub(crate) scope: Scope,
    pub(crate) rows: [Row; 2],
    pub(crate) sessions: [Session; 2],
    /// The reach of each point that is committed and not forgotten.
    pub(crate) points: [Packs; POINTS],
    /// Points that came since the round began.
    pub(crate) noted: u8,
    pub(crate) round: u8,
    pub(crate) stage: Stage,
    pub(crate) second_leads: bool,
    pub(crate) has_taken_in: bool,
    /// What the follower's tables say is held, which sessions they know, and whether they know that
    /// the round is sealed.
    pub(crate) view: Packs,
    pub(crate) knows: u8,
    pub(crate) knows_seal: bool,
    pub(crate) objects: [Packs; 2],
    /// Whose puts are under way, with the session's number from 1 on; and deletes that were sent.
    pub(crate) putting: [u8; 2],
    pub(crate) deleting: Packs,
    pub(crate) collectors: [Collector; 2],
    /// An object went that the ledger counts on.
    pub(crate) hit_the_living: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Begin { session: usize, at_follower: bool },
    Hit { session: usize, pack: usize },
    Answer,
    Announce { session: usize, pack: usize },
    PutLands { pack: usize },
    CopyReach,
    CommitCheckpoint,
    Commit { session: usize },
    Cancel { session: usize },
    End { session: usize },
    TakeIn,
    Forget { point: usize },
    FollowerCatchesUp,
    SecondLeads,
    Collect { collector: usize },
    Crash { collector: usize },
    SendDelete { pack: usize },
    DeleteLands { pack: usize, location: usize },
    NoteGone { pack: usize },
}

pub(crate) fn bit(number: usize) -> u8 {
    1 << number
}

impl Vault {
    /// One point, which needs the first pack.
    pub(crate) fn new(rules: Rules, scope: Scope) -> Self {
        let unknown = Row { state: State::Unknown, condemned: 0, owner: 0 };
        let session = Session {
            life: Life::ToCome,
            at_follower: false,
            under_first: false,
            is_older: false,
            is_cancelled: false,
            found: 0,
            reach: 0,
            copied: None,
            has_checkpoint: false,
        };
        let mut points = [0; POINTS];
        points[FIRST] = bit(0);
        Self {
            rules,
            scope,
            rows: [Row { state: State::Stored, ..unknown }, unknown],
            sessions: [session; 2],
            points,
            noted: 0,
            round: 0,
            stage: Stage::Idle,
            second_leads: false,
            has_taken_in: false,
            view: bit(0),
            knows: 0,
            knows_seal: false,
            objects: [bit(0); 2],
            putting: [0; 2],
            deleting: 0,
            collectors: [Collector::IDLE; 2],
            hit_the_living: false,
        }
    }

    /// What the ledger says may be relied on, to whoever asks it now.
    fn held(&self) -> Packs {
        let is_held = |pack: &&usize| {
            let row = &self.rows[**pack];
            row.state == State::Stored && row.condemned == 0
        };
        PACKS.iter().filter(is_held).map(|pack| bit(*pack)).sum()
    }

    pub(crate) fn needed(&self) -> Packs {
        self.points.iter().fold(0, |all, reach| all | reach)
    }

    pub(crate) fn is_open(&self, session: usize) -> bool {
        self.sessions[session].life == Life::Open
    }

    /// What the member that serves a session answers to an offer.
    fn answers(&self, session: usize) -> Packs {
        if !self.sessions[session].at_follower {
            return self.held();
        }
        let has_begun_there = self.knows & bit(session) != 0 || !self.rules.answers_after_begin;
        if has_begun_there { self.view } else { 0 }
    }

    fn may_announce(&self, session: usize, pack: usize) -> bool {
        let is_mine = self.sessions[session].reach & bit(pack) != 0;
        let is_dead = matches!(self.rows[pack].state, State::Doomed | State::Gone);
        let is_new = self.rows[pack].state == State::Unknown || self.scope.announces_again;
        !is_mine && is_new && self.putting[pack] == 0 && !(is_dead && self.rules.dead_names_stay)
    }

    fn may_commit(&self, session: usize) -> bool {
        !self.sessions[session].is_cancelled || !self.rules.cancelled_commit_nothing
    }

    /// Retention forgets what it likes, but for what is held.
    fn may_forget(&self, point: usize) -> bool {
        let is_based_on = point == CHECKPOINT && self.is_open(0);
        self.points[point] != 0 && !(is_based_on && self.rules.checkpoint_is_held)
    }

    fn may_delete(&self, pack: usize) -> bool {
        matches!(self.rows[pack].state, State::Doomed | State::Gone)
            && self.deleting & bit(pack) == 0
    }

    fn session_steps(&self, session: usize, steps: &mut Vec<Step>) {
        let row = &self.sessions[session];
        match row.life {
            Life::ToCome if session < self.scope.sessions => {
                steps.push(Step::Begin { session, at_follower: false });
                if self.scope.has_follower {
                    steps.push(Step::Begin { session, at_follower: true });
                }
            }
            Life::Open => {
                for pack in PACKS {
                    if self.answers(session) & !row.reach & !row.found & bit(pack) != 0 {
                        steps.push(Step::Hit { session, pack });
                    }
                    if self.may_announce(session, pack) {
                        steps.push(Step::Announce { session, pack });
                    }
                }
                if row.reach != 0 && self.may_commit(session) {
                    steps.push(Step::Commit { session });
                }
                if self.scope.cancels && !row.is_cancelled {
                    steps.push(Step::Cancel { session });
                }
                if row.found != 0 {
                    steps.push(Step::Answer);
                }
                if session == 0 && self.may_go_on_with_checkpoint() {
                    let next =
                        if row.copied.is_none() { Step::CopyReach } else { Step::CommitCheckpoint };
                    steps.push(next);
                }
                steps.push(Step::End { session });
            }
            _ => {}
        }
    }

    fn pack_steps(&self, pack: usize, steps: &mut Vec<Step>) {
        if self.putting[pack] != 0 {
            steps.push(Step::PutLands { pack });
        }
        if self.may_delete(pack) {
            steps.push(Step::SendDelete { pack });
        }
        for location in LOCATIONS {
            if self.deleting & self.objects[location] & bit(pack) != 0 {
                steps.push(Step::DeleteLands { pack, location });
            }
        }
        let is_anywhere = (self.objects[0] | self.objects[1]) & bit(pack) != 0;
        if self.rows[pack].state == State::Doomed && !is_anywhere {
            steps.push(Step::NoteGone { pack });
        }
    }

    fn collector_steps(&self, steps: &mut Vec<Step>) {
        for collector in 0..self.scope.collectors {
            let at = self.collectors[collector].at;
            let leads = (collector == 1) == self.second_leads;
            let may_begin = self.stage == Stage::Idle || self.rules.older_rounds_end;
            if at != At::Begin || leads && may_begin {
                steps.push(Step::Collect { collector });
            }
            if at != At::Begin && self.scope.crashes {
                steps.push(Step::Crash { collector });
            }
        }
    }

    /// Deletes land, whatever the ledger says by then.
    fn delete_lands(&mut self, pack: usize, location: usize) {
        self.objects[location] &= !bit(pack);
        let row = &self.rows[pack];
        self.hit_the_living |= matches!(row.state, State::Intended | State::Stored);
    }

    fn put_lands(&mut self, pack: usize) {
        let owner = std::mem::take(&mut self.putting[pack]);
        self.objects.iter_mut().for_each(|objects| *objects |= bit(pack));
        let row = &mut self.rows[pack];
        let Some(owner) = usize::from(owner).checked_sub(1) else { return };
        let is_alive = matches!(row.state, State::Intended | State::Stored);
        if self.sessions[owner].life == Life::Open && is_alive {
            row.state = State::Stored;
            self.sessions[owner].reach |= bit(pack);
        }
    }

    fn announce(&mut self, session: usize, pack: usize) {
        let row = &mut self.rows[pack];
        let is_known = matches!(row.state, State::Intended | State::Stored);
        if !is_known || self.rules.announcing_owns {
            row.owner = [1, 2][session];
        }
        if row.state != State::Stored {
            row.state = State::Intended;
        }
        if self.rules.announcing_spares {
            row.condemned = 0;
        }
        self.putting[pack] = [1, 2][session];
    }

    fn commit(&mut self, session: usize) {
        self.points[1 + session] = self.sessions[session].reach;
        self.note(1 + session);
        self.end(session);
    }

    pub(crate) fn note(&mut self, point: usize) {
        self.noted |= bit(point);
    }

    fn end(&mut self, session: usize) {
        // What is over is all alike.
        let over = Vault::new(self.rules, self.scope).sessions[session];
        self.sessions[session] = Session { life: Life::Over, ..over };
        self.knows &= !bit(session);
    }

    fn may_go_on_with_checkpoint(&self) -> bool {
        let session = &self.sessions[0];
        let waits = session.found != 0 && session.copied.is_none() && self.rules.copies_wait;
        let may = self.scope.checkpoints && self.may_commit(0);
        may && session.reach != 0 && !session.has_checkpoint && !waits
    }

    /// Where there are checkpoints, one may come between the look and the answer.
    fn hit(&mut self, session: usize, pack: usize) {
        let is_slow = self.scope.checkpoints && session == 0;
        let row = &mut self.sessions[session];
        if is_slow { row.found |= bit(pack) } else { row.reach |= bit(pack) }
    }

    fn copy_reach(&mut self) {
        let session = &mut self.sessions[0];
        let is_behind = session.at_follower && !self.knows_seal;
        session.copied = Some((session.reach, is_behind && self.rules.base == Base::Applied));
    }

    fn commit_checkpoint(&mut self) {
        let session = &mut self.sessions[0];
        let Some((reach, sealed_since)) = session.copied.take() else { return };
        session.has_checkpoint = true;
        session.is_older = session.is_older && sealed_since && self.rules.base != Base::Entry;
        self.points[CHECKPOINT] = reach;
        self.note(CHECKPOINT);
    }

    /// A point of another side whose pack lies here.
    fn take_in(&mut self) {
        self.has_taken_in = true;
        self.points[FOREIGN] = bit(0);
        self.note(FOREIGN);
        if self.stage == Stage::Clear && self.rules.taking_in_unclears {
            self.stage = Stage::Sealed;
        }
    }

    fn catch_up(&mut self) {
        self.view = self.held();
        self.knows_seal = matches!(self.stage, Stage::Sealed | Stage::Clear);
        self.knows = SESSIONS.into_iter().filter(|session| self.is_open(*session)).map(bit).sum();
    }

    fn begin(&mut self, number: usize, at_follower: bool) {
        let under_first = self.rules.barrier == Barrier::Remembered && !self.second_leads;
        let session = &mut self.sessions[number];
        *session = Session { life: Life::Open, at_follower, under_first, ..*session };
    }
}

impl World for Vault {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for session in SESSIONS {
            self.session_steps(session, &mut steps);
        }
        for pack in PACKS {
            self.pack_steps(pack, &mut steps);
        }
        for point in (0..POINTS).filter(|point| self.may_forget(*point)) {
            steps.push(Step::Forget { point });
        }
        let is_there = self.rows[0].state == State::Stored && self.objects == [self.objects[0]; 2];
        if self.scope.takes_in && !self.has_taken_in && is_there {
            steps.push(Step::TakeIn);
        }
        let mut followed = self.clone();
        followed.catch_up();
        if *self != followed && SESSIONS.into_iter().any(|s| self.sessions[s].at_follower) {
            steps.push(Step::FollowerCatchesUp);
        }
        if !self.second_leads && self.scope.collectors == COLLECTORS.len() {
            steps.push(Step::SecondLeads);
        }
        self.collector_steps(&mut steps);
        steps
    }

    fn after(&self, step: Step) -> Self {
        let mut next = self.clone();
        match step {
            Step::Begin { session, at_follower } => next.begin(session, at_follower),
            Step::Hit { session, pack } => next.hit(session, pack),
            Step::Answer => {
                let found = std::mem::take(&mut next.sessions[0].found);
                next.sessions[0].reach |= found;
            }
            Step::Announce { session, pack } => next.announce(session, pack),
            Step::PutLands { pack } => next.put_lands(pack),
            Step::CopyReach => next.copy_reach(),
            Step::CommitCheckpoint => next.commit_checkpoint(),
            Step::Commit { session } => next.commit(session),
            Step::Cancel { session } => next.sessions[session].is_cancelled = true,
            Step::End { session } => next.end(session),
            Step::TakeIn => next.take_in(),
            Step::Forget { point } => {
                next.points[point] = 0;
                next.noted &= !bit(point);
            }
            Step::FollowerCatchesUp => next.catch_up(),
            Step::SecondLeads => next.second_leads = true,
            Step::Collect { collector } => next.collect(collector),
            Step::Crash { collector } => next.crash(collector),
            Step::SendDelete { pack } => next.deleting |= bit(pack),
            Step::DeleteLands { pack, location } => next.delete_lands(pack, location),
            Step::NoteGone { pack } => next.rows[pack].state = State::Gone,
        }
        next
    }

    fn broken(&self) -> Option<&'static str> {
        if self.objects.iter().any(|objects| self.needed() & !objects != 0) {
            return Some("a point lacks a pack");
        }
        self.hit_the_living.then_some("what the ledger counts on was deleted")
    }

    /// Nothing lies anywhere that nobody needs.
    fn is_hoped_for(&self) -> bool {
        let is_alive = |row: &Row| !matches!(row.state, State::Unknown | State::Gone);
        let kept = PACKS.into_iter().filter(|pack| is_alive(&self.rows[*pack]));
        let alive: Packs = kept.map(bit).sum();
        (alive | self.objects[0] | self.objects[1]) & !self.needed() == 0
    }
}
