//! What a superseded side decided alone and this side did not: listed, so that somebody decides.
//!
//! Points are taken in by themselves, holds are taken over, and what belongs to a run ends with it.
//! All else that an operator or a newcomer brought about there is compared with what is here: what
//! is the same is passed over, what is not is named with its time and its author. Nothing else is
//! carried over by itself, since this side may have decided otherwise for a reason.

use super::{
    Report,
    alike::{location, unrevised, unstamped},
    same_vault::is_same_vault,
};
use crate::house::House;
use holdfast_common::Result;
use holdfast_ledger::{
    Command, Envelope, Query,
    row::{
        AgentState, ClassRow, HoldRow,
        finding::{Decision, Theirs},
    },
};
use std::collections::BTreeMap;

pub(super) fn judge(house: &House, remnant: &[(u64, Envelope)], report: &mut Report) -> Result<()> {
    report.differences = differences(&house.ledger.query(), remnant)?;
    Ok(())
}

/// The last word of the other side on each subject, where it is not what is here.
fn differences(here: &Query<'_>, remnant: &[(u64, Envelope)]) -> Result<Vec<Decision>> {
    let mut last: BTreeMap<(&'static str, String), Decision> = BTreeMap::new();
    for (index, envelope) in remnant {
        let (action, subject) = envelope.command.label();
        let Some(topic) = topic(&envelope.command) else { continue };
        let key = match &envelope.command {
            Command::DeleteResource(delete) => (topic, delete.name.to_string()),
            Command::ReplaceLocation(replace) => (topic, replace.location.to_string()),
            Command::JudgePoint(judge) => (topic, judge.point.to_string()),
            Command::AddHold(add) => (topic, add.hold.id.to_string()),
            Command::ReleaseHold(release) => (topic, release.hold.to_string()),
            Command::IssueOperator(issue) => (topic, issue.name.to_string()),
            Command::KeepAudit(_) => (topic, String::new()),
            _ => (topic, subject.clone()),
        };
        if is_here(here, &envelope.command)? {
            // It came back to what is here.
            last.remove(&key);
            continue;
        }
        let difference = Decision {
            index: *index,
            time: envelope.time,
            actor: envelope.actor.clone(),
            action: action.to_owned(),
            subject,
            theirs: theirs(&envelope.command),
        };
        last.insert(key, difference);
    }
    let mut found: Vec<Decision> = last.into_values().collect();
    found.sort_by_key(|difference| difference.index);
    Ok(found)
}

/// What a command is a word on; nothing for what runs do, and for what each side does for itself.
#[expect(clippy::too_many_lines, reason = "a table: every command has a line")]
fn topic(command: &Command) -> Option<&'static str> {
    match command {
        Command::PutLocation(_) | Command::RebuildLocation(_) | Command::ReplaceLocation(_) => {
            Some("location")
        }
        Command::DisableLocation(_) | Command::EnableLocation(_) => Some("use"),
        Command::PutVault(_) => Some("vault"),
        Command::PutPolicy(_) => Some("policy"),
        Command::PutClass(_) => Some("class"),
        Command::AddHold(_) | Command::ReleaseHold(_) => Some("hold"),
        // The same as what it puts an end to: the later of both counts.
        Command::DeleteResource(delete) => Some(match delete.kind.as_str() {
            "class" => "class",
            "policy" => "policy",
            "location" => "location",
            _ => "vault",
        }),
        Command::CreateToken(_) => Some("token"),
        Command::EnrolAgent(_) => Some("agent"),
        Command::RevokeAgent(_) => Some("revocation"),
        Command::IssueOperator(_) | Command::RevokeOperator(_) => Some("operator"),
        Command::ExportBundle(_) | Command::VerifyBundle(_) => Some("bundle"),
        Command::AdmitMember(_) | Command::PlaceMember(_) | Command::RemoveMember(_) => {
            Some("member")
        }
        Command::CloseKeys(_)
        | Command::DestroyKeys(_)
        | Command::RewrapKeys(_)
        | Command::RotateKeys(_) => Some("keys"),
        Command::LosePack(_) | Command::FindPack(_) => Some("pack"),
        Command::JudgePoint(_) => Some("point"),
        Command::KeepAudit(_) => Some("audit"),
        // What they stored is found in their locations, and points are taken in.
        Command::StartRun(_)
        | Command::EndRun(_)
        | Command::CancelRun(_)
        | Command::BeginSession(_)
        | Command::RenewSession(_)
        | Command::EndSession(_)
        | Command::BeginRead(_)
        | Command::IntendPacks(_)
        | Command::StorePacks(_)
        | Command::CommitPoint(_)
        | Command::AddSegment(_)
        | Command::EndRestore(_)
        | Command::EndVerify(_)
        | Command::ImportPoint(_)
        | Command::PlacePoints(_)
        // What one side forgot the other one has still, and decides for itself.
        | Command::ForgetPoints(_)
        | Command::ForgetRuns(_)
        | Command::CutAudit(_)
        // Both people ask again where they agree.
        | Command::AskDestroy(_)
        | Command::WithdrawDestroy(_)
        | Command::NoteShredded(_)
        // Of each side for itself, or carried on by whoever it is about.
        | Command::InitCluster(_)
        | Command::RenewAgent(_)
        | Command::RenewOperator(_)
        | Command::Note(_)
        | Command::MoveMember(_)
        | Command::TakeOffice(_)
        | Command::SeeAgents(_)
        | Command::RecoverCluster(_)
        | Command::NoteSnapshot(_)
        | Command::LoseHistory(_)
        | Command::ClaimEpoch(_)
        | Command::ReturnRegion(_)
        | Command::ForgetRegion(_)
        | Command::RaiseLevel(_)
        | Command::NoteFindings(_)
        | Command::NoteCheck(_)
        | Command::NoteAbsent(_)
        | Command::NoteCopies(_)
        | Command::NoteLocks(_)
        | Command::NoteSealed(_)
        | Command::PassOver(_)
        | Command::TakeBack(_)
        | Command::CertifyMember(_)
        | Command::BeginCollection(_)
        | Command::CondemnPacks(_)
        | Command::SealCollection(_)
        | Command::ClearCollection(_)
        | Command::SparePacks(_)
        | Command::IntendRepack(_)
        | Command::RepackPacks(_)
        | Command::DoomPacks(_)
        | Command::DoubtLocation(_)
        | Command::BuryPacks(_)
        | Command::EndCollection(_) => None,
    }
}

