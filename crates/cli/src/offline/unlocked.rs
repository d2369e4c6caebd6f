//! A location that was opened, for any number of its points: its index is read once, with the first
//! point that is opened.

use super::{
    Choice, Offline,
    gather::{Gathered, gather, is_unread},
    points::{OfflinePoint, Proof},
    source::Location,
};
use crate::demand::Demand;
use holdfast_agent::restore::{PointKeys, PointReader};
use holdfast_common::{Code, Error, Result};
use holdfast_keyring::{IdentityPublicKey, VaultKeys};
use holdfast_repository::IdKeyScope;
use holdfast_wire::v1;
use std::sync::Arc;
use tokio::sync::OnceCell;

pub struct Unlocked {
    offline: Arc<Offline>,
    gathered: OnceCell<Arc<Gathered>>,
}

impl Unlocked {
    pub async fn of(choice: &Choice, demand: &Demand<'_>) -> Result<Self> {
        let offline = super::open(choice, demand).await?;
        insist_on_private(&offline.keys)?;
        Ok(Self { offline: Arc::new(offline), gathered: OnceCell::new() })
    }

    pub fn offline(&self) -> &Offline {
        &self.offline
    }

    /// The one point that `text` means.
    pub fn point(&self, text: &str, policy: Option<&str>) -> Result<v1::Point> {
        Ok(self.offline.told(self.offline.select(text, policy)?))
    }

    /// What the location holds, and what of it is damaged, which is said when it is found.
    pub async fn gathered(&self, demand: &Demand<'_>) -> Result<&Arc<Gathered>> {
        let read = async || {
            let gathered = gather(&self.offline).await?;
            for (name, error) in &gathered.damage {
                let word = if is_unread(error.code) { "unreadable" } else { "damaged" };
                demand.output.remark(&format!("{word}: {name}: {error}"));
            }
            Ok(Arc::new(gathered))
        };
        self.gathered.get_or_try_init(read).await
    }

    /// A reader of the point, and how far the point is proven to be its agent's work.
    pub async fn open(
        &self,
        point: &v1::Point,
        demand: &Demand<'_>,
    ) -> Result<(PointReader, Proof)> {
        let fits = |held: &&OfflinePoint| held.record.point.as_bytes()[..] == point.id[..];
        let held = self.offline.points.iter().find(fits);
        let held = held.ok_or_else(|| {
            Error::new(Code::PointMissing, "the location does not hold the point")
        })?;
        let ids = || match held.record.id_key_scope {
            IdKeyScope::Agent => self.offline.keys.id().for_agent(&held.record.agent),
            IdKeyScope::Vault => self.offline.keys.id().shared(),
        };
        let signer = match held.proof {
            Proof::Checked => Some(self.signer(held)?),
            Proof::NotChecked | Proof::Wrong => None,
        };
        let gathered = self.gathered(demand).await?.clone();
        let source = Arc::new(Location::new(self.offline.clone(), gathered, ids()));
        let (id, record) = (held.record.point, &held.record_bytes);
        let reader = match signer {
            Some(identity) => {
                let keys = PointKeys { identity, ids: ids() };
                PointReader::open(source, id, record, &held.signature, keys)?
            }
            None => PointReader::open_unproven(source, id, record, ids())?,
        };
        Ok((reader, held.proof))
    }

    fn signer(&self, point: &OfflinePoint) -> Result<IdentityPublicKey> {
        let mut enrolled = self.offline.enrolment.iter().flatten();
        let signer = enrolled.find(|one| one.agent == point.record.agent);
        signer.map(|one| one.identity).ok_or_else(|| {
            Error::new(Code::PointSignatureWrong, "the point's agent was never enrolled")
        })
    }
}

/// Without the private halves nothing is damaged, but nothing opens either.
fn insist_on_private(keys: &VaultKeys) -> Result<()> {
    keys.versions().try_for_each(|version| keys.private(version).map(drop)).map_err(|error| {
        let message = "by itself the bundle opens nothing: the vault is in operator custody";
        Error::new(Code::KeyCustodyRefused, message)
            .cause(error.message)
            .next("name the operator's key too: --bundle FILE --kek file:operator.kek")
    })
}
