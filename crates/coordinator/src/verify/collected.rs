//! Whether too much was collected: points that need numbers to which no pack answers any more.
//!
//! Nothing else would notice it: all else goes by the rows of packs, and these are gone.

use super::walk::Walk;
use bytes::Bytes;
use holdfast_common::{Name, Result};
use holdfast_ledger::row::PointRow;
use holdfast_repository::layout::ObjectName;
use holdfast_wire::v1;
use std::sync::Arc;

impl Walk<'_> {
    /// Of all points that were seen; those that were forgotten meanwhile may need anything.
    pub(super) async fn collected(&mut self) -> Result<()> {
        let (query, vault) = (self.house.ledger.query(), self.vault.row.id);
        let left = Arc::new(self.house.unanswered(&vault, &self.reach).await?);
        if left.is_empty() {
            return Ok(());
        }
        for point in self.request.choice.points(query, vault) {
            let point = point?;
            // What cannot be read is told of already.
            let Ok(reach) = self.house.read_reach(self.vault, &point).await else { continue };
            let left = left.clone();
            let find = move || Ok(reach.overlaps(&left));
            let is_hit = self.house.tasks.run_blocking("reach", find).await?;
            if is_hit && query.row::<PointRow>(point.id.as_bytes())?.is_some() {
                tracing::error!(point = %point.id, "what it needs was collected");
                self.tally.damaged.push(collected(&point, self.looked.all().next()));
            }
        }
        Ok(())
    }
}

/// It lies nowhere: the first place stands for all.
fn collected(point: &PointRow, place: Option<&Name>) -> v1::Damage {
    v1::Damage {
        object: ObjectName::point(&point.id).as_str().to_owned(),
        location: place.map(Name::to_string).unwrap_or_default(),
        problem: "collected".to_owned(),
        points: vec![Bytes::copy_from_slice(point.id.as_bytes())],
        ..Default::default()
    }
}
