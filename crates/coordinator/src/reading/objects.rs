//! A point's own objects, read back and compared with the hashes that the ledger has.

use crate::house::{House, Vault};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits};
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
        let (bytes, vault, point) = (bytes.await?, vault.row.id, point.id);
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
