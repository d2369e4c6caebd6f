//! A ledger in memory and the words to tell it stories with.

#![allow(dead_code, unused_imports, reason = "each test tells a part")]
#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

use holdfast_common::{AgentId, Code, Name, Timestamp};
use holdfast_ledger::{
    Actor, Command, Envelope, MemoryKv, Query, Reply, StateKv, Table, Tables, apply,
    command::*,
    envelope::{ENVELOPE_VERSION, Refusal},
    row::*,
};
use proptest::test_runner::TestCaseError;
use std::{collections::BTreeMap, time::Duration};

pub(crate) mod checking;
pub(crate) mod collecting;
pub(crate) mod copying;
mod frozen;
pub(crate) mod keys;
pub(crate) mod locking;
pub(crate) mod members;
pub(crate) mod operating;
pub(crate) mod recovering;
pub(crate) mod retaining;
pub(crate) mod shredding;
pub(crate) mod taking;
pub(crate) mod verifying;

pub(crate) use copying::{doubt, note_copies, place_points, replace_location, vault_beside};
pub(crate) use frozen::{export_bundle, line, rewrap_keys, unhex};

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn agent(number: u8) -> AgentId {
    AgentId::from_bytes([number; 16])
}

pub(crate) mod ids {
    use holdfast_common::{PackId, PointId, RunId, SessionId, VaultId};

    pub(crate) fn run(number: u8) -> RunId {
        RunId::from_bytes([number; 16])
    }
    pub(crate) fn session(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }
    pub(crate) fn point(number: u8) -> PointId {
        PointId::from_bytes([number; 16])
    }
    pub(crate) fn pack(number: u8) -> PackId {
        PackId::from_bytes([number; 32])
    }
    pub(crate) fn vault() -> VaultId {
        VaultId::from_bytes([0xaa; 16])
    }
}

pub(crate) struct Story {
    kv: MemoryKv,
    index: u64,
    time: Timestamp,
}

impl Story {
    pub(crate) fn founded() -> Self {
        let mut story = Self::of_nothing();
        story.done(Actor::System, members::founding());
        story.done(Actor::System, PutLocation { location: location() });
        story.done(Actor::System, PutVault { vault: vault(), kek: None });
        story
    }

    pub(crate) fn of_nothing() -> Self {
        let time = Timestamp::from_nanos(1_800_000_000_000_000_000);
        Self { kv: MemoryKv::default(), index: 0, time }
    }

    pub(crate) fn with_agents(count: u8) -> Self {
        let mut story = Self::founded();
        for number in 1..=count {
            story.done(Actor::System, create_token([number; 32]));
            let host = format!("host-{number}");
            story.done(Actor::Token, enrol([number; 32], agent(number), &host));
        }
        story
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query::over(&self.kv)
    }

    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// How many rows a table has, those that lead nowhere too.
    pub(crate) fn rows_in(&self, table: Table) -> usize {
        self.kv.scan(&[table as u8], None, usize::MAX).unwrap().len()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.time
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        self.time = self.time.plus(span);
    }

    pub(crate) fn apply_as(&mut self, key: [u8; 16], actor: Actor, command: Command) -> Reply {
        self.index += 1;
        let envelope = envelope(key, actor, self.time, command);
        let mut tables = Tables::over(&self.kv);
        let reply = apply(&mut tables, self.index, &envelope).unwrap();
        self.kv.write(tables.into_batch()).unwrap();
        check_invariants(&self.query()).unwrap();
        reply
    }

    fn apply(&mut self, actor: Actor, command: Command) -> Reply {
        let key = u128::from(self.index + 1).to_be_bytes();
        self.apply_as(key, actor, command)
    }

    #[track_caller]
    pub(crate) fn done(&mut self, actor: Actor, command: impl Into<Command>) -> Outcome {
        self.apply(actor, command.into()).into_result().unwrap()
    }

    pub(crate) fn said(
        &mut self,
        actor: Actor,
        command: impl Into<Command>,
    ) -> holdfast_common::Result<Outcome> {
        self.apply(actor, command.into()).into_result()
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, actor: Actor, command: impl Into<Command>, code: Code) {
        let error = self.apply(actor, command.into()).into_result().unwrap_err();
        assert_eq!(error.code, code, "{error}");
    }

