//! What operators and the cluster say of how long points are kept.

use super::{Story, agent, commit, ids, name, source};
use holdfast_common::{AgentId, HoldId, PointId, Timestamp};
use holdfast_ledger::{
    Actor, Command, Query, StateKv, Table, Tables,
    command::*,
    retention::{Rules, outlives},
    row::*,
};
use proptest::test_runner::TestCaseError;
use std::time::Duration;

/// Rules that protect nothing.
pub(crate) fn last(count: u32) -> Retention {
    Retention { last: Some(count), protect_secs: Some(0), ..Retention::default() }
}

pub(crate) fn policy(retention: Option<Retention>) -> PutPolicy {
    let policy = PolicyRow {
        name: name("docs"),
        agent: name("host-1"),
        vault: name("main"),
        source: source(),
        required: vec![name("main")],
        level: 3,
        bytes_per_second_max: 1000,
        revision: 0,
        retention,
        class: None,
        retained_since: None,
    };
    PutPolicy { policy }
}

pub(crate) fn of_class(class: &str) -> PutPolicy {
    let PutPolicy { policy } = policy(None);
    PutPolicy { policy: PolicyRow { class: Some(name(class)), ..policy } }
}

pub(crate) fn class(retention: Option<Retention>) -> PutClass {
    let class =
        ClassRow { name: name("gold"), retention, revision: 0, retained_since: Timestamp::ZERO };
    PutClass { class }
}

pub(crate) fn hold(number: u8, what: Held) -> AddHold {
    let hold = HoldRow {
        id: HoldId::from_bytes([number; 16]),
        what,
        reason: "a lawsuit".to_owned(),
        by: Actor::System,
        since: Timestamp::ZERO,
        until: None,
        released: None,
    };
    AddHold { hold }
}

pub(crate) fn release(number: u8, what: Held) -> ReleaseHold {
    let reason = Some("settled".to_owned());
    ReleaseHold { hold: HoldId::from_bytes([number; 16]), reason, what }
}

/// By the first rules of the policy, that were there when the story began.
pub(crate) fn forget(points: &[u8], outlived_by: u8) -> ForgetPoints {
    of_one(outlived(points, outlived_by))
}

pub(crate) fn of_one(source: OutlivedPoints) -> ForgetPoints {
    ForgetPoints { sources: vec![source], despite_anomalies: None }
}

pub(crate) fn outlived(points: &[u8], outlived_by: u8) -> OutlivedPoints {
    OutlivedPoints {
        policy: name("docs"),
        revision: 1,
        class_revision: None,
        outlived_by: ids::point(outlived_by),
        points: points.iter().map(|number| ids::point(*number)).collect(),
        since: Timestamp::from_nanos(1_800_000_000_000_000_000),
        losses: 0,
        copies: None,
    }
}

impl Story {
    /// A policy that keeps the last one, and points of it, a second apart.
    pub(crate) fn with_points(numbers: &[u8]) -> Self {
        let mut story = Self::with_agents(2);
        story.done(Actor::System, policy(Some(last(1))));
        for number in numbers {
            story.backup_docs(*number, PointState::Complete);
        }
        story
    }

    /// By the rules that are in force.
    pub(crate) fn planned(&self, points: &[u8], outlived_by: u8) -> OutlivedPoints {
        let policy = self.query().policy(&name("docs")).unwrap();
        let Rules { revision, class_revision, since, .. } =
            self.query().rules(&policy).unwrap().unwrap();
        let losses = self.query().vault(&ids::vault()).unwrap().losses();
        let planned = outlived(points, outlived_by);
        OutlivedPoints { revision, class_revision, since, losses, ..planned }
    }

    /// Runs that are listed as open before all others.
    pub(crate) fn open_runs(&mut self, count: u32) {
        let mut tables = Tables::over(&self.kv);
        for number in 0..count {
            tables.put_raw(Table::RunOpen, &number.to_be_bytes(), Vec::new()).unwrap();
        }
        self.kv.write(tables.into_batch()).unwrap();
    }

