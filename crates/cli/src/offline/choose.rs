//! Which point of a location is meant, and whether `latest` can be answered at all.
//!
//! `latest` promises the newest. A point that could not be trusted may have been that one; to take
//! the one before it in silence would bring old data back as if it were new. So `latest` is refused
//! as long as such a point may be the newest of what was asked for. One that a trusted point names
//! as its `previous` is not: what came after it is here. Any point can be had by its own id.

use super::{
    Offline,
    order::went_to_its_end,
    points::{OfflinePoint, Proof, Refused},
};
use holdfast_common::{Code, Error, PointId, Result};
use holdfast_wire::v1;
use std::collections::HashSet;

/// As many ids as a message can hold and a person read.
const NAMED_MAX: usize = 8;

impl Offline {
    /// The point that `text` means: an id, its beginning, that of its run, or `latest`.
    pub fn select(&self, text: &str, policy: Option<&str>) -> Result<&OfflinePoint> {
        for refused in &self.refused {
            let run = refused.unproven.as_ref().map(|record| record.run.to_string());
            let named = [Some(refused.id.to_string()), run];
            if text.len() >= 8 && named.iter().flatten().any(|id| id.starts_with(text)) {
                return Err(refused.error.clone());
            }
        }
        let points = if text == "latest" { self.latest(policy)? } else { self.points() };
        let chosen = crate::client::select::among(points, text, policy)?;
        let fits = |point: &&OfflinePoint| point.record.point.as_bytes()[..] == chosen.id[..];
        self.points
            .iter()
            .find(fits)
            .ok_or_else(|| Error::new(Code::InternalBug, "a point that was listed is not there"))
    }

    /// Where the newest is to be found, newest first. Refused when a point that is not trusted may
    /// be the newest; without such a doubt it still has no say.
    pub fn latest(&self, policy: Option<&str>) -> Result<Vec<v1::Point>> {
        self.insist_on_latest(policy)?;
        let trusted = self.points.iter().filter(|point| point.proof != Proof::Wrong);
        Ok(trusted.map(|point| self.told(point)).collect())
    }

    /// Refused when a point that is not trusted may be the newest of one of these.
    pub fn insist_on_latest(&self, policy: Option<&str>) -> Result<()> {
        let older = self.certainly_older();
        let refused = self.refused.iter().filter(|refused| may_be_of(refused, policy));
        let refused = refused.map(|refused| (refused.id, Some(&refused.error)));
        let forged = self.points.iter().filter(|point| point.proof == Proof::Wrong);
        let mut doubted: Vec<_> =
            refused.chain(forged.map(|point| (point.record.point, None))).collect();
        doubted.retain(|(id, _)| !older.contains(id));
        if doubted.is_empty() {
            return Ok(());
        }
        let first = doubted.iter().find_map(|(_, error)| *error);
        let code = first.map_or(Code::PointSignatureWrong, |error| error.code);
        let mut ids: Vec<_> = doubted.iter().map(|(id, _)| id.to_string()).collect();
        let more = ids.len().saturating_sub(NAMED_MAX);
        ids.truncate(NAMED_MAX);
        if more > 0 {
            ids.push(format!("and {more} more"));
        }
        let message = format!("the latest may be a point that is refused: {}", ids.join(", "));
        let next = match first {
            Some(error) if error.advice().contains(ACCEPT) => error.advice().to_owned(),
            _ => "list the points with `holdfast points` and give the id of one".to_owned(),
        };
        let cause = first.map_or("its signature is wrong", |error| &error.message);
        Err(Error::new(code, message).cause(cause).next(next))
    }

    /// What a trusted point of the same source came after.
    fn certainly_older(&self) -> HashSet<PointId> {
        let trusted = self.points.iter().filter(|point| point.proof != Proof::Wrong);
        let ended = trusted.map(|point| &point.record).filter(|record| went_to_its_end(record));
        ended.filter_map(|record| record.previous).collect()
    }
}

/// Where only the signer is unknown, one wrong byte cannot have changed what the record says of
/// itself too; everything else that is refused may be anything.
pub fn may_be_of(refused: &Refused, policy: Option<&str>) -> bool {
    let Some(record) = &refused.unproven else { return true };
    let named = record.policy.as_ref().map(|policy| policy.as_str());
    went_to_its_end(record) && policy.is_none_or(|policy| named == Some(policy))
}

/// The flag that opens points of unknown signers.
pub const ACCEPT: &str = "--accept-unsigned";