    /// What may be refused.
    pub(crate) fn try_as_admin(&mut self, command: Command) {
        self.apply(Actor::Operator(name("admin")), command);
    }

    /// The vault requires other locations, as when one that was given up is back.
    pub(crate) fn require(&mut self, required: &[&str]) {
        let vault = self.query().vault(&ids::vault()).unwrap();
        let mut tables = Tables::over(&self.kv);
        let required = required.iter().map(|text| name(text)).collect();
        tables.put(&vault.requiring(required)).unwrap();
        self.kv.write(tables.into_batch()).unwrap();
    }

    /// Starts run `number` of agent `who` and opens its session.
    pub(crate) fn begin(&mut self, who: u8, number: u8) {
        self.done(Actor::System, start_run(number, agent(who)));
        let (session, run, point) = (ids::session(number), ids::run(number), ids::point(number));
        self.done(Actor::Agent(agent(who)), BeginSession { session, run, point });
    }

    pub(crate) fn backup(&mut self, who: u8, number: u8) {
        self.begin(who, number);
        let previous = self.query().session(&ids::session(number)).unwrap().previous;
        let mut commit = commit(number, number, agent(who), PointState::Complete);
        commit.point.previous = previous;
        self.done(Actor::Agent(agent(who)), commit);
    }
}

pub(crate) fn envelope(key: [u8; 16], actor: Actor, time: Timestamp, command: Command) -> Envelope {
    Envelope { version: ENVELOPE_VERSION, key, actor, time, epoch: 1, traceparent: None, command }
}

pub(crate) fn init() -> InitCluster {
    InitCluster {
        cluster: ClusterRow {
            id: holdfast_common::ClusterId::from_bytes([1; 16]),
            name: name("test"),
            created: Timestamp::from_nanos(1),
            ca_certificate: vec![1, 2].into(),
            ca_key_wrapped: vec![3].into(),
            recovery_key_wrapped: vec![4].into(),
            kek_derivation: None,
        },
        operator: OperatorRow::founding(name("admin"), 7, Timestamp::from_nanos(9)),
        member: None,
    }
}

pub(crate) fn location() -> LocationRow {
    LocationRow {
        name: name("main"),
        url: "local:/srv/backup".into(),
        region: name("eu"),
        revision: 0,
        disabled: None,
    }
}

pub(crate) fn vault() -> VaultRow {
    VaultRow {
        id: ids::vault(),
        name: name("main"),
        sharing: Sharing::Agent,
        custody: Custody::Coordinator,
        required: vec![name("main")],
        key_version: 1,
        key_object: vec![5].into(),
        created: Timestamp::from_nanos(2),
        revision: 0,
        next_number: 0,
        packs: 0,
        grown: None,
        beside: None,
        lock: None,
        checks: None,
        losses: None,
    }
}

pub(crate) fn create_token(hash: [u8; 32]) -> CreateToken {
    let expires = Timestamp::from_nanos(1_800_000_000_000_000_000).plus(Duration::from_secs(3600));
    CreateToken {
        token: TokenRow {
            hash,
            labels: BTreeMap::new(),
            expires,
            used_by: None,
            kind: None,
            used_by_member: None,
            duty: None,
            made_by: None,
        },
    }
}

pub(crate) fn enrol(token_hash: [u8; 32], id: AgentId, host: &str) -> EnrolAgent {
    EnrolAgent {
        token_hash,
        agent: id,
        name: name(host),
        identity_public: [8; 32],
        serial: 1,
        not_after: Timestamp::from_nanos(3),
    }
}

pub(crate) fn source() -> SourceSpec {
    SourceSpec::Files {
        paths: vec![b"/srv".to_vec().into()],
        exclude: vec!["*.tmp".into()],
        one_file_system: true,
        include: None,
    }
}

pub(crate) fn start_run(number: u8, agent: AgentId) -> StartRun {
    let run = RunRow::backup(ids::run(number), agent, ids::vault(), source());
    StartRun { run: RunRow { level: 3, ..run } }
}

pub(crate) fn restore_row(point: holdfast_common::PointId) -> RestoreRow {
    RestoreRow {
        point,
        target: b"/".to_vec().into(),
        options: RestoreOptions::default(),
        paths: None,
        safety_point: None,
        counts: RestoreCounts::default(),
        report: None,
    }
}

