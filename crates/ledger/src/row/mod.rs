//! The rows of the tables, one file per noun. Field numbers are stored and replicated: a new field
//! gets a new number, and a number is never used again.

pub mod agent;
pub mod bundle;
pub mod check;
pub mod cluster;
pub mod collection;
pub mod copies;
pub mod epoch;
pub mod finding;
pub mod forgotten;
pub mod hold;
pub mod key;
pub mod level;
pub mod locks;
pub mod member;
pub mod office;
pub mod operator;
pub mod pack;
pub mod point;
pub mod recovery;
pub mod resource;
pub mod restore;
pub mod retention;
pub mod run;
pub mod seat;
pub mod session;
pub mod shredding;
pub mod token;
pub mod verify;

pub use agent::{AgentDuty, AgentRow, AgentState};
pub use bundle::{BundleRow, BundledKey};
pub use check::{CheckPass, CheckRow, DamageRow};
pub use cluster::ClusterRow;
pub use collection::{
    CollectionRow, GonePointRow, GoneRow, LeavingRow, NewPointRow, Repacked, Stage,
};
pub use copies::{CopyProblem, CopyRow, CopyState};
pub use epoch::{EpochRow, Taken};
pub use finding::{Finding, FindingRow};
pub use forgotten::ForgottenRow;
pub use hold::{Held, HoldRow};
pub use key::{ClosedKeys, KekRow, KeyVersionRow};
pub use level::LevelRow;
pub use locks::{LockRow, LockTerms};
pub use member::{Duty, MemberRole, MemberRow, MemberState};
pub use office::OfficeRow;
pub use operator::OperatorRow;
pub use pack::{PackHome, PackRow, PackState, SegmentRow, TakenRun};
pub use point::{PointRow, PointState, Verified};
pub use recovery::{LostHistoryRow, Position, RecoveryRow, ShippedSnapshot};
pub use resource::{
    Beside, Checks, Custody, LocationRow, PolicyRow, Sharing, SourceSpec, VaultRow,
};
pub use restore::{RestoreCounts, RestoreOptions, RestoreRow};
pub use retention::{ClassRow, Retention};
pub use run::{RunCounts, RunKind, RunRow, RunState};
pub use seat::SeatRow;
pub use session::{SessionKind, SessionRow};
pub use shredding::{DestroyRequestRow, DestroyedKeyRow, ShreddedRow};
pub use token::{TokenKind, TokenRow};
pub use verify::{VerifyCounts, VerifyRow};

/// Implements [`crate::tables::Row`] for a type whose key is made from one expression.
macro_rules! row {
    ($type:ident, $table:ident, $what:literal, |$row:ident| $key:expr) => {
        impl crate::tables::Row for $type {
            const TABLE: crate::tables::Table = crate::tables::Table::$table;
            const WHAT: &'static str = $what;

            fn key(&self) -> Vec<u8> {
                let $row = self;
                $key.to_vec()
            }
        }
    };
}
pub(crate) use row;
