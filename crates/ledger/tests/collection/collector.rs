//! A round in the small world, a step at a time: what the collector sees, what it proposes, and
//! what the ledger makes of it.

use super::{
    rules::{Barrier, Rules},
    world::{At, Collector, Life, PACKS, POINTS, Packs, SESSIONS, Stage, State, Vault, bit},
};

impl Vault {
    pub(crate) fn collect(&mut self, number: usize) {
        let Collector { at, round, plan, .. } = self.collectors[number];
        let is_told_apart = self.rules.rounds_are_told_apart;
        let is_ours = self.round == round || !is_told_apart;
        let (next, plan) = match at {
            At::Begin => return self.begin_round(number),
            At::Mark => (At::Condemn, !self.needed()),
            At::Condemn => {
                if is_ours && (self.stage == Stage::Marking || !is_told_apart) {
                    self.condemn(round, plan);
                }
                (At::Seal, 0)
            }
            At::Seal => {
                if is_ours && self.stage == Stage::Marking {
                    self.seal();
                }
                (At::Clear, 0)
            }
            At::Clear => {
                let may = is_ours && self.stage == Stage::Sealed && !self.is_waiting(number);
                if may {
                    self.stage = Stage::Clear;
                }
                (if may { At::MarkAgain } else { At::Clear }, 0)
            }
            At::MarkAgain => return self.mark_again(number),
            At::Doom => return self.doom(number),
        };
        self.collectors[number] = Collector { at: next, round, plan, ..Collector::IDLE };
    }

    pub(crate) fn crash(&mut self, number: usize) {
        self.collectors[number] = Collector::IDLE;
    }

    fn begin_round(&mut self, number: usize) {
        let is_known = |round: u8| {
            round == self.round
                || self.collectors.iter().any(|collector| collector.round == round)
                || self.rows.iter().any(|row| row.condemned == round)
        };
        let round = (1..u8::MAX).find(|round| !is_known(*round)).unwrap_or(u8::MAX);
        (self.round, self.stage, self.noted) = (round, Stage::Marking, 0);
        self.knows_seal = false;
        self.sessions.iter_mut().for_each(|session| session.is_older = false);
        self.collectors[number] = Collector { at: At::Mark, round, ..Collector::IDLE };
    }

    fn condemn(&mut self, round: u8, plan: Packs) {
        for pack in PACKS.into_iter().filter(|pack| plan & bit(*pack) != 0) {
            let owner = usize::from(self.rows[pack].owner).checked_sub(1);
            let is_being_written = owner.is_some_and(|owner| self.is_open(owner));
            let is_alive = matches!(self.rows[pack].state, State::Intended | State::Stored);
            if is_alive && !is_being_written {
                self.rows[pack].condemned = round;
            }
        }
    }

    /// Whoever has begun before is older than the seal; so is a copy of a reach.
    fn seal(&mut self) {
        self.stage = Stage::Sealed;
        for session in self.sessions.iter_mut().filter(|session| session.life == Life::Open) {
            session.is_older = true;
            session.copied = session.copied.map(|(reach, _)| (reach, true));
        }
    }

    /// Whether an older session is open that may commit, as far as whoever collects can tell.
    fn is_waiting(&self, number: usize) -> bool {
        let mut older = SESSIONS.into_iter().filter(|session| {
            let row = &self.sessions[*session];
            row.life == Life::Open && row.is_older && !row.is_cancelled
        });
        match self.rules.barrier {
            Barrier::Rows => older.next().is_some(),
            Barrier::Remembered => {
                older.any(|session| self.sessions[session].under_first == (number == 0))
            }
            Barrier::Clock => false,
        }
    }

    fn condemned_by(&self, round: u8) -> Packs {
        PACKS.into_iter().filter(|pack| self.rows[*pack].condemned == round).map(bit).sum()
    }

    /// Lists what was noted, reads it point by point, and lists what was noted meanwhile. What was
    /// forgotten before it is read needs nothing any more.
    fn mark_again(&mut self, number: usize) {
        let new = match self.rules {
            Rules { second_mark: false, .. } => 0,
            Rules { second_mark_settles: false, .. } if self.collectors[number].listed != 0 => 0,
            _ => self.noted & !self.collectors[number].listed,
        };
        let condemned = self.condemned_by(self.collectors[number].round);
        let collector = &mut self.collectors[number];
        if let Some(point) = (0..POINTS).find(|point| collector.unread & bit(*point) != 0) {
            collector.unread &= !bit(point);
            collector.plan |= self.points[point];
        } else if new != 0 {
            collector.listed |= new;
            collector.unread = new;
        } else {
            let (round, plan) = (collector.round, condemned & !collector.plan);
            *collector = Collector { at: At::Doom, round, plan, ..Collector::IDLE };
        }
    }

    fn doom(&mut self, number: usize) {
        let Collector { round, plan, .. } = self.collectors[number];
        let is_told_apart = self.rules.rounds_are_told_apart;
        let is_ours = self.round == round || !is_told_apart;
        if is_told_apart && is_ours && self.stage == Stage::Sealed {
            // Something was taken in: it is looked at too.
            self.collectors[number] = Collector { at: At::Clear, round, ..Collector::IDLE };
            return;
        }
        if !self.rules.delete_entry_first {
            self.deleting |= plan;
        }
        if is_ours && (self.stage == Stage::Clear || !is_told_apart) {
            PACKS.into_iter().for_each(|pack| self.doom_pack(pack, round, plan));
            (self.round, self.stage, self.noted) = (0, Stage::Idle, 0);
            self.knows_seal = false;
            self.sessions.iter_mut().for_each(|session| session.is_older = false);
        }
        self.crash(number);
    }

    fn doom_pack(&mut self, pack: usize, round: u8, plan: Packs) {
        let row = &mut self.rows[pack];
        let is_named = match self.rules.rounds_are_told_apart {
            true => row.condemned == round,
            false => row.condemned != 0,
        };
        if is_named {
            row.condemned = 0;
            if plan & bit(pack) != 0 {
                (row.state, row.owner) = (State::Doomed, 0);
            }
        }
    }
}