    /// As many agents were revoked.
    pub(crate) fn hold_agents(&mut self, count: usize) {
        self.put_holds(count, |number| Held::Agent(AgentId::from_bytes(number)));
    }

    pub(crate) fn hold_points(&mut self, count: usize) {
        self.put_holds(count, |number| Held::Point(PointId::from_bytes(number)));
    }

    fn put_holds(&mut self, count: usize, what: fn([u8; 16]) -> Held) {
        let mut tables = Tables::over(&self.kv);
        for number in 0..count {
            let what = what((number as u128).to_be_bytes());
            let mut id = [0xee; 16];
            id[1..9].copy_from_slice(&(number as u64).to_be_bytes());
            id[0] = u8::from(matches!(what, Held::Agent(_)));
            let row = hold(0, what).hold;
            tables.put(&HoldRow { id: HoldId::from_bytes(id), ..row }).unwrap();
        }
        self.kv.write(tables.into_batch()).unwrap();
    }

    /// A point under the policy.
    pub(crate) fn backup_docs(&mut self, number: u8, state: PointState) {
        self.backup_as(number, |point| point.state = state);
    }

    /// One of so many entries.
    pub(crate) fn backup_sized(&mut self, number: u8, entries: u64) {
        self.backup_as(number, |point| point.entries = entries);
    }

    fn backup_as(&mut self, number: u8, change: impl FnOnce(&mut PointRow)) {
        self.pass(std::time::Duration::from_secs(1));
        let run = RunRow::backup(ids::run(number), agent(1), ids::vault(), source());
        self.done(Actor::System, StartRun { run: RunRow { policy: Some(name("docs")), ..run } });
        let (session, run, point) = (ids::session(number), ids::run(number), ids::point(number));
        self.done(Actor::Agent(agent(1)), BeginSession { session, run, point });
        let previous = self.query().session(&session).unwrap().previous;
        let mut commit = commit(number, number, agent(1), PointState::Complete);
        commit.point.policy = Some(name("docs"));
        commit.point.previous = previous;
        change(&mut commit.point);
        self.done(Actor::Agent(agent(1)), commit);
    }
}

/// A step of a random story, of the agent `host-1` under its policy; often refused.
pub(crate) fn act(what: u8, who: u8, number: u8) -> (Actor, Command) {
    let (me, run) = (Actor::Agent(agent(1)), ids::run(number));
    match what {
        0 => (Actor::System, policy(Some(last(u32::from(who)))).into()),
        1 | 2 => {
            let row = RunRow::backup(run, agent(1), ids::vault(), source());
            let row = RunRow { policy: Some(name("docs")), ..row };
            (Actor::System, StartRun { run: row }.into())
        }
        3 | 4 => {
            let state = if who == 3 { PointState::Partial } else { PointState::Complete };
            let mut commit = commit(number, number, agent(1), state);
            commit.point.policy = Some(name("docs"));
            commit.point.previous = (who < number).then(|| ids::point(who));
            (me, commit.into())
        }
        5 | 6 => (Actor::System, forget(&[number], who).into()),
        _ => (Actor::System, hold(number, Held::Point(ids::point(who))).into()),
    }
}