/// Whether this side has it as the command wanted it.
fn is_here(here: &Query<'_>, command: &Command) -> Result<bool> {
    Ok(match command {
        Command::PutLocation(put) => {
            let ours = location(here, &put.location.name)?;
            ours.is_some_and(|ours| unrevised(&ours) == unrevised(&put.location))
        }
        Command::ReplaceLocation(replace) => {
            location(here, &replace.location)?.is_some_and(|ours| ours.url == replace.url)
        }
        Command::DisableLocation(disable) => {
            location(here, &disable.location)?.is_some_and(|ours| ours.disabled.is_some())
        }
        Command::EnableLocation(enable) => {
            location(here, &enable.location)?.is_some_and(|ours| ours.disabled.is_none())
        }
        Command::PutVault(put) => match here.vault_named(&put.vault.name) {
            Ok(ours) => is_same_vault(here, &ours, &put.vault)?,
            Err(_) => false,
        },
        Command::PutPolicy(put) => here
            .policy(&put.policy.name)
            .is_ok_and(|ours| unstamped(ours) == unstamped(put.policy.clone())),
        Command::PutClass(put) => {
            let ours: Option<ClassRow> = here.row(put.class.name.as_str().as_bytes())?;
            ours.is_some_and(|ours| ours.retention == put.class.retention)
        }
        Command::AddHold(add) => here.row::<HoldRow>(add.hold.id.as_bytes())?.is_some(),
        Command::ReleaseHold(release) => {
            let ours: Option<HoldRow> = here.row(release.hold.as_bytes())?;
            ours.is_none_or(|ours| ours.released.is_some())
        }
        Command::DeleteResource(delete) => match delete.kind.as_str() {
            "class" => here.row::<ClassRow>(delete.name.as_str().as_bytes())?.is_none(),
            "policy" => here.policy(&delete.name).is_err(),
            "vault" => here.vault_named(&delete.name).is_err(),
            _ => location(here, &delete.name)?.is_none(),
        },
        Command::JudgePoint(judge) => {
            here.point(&judge.point).is_ok_and(|ours| ours.lost.is_none() == judge.is_whole)
        }
        Command::KeepAudit(keep) => here.audit_rule()?.kept_secs == keep.kept_secs,
        Command::CloseKeys(close) => {
            here.closed_keys(&close.vault)?.versions.contains(&close.version)
        }
        Command::RotateKeys(rotate) => here.vault(&rotate.vault).is_ok_and(|ours| {
            (ours.key_version, &ours.key_object) == (rotate.version, &rotate.key_object)
        }),
        Command::DestroyKeys(destroy) => {
            here.destroyed_keys(&destroy.vault)?.iter().any(|ours| ours.version == destroy.version)
        }
        Command::EnrolAgent(enrol) => here.agent(&enrol.agent).is_ok(),
        Command::IssueOperator(issue) => here
            .operator(&issue.name)?
            .is_some_and(|ours| !ours.revoked && ours.public_key == Some(issue.public_key)),
        // Who is unknown here may do nothing here.
        Command::RevokeOperator(revoke) => {
            here.operator(&revoke.name)?.is_none_or(|ours| ours.revoked)
        }
        Command::RevokeAgent(revoke) => {
            here.agent(&revoke.agent).is_ok_and(|ours| ours.state == AgentState::Revoked)
        }
        _ => false,
    })
}

