//! The commands, one file each: what may change in the ledger, and under which conditions.
//!
//! A command is a plain value. `apply` checks everything it relies on, then writes rows through
//! [`Apply`]; an error is a refusal that every member computes alike. The variant numbers below and
//! the field numbers in each file are replicated and stored for ever.

mod add_hold;
mod add_segment;
mod admit_member;
mod begin_collection;
mod begin_read;
mod begin_session;
mod bury_packs;
mod certify_member;
mod claim_epoch;
mod clear_collection;
mod close_keys;
mod commit_point;
mod condemn_packs;
mod create_token;
mod cut_audit;
mod delete_resource;
mod destroy_keys;
mod doom_packs;
mod doubt_location;
mod end_collection;
mod end_restore;
mod end_run;
mod end_session;
mod end_verify;
mod enrol_agent;
mod find_pack;
mod forget_points;
mod forget_region;
mod forget_runs;
mod import_point;
mod init_cluster;
mod intend_packs;
mod intend_repack;
mod issue_operator;
mod judge_point;
mod keep_audit;
mod leaving;
mod lose_history;
mod lose_pack;
mod losing_points;
mod move_member;
mod note;
mod note_absent;
mod note_bundle;
mod note_check;
mod note_copies;
mod note_findings;
mod note_locks;
mod note_sealed;
mod note_snapshot;
mod numbers;
mod pass_over;
mod place_member;
mod place_points;
mod put_class;
mod put_location;
mod put_policy;
mod put_vault;
mod raise_level;
mod recover_cluster;
mod release_hold;
mod remove_member;
mod renew_agent;
mod renew_operator;
mod renew_session;
mod repack_packs;
mod replace_location;
mod return_region;
mod revoke_agent;
mod revoke_operator;
mod rewrap_keys;
mod roster;
mod rotate_keys;
mod rounds;
mod seal_collection;
mod second_person;
mod see_agents;
mod spare_packs;
mod start_run;
mod store_packs;
mod take_back;
mod take_office;
mod upset;
mod use_location;

pub use add_hold::AddHold;
pub use add_segment::AddSegment;
pub use admit_member::AdmitMember;
pub use begin_collection::BeginCollection;
pub use begin_read::{BeginRead, VERIFY_SESSIONS_MAX};
pub use begin_session::BeginSession;
pub(crate) use begin_session::NEWEST_POINT;
pub use bury_packs::BuryPacks;
pub use certify_member::CertifyMember;
pub use claim_epoch::ClaimEpoch;
pub use clear_collection::ClearCollection;
pub use close_keys::CloseKeys;
pub use commit_point::CommitPoint;
pub use condemn_packs::CondemnPacks;
pub use create_token::CreateToken;
pub use cut_audit::CutAudit;
pub use delete_resource::DeleteResource;
pub use destroy_keys::{AskDestroy, DestroyKeys, NoteShredded, WithdrawDestroy};
pub use doom_packs::DoomPacks;
pub use doubt_location::DoubtLocation;
pub use end_collection::EndCollection;
pub use end_restore::EndRestore;
pub use end_run::{CancelRun, EndRun};
pub use end_session::EndSession;
pub use end_verify::EndVerify;
pub use enrol_agent::EnrolAgent;
pub use find_pack::FindPack;
pub use forget_points::{ForgetPoints, OutlivedPoints};
pub(crate) use forget_points::{insist_on_judged, no_point, parted};
pub use forget_region::ForgetRegion;
pub use forget_runs::ForgetRuns;
pub use import_point::ImportPoint;
pub use init_cluster::InitCluster;
pub use intend_packs::{IntendPacks, IntendedPack};
pub use intend_repack::IntendRepack;
pub use issue_operator::IssueOperator;
pub use judge_point::JudgePoint;
pub use keep_audit::KeepAudit;
pub use lose_history::LoseHistory;
pub use lose_pack::LosePack;
pub use move_member::MoveMember;
pub use note::{Note, NoteKind};
pub use note_absent::NoteAbsent;
pub use note_bundle::{ExportBundle, VerifyBundle};
pub use note_check::NoteCheck;
pub use note_copies::NoteCopies;
pub use note_findings::NoteFindings;
pub use note_locks::NoteLocks;
pub use note_sealed::{NoteSealed, SealedPack};
pub use note_snapshot::NoteSnapshot;
pub use pass_over::PassOver;
pub use place_member::PlaceMember;
pub use place_points::PlacePoints;
pub use put_class::PutClass;
pub use put_location::PutLocation;
pub use put_policy::PutPolicy;
pub use put_vault::PutVault;
pub use raise_level::RaiseLevel;
pub use recover_cluster::{MovedLocation, RecoverCluster};
pub use release_hold::ReleaseHold;
pub use remove_member::RemoveMember;
pub use renew_agent::RenewAgent;
pub use renew_operator::RenewOperator;
pub use renew_session::RenewSession;
pub use repack_packs::RepackPacks;
pub use replace_location::{RebuildLocation, ReplaceLocation};
pub use return_region::ReturnRegion;
pub use revoke_agent::RevokeAgent;
pub use revoke_operator::RevokeOperator;
pub use rewrap_keys::{KekChange, RewrapKeys, RewrappedVault};
pub use rotate_keys::RotateKeys;
pub use seal_collection::SealCollection;
pub use see_agents::SeeAgents;
pub use spare_packs::SparePacks;
pub use start_run::StartRun;
pub use store_packs::StorePacks;
pub use take_back::TakeBack;
pub use take_office::TakeOffice;
pub use use_location::{DisableLocation, EnableLocation};