pub(crate) fn intend(session: u8, packs: &[u8], home: PackHome) -> IntendPacks {
    let pack = |number: &u8| IntendedPack {
        id: ids::pack(*number),
        kind: 1,
        slots: 10,
        length: 1000,
        home,
        digest: [4; 32],
        sealed_to: None,
    };
    IntendPacks { session: ids::session(session), packs: packs.iter().map(pack).collect() }
}

pub(crate) fn store(session: u8, pack: u8, revision: Option<u64>) -> StorePacks {
    StorePacks { session: ids::session(session), packs: vec![ids::pack(pack)], revision }
}

/// Ends a run of which nothing was heard since its beginning.
pub(crate) fn end_silent(number: u8) -> EndRun {
    let silent_since = Some(Timestamp::from_nanos(1_800_000_000_000_000_000));
    EndRun { run: ids::run(number), state: RunState::Interrupted, error: None, silent_since }
}

pub(crate) fn commit(session: u8, point: u8, agent: AgentId, state: PointState) -> CommitPoint {
    CommitPoint {
        session: ids::session(session),
        point: PointRow {
            id: ids::point(point),
            vault: ids::vault(),
            agent,
            run: ids::run(session),
            policy: None,
            source: source().describe(),
            started: Timestamp::from_nanos(5),
            committed: Timestamp::ZERO,
            state,
            entries: 3,
            bytes: 100,
            skipped: 0,
            previous: None,
            object_hash: [1; 32],
            reach_hash: [2; 32],
            locations: vec![name("main")],
            id_scope: 1,
            recovered: None,
            root: None,
            lost: None,
            verified: None,
        },
        counts: RunCounts { entries: 3, ..RunCounts::default() },
        inline_packs: vec![],
        revision: None,
        based: None,
        keys_at: None,
        whole_at: None,
    }
}

/// A log from a script of small numbers: mostly sensible, often refused.
pub(crate) fn log_of(script: &[(u8, u8, u8, u64)]) -> Vec<Envelope> {
    let mut time = Timestamp::from_nanos(1_800_000_000_000_000_000);
    let founding: [Command; 6] = [
        members::founding().into(),
        PutLocation { location: location() }.into(),
        PutVault { vault: vault(), kek: None }.into(),
        members::create_token(1).into(),
        members::create_token(2).into(),
        members::create_token(3).into(),
    ];
    let told = founding.len();
    let mut commands: Vec<(Actor, Command)> =
        founding.into_iter().map(|command| (Actor::System, command)).collect();
    commands.extend(script.iter().map(|&(what, who, number, _)| act(what, who, number)));
    let (mut log, kv) = (Vec::new(), MemoryKv::default());
    for (at, (actor, mut command)) in commands.into_iter().enumerate() {
        let step = at.checked_sub(told).map_or(0, |at| script[at].3);
        time = time.plus(Duration::from_secs(step));
        if let Command::ForgetPoints(forget) = &mut command {
            // Whoever plans has seen the rules.
            let policy = Query::over(&kv).policy(&name("docs")).ok();
            let since = policy.and_then(|policy| policy.retained_since).unwrap_or_default();
            forget.sources.iter_mut().for_each(|source| source.since = since);
        }
        log.push(envelope(u128::try_from(at).unwrap().to_be_bytes(), actor, time, command));
        let mut tables = Tables::over(&kv);
        apply(&mut tables, at as u64 + 1, &log[at]).unwrap();
        kv.write(tables.into_batch()).unwrap();
    }
    log
}

fn act(what: u8, who: u8, number: u8) -> (Actor, Command) {
    let me = Actor::Agent(agent(who));
    let session = ids::session(number);
    match what {
        0 => (Actor::System, create_token([who; 32]).into()),
        1 => (Actor::Token, enrol([who; 32], agent(who), &format!("host-{who}")).into()),
        2 | 3 => (Actor::System, start_run(number, agent(who)).into()),
        4 | 5 => {
            let (run, point) = (ids::run(number), ids::point(number));
            (me, BeginSession { session, run, point }.into())
        }
        6 => (me, intend(number, &[number], PackHome::Object).into()),
        7 => (me, store(number, number, None).into()),
        8 => (me, commit(number, number, agent(who), PointState::Complete).into()),
        9 => (me, commit(number, number + 100, agent(who), PointState::Checkpoint).into()),
        10 => (
            me,
            EndRun {
                run: ids::run(number),
                state: RunState::Failed,
                error: None,
                silent_since: None,
            }
            .into(),
        ),
        11 => (me, RenewSession { session }.into()),
        12 => (Actor::System, CancelRun { run: ids::run(number) }.into()),
        13 => (Actor::System, RevokeAgent { agent: agent(who) }.into()),
        14..=23 => members::act(what - 14, who, number),
        25..=32 => retaining::act(what - 25, who, number),
        _ => {
            let (point, purpose, run) = (ids::point(number), "restore".to_owned(), None);
            let session = ids::session(number + 50);
            (Actor::Operator(name("admin")), BeginRead { session, point, purpose, run }.into())
        }
    }
}

