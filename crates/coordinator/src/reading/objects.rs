//! A point's own objects, read back and compared with the hashes that the ledger has.
//!
//! Any location may give them. What is wrong or missing in one is damage only when every other one
//! has answered too: one that is away may have the object whole.

use super::chunks::worse;
use crate::{
    house::{House, Vault},
    places::Place,
    region::awaited,
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_ledger::row::PointRow;
use holdfast_repository::{PointObject, Reach, layout};
use holdfast_runtime::tasks::Tasks;
use holdfast_storage::ObjectName;

impl House {
    /// The reach of a point, as it was committed.
    pub(crate) async fn read_reach(&self, vault: &Vault, point: &PointRow) -> Result<Reach> {
        Ok(self.read_sized_reach(vault, point).await?.0)
    }

    /// And how many bytes that are.
    pub(crate) async fn read_sized_reach(
        &self,
        vault: &Vault,
        point: &PointRow,
    ) -> Result<(Reach, u64)> {
        let name = layout::ObjectName::reach(&point.id);
        let bytes =
            self.read_checked(vault, name.as_str(), limits::REACH_BYTES_MAX, &point.reach_hash);
        let bytes = bytes.await.map_err(|error| self.out_of_reach(vault, point, error))?;
        let (vault, point) = (vault.row.id, point.id);
        let length = bytes.len() as u64;
        let parse = move || Ok((Reach::from_object(&bytes, &vault, &point)?, length));
        self.tasks.run_blocking("reach", parse).await
    }

    pub(super) async fn read_point(&self, vault: &Vault, point: &PointRow) -> Result<PointObject> {
        let name = layout::ObjectName::point(&point.id);
        let bound = limits::POINT_OBJECT_BYTES_MAX;
        let bytes = self.read_checked(vault, name.as_str(), bound, &point.object_hash).await?;
        PointObject::parse(&vault.row.id, &point.id, &bytes)
    }

    /// What is missing of a point that lies only where a region was given up is not lost.
    fn out_of_reach(&self, vault: &Vault, point: &PointRow, error: Error) -> Error {
        let lost = awaited(&self.ledger.query(), &vault.row).unwrap_or_default();
        let is_held = |name: &Name| vault.row.holding().any(|held| held == name);
        if lost.is_empty() || point.locations.iter().any(is_held) {
            return error;
        }
        let names: Vec<String> = lost.iter().map(|name| format!("`{name}`")).collect();
        let message = format!(
            "the point lies only in {}, which was given up with its region",
            names.join(", ")
        );
        Error::new(Code::PointOutOfReach, message).cause(error)
    }

    /// An object whose hash the ledger knows, from the first location that has it whole.
    async fn read_checked(
        &self,
        vault: &Vault,
        name: &str,
        bytes_max: usize,
        hash: &[u8; 32],
    ) -> Result<Bytes> {
        let name: ObjectName = name.parse()?;
        let places = self.places.reachable(&vault.row).await;
        first_whole(&self.tasks, places, (&name, bytes_max), hash).await
    }
}

/// From the places that open, and why another one did not.
async fn first_whole(
    tasks: &Tasks,
    (places, away): (Vec<Place>, Option<Error>),
    (name, bytes_max): (&ObjectName, usize),
    hash: &[u8; 32],
) -> Result<Bytes> {
    let nowhere = || Error::new(Code::ObjectMissing, format!("{name} is in no location"));
    let mut last = away.unwrap_or_else(nowhere);
    for (location, store) in places {
        let error = match store.get(name, bytes_max).await {
            Ok(bytes) => {
                let found = bytes.clone();
                if tasks.run_blocking("hash", move || Ok(blake3::hash(&found))).await? == *hash {
                    return Ok(bytes);
                }
                let message = format!("{name} in `{location}` is not what was committed");
                Error::new(Code::ObjectDamaged, message)
            }
            Err(error) => error,
        };
        last = worse(last, error);
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::SystemClock;
    use holdfast_storage::{
        MemoryStore,
        layers::{Unreliable, unreliable::Faults},
    };
    use std::sync::Arc;

    fn place(name: &str) -> Place {
        let store = MemoryStore::new(Arc::new(SystemClock::start()));
        (name.parse().unwrap(), Arc::new(store))
    }

    /// The same, where every call fails.
    fn failing(name: &str) -> Place {
        let (name, store) = place(name);
        let faults = Faults { fail_before_permille: 1000, ..Faults::NONE };
        (name, Arc::new(Unreliable::new(store, faults, 1)))
    }

    #[tokio::test]
    async fn an_object_is_damaged_only_when_every_location_has_answered() {
        let name: ObjectName = "points/p".parse().unwrap();
        let (whole, junk) = (Bytes::from_static(b"whole"), Bytes::from_static(b"junk"));
        let hash = *blake3::hash(&whole).as_bytes();
        let [empty, damaged, good] = ["empty", "damaged", "good"].map(place);
        damaged.1.put_new(&name, junk).await.unwrap();
        good.1.put_new(&name, whole.clone()).await.unwrap();
        let tasks = Tasks::new("test");
        let read = async |places: &[&Place], away: Option<Code>| {
            let places = places.iter().map(|place| (*place).clone()).collect();
            let away = away.map(|code| Error::new(code, "away"));
            let read = first_whole(&tasks, (places, away), (&name, 100), &hash).await;
            read.map_err(|error| error.code)
        };
        let fails = failing("fails");
        assert_eq!(read(&[&fails, &empty, &damaged, &good], None).await, Ok(whole));
        assert_eq!(read(&[&empty], None).await, Err(Code::ObjectMissing));
        assert_eq!(read(&[&empty, &damaged], None).await, Err(Code::ObjectDamaged));
        for bad in [&empty, &damaged] {
            assert_eq!(read(&[&fails, bad], None).await, Err(Code::LocationIoFailed));
            assert_eq!(read(&[bad, &fails], None).await, Err(Code::LocationIoFailed));
            let away = Some(Code::LocationDisabled);
            assert_eq!(read(&[bad], away).await, Err(Code::LocationDisabled), "it may have it");
        }
        assert_eq!(read(&[], None).await, Err(Code::ObjectMissing));
    }
}
