//! All coordinators are lost: the whole ledger comes back from what they shipped, on a new member.
//!
//! ```text
//!   KEK or bundle ─→ recovery key ─→ newest snapshot + extents ─→ tables     (`unlock`, `read`)
//!        ─→ points that were never committed (`import`) ─→ a member's directory (`member`)
//! ```
//!
//! Reads the locations, writes to one directory, and claims a new epoch in the locations; the file
//! `coordinator.toml` comes last, so that a try that was cut short is simply made again. The new
//! member is alone in its cluster, which is the old one: same id, authority, agents, points and
//! audit chain. Who was a member before is removed.

mod claim;
mod import;
mod line;
mod member;
mod read;
mod source;
#[cfg(test)]
mod tests;
mod unlock;

pub(crate) use import::{Found, find};
pub(crate) use source::Sources;

use crate::cluster::init::absolute_kek;
use holdfast_common::{ClusterId, Code, Error, Name, PointId, Result, Timestamp};
use holdfast_keyring::{BundleContents, KekSource};
use holdfast_ledger::row::Position;
use holdfast_repository::layout::ObjectName;
use source::Source;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// What `holdfast cluster recover` was told.
#[derive(Debug)]
pub struct RecoverOptions {
    pub dir: PathBuf,
    pub name: Name,
    pub region: Name,
    pub listen: String,
    pub advertise: Option<String>,
    /// URLs of locations of the catalog; what one lacks another may have.
    pub from: Vec<String>,
    /// The cluster's KEK; beside a bundle one that is made if it is not there.
    pub kek: KekSource,
    pub bundle: Option<BundleContents>,
    /// For vaults in operator custody, when their keys have to be wrapped anew.
    pub operator: Option<KekSource>,
    /// Locations that are found elsewhere now.
    pub moved: Vec<(Name, String)>,
    /// Why entries that are missing shall be gone without.
    pub up_to_gap: Option<String>,
    /// A person says that this host's clock is right, whatever the ledger's newest entry says.
    pub clock_confirmed: bool,
}

/// How far it reaches and what came of it.
#[derive(Debug)]
pub struct Recovered {
    pub config: PathBuf,
    pub context: PathBuf,
    pub cluster: ClusterId,
    pub node_id: u64,
    pub reached: Position,
    pub term: u64,
    /// The entry with which the recovered side begins.
    pub base: u64,
    pub snapshot: Option<u64>,
    pub entries: u64,
    pub missing: Option<(u64, u64)>,
    pub damaged: Vec<Blemish>,
    pub removed: Vec<Name>,
    pub points: u64,
    pub imported: Vec<PointId>,
    pub left: Vec<LeftPoint>,
    /// Key objects that were made because the old KEK was not there.
    pub rewrapped: Vec<String>,
}

/// An object that could not be used, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blemish {
    pub location: String,
    pub object: String,
    pub problem: String,
}

impl Blemish {
    fn of(source: &Source, name: &ObjectName, error: &Error) -> Self {
        let (location, object) = (source.url.clone(), name.to_string());
        Self { location, object, problem: error.code.name().to_owned() }
    }
}

/// A point in a location that was not taken in, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftPoint {
    pub point: PointId,
    pub why: String,
}

/// Rebuilds the ledger in an empty directory.
pub async fn recover(options: RecoverOptions) -> Result<Recovered> {
    let dir = absolute(&options.dir)?;
    crate::cluster::making::insist_on_room(&dir)?;
    let here = absolute(Path::new("."))?;
    let options = RecoverOptions { dir, kek: absolute_kek(&options.kek)?.parse()?, ..options };
    let sources = Sources::open(&options.from, &here).await?;
    let opening = unlock::unlock(&sources, &options.kek, options.bundle.as_ref()).await?;
    member::make(options, &sources, opening, &here).await
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::io("the current directory cannot be used", &error))
}

/// What is missing has to be named, and taken by somebody with a reason.
fn insist_on_whole(missing: Option<(u64, u64)>, up_to_gap: Option<&str>) -> Result<()> {
    match (missing, up_to_gap) {
        (Some((from, to)), None) => {
            let message = format!("entries {from} to {to} of the ledger are in no location");
            Err(Error::new(Code::HistoryTorn, message))
        }
        _ => Ok(()),
    }
}

/// Leases, retention and certificates go by the recovered ledger's time, which begins here with the
/// clock of a fresh host.
fn insist_on_clock(wall: Timestamp, newest: Timestamp, confirmed: bool) -> Result<()> {
    let message = match () {
        () if confirmed => return Ok(()),
        () if newest.since(wall) > CLOCK_BEHIND => "behind the newest entry of the ledger",
        () if wall.since(newest) > CLOCK_AHEAD => "far ahead of the newest entry of the ledger",
        () => return Ok(()),
    };
    let message = format!("this host's clock says {wall}, {message}, which is of {newest}");
    Err(Error::new(Code::ClockDoubtful, message))
}

/// Hosts are never quite alike.
const CLOCK_BEHIND: Duration = Duration::from_secs(60);
/// A recovery may come late; a clock that is off by more has been wrong before.
const CLOCK_AHEAD: Duration = Duration::from_secs(24 * 3600);
