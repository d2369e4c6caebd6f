//! One pack of two chunks, of which points need one or both, and the pack that takes it over.
//!
//! Whatever the larger world shows is taken for granted: who answers, checkpoints, late deletes.
//! What is looked at is what only packing anew can lose: a number that is left out though somebody
//! comes to need it, and a location that has neither pack.

use super::explorer::World;

/// Of chunks: the one that a point needs from the beginning, and the other.
type Numbers = u8;

const FIRST: Numbers = 1;
const BOTH: Numbers = 3;
const SESSIONS: [usize; 2] = [0, 1];
const LOCATIONS: [usize; 2] = [0, 1];
/// The point that is there, and one of each session.
const POINTS: usize = 3;

/// Each may be taken out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Repacks {
    /// Whoever began before the round was sealed is waited for.
    pub(crate) waits: bool,
    /// What is needed is found out anew after that.
    pub(crate) marks_again: bool,
    /// Points that come while points are being read are read too, until none comes.
    pub(crate) reads_new_points: bool,
    /// What is condemned though a point needs it is never doomed as it is.
    pub(crate) goes_by_repacking_alone: bool,
    /// What somebody had back is left alone.
    pub(crate) takes_condemned_only: bool,
    /// In a location a pack goes when the one lies there that took it over.
    pub(crate) heirs_first: bool,
}