/// Applies a log, cutting groups where `cut` says so.
pub(crate) fn replay(log: &[Envelope], cut: impl Fn(usize) -> bool) -> MemoryKv {
    let kv = MemoryKv::default();
    let mut group: Vec<(u64, &Envelope)> = Vec::new();
    let flush = |group: &mut Vec<(u64, &Envelope)>| {
        let mut tables = Tables::over(&kv);
        for (index, envelope) in group.drain(..) {
            apply(&mut tables, index, envelope).unwrap();
        }
        kv.write(tables.into_batch()).unwrap();
    };
    for (at, envelope) in log.iter().enumerate() {
        group.push((at as u64 + 1, envelope));
        if cut(at) {
            flush(&mut group);
        }
    }
    flush(&mut group);
    kv
}

/// The lower part of a chunk number; above it is the epoch.
const SEQUENCE: u64 = (1 << 40) - 1;

/// What holds after every command, whatever was said.
pub(crate) fn check_invariants(query: &Query<'_>) -> Result<(), TestCaseError> {
    let open = query.open_runs().unwrap();
    for run in query.runs() {
        let run = run.unwrap();
        let listed = open.iter().any(|o| o.id == run.id);
        ensure(listed != run.state.is_end(), "open runs are listed, ended ones are not")?;
        let made = run.state == RunState::Done && run.kind == RunKind::Backup;
        ensure(made <= run.point.is_some(), "a backup that is done has a point")?;
        if let Some(point) = run.point {
            let point = query.point_even_forgotten(&point).unwrap().unwrap();
            ensure(point.run == run.id, "and the point is its own")?;
        }
    }
    for session in query.sessions().unwrap() {
        if let Some(run) = session.run {
            let run = query.run(&run).unwrap();
            ensure(!run.state.is_end(), "an ended run has no session")?;
            ensure(session.agent == run.agent, "a session is of its run's agent")?;
        }
    }
    for vault in query.vaults().unwrap() {
        let mut packs = query.packs(&vault.id, None).unwrap();
        packs.sort_by_key(|pack| pack.base & SEQUENCE);
        // A recovery leaves numbers out that may have been given before, and collection those of
        // packs that went.
        let has_gaps = !query.recoveries().unwrap().is_empty()
            || query.collection(&vault.id).unwrap().is_some();
        let mut next = 0;
        for pack in packs {
            let sequence = pack.base & SEQUENCE;
            let fits = if has_gaps { sequence >= next } else { sequence == next };
            ensure(fits, "chunk numbers have no gap and no overlap")?;
            next = sequence + u64::from(pack.slots);
        }
        ensure(next == vault.next_number || has_gaps, "and end where the vault says")?;
        ensure(next <= vault.next_number, "and not behind it")?;
    }
    checking::check_invariants(query)?;
    members::check_invariants(query)?;
    retaining::check_invariants(query)?;
    collecting::check_invariants(query)?;
    let head = query.audit_head().unwrap();
    let (rows, cut) = (query.audit(0, 10_000).unwrap(), query.audit_cut().unwrap());
    let verified = holdfast_ledger::audit::verify(rows.into_iter().map(Ok), &cut, &head);
    ensure(verified.is_ok(), "the audit chain holds")
}

fn ensure(holds: bool, what: &str) -> Result<(), TestCaseError> {
    if holds { Ok(()) } else { Err(TestCaseError::fail(what.to_owned())) }
}

