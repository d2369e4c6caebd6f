//! The people of a story: how they are let in, renew, and are shut out.

use super::{Story, name};
use holdfast_common::Timestamp;
use holdfast_ledger::{Actor, Command, LEVEL, Role, StateKv, Tables, command::*, row::OperatorRow};
use std::time::Duration;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn by(who: &str) -> Actor {
    Actor::Operator(name(who))
}

/// For the key `key`, for so many days from the beginning of every story.
pub(crate) fn issue(who: &str, key: u8, days: u32) -> IssueOperator {
    let ttl = DAY * days;
    IssueOperator {
        name: name(who),
        role: Role::Admin,
        serial: u64::from(key),
        not_after: Timestamp::from_nanos(1_800_000_000_000_000_000).plus(ttl),
        public_key: [key; 32],
        ttl_secs: ttl.as_secs(),
    }
}

/// From one serial to another, for so many days from now.
pub(crate) fn renew(story: &Story, who: &str, key: u8, serials: (u64, u64)) -> RenewOperator {
    RenewOperator {
        name: name(who),
        serial_before: serials.0,
        public_key: [key; 32],
        serial: serials.1,
        not_after: story.now().plus(7 * DAY),
    }
}

pub(crate) fn revoke(who: &str) -> RevokeOperator {
    RevokeOperator { name: name(who) }
}

pub(crate) fn samples() -> Vec<(&'static str, Command)> {
    let renew = RenewOperator {
        name: name("ben"),
        serial_before: 7,
        public_key: [7; 32],
        serial: 8,
        not_after: Timestamp::from_nanos(9),
    };
    vec![
        ("issue_operator", issue("ben", 7, 90).into()),
        ("renew_operator", renew.into()),
        ("revoke_operator", revoke("ben").into()),
    ]
}

impl Story {
    /// Founded by `admin`, who has the key 1 and a year, at the newest level.
    pub(crate) fn run_by_people() -> Self {
        Self::run_by_people_at(LEVEL)
    }

    /// The same at an older one.
    pub(crate) fn run_by_people_at(level: u32) -> Self {
        let mut story = Self::of_nothing();
        let mut founding = super::members::founding();
        founding.operator = OperatorRow {
            public_key: Some([1; 32]),
            ..OperatorRow::founding(name("admin"), 1, story.now().plus(365 * DAY))
        };
        story.done(Actor::System, founding);
        story.done(Actor::System, RaiseLevel { level, members: vec![1] });
        story
    }

    /// They are there, however they came.
    pub(crate) fn know_people(&mut self, people: &[OperatorRow]) {
        let mut tables = Tables::over(&self.kv);
        people.iter().for_each(|row| tables.put(row).unwrap());
        self.kv.write(tables.into_batch()).unwrap();
    }

    #[track_caller]
    pub(crate) fn person(&self, who: &str) -> OperatorRow {
        let row = self.query().operator(&name(who));
        row.ok().flatten().unwrap_or_else(|| OperatorRow::founding(name("nobody"), 0, self.now()))
    }
}
