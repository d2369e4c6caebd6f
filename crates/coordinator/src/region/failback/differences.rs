//! What a superseded side decided alone and this side did not: listed, so that somebody decides.
//!
//! Points are taken in by themselves, and what belongs to a run ends with it. All else that an
//! operator or a newcomer brought about there is compared with what is here: what is the same is
//! passed over, what is not is named with its time and its author. Nothing of it is carried over by
//! itself, since this side may have decided otherwise for a reason.

use super::Report;
use crate::house::House;
use holdfast_common::{Result, Timestamp};
use holdfast_ledger::{
    Actor, Command, Envelope, Query,
    row::{AgentState, LocationRow, PolicyRow, VaultRow},
};
use std::collections::BTreeMap;

/// One thing that the other side decided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    pub(crate) index: u64,
    pub(crate) time: Timestamp,
    pub(crate) actor: Actor,
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    /// A resource as it was there in the end.
    pub(crate) theirs: Option<Theirs>,
}

/// A resource of the other side.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Theirs {
    Location(LocationRow),
    Vault(VaultRow),
    Policy(PolicyRow),
}

pub(super) fn judge(house: &House, remnant: &[(u64, Envelope)], report: &mut Report) -> Result<()> {
    report.differences = differences(&house.ledger.query(), remnant)?;
    Ok(())
}

/// The last word of the other side on each subject, where it is not what is here.
fn differences(here: &Query<'_>, remnant: &[(u64, Envelope)]) -> Result<Vec<Difference>> {
    let mut last: BTreeMap<(&'static str, String), Difference> = BTreeMap::new();
    for (index, envelope) in remnant {
        let (action, subject) = envelope.command.label();
        let Some(topic) = topic(&envelope.command) else { continue };
        let key = (topic, subject.clone());
        if is_here(here, &envelope.command)? {
            // It came back to what is here.
            last.remove(&key);
            continue;
        }
        let difference = Difference {
            index: *index,
            time: envelope.time,
            actor: envelope.actor.clone(),
            action,
            subject,
            theirs: theirs(&envelope.command),
        };
        last.insert(key, difference);
    }
    let mut found: Vec<Difference> = last.into_values().collect();
    found.sort_by_key(|difference| difference.index);
    Ok(found)
}

/// What a command is a word on; nothing for what runs do, and for what each side does for itself.
fn topic(command: &Command) -> Option<&'static str> {
    match command {
        Command::PutLocation(_) => Some("location"),
        Command::PutVault(_) => Some("vault"),
        Command::PutPolicy(_) => Some("policy"),
        Command::DeleteResource(_) => Some("resource"),
        Command::CreateToken(_) => Some("token"),
        Command::EnrolAgent(_) => Some("agent"),
        Command::RevokeAgent(_) => Some("revocation"),
        Command::ExportBundle(_) | Command::VerifyBundle(_) => Some("bundle"),
        Command::AdmitMember(_) | Command::PlaceMember(_) | Command::RemoveMember(_) => {
            Some("member")
        }
        Command::RewrapKeys(_) => Some("keys"),
        Command::LosePack(_) | Command::FindPack(_) => Some("pack"),
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
        | Command::ImportPoint(_)
        | Command::PlacePoints(_)
        // Of each side for itself, or carried on by whoever it is about.
        | Command::InitCluster(_)
        | Command::RenewAgent(_)
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
        | Command::CertifyMember(_) => None,
    }
}

/// Whether this side has it as the command wanted it.
fn is_here(here: &Query<'_>, command: &Command) -> Result<bool> {
    Ok(match command {
        Command::PutLocation(put) => {
            let ours: Option<LocationRow> = here.row(put.location.name.as_str().as_bytes())?;
            ours.is_some_and(|ours| LocationRow { revision: 0, ..ours } == unrevised(&put.location))
        }
        Command::PutVault(put) => here.vault_named(&put.vault.name).is_ok_and(|ours| {
            let same = (&ours.sharing, &ours.custody) == (&put.vault.sharing, &put.vault.custody);
            same && ours.id == put.vault.id
        }),
        Command::PutPolicy(put) => here.policy(&put.policy.name).is_ok_and(|ours| {
            PolicyRow { revision: 0, ..ours } == PolicyRow { revision: 0, ..put.policy.clone() }
        }),
        Command::DeleteResource(delete) => match delete.kind.as_str() {
            "policy" => here.policy(&delete.name).is_err(),
            "vault" => here.vault_named(&delete.name).is_err(),
            _ => here.row::<LocationRow>(delete.name.as_str().as_bytes())?.is_none(),
        },
        Command::EnrolAgent(enrol) => here.agent(&enrol.agent).is_ok(),
        Command::RevokeAgent(revoke) => {
            here.agent(&revoke.agent).is_ok_and(|ours| ours.state == AgentState::Revoked)
        }
        _ => false,
    })
}

fn unrevised(location: &LocationRow) -> LocationRow {
    LocationRow { revision: 0, ..location.clone() }
}

fn theirs(command: &Command) -> Option<Theirs> {
    match command {
        Command::PutLocation(put) => Some(Theirs::Location(put.location.clone())),
        Command::PutVault(put) => Some(Theirs::Vault(put.vault.clone())),
        Command::PutPolicy(put) => Some(Theirs::Policy(put.policy.clone())),
        _ => None,
    }
}