use crate::{
    Actor,
    row::{AgentRow, AgentState, RunRow, SessionKind, SessionRow, VaultRow},
    tables::{Row, Table, Tables},
};
use holdfast_common::{
    AgentId, Code, Error, Name, Result, RunId, SessionId, Timestamp, VaultId, limits, record,
};
use minicbor::{Decode, Encode};

/// What applying a command came to, when it was not refused.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
pub enum Outcome {
    #[n(0)]
    Done,
    /// The resource was already as asked.
    #[n(1)]
    Unchanged,
    /// The log index at which it took effect.
    #[n(2)]
    At(#[n(0)] u64),
    /// First chunk numbers, in the order of the packs.
    #[n(3)]
    Bases(#[n(0)] Vec<u64>),
    /// The number that was given.
    #[n(4)]
    Number(#[n(0)] u64),
}

/// What a command sees while it is applied.
pub struct Apply<'a, 'kv> {
    pub tables: &'a mut Tables<'kv>,
    pub index: u64,
    pub time: Timestamp,
    pub actor: &'a Actor,
}

macro_rules! commands {
    ($($number:literal $type:ident $action:literal |$command:ident| $subject:expr;)*) => {
        #[derive(Clone, Debug, Decode, Encode, PartialEq)]
        pub enum Command {
            $(#[n($number)] $type(#[n(0)] $type),)*
        }

        impl Command {
            /// The numbers of all of them.
            pub const NUMBERS: &[u64] = &[$($number,)*];

            /// Its number, by which its level is known.
            pub fn number(&self) -> u64 {
                match self { $(Self::$type(_) => $number,)* }
            }

            pub(crate) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
                match self { $(Self::$type(command) => command.apply(apply),)* }
            }

            /// What the audit log calls it, and what it was done to.
            pub fn label(&self) -> (&'static str, String) {
                match self { $(Self::$type($command) => ($action, $subject.to_string()),)* }
            }
        }

        $(impl From<$type> for Command {
            fn from(command: $type) -> Self {
                Self::$type(command)
            }
        })*
    };
}

commands! {
    1 InitCluster "cluster.init" |c| c.cluster.name;
    2 PutLocation "location.put" |c| c.location.name;
    3 PutVault "vault.put" |c| c.vault.name;
    4 PutPolicy "policy.put" |c| c.policy.name;
    5 DeleteResource "resource.delete" |c| format!("{}/{}", c.kind, c.name);
    6 CreateToken "token.create" |c| holdfast_common::PackId::from_bytes(c.token.hash);
    7 EnrolAgent "agent.enrol" |c| c.name;
    8 RenewAgent "agent.renew" |c| c.agent;
    9 RevokeAgent "agent.revoke" |c| c.agent;
    10 StartRun "run.start" |c| c.run.id;
    11 EndRun "run.end" |c| c.run;
    12 CancelRun "run.cancel" |c| c.run;
    13 BeginSession "session.begin" |c| c.session;
    14 RenewSession "session.renew" |c| c.session;
    15 EndSession "session.end" |c| c.session;
    16 BeginRead "point.read" |c| c.subject();
    17 IntendPacks "packs.intend" |c| c.session;
    18 StorePacks "packs.store" |c| c.session;
    19 CommitPoint "point.commit" |c| c.point.id;
    20 AddSegment "segment.add" |c| c.segment.id;
    21 Note "note" |c| format!("{}: {}", c.action(), c.subject);
    22 LosePack "pack.lose" |c| c.pack;
    23 FindPack "pack.find" |c| c.pack;
    24 EndRestore "run.end" |c| c.run;
    25 ExportBundle "bundle.record" |c| holdfast_common::PackId::from_bytes(c.bundle);
    26 VerifyBundle "bundle.verify" |c| holdfast_common::PackId::from_bytes(c.bundle);
    27 AdmitMember "member.admit" |c| format!("{} as {}", c.name, c.role);
    28 PlaceMember "member.place" |c| format!("{} as {}", c.member, c.role);
    29 MoveMember "member.move" |c| format!("{} to {}", c.member, c.address);
    30 RemoveMember "member.remove" |c| c.member;
    31 TakeOffice "office.take" |c| format!("{} in term {}", c.member, c.term);
    32 SeeAgents "agents.see" |c| c.subject();
    33 RewrapKeys "keys.rewrap" |c| VaultId::from_bytes(c.kek);
    34 RecoverCluster "cluster.recover" |c| c.subject();
    35 ImportPoint "point.import" |c| c.point.id;
    36 NoteSnapshot "snapshot.ship" |c| c.index;
    37 LoseHistory "history.lose" |c| format!("{} at {}", c.agent, c.told.index);
    40 ClaimEpoch "epoch.claim" |c| c.subject();
    41 PlacePoints "points.place" |c| format!("{} in {}", c.points.len(), c.location);
    42 ReturnRegion "region.return" |c| c.subject();
    43 ForgetRegion "region.forget" |c| c.subject();
    50 RaiseLevel "level.raise" |c| c.level;
    51 CertifyMember "member.certify" |c| format!("{} until {}", c.member, c.not_after);
    52 NoteFindings "region.findings" |c| c.subject();
    53 DisableLocation "location.disable" |c| c.location;
    54 EnableLocation "location.enable" |c| c.location;
    55 ReplaceLocation "location.replace" |c| format!("{} by {}", c.location, c.url);
    56 NoteCopies "copies.note" |c| c.subject();
    57 PassOver "location.pass_over" |c| c.location;
    58 TakeBack "location.take_back" |c| c.location;
    59 RebuildLocation "location.rebuild" |c| c.location;
    60 NoteCheck "check.note" |c| c.subject();
    66 PutClass "class.put" |c| c.class.name;
    67 AddHold "hold.add" |c| c.subject();
    68 ReleaseHold "hold.release" |c| c.subject();
    69 ForgetPoints "points.forget" |c| c.subject();
    70 ForgetRuns "runs.forget" |c| c.subject();
    71 JudgePoint "point.judge" |c| c.subject();
    76 BeginCollection "collection.begin" |c| c.vault;
    77 CondemnPacks "packs.condemn" |c| format!("{} in round {}", c.packs.len(), c.round);
    78 SealCollection "collection.seal" |c| c.round;
    79 ClearCollection "collection.clear" |c| c.round;
    80 SparePacks "packs.spare" |c| c.packs.len();
    81 DoomPacks "packs.doom" |c| format!("{} in round {}", c.packs.len(), c.round);
    82 BuryPacks "packs.bury" |c| c.packs.len() + c.points.len();
    83 EndCollection "collection.end" |c| c.round;
    84 RotateKeys "keys.rotate" |c| format!("{} to version {}", c.vault, c.version);
    85 IntendRepack "packs.intend_repack" |c| c.pack.id;
    86 RepackPacks "packs.repack" |c| format!("{} into {}", c.sources.len(), c.pack);
    92 NoteLocks "locks.note" |c| c.subject();
    100 IssueOperator "operator.issue" |c| format!("{} until {}", c.name, c.not_after);
    101 RenewOperator "operator.renew" |c| format!("{} until {}", c.name, c.not_after);
    102 RevokeOperator "operator.revoke" |c| c.name;
    104 EndVerify "run.verified" |c| c.subject();
    110 NoteSealed "packs.note_sealed" |c| c.packs.len();
    111 CloseKeys "keys.close" |c| format!("{} version {}", c.vault, c.version);
    120 AskDestroy "keys.ask_destroy" |c| c.subject();
    121 DestroyKeys "keys.destroy" |c| c.subject();
    122 NoteShredded "keys.note_shredded" |c| c.subject();
    123 WithdrawDestroy "keys.withdraw_destroy" |c| c.id;
    125 DoubtLocation "location.doubt" |c| c.subject();
    130 KeepAudit "audit.keep" |c| c.subject();
    131 CutAudit "audit.cut" |c| c.subject();
    135 NoteAbsent "packs.note_absent" |c| c.subject();
}

impl Apply<'_, '_> {
    pub fn vault(&self, id: &VaultId) -> Result<VaultRow> {
        let found = self.tables.row::<VaultRow>(id.as_bytes())?;
        found.ok_or_else(|| Error::new(Code::VaultMissing, format!("there is no vault {id}")))
    }

    pub fn vault_named(&self, name: &Name) -> Result<VaultRow> {
        let id = self.tables.raw(Table::VaultName, name.as_str().as_bytes())?;
        match id.as_deref().map(VaultId::from_slice).transpose()? {
            Some(id) => self.vault(&id),
            None => Err(Error::new(Code::VaultMissing, format!("there is no vault `{name}`"))),
        }
    }

    /// An agent that may act now.
    pub fn agent(&self, id: &AgentId) -> Result<AgentRow> {
        match self.tables.row::<AgentRow>(id.as_bytes())? {
            Some(agent) if agent.state == AgentState::Revoked => Err(Error::new(
                Code::AgentRevoked,
                format!("the agent `{}` was revoked", agent.name),
            )),
            Some(agent) => Ok(agent),
            None => Err(Error::new(Code::AgentMissing, format!("there is no agent {id}"))),
        }
    }

    pub fn run(&self, id: &RunId) -> Result<RunRow> {
        let found = self.tables.row::<RunRow>(id.as_bytes())?;
        found.ok_or_else(|| Error::new(Code::RunMissing, format!("there is no run {id}")))
    }

    /// A write session whose lease holds and which belongs to the acting agent.
    pub fn write_session(&self, id: &SessionId) -> Result<SessionRow> {
        let session = self.session_of_actor(id)?;
        if session.kind == SessionKind::Write {
            return Ok(session);
        }
        Err(Error::new(Code::AuthDenied, format!("the session {id} writes nothing")))
    }

    /// A session whose lease holds and which belongs to whoever acts.
    pub fn session_of_actor(&self, id: &SessionId) -> Result<SessionRow> {
        let Some(session) = self.tables.row::<SessionRow>(id.as_bytes())? else {
            return Err(Error::new(Code::SessionMissing, format!("there is no session {id}")));
        };
        let is_own = match (self.actor, &session.agent) {
            (Actor::Agent(actor), agent) => agent.as_ref() == Some(actor),
            (_, agent) => agent.is_none(),
        };
        if !is_own {
            return Err(Error::new(
                Code::AuthDenied,
                format!("the session {id} belongs to somebody else"),
            ));
        }
        if let Some(agent) = &session.agent {
            self.agent(agent)?;
        }
        if session.lease_until < self.time {
            return Err(Error::new(
                Code::LeaseExpired,
                format!("the lease of session {id} ended at {}", session.lease_until),
            ));
        }
        Ok(session)
    }

    /// Ends the sessions of a run, or those of one kind: it has one of each at a time, and none
    /// when it has ended.
    pub fn end_sessions_of(&mut self, run: &RunId, kind: Option<SessionKind>) -> Result<()> {
        for (key, value) in self.tables.scan(Table::Session, &[], limits::LIST_PAGE_ROWS)? {
            let session: SessionRow = record::from_bytes(SessionRow::WHAT, &value)?;
            if session.run == Some(*run) && kind.is_none_or(|kind| session.kind == kind) {
                self.tables.remove(Table::Session, &key);
            }
        }
        Ok(())
    }

    /// Writes a run and keeps the list of open ones true.
    pub fn put_run(&mut self, run: &RunRow) -> Result<()> {
        self.tables.put(run)?;
        if run.state.is_end() {
            self.tables.remove(Table::RunOpen, run.id.as_bytes());
            return Ok(());
        }
        self.tables.put_raw(Table::RunOpen, run.id.as_bytes(), Vec::new())
    }
}

fn conflict(message: impl Into<String>) -> Error {
    Error::new(Code::ResourceConflict, message)
}
