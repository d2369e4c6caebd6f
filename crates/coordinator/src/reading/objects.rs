//! A point's own objects, read back and compared with the hashes that the ledger has.

use crate::{
    house::{House, Vault},
    region::awaited,
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_ledger::row::PointRow;
use holdfast_repository::{PointObject, Reach, layout};
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
        let mut last = Error::new(Code::ObjectMissing, format!("{name} is in no location"));
        for (location, store) in self.places.readable(&vault.row).await? {
            match store.get(&name, bytes_max).await {
                Ok(bytes) if self.hash(bytes.clone()).await? == *hash => return Ok(bytes),
                Ok(_) => {
                    last = Error::new(
                        Code::ObjectDamaged,
                        format!("{name} in `{location}` is not what was committed"),
                    );
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
