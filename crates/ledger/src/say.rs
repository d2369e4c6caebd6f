//! Who may propose what, where the ledger itself cannot tell: a witness says little, and only of
//! itself.
//!
//! Members with data propose for whoever called them and was admitted, so they may say everything.
//! A witness serves nobody and holds no key; what comes from one beyond this table comes from
//! whoever took its certificate. When it leads, it says what a leader says to itself.

use crate::Command;

impl Command {
    /// Whether a witness with this number may propose it to whoever leads.
    #[expect(clippy::too_many_lines, reason = "a table: every command has a line")]
    pub fn is_for_witness_to_say(&self, member: u64) -> bool {
        match self {
            Self::MoveMember(moved) => moved.member == member,
            Self::AddHold(_)
            | Self::AddSegment(_)
            | Self::AdmitMember(_)
            | Self::AskDestroy(_)
            | Self::BeginCollection(_)
            | Self::BeginRead(_)
            | Self::BeginSession(_)
            | Self::BuryPacks(_)
            | Self::CancelRun(_)
            | Self::CertifyMember(_)
            | Self::ClaimEpoch(_)
            | Self::ClearCollection(_)
            | Self::CloseKeys(_)
            | Self::CommitPoint(_)
            | Self::CondemnPacks(_)
            | Self::CreateToken(_)
            | Self::DeleteResource(_)
            | Self::DestroyKeys(_)
            | Self::DisableLocation(_)
            | Self::DoomPacks(_)
            | Self::DoubtLocation(_)
            | Self::EnableLocation(_)
            | Self::EndCollection(_)
            | Self::EndRestore(_)
            | Self::EndRun(_)
            | Self::EndSession(_)
            | Self::EndVerify(_)
            | Self::EnrolAgent(_)
            | Self::ExportBundle(_)
            | Self::FindPack(_)
            | Self::ForgetPoints(_)
            | Self::ForgetRegion(_)
            | Self::ForgetRuns(_)
            | Self::ImportPoint(_)
            | Self::InitCluster(_)
            | Self::IntendPacks(_)
            | Self::IntendRepack(_)
            | Self::IssueOperator(_)
            | Self::JudgePoint(_)
            | Self::LoseHistory(_)
            | Self::LosePack(_)
            | Self::Note(_)
            | Self::NoteAbsent(_)
            | Self::NoteCheck(_)
            | Self::NoteCopies(_)
            | Self::NoteFindings(_)
            | Self::NoteLocks(_)
            | Self::NoteShredded(_)
            | Self::NoteSealed(_)
            | Self::NoteSnapshot(_)
            | Self::PassOver(_)
            | Self::PlaceMember(_)
            | Self::PlacePoints(_)
            | Self::PutClass(_)
            | Self::PutLocation(_)
            | Self::PutPolicy(_)
            | Self::PutVault(_)
            | Self::RaiseLevel(_)
            | Self::RebuildLocation(_)
            | Self::RecoverCluster(_)
            | Self::ReleaseHold(_)
            | Self::RemoveMember(_)
            | Self::RenewAgent(_)
            | Self::RenewOperator(_)
            | Self::RenewSession(_)
            | Self::RepackPacks(_)
            | Self::ReplaceLocation(_)
            | Self::ReturnRegion(_)
            | Self::RevokeAgent(_)
            | Self::RevokeOperator(_)
            | Self::RewrapKeys(_)
            | Self::RotateKeys(_)
            | Self::SealCollection(_)
            | Self::SeeAgents(_)
            | Self::SparePacks(_)
            | Self::StartRun(_)
            | Self::StorePacks(_)
            | Self::TakeBack(_)
            | Self::TakeOffice(_)
            | Self::VerifyBundle(_)
            | Self::WithdrawDestroy(_) => false,
        }
    }
}
