//! What a mount needs of the rest of the house: a list of points, and points that were opened.
//!
//! Whoever mounts implements both, over a cluster or a location. All of it blocks, is called from
//! several threads at once, and is believed: signatures, keys and ids are checked behind it.

use holdfast_common::{Error, PointId, Result, Timestamp};
use holdfast_seal::manifest::{ManifestReader, entry::ChunkRef};
use std::sync::Arc;

/// Where points come from.
pub trait Library: Send + Sync {
    /// The points that are there now.
    fn list(&self) -> Result<Listing>;

    /// Opens a point for reading, and holds it until what is given is dropped.
    fn open(&self, point: &PointId) -> Result<Arc<dyn Point>>;

    /// Tells people what could not be read. Asked once an hour for each thing.
    fn tell(&self, what: &Unreadable);

    /// Tells people that more cannot be read than they will hear of for a while.
    fn fall_silent(&self);
}

/// A point, open for reading.
pub trait Point: Send + Sync {
    fn manifest(&self) -> ManifestReader<'_>;

    /// Opens chunks, each authentic and what its id says. `each` hears of every one of them once,
    /// unless the whole fails.
    fn open(&self, chunks: &[ChunkRef], each: &mut dyn FnMut(usize, Result<Vec<u8>>))
    -> Result<()>;

    /// Says that the point is still being read.
    fn keep(&self) -> Result<()>;
}

/// The points to show, newest first.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub points: Vec<Listed>,
    /// What `latest` is, where that is not ambiguous.
    pub latest: Option<PointId>,
}

/// A point as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    pub point: PointId,
    pub time: Timestamp,
    /// The policy that it was made by, on its way to be the newest of it: none of what a restore
    /// saved, or was asked for by paths.
    pub policy: Option<String>,
}

/// Something that could not be read, and why.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// None of the list of points.
    pub point: Option<PointId>,
    /// The path in the point.
    pub path: Vec<u8>,
    pub error: Error,
}