/// A step of a story that has points; what is forgotten, held and lost is mostly theirs.
pub(crate) fn step(story: &mut Story, (what, who, number): (u8, u8, u8)) {
    let next = 10 + u8::try_from(story.query().runs().count()).unwrap_or(u8::MAX - 10);
    let points: Vec<PointId> =
        story.query().points(None).filter_map(Result::ok).map(|point| point.id).collect();
    let pick = |number: u8| points.get(usize::from(number)).map_or(number, |id| id.as_bytes()[0]);
    let (one, other) = (pick(who), pick(number));
    let command: Command = match what {
        0 => policy(Some(last(u32::from(who) + 1))).into(),
        1 => return story.backup_docs(next, PointState::Partial),
        2 | 3 => return story.backup_docs(next, PointState::Complete),
        4 => return story.backup_sized(next, 100 * u64::from(who)),
        5 => hold(number, Held::Point(ids::point(one))).into(),
        6 => release(number, Held::Point(ids::point(one))).into(),
        7 => JudgePoint { point: ids::point(one), is_whole: number % 2 == 0 }.into(),
        8 => {
            let (session, purpose) = (ids::session(next), "restore".to_owned());
            BeginRead { session, point: ids::point(one), purpose, run: None }.into()
        }
        9 => {
            story.pass(Duration::from_secs(400 * u64::from(number)));
            return;
        }
        _ => {
            let both = vec![story.planned(&[other], one), story.planned(&[pick(who + 1)], one)];
            let sources = both.into_iter().take(1 + usize::from(what % 2)).collect();
            ForgetPoints { sources, despite_anomalies: (number == 0).then_some(true) }.into()
        }
    };
    story.try_as_admin(command);
}

/// What holds of points that were forgotten, whatever was said.
pub(crate) fn check_invariants(query: &Query<'_>) -> Result<(), TestCaseError> {
    let live: Vec<PointRow> = query.points(None).collect::<Result<_, _>>().unwrap();
    for gone in query.forgotten_after(None) {
        let gone = gone.unwrap().point;
        let is_live = query.row::<PointRow>(gone.id.as_bytes()).unwrap().is_some();
        super::ensure(!is_live, "a forgotten point is not there")?;
        // What was lost since was there when the other went.
        let was_whole = |newer: &PointRow| PointRow { lost: None, ..newer.clone() };
        let outlived = live.iter().any(|newer| outlives(&was_whole(newer), &gone));
        super::ensure(outlived, "and a newer one that is as good is left of its source")?;
    }
    Ok(())
}

/// One of each command that is about retention, and those that say more since.
pub(crate) fn samples() -> Vec<(&'static str, Command)> {
    let every = Retention {
        last: Some(1),
        hourly: Some(2),
        daily: Some(3),
        weekly: Some(4),
        monthly: Some(5),
        yearly: Some(6),
        within_secs: Some(7),
        versions: Some(8),
        protect_secs: Some(9),
    };
    let until = Some(Timestamp::from_nanos(9));
    let mut held = hold(1, Held::Point(ids::point(3)));
    held.hold.until = until;
    let mut rooted = commit(1, 3, agent(1), PointState::Complete);
    rooted.point.root = Some(holdfast_common::ChunkId::from_bytes([6; 32]));
    let delete = DeleteResource { kind: "class".into(), name: name("gold") };
    vec![
        ("put_retaining_policy", policy(Some(every.clone())).into()),
        ("put_policy_of_class", of_class("gold").into()),
        ("put_class", class(Some(every)).into()),
        ("delete_class", delete.into()),
        ("commit_rooted_point", rooted.into()),
        ("hold_point", held.into()),
        ("hold_policy", hold(2, Held::Policy(name("docs"))).into()),
        ("hold_agent", hold(3, Held::Agent(agent(1))).into()),
        ("release_hold", release(1, Held::Point(ids::point(3))).into()),
        ("forget_points", forget(&[1, 2], 3).into()),
        (
            "forget_points_by_class",
            of_one(OutlivedPoints { class_revision: Some(4), ..outlived(&[1], 3) }).into(),
        ),
        (
            "forget_points_of_two",
            ForgetPoints {
                sources: vec![
                    OutlivedPoints { losses: 3, ..outlived(&[1], 3) },
                    OutlivedPoints { policy: name("mail"), ..outlived(&[4], 5) },
                ],
                despite_anomalies: Some(true),
            }
            .into(),
        ),
        ("judge_point", JudgePoint { point: ids::point(3), is_whole: false }.into()),
        ("forget_runs", ForgetRuns { runs: vec![ids::run(1)] }.into()),
    ]
}
