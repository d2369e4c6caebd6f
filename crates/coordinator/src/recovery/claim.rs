//! The epoch of a recovered side: a new one, so that whoever of the old side still runs, or comes
//! back, hears that it was superseded, and what both write never shares a name.
//!
//! It is held by every region that the ledger knows: nothing was lost of one more than of another,
//! and no location is given up. Claimed in the locations last, when all else is done but for the
//! configuration: from then on the old side is over.

use super::{Sources, unlock::Opening};
use crate::region::{Claim, Epoch};
use holdfast_common::{Entropy, Error, Name, Result, Timestamp, limits};
use holdfast_ledger::{Query, command::ClaimEpoch, row::epoch::FIRST_EPOCH};
use holdfast_repository::layout::{Object, ObjectName};
use std::collections::BTreeSet;

/// The number that follows every epoch of the ledger and of the locations.
pub(super) async fn next(sources: &Sources, opening: &Opening, reached: u64) -> Result<u64> {
    let key = opening.recovery.epoch_key();
    let mut newest = reached.max(FIRST_EPOCH);
    for name in sources.list("epochs/").await? {
        let is_newer = matches!(
            name.object(),
            Object::Epoch(number) if number > newest && number <= limits::EPOCH_MAX
        );
        if is_newer {
            let open = |bytes: bytes::Bytes| Claim::open(&bytes, &opening.cluster, &key);
            // What does not open was not written by a member, and says nothing.
            let mut strange = Vec::new();
            let found = sources.find(&name, limits::RECORD_BYTES_MAX, &mut strange, open);
            newest = found.await?.map_or(newest, |claim| claim.epoch.number.max(newest));
        }
    }
    Ok(newest + 1)
}

/// All regions of the ledger, and the new member's.
pub(super) fn regions(query: &Query<'_>, own: &Name) -> Result<Vec<Name>> {
    let members = query.members()?.into_iter().map(|row| row.region);
    let locations = query.locations()?.into_iter().map(|row| row.region);
    let all: BTreeSet<Name> = members.chain(locations).chain([own.clone()]).collect();
    Ok(all.into_iter().collect())
}

/// What the locations say of the epoch that a command of the ledger begins.
pub(super) fn claim_of(
    command: &ClaimEpoch,
    (term, name, region): (u64, &Name, &Name),
    time: Timestamp,
) -> Claim {
    let (member, applied) = (command.member, command.base);
    Claim {
        epoch: Epoch { number: command.epoch, regions: command.regions.clone(), member, applied },
        base_term: term,
        base: command.base,
        time,
        operator: command.operator.clone(),
        reason: command.reason.clone(),
        name: name.clone(),
        region: region.clone(),
        taken: None,
    }
}

/// In every location that the recovery was told of.
pub(super) async fn put(
    sources: &Sources,
    opening: &Opening,
    claim: &Claim,
    entropy: &dyn Entropy,
) -> Result<()> {
    let name = ObjectName::epoch(claim.epoch.number).as_str().parse()?;
    let sealed = claim.seal(&opening.cluster, &opening.recovery.epoch_key(), entropy);
    let bytes = bytes::Bytes::from(sealed);
    for source in sources.iter() {
        source.store.put_new(&name, bytes.clone()).await.map_err(|error| Error {
            message: format!(
                "`{}`: the new epoch cannot be claimed: {}",
                source.url, error.message
            ),
            ..error
        })?;
    }
    Ok(())
}
