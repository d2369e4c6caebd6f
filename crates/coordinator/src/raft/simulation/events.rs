//! What happens in a simulation, as values: the trace is made of them, and the invariants look at
//! nothing else.

use holdfast_ledger::audit::AuditHead;
use std::{collections::VecDeque, time::Duration};

const LAST_WORDS: usize = 80;

/// Term, node, index.
pub(super) type Id = (u64, u64, u64);
/// Term, node, whether a quorum agreed.
pub(super) type Ballot = (u64, u64, bool);

/// An entry of somebody's log: which it is, and what is in it.
pub(super) type Written = (Id, u64);

/// What a client wants, by a number that nobody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Note(u64),
    Read(u64),
    Write(u64),
}

impl Wish {
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Note(number) | Self::Read(number) | Self::Write(number) => number,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// What the register held.
    Found(u64),
    /// It may have happened, or may happen yet.
    Unknown,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// After the sky has cleared: a command went through this member.
    Agreed {
        member: u64,
        after: Duration,
    },
    /// Written to a log, synced or not.
    Appended {
        member: u64,
        entries: Vec<Written>,
    },
    Applied {
        member: u64,
        entries: Vec<Written>,
        upto: u64,
        head: AuditHead,
    },
    Asked {
        wish: Wish,
    },
    Answered {
        wish: Wish,
        outcome: Outcome,
    },
    Carried {
        from: u64,
        to: u64,
        what: &'static str,
        fate: Fate,
    },
    Crashed {
        member: u64,
    },
    /// What a member holds at the end: applied, who proposed each command, all rows.
    Ended {
        member: u64,
        upto: u64,
        proposers: Vec<u64>,
        rows: u64,
    },
    /// What was applied here survives from now on.
    Flushed {
        member: u64,
        upto: u64,
    },
    Installed {
        member: u64,
        upto: u64,
        head: AuditHead,
    },
    Led {
        member: u64,
        ballot: Ballot,
    },
    Started {
        member: u64,
        vote: Option<Ballot>,
        upto: u64,
    },
    Strange {
        member: u64,
        what: String,
    },
    /// An acknowledged one.
    Voted {
        member: u64,
        ballot: Ballot,
    },
    Weather {
        what: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrived,
    Lost,
    Refused,
}

/// All that happened, as one hash, and the last of it to be read.
pub(super) struct Trace {
    hasher: blake3::Hasher,
    words: VecDeque<String>,
    count: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hasher: blake3::Hasher::new(), words: VecDeque::new(), count: 0 }
    }
}

impl Trace {
    pub(super) fn write(&mut self, at: Duration, event: &Event) {
        let line = format!("{:>9.3} {event:?}", at.as_secs_f64());
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        self.count += 1;
        if let Event::Carried { .. } = event {
            return;
        }
        if self.words.len() == LAST_WORDS {
            self.words.pop_front();
        }
        self.words.push_back(line);
    }

    pub(super) fn hash(&self) -> String {
        format!("{} of {} events", &self.hasher.finalize().to_hex()[..16], self.count)
    }

    pub(super) fn last_words(&self) -> String {
        self.words.iter().map(|line| line.chars().take(300).collect::<String>() + "\n").collect()
    }
}