/// One of each command.
pub(crate) fn samples() -> Vec<(&'static str, Command)> {
    let refusal = Refusal { code: "a.b".into(), message: "m".into(), next: Some("n".into()) };
    let PutPolicy { policy } = retaining::policy(None);
    let (session, run, point) = (ids::session(1), ids::run(2), ids::point(3));
    let (purpose, state) = ("restore".to_owned(), RunState::Failed);
    let granted = BeginRead { session, point, purpose: purpose.clone(), run: Some(run) };
    let restore = RestoreRow { paths: Some(vec![7; 3].into()), ..restore_row(point) };
    let start_restore =
        StartRun { run: RunRow::restore(run, None, ids::vault(), source(), restore) };
    let counts = RestoreCounts { entries: 3, ..RestoreCounts::default() };
    let (report, error) = (Some(vec![8; 3].into()), Some(refusal.clone()));
    let end_restore = EndRestore { run, state: RunState::Partial, counts, report, error };
    let delete = DeleteResource { kind: "policy".into(), name: name("docs") };
    let renew = RenewAgent {
        agent: agent(1),
        serial: 2,
        not_after: Timestamp::from_nanos(3),
        returned: true,
    };
    let inline = PackHome::Point(point, 120);
    let segment = SegmentRow {
        id: holdfast_common::SegmentId::from_bytes([3; 16]),
        vault: ids::vault(),
        rows: 10,
        length: 1000,
        hash: [9; 32],
    };
    let samples = vec![
        ("init_cluster", init().into()),
        ("put_location", PutLocation { location: location() }.into()),
        ("put_vault", PutVault { vault: vault(), kek: None }.into()),
        ("put_policy", PutPolicy { policy }.into()),
        ("delete_resource", delete.into()),
        ("create_token", create_token([6; 32]).into()),
        ("enrol_agent", enrol([6; 32], agent(1), "host-1").into()),
        ("renew_agent", renew.into()),
        ("revoke_agent", RevokeAgent { agent: agent(1) }.into()),
        ("start_run", start_run(2, agent(1)).into()),
        ("start_restore", start_restore.into()),
        ("end_restore", end_restore.into()),
        ("end_run", EndRun { run, state, error: Some(refusal), silent_since: None }.into()),
        ("cancel_run", CancelRun { run }.into()),
        ("begin_session", BeginSession { session, run, point }.into()),
        ("renew_session", RenewSession { session }.into()),
        ("end_session", EndSession { session }.into()),
        ("begin_read", BeginRead { session, point, purpose, run: None }.into()),
        ("begin_read_in_run", granted.into()),
        ("intend_packs", intend(1, &[1], PackHome::Object).into()),
        ("intend_inline", intend(1, &[1], inline).into()),
        ("store_packs", store(1, 1, None).into()),
        ("store_placed_packs", store(1, 1, Some(3)).into()),
        ("commit_point", commit(1, 3, agent(1), PointState::Complete).into()),
        ("add_segment", AddSegment { segment }.into()),
        ("note", Note { kind: NoteKind::BundleExported, subject: "all".into() }.into()),
        ("lose_pack", LosePack { vault: ids::vault(), pack: ids::pack(1) }.into()),
        ("find_pack", FindPack { vault: ids::vault(), pack: ids::pack(1) }.into()),
        ("export_bundle", export_bundle(1).into()),
        ("verify_bundle", VerifyBundle { bundle: [1; 32] }.into()),
        ("rewrap_keys", rewrap_keys(1).into()),
        ("place_points", place_points(&[3, 4]).into()),
    ];
    // In the order in which their bytes were frozen.
    let later = [checking::samples(), retaining::samples(), locking::samples()].concat();
    let later = [later, collecting::samples(), verifying::samples()].concat();
    let later = [later, operating::samples(), shredding::samples()].concat();
    let later = [later, copying::later_samples(), members::samples_of_taking()].concat();
    let later = [later, samples_of_audit()].concat();
    [samples, copying::samples(), keys::samples_behind_others(), later].concat()
}

/// Of how long the audit log is kept.
fn samples_of_audit() -> Vec<(&'static str, Command)> {
    let years = KeepAudit { kept_secs: Some(3 * 365 * 24 * 3600) };
    vec![
        ("keep_audit", years.into()),
        ("keep_audit_for_ever", KeepAudit { kept_secs: None }.into()),
        ("cut_audit", CutAudit { before: 1000 }.into()),
    ]
}