impl Repacks {
    pub(crate) const ALL: Self = Self {
        waits: true,
        marks_again: true,
        reads_new_points: true,
        goes_by_repacking_alone: true,
        takes_condemned_only: true,
        heirs_first: true,
    };
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Life {
    ToCome,
    /// It goes on from a point, which is not forgotten until it ends.
    Open(Option<usize>),
    Over,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Session {
    life: Life,
    is_older: bool,
    reach: Numbers,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Condemned {
    No,
    /// By a round that is over: absent to whoever asks, and no more.
    Before,
    Now,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum At {
    Begin,
    Mark,
    Condemn,
    Seal,
    Clear,
    /// Reads the points one after the other, this one next.
    Read(usize),
    ReadNew,
    Repack,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Packing {
    rules: Repacks,
    points: [Numbers; POINTS],
    sessions: [Session; 2],
    condemned: Condemned,
    at: At,
    plan: Numbers,
    /// Points that came since the round began, and those of them that were read again.
    noted: u8,
    read: u8,
    /// What the new pack answers to; the old one is doomed then.
    taken: Option<Numbers>,
    old_in: [bool; 2],
    new_in: [bool; 2],
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Begin {
        session: usize,
        from: Option<usize>,
    },
    Hit {
        session: usize,
        number: Numbers,
    },
    /// The old pack once more, as it is.
    Announce {
        session: usize,
    },
    Commit {
        session: usize,
    },
    End {
        session: usize,
    },
    Forget {
        point: usize,
    },
    Collect,
    Crash,
    NewLands,
    Delete {
        location: usize,
    },
}

impl Packing {
    pub(crate) fn new(rules: Repacks) -> Self {
        let session = Session { life: Life::ToCome, is_older: false, reach: 0 };
        Self {
            rules,
            points: [FIRST, 0, 0],
            sessions: [session; 2],
            condemned: Condemned::No,
            at: At::Begin,
            plan: 0,
            noted: 0,
            read: 0,
            taken: None,
            old_in: [true; 2],
            new_in: [false; 2],
        }
    }

    fn needed(&self) -> Numbers {
        self.points.iter().fold(0, |all, reach| all | reach)
    }

    fn offered(&self) -> Numbers {
        match (self.taken, self.condemned) {
            (Some(taken), _) => taken,
            (None, Condemned::No) => BOTH,
            (None, Condemned::Before | Condemned::Now) => 0,
        }
    }

    fn is_held(&self, point: usize) -> bool {
        self.sessions.iter().any(|session| session.life == Life::Open(Some(point)))
    }

    fn session_steps(&self, session: usize, steps: &mut Vec<Step>) {
        let row = &self.sessions[session];
        match row.life {
            Life::ToCome => {
                steps.push(Step::Begin { session, from: None });
                let there = (0..POINTS).filter(|point| self.points[*point] != 0);
                steps.extend(there.map(|point| Step::Begin { session, from: Some(point) }));
            }
            Life::Open(_) => {
                let hits = [1, 2].into_iter().filter(|number| self.offered() & number != 0);
                let new = hits.filter(|number| row.reach & number == 0);
                steps.extend(new.map(|number| Step::Hit { session, number }));
                if self.taken.is_none() && row.reach != BOTH {
                    steps.push(Step::Announce { session });
                }
                if row.reach != 0 {
                    steps.push(Step::Commit { session });
                }
                steps.push(Step::End { session });
            }
            Life::Over => {}
        }
    }

    fn end(&mut self, session: usize) {
        self.sessions[session] = Session { life: Life::Over, is_older: false, reach: 0 };
    }

    fn begin_round(&mut self) {
        if self.condemned == Condemned::Now {
            self.condemned = Condemned::Before;
        }
        (self.plan, self.noted, self.read) = (0, 0, 0);
        self.sessions.iter_mut().for_each(|session| session.is_older = false);
    }

    fn collect(&mut self) {
        self.at = match self.at {
            At::Begin => {
                self.begin_round();
                At::Mark
            }
            At::Mark => {
                self.plan = self.needed();
                At::Condemn
            }
            // What nobody needs is for the larger world, and what all is needed of stays.
            At::Condemn if self.plan == 0 || self.plan == BOTH => {
                self.condemned = Condemned::No;
                At::Begin
            }
            At::Condemn => {
                self.condemned = Condemned::Now;
                At::Seal
            }
            At::Seal => {
                for session in &mut self.sessions {
                    session.is_older = matches!(session.life, Life::Open(_));
                }
                At::Clear
            }
            At::Clear if self.rules.waits && self.sessions.iter().any(|it| it.is_older) => {
                At::Clear
            }
            At::Clear => {
                self.doom_by_new_points();
                if self.rules.marks_again {
                    self.plan = 0;
                    At::Read(POINTS - 1)
                } else {
                    At::Repack
                }
            }
            At::Read(point) => {
                self.plan |= self.points[point];
                match point.checked_sub(1) {
                    Some(next) => At::Read(next),
                    None if self.rules.reads_new_points => At::ReadNew,
                    None => At::Repack,
                }
            }
            At::ReadNew => {
                let new = self.noted & !self.read;
                self.read |= new;
                for point in (0..POINTS).filter(|point| new & (1 << point) != 0) {
                    self.plan |= self.points[point];
                }
                if new == 0 { At::Repack } else { At::ReadNew }
            }
            At::Repack => {
                self.repack();
                At::Begin
            }
        };
    }

    /// What goes altogether goes by what the points need that came since.
    fn doom_by_new_points(&mut self) {
        let noted = (0..POINTS).filter(|point| self.noted & (1 << point) != 0);
        let needs = noted.fold(0, |all, point| all | self.points[point]);
        if !self.rules.goes_by_repacking_alone && needs == 0 {
            self.taken = Some(0);
        }
    }

    fn repack(&mut self) {
        let is_mine = self.condemned == Condemned::Now || !self.rules.takes_condemned_only;
        if self.taken.is_none() && is_mine && self.plan != 0 {
            self.taken = Some(self.plan);
            self.new_in[0] = true;
        }
        self.condemned = Condemned::No;
    }
}

impl World for Packing {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for session in SESSIONS {
            self.session_steps(session, &mut steps);
        }
        let there = (0..POINTS).filter(|point| self.points[*point] != 0 && !self.is_held(*point));
        steps.extend(there.map(|point| Step::Forget { point }));
        if self.taken.is_none() {
            steps.push(Step::Collect);
            if self.at != At::Begin {
                steps.push(Step::Crash);
            }
        }
        if self.new_in == [true, false] {
            steps.push(Step::NewLands);
        }
        let may_go = |at: &usize| {
            let has_heir = self.new_in[*at] || !self.rules.heirs_first;
            self.taken.is_some() && self.old_in[*at] && has_heir
        };
        let going = LOCATIONS.into_iter().filter(may_go);
        steps.extend(going.map(|location| Step::Delete { location }));
        steps
    }

    fn after(&self, step: Step) -> Self {
        let mut next = self.clone();
        match step {
            Step::Begin { session, from } => {
                let reach = from.map_or(0, |point| self.points[point]);
                next.sessions[session] = Session { life: Life::Open(from), is_older: false, reach };
            }
            Step::Hit { session, number } => next.sessions[session].reach |= number,
            Step::Announce { session } => {
                next.condemned = Condemned::No;
                next.sessions[session].reach = BOTH;
            }
            Step::Commit { session } => {
                next.points[1 + session] = self.sessions[session].reach;
                next.noted |= 1 << (1 + session);
                next.end(session);
            }
            Step::End { session } => next.end(session),
            Step::Forget { point } => next.points[point] = 0,
            Step::Collect => next.collect(),
            Step::Crash => next.at = At::Begin,
            Step::NewLands => next.new_in[1] = true,
            Step::Delete { location } => next.old_in[location] = false,
        }
        next
    }

    fn broken(&self) -> Option<&'static str> {
        let (taken, needed) = (self.taken.unwrap_or(0), self.needed());
        let has = |at: usize| {
            let new = if self.new_in[at] { taken } else { 0 };
            if self.old_in[at] { BOTH } else { new }
        };
        if self.taken.is_some() && needed & !taken != 0 {
            return Some("a number has no pack");
        }
        let lacks = LOCATIONS.into_iter().any(|at| needed & !has(at) != 0);
        lacks.then_some("a point lacks a pack")
    }

    /// The old pack is gone, or there is nothing to pack anew.
    fn is_hoped_for(&self) -> bool {
        let is_gone = self.taken.is_some() && self.old_in == [false; 2];
        is_gone || self.taken.is_none() && [0, BOTH].contains(&self.needed())
    }
}