fn theirs(command: &Command) -> Option<Theirs> {
    match command {
        Command::PutLocation(put) => Some(Theirs::Location(put.location.clone())),
        Command::PutVault(put) => Some(Theirs::Vault(put.vault.clone())),
        Command::PutPolicy(put) => Some(Theirs::Policy(put.policy.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{AgentId, LockClass, Name, PackId, RunId, Timestamp, VaultId, record};
    use holdfast_ledger::{
        Actor, Batch, MemoryKv, Row, StateKv, Table,
        command::*,
        envelope::ENVELOPE_VERSION,
        row::{epoch::Suspended, *},
        tables::full_key,
    };

    const VAULT: VaultId = VaultId::from_bytes([1; 16]);
    const AGENT: AgentId = AgentId::from_bytes([2; 16]);
    const HASH: [u8; 32] = [3; 32];

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn location(called: &str, region: &str) -> LocationRow {
        let url = format!("local:/srv/{called}");
        LocationRow { name: name(called), url, region: name(region), revision: 4, disabled: None }
    }

    fn vault(required: &[&str]) -> VaultRow {
        VaultRow {
            id: VAULT,
            name: name("main"),
            sharing: Sharing::Agent,
            custody: Custody::Coordinator,
            required: required.iter().map(|text| name(text)).collect(),
            key_version: 1,
            key_object: Vec::new().into(),
            created: Timestamp::ZERO,
            revision: 1,
            next_number: 0,
            packs: 0,
            grown: None,
            beside: None,
            lock: None,
            checks: None,
            losses: None,
        }
    }

    fn policy(path: &str) -> PolicyRow {
        let paths = vec![path.as_bytes().to_vec().into()];
        let (exclude, include) = (Vec::new(), None);
        PolicyRow {
            name: name("docs"),
            agent: name("host"),
            vault: name("main"),
            source: SourceSpec::Files { paths, exclude, one_file_system: false, include },
            required: Vec::new(),
            level: 3,
            bytes_per_second_max: 0,
            revision: 7,
            retention: None,
            class: None,
            retained_since: None,
        }
    }

    fn agent(state: AgentState) -> AgentRow {
        AgentRow {
            id: AGENT,
            name: name("host"),
            labels: BTreeMap::new(),
            identity_public: HASH,
            state,
            serial: 1,
            not_after: Timestamp::ZERO,
            enrolled: Timestamp::ZERO,
            returns: 0,
            duty: None,
        }
    }

    fn enrol(id: AgentId) -> Command {
        let (token_hash, identity_public, name) = (HASH, HASH, name("host"));
        EnrolAgent {
            token_hash,
            agent: id,
            name,
            identity_public,
            serial: 1,
            not_after: Timestamp::ZERO,
        }
        .into()
    }

    fn issue(called: &str) -> Command {
        IssueOperator {
            name: name(called),
            role: holdfast_ledger::Role::Admin,
            serial: 1,
            not_after: Timestamp::ZERO,
            public_key: HASH,
            ttl_secs: 1,
        }
        .into()
    }

    fn destroy() -> Command {
        let (id, points) = (holdfast_common::RequestId::from_bytes([6; 16]), Vec::new());
        let (remains, successors) = (vec![1].into(), Vec::new());
        DestroyKeys { id, vault: VAULT, version: 1, points, remains, successors, losses: 0 }.into()
    }

    fn delete(kind: &str, called: &str) -> Command {
        DeleteResource { kind: kind.to_owned(), name: name(called) }.into()
    }

    fn put_policy(path: &str) -> Command {
        PutPolicy { policy: PolicyRow { revision: 99, ..policy(path) } }.into()
    }

    fn put_vault(vault: VaultRow) -> Command {
        PutVault { vault: VaultRow { revision: 9, next_number: 77, ..vault }, kek: None }.into()
    }

    fn put_location(location: LocationRow) -> Command {
        PutLocation { location: LocationRow { revision: 9, ..location } }.into()
    }

    fn replace(called: &str, url: &str) -> Command {
        ReplaceLocation { location: name(called), url: url.to_owned(), left_is_gone: None }.into()
    }

    fn disable(called: &str) -> Command {
        DisableLocation { location: name(called) }.into()
    }

    fn token(number: u8) -> Command {
        let (labels, expires) = (BTreeMap::new(), Timestamp::ZERO);
        let token = TokenRow {
            hash: [number; 32],
            labels,
            expires,
            used_by: None,
            kind: None,
            used_by_member: None,
            duty: None,
            made_by: None,
        };
        CreateToken { token }.into()
    }

    struct Here(MemoryKv);

    impl Here {
        /// A side that leads alone: `near` is suspended, and a policy and an agent are known.
        fn new() -> Self {
            let here = Self(MemoryKv::default());
            here.know(&location("near", "eu"));
            here.know(&location("far", "dr"));
            here.know(&vault(&["far"]));
            here.write(full_key(Table::VaultName, b"main"), VAULT.as_bytes().to_vec());
            here.know(&policy("/srv"));
            here.know(&agent(AgentState::Enrolled));
            here.know(&OperatorRow::founding(name("ada"), 1, Timestamp::ZERO));
            here.know(&EpochRow {
                number: 2,
                regions: vec![name("dr")],
                member: 4,
                base: 9,
                since: Timestamp::ZERO,
                operator: "admin".to_owned(),
                reason: None,
                suspended: vec![
                    Suspended { vault: VAULT, locations: vec![name("near")], alone: None },
                    Suspended {
                        vault: VaultId::from_bytes([9; 16]),
                        locations: vec![name("x")],
                        alone: None,
                    },
                ],
                taken: None,
                gap: None,
            });
            here
        }

        fn know<R: Row>(&self, row: &R) {
            self.write(full_key(R::TABLE, &row.key()), record::to_bytes(row));
        }

        fn write(&self, key: Vec<u8>, value: Vec<u8>) {
            self.0.write(Batch { changes: [(key, Some(value))].into() }).unwrap();
        }

        /// What is told of these commands of the other side; they are entries from 10 on.
        fn judge(&self, commands: Vec<Command>) -> Vec<Decision> {
            let envelope = |command| Envelope {
                version: ENVELOPE_VERSION,
                key: [0; 16],
                actor: Actor::Operator(name("admin")),
                time: Timestamp::from_nanos(5),
                epoch: 1,
                traceparent: None,
                command,
            };
            let remnant: Vec<(u64, Envelope)> =
                (10..).zip(commands.into_iter().map(envelope)).collect();
            differences(&Query::over(&self.0), &remnant).unwrap()
        }

        fn labels(&self, commands: Vec<Command>) -> Vec<(u64, &'static str, String)> {
            let told = self.judge(commands).into_iter();
            told.map(|told| (told.index, &*told.action.leak(), told.subject)).collect()
        }
    }

    #[test]
    fn what_is_here_just_the_same_is_passed_over() {
        let here = Here::new();
        let same = vec![
            put_location(location("far", "dr")),
            put_vault(vault(&["near", "far"])),
            put_policy("/srv"),
            delete("policy", "gone"),
            delete("location", "gone"),
            enrol(AGENT),
        ];
        assert_eq!(here.judge(same), []);
        here.know(&agent(AgentState::Revoked));
        assert_eq!(here.judge(vec![RevokeAgent { agent: AGENT }.into()]), []);
        let ada = OperatorRow::founding(name("ada"), 1, Timestamp::ZERO);
        here.know(&OperatorRow { public_key: Some(HASH), ..ada.clone() });
        assert_eq!(here.judge(vec![issue("ada")]), []);
        here.know(&OperatorRow { revoked: true, ..ada });
        let gone = ["ada", "never"].map(|text| RevokeOperator { name: name(text) }.into());
        assert_eq!(here.judge(gone.to_vec()), []);
        assert_eq!(here.judge(vec![issue("ben"), gone[1].clone()]).len(), 1);
        let issued_and_revoked = RevokeOperator { name: name("ben") }.into();
        assert_eq!(here.judge(vec![issue("ben"), issued_and_revoked]), []);
    }

    #[test]
    fn each_kind_of_decision_that_is_not_here_is_told() {
        let member = |role| PlaceMember { member: 3, role };
        let pack = PackId::from_bytes([5; 32]);
        let decided: Vec<(Command, &str, &str)> = vec![
            (put_location(location("third", "eu")), "location.put", "third"),
            (put_location(location("far", "eu")), "location.put", "far"),
            (put_policy("/home"), "policy.put", "docs"),
            (replace("far", "local:/mnt/far"), "location.replace", "far by local:/mnt/far"),
            (disable("far"), "location.disable", "far"),
            (delete("policy", "docs"), "resource.delete", "policy/docs"),
            (delete("location", "near"), "resource.delete", "location/near"),
            (delete("vault", "main"), "resource.delete", "vault/main"),
            (token(6), "token.create", &"06".repeat(32)),
            (enrol(AgentId::from_bytes([8; 16])), "agent.enrol", "host"),
            (RevokeAgent { agent: AGENT }.into(), "agent.revoke", &"02".repeat(16)),
            (issue("ben"), "operator.issue", "ben until 1970-01-01T00:00:00.000000000Z"),
            (RevokeOperator { name: name("ada") }.into(), "operator.revoke", "ada"),
            (member(MemberRole::Learner).into(), "member.place", "3 as learner"),
            (RemoveMember { member: 3 }.into(), "member.remove", "3"),
            (VerifyBundle { bundle: HASH }.into(), "bundle.verify", &"03".repeat(32)),
            (LosePack { vault: VAULT, pack }.into(), "pack.lose", &"05".repeat(32)),
            (destroy(), "keys.destroy", &*destroy().label().1),
        ]
        .into_iter()
        .map(|(command, action, subject)| (command, action, &*subject.to_owned().leak()))
        .collect();
        for (command, action, subject) in decided {
            let told = Here::new().judge(vec![command.clone()]);
            assert_eq!(told.len(), 1, "{action} {subject}");
            let first = (&*told[0].action, &*told[0].subject, told[0].index);
            assert_eq!(first, (action, subject, 10));
            assert_eq!(told[0].actor, Actor::Operator(name("admin")));
            assert_eq!(told[0].time, Timestamp::from_nanos(5));
            assert_eq!(
                told[0].theirs.is_some(),
                action.ends_with("y.put") || action.ends_with("n.put")
            );
        }
    }

    #[test]
    fn a_vault_that_requires_less_or_is_another_one_is_told_as_it_was_there() {
        let here = Here::new();
        let lock = LockTerms { class: LockClass::Governance, secs: 9 };
        let checks = Checks { storage_bytes_per_day: Some(0), ..Checks::default() };
        let settled = Beside { wait_secs: Some(60), ..Beside::default() };
        let others = [
            vault(&["near"]),
            vault(&["far"]),
            VaultRow { id: VaultId::from_bytes([4; 16]), ..vault(&["near", "far"]) },
            VaultRow { sharing: Sharing::Vault, ..vault(&["near", "far"]) },
            VaultRow { custody: Custody::Operator, ..vault(&["near", "far"]) },
            VaultRow { lock: Some(lock), ..vault(&["near", "far"]) },
            VaultRow { beside: Some(settled), ..vault(&["near", "far"]) },
            VaultRow { checks: Some(checks), ..vault(&["near", "far"]) },
            VaultRow { name: name("new"), ..vault(&["near", "far"]) },
        ];
        for other in others {
            let told = here.judge(vec![put_vault(other.clone())]);
            let Some(Theirs::Vault(theirs)) = &told[0].theirs else { panic!("{told:?}") };
            assert_eq!((&theirs.name, &theirs.required), (&other.name, &other.required));
        }
        let order = put_vault(vault(&["far", "near"]));
        assert_eq!(here.judge(vec![order]), [], "in whatever order");
    }

    #[test]
    fn the_last_word_on_a_subject_counts_and_a_deletion_is_one() {
        let here = Here::new();
        let changed = vec![put_policy("/home"), put_policy("/mnt")];
        let told = here.judge(changed.clone());
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].index, &told[0].theirs),
            (11, &Some(Theirs::Policy(PolicyRow { revision: 99, ..policy("/mnt") })))
        );
        let and_back = [changed, vec![put_policy("/srv")]].concat();
        assert_eq!(here.judge(and_back), [], "it came back to what is here");
        let there_and_back = vec![
            replace("far", "local:/mnt/far"),
            replace("far", "local:/srv/far"),
            disable("far"),
        ];
        assert_eq!(here.labels(there_and_back), [(12, "location.disable", "far".to_owned())]);
        let deleted = vec![put_policy("/home"), delete("policy", "docs")];
        assert_eq!(here.labels(deleted), [(11, "resource.delete", "policy/docs".to_owned())]);
        let made_again = vec![delete("policy", "docs"), put_policy("/srv")];
        assert_eq!(here.judge(made_again), [], "deleted, and made again as it is here");
        let new = put_location(location("third", "eu"));
        let made_and_deleted = vec![new, delete("location", "third")];
        assert_eq!(here.judge(made_and_deleted), [], "made there, and deleted there");
        // One name in two kinds is two subjects.
        let kinds = vec![put_policy("/home"), delete("location", "docs")];
        assert_eq!(here.labels(kinds), [(10, "policy.put", "docs".to_owned())]);
    }

    #[test]
    fn they_are_told_in_the_order_in_which_they_were_decided_and_none_is_dropped() {
        let here = Here::new();
        let mut decided: Vec<Command> = (10..200).map(token).collect();
        decided.insert(50, put_policy("/home"));
        decided.insert(100, put_location(location("a", "eu")));
        let told = here.judge(decided.clone());
        let indexes: Vec<u64> = told.iter().map(|told| told.index).collect();
        assert_eq!(indexes, (10..10 + decided.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn what_runs_do_and_what_each_side_does_for_itself_is_not_told() {
        let here = Here::new();
        let run = RunId::from_bytes([6; 16]);
        let own: Vec<Command> = vec![
            CancelRun { run }.into(),
            TakeOffice { member: 1, term: 3 }.into(),
            MoveMember { member: 1, address: "127.0.0.1:1".to_owned() }.into(),
            RaiseLevel { level: 2, members: vec![1] }.into(),
            ReturnRegion { epoch: 2, region: name("eu"), filled: false }.into(),
            ForgetRegion { epoch: 2, region: name("eu"), reason: None }.into(),
        ];
        assert_eq!(here.judge(own), []);
    }
}
