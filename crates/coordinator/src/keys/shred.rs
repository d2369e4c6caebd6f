//! A destroyed version of a vault's keys leaves memory, and its objects leave every location.
//!
//! ```text
//!   row of what is left ─→ each member: wiped from memory
//!                      └─→ leader, each location: is it this vault's? is no epoch claimed?
//!                          keys/VERSION/…, what was put aside ─→ deleted, looked for ─→ noted
//! ```
//!
//! A location that is away, disabled or locked is tried again, less and less often, until all of it
//! is gone, whoever leads. One that was seen clear is looked at again in the same manner, and from
//! the beginning in another epoch: somebody who was wrapping keys anew, or bringing a location what
//! it lacked, may have been slow, and another side may not have heard. What lies there of another
//! pair of keys, of another vault or of a later format is not what was destroyed, and stays.

use crate::{
    collect::insist_on_peace,
    house::House,
    places::{Place, show},
    region::{insist_heard, insist_none_newer},
};
use holdfast_common::{Code, Error, Name, Result, VaultId, limits};
use holdfast_keyring::{KeyObject, KeyRemains, VaultPublicKey};
use holdfast_ledger::{
    Actor,
    command::NoteShredded,
    row::{CopyProblem, DestroyedKeyRow, LocationRow, ShreddedRow, VaultRow},
};
use holdfast_storage::{ObjectName, ObjectPrefix};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(2);
/// Between two looks, at first and at last.
const AGAIN_MIN: Duration = Duration::from_secs(10);
const AGAIN_MAX: Duration = Duration::from_secs(3600);
/// One location that hangs holds up the others no longer.
const PLACE_PATIENCE: Duration = Duration::from_secs(60);
/// How long the log is waited for at a time.
const LOG_PATIENCE: Duration = Duration::from_secs(5);
/// Commands come in crowds.
const PACE: Duration = Duration::from_millis(200);

/// Wipes what was destroyed from this member's memory as soon as that is applied.
pub(crate) async fn forget(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let custodian = &house.keys()?.custodian;
    let mut applied = house.ledger.applied();
    loop {
        let forgot = custodian.forget_destroyed(&house.ledger.query());
        if let Err(error) = &forgot {
            tracing::warn!(%error, "a destroyed version of keys is in memory still");
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(AGAIN_MIN), if forgot.is_err() => {}
            _closed_with_the_ledger = applied.changed() => tokio::time::sleep(PACE).await,
        }
    }
}

/// Clears the locations, for as long as this member leads.
pub(crate) async fn shred(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut desks = Desks::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(TICK) => {}
        }
        let looked = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            looked = look(&house, &mut desks) => looked,
        };
        if let Err(error) = looked {
            tracing::debug!(%error, "no keys are deleted now; trying again");
        }
    }
}

type Desks = BTreeMap<(VaultId, u32, Name), Desk>;

/// When a location is asked again.
struct Desk {
    seen: Seen,
    due: Duration,
    pause: Duration,
}

/// As what a location was asked last. When any of it differs it is asked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Of the location: it may have moved.
    revision: u64,
    is_in_use: bool,
    /// Another side may have put there what this one had deleted.
    epoch: u64,
    /// What is left turns into what is gone only by what was done.
    is_gone: bool,
}

impl Desk {
    fn is_due(&self, row: &LocationRow, epoch: u64, now: Duration) -> bool {
        self.seen != Seen::of(row, epoch, self.seen.is_gone) || self.due <= now
    }

    fn next(before: Option<&Self>, seen: Seen, now: Duration) -> Self {
        let before = before.filter(|desk| desk.seen == seen).map(|desk| desk.pause);
        let pause = before.map_or(AGAIN_MIN, |pause| (2 * pause).min(AGAIN_MAX));
        Self { seen, due: now + pause, pause }
    }
}

impl Seen {
    fn of(row: &LocationRow, epoch: u64, is_gone: bool) -> Self {
        Self { revision: row.revision, is_in_use: row.disabled.is_none(), epoch, is_gone }
    }
}

async fn look(house: &Arc<House>, desks: &mut Desks) -> Result<()> {
    if !house.ledger.leads() {
        desks.clear();
        return Ok(());
    }
    let query = house.ledger.query();
    let (vaults, locations, epoch) = (query.vaults()?, query.locations()?, house.ledger.epoch()?);
    for vault in vaults {
        for destroyed in query.destroyed_keys(&vault.id)? {
            for location in &locations {
                let key = (vault.id, destroyed.version, location.name.clone());
                let now = house.clock.elapsed();
                if desks.get(&key).is_some_and(|desk| !desk.is_due(location, epoch, now)) {
                    continue;
                }
                let is_gone = clear(house, &vault, &destroyed, location).await?;
                let seen = Seen::of(location, epoch, is_gone);
                let desk = Desk::next(desks.get(&key), seen, house.clock.elapsed());
                desks.insert(key, desk);
            }
        }
    }
    Ok(())
}

/// Whether nothing is left there; an error is one of whoever deletes, not of the place.
async fn clear(
    house: &Arc<House>,
    vault: &VaultRow,
    destroyed: &DestroyedKeyRow,
    location: &LocationRow,
) -> Result<bool> {
    insist_on_peace(house)?;
    // Whoever rebuilds the ledger from the locations must not take these keys for lost ones.
    let behind = || Error::new(Code::LocationBehind, "the ledger's log is not shipped so far yet");
    let shipped = tokio::time::timeout(LOG_PATIENCE, house.shipped(destroyed.at));
    shipped.await.map_err(|_| behind())??;
    insist_heard(house).await?;
    let public = KeyRemains::from_bytes(&destroyed.remains)?.public();
    let clearing = clear_in(house, vault, &public, &location.name);
    let cleared = match tokio::time::timeout(PLACE_PATIENCE, clearing).await {
        Ok(cleared) => cleared,
        Err(_) => {
            let message = format!("`{}` does not answer", location.name);
            Err(Error::new(Code::LocationIoFailed, message))
        }
    };
    if let Err(error) = &cleared
        && !vault.holding().any(|name| *name == location.name)
    {
        // Another vault's, or nobody's; or one that was this vault's, which nobody can ask now.
        return Ok(matches!(error.code, Code::VaultForeign | Code::LocationEmpty));
    }
    note(house, destroyed, location, &cleared).await?;
    Ok(cleared.is_ok())
}

async fn clear_in(
    house: &House,
    vault: &VaultRow,
    public: &VaultPublicKey,
    location: &Name,
) -> Result<()> {
    let place = (location.clone(), house.places.location(location).await?);
    // In what is not mounted everything looks gone: it is asked before, and after.
    show(vault, &place).await?;
    insist_none_newer(house, &place, house.ledger.epoch()?).await?;
    let mut locked = None;
    for name in lying(&place, public.version).await? {
        match clear_one(house, &place, (&name, public)).await {
            // Others may go.
            Err(error) if error.code == Code::ObjectLocked => drop(locked.get_or_insert(error)),
            cleared => cleared?,
        }
    }
    if let Some(error) = locked {
        return Err(error);
    }
    let left = lying(&place, public.version).await?;
    show(vault, &place).await?;
    for name in left {
        if is_destroyed(&place, (&name, public)).await? {
            let message = format!("{name} was deleted, and is there still");
            return Err(Error::new(Code::LocationIoFailed, message));
        }
    }
    Ok(())
}

/// Objects of one version, under every KEK, and what was put aside of them.
async fn lying((_, store): &Place, version: u32) -> Result<Vec<ObjectName>> {
    let mut names = Vec::new();
    for prefix in [format!("keys/{version:08}/"), format!("aside/keys/{version:08}/")] {
        let prefix: ObjectPrefix = prefix.parse()?;
        let mut after: Option<ObjectName> = None;
        loop {
            let page = store.list(&prefix, after.as_ref(), limits::LIST_PAGE_ROWS).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            names.extend(page.into_iter().map(|meta| meta.name));
        }
    }
    Ok(names)
}

async fn clear_one(
    house: &House,
    place: &Place,
    (name, public): (&ObjectName, &VaultPublicKey),
) -> Result<()> {
    if !is_destroyed(place, (name, public)).await? {
        return Ok(());
    }
    // A member that hears of a newer epoch deletes nothing from there on.
    house.ledger.peers().insist_on_epoch()?;
    place.1.delete(name).await.map(drop)
}

/// Whether this is what was destroyed, or what is damaged of it: of all else nobody decided.
async fn is_destroyed(
    (location, store): &Place,
    (name, public): (&ObjectName, &VaultPublicKey),
) -> Result<bool> {
    let keys = match store.get(name, limits::KEY_OBJECT_BYTES_MAX).await {
        Err(error) if error.code == Code::ObjectMissing => return Ok(false),
        Err(error) if error.code == Code::LimitExceeded => Err(error),
        found => KeyObject::from_bytes(&found?),
    };
    let is_destroyed = match &keys {
        Ok(keys) => keys.public() == *public,
        // A later format, or nothing that anybody ever wrote as keys.
        Err(error) => !matches!(error.code, Code::VersionUnknown | Code::LimitExceeded),
    };
    if !is_destroyed {
        tracing::warn!(object = %name, %location, "other keys of that name stay");
    }
    Ok(is_destroyed)
}

/// Says it where it is news.
async fn note(
    house: &House,
    destroyed: &DestroyedKeyRow,
    location: &LocationRow,
    cleared: &Result<()>,
) -> Result<()> {
    let DestroyedKeyRow { vault, version, .. } = destroyed;
    let known = house.ledger.query().shredded(vault, *version)?;
    let known = known.into_iter().find(|row| row.location == location.name);
    let code = cleared.as_ref().err().map(|error| error.code.name().to_owned());
    let is_known = known.as_ref().is_some_and(|row| {
        row.revision == location.revision
            && row.gone.is_some() == cleared.is_ok()
            && row.problem.as_ref().map(|problem| &problem.code) == code.as_ref()
    });
    if is_known {
        return Ok(());
    }
    let now = house.ledger.now();
    let problem = cleared.as_ref().err().map(|error| CopyProblem {
        code: error.code.name().to_owned(),
        message: error.message.chars().take(limits::PROBLEM_CHARS_MAX).collect(),
    });
    let seen = ShreddedRow {
        vault: *vault,
        version: *version,
        location: location.name.clone(),
        revision: location.revision,
        gone: cleared.is_ok().then_some(now),
        problem,
        noted: now,
    };
    house.ledger.propose(Actor::System, NoteShredded { seen }).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{VAULT, name};
    use bytes::Bytes;
    use holdfast_common::{Secret, SystemClock, SystemEntropy, Timestamp};
    use holdfast_keyring::{Kek, VaultKeys};
    use holdfast_storage::{MemoryStore, ObjectStore};

    fn row(revision: u64, disabled: Option<Timestamp>) -> LocationRow {
        let (name, region) = (name("main"), name("eu"));
        LocationRow { name, url: "memory:".to_owned(), region, revision, disabled }
    }

    #[test]
    fn a_location_is_asked_less_and_less_often_and_another_place_or_side_at_once() {
        let now = Duration::from_secs(1000);
        let seen = Seen::of(&row(1, None), 1, false);
        let mut desk = Desk::next(None, seen, now);
        assert_eq!(desk.due, now + AGAIN_MIN);
        for _ in 0..20 {
            let next = Desk::next(Some(&desk), seen, now);
            assert!(next.pause > desk.pause || next.pause == AGAIN_MAX);
            desk = next;
        }
        assert!(!desk.is_due(&row(1, None), 1, now));
        assert!(desk.is_due(&row(1, None), 1, now + AGAIN_MAX), "somebody may have been slow");
        assert!(desk.is_due(&row(2, None), 1, now), "it moved");
        assert!(desk.is_due(&row(1, Some(Timestamp::ZERO)), 1, now), "it was put out of use");
        assert!(desk.is_due(&row(1, None), 2, now), "another side may not have heard");
        let gone = Desk::next(Some(&desk), Seen { is_gone: true, ..seen }, now);
        assert!(!gone.is_due(&row(1, None), 1, now));
        assert_eq!(gone.due, now + AGAIN_MIN, "soon once more, when all of it was seen gone");
    }

    fn objects(keys: &VaultKeys) -> [Bytes; 2] {
        [1, 2].map(|kek_version| {
            let kek = Kek::from_secret(Secret::random(&SystemEntropy));
            let object = KeyObject::wrap(keys, 1, &kek, kek_version, None, &SystemEntropy);
            object.unwrap().to_bytes().into()
        })
    }

    #[tokio::test]
    async fn every_object_of_the_version_is_found_and_what_nobody_decided_about_stays() {
        let store: Arc<dyn ObjectStore> =
            Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        let keys = VaultKeys::generate(VAULT, &SystemEntropy);
        let [first, second] = objects(&keys);
        let [others, _] = objects(&VaultKeys::generate(VAULT, &SystemEntropy));
        let further = VaultId::from_bytes([0xbb; 16]);
        let [of_another_vault, _] = objects(&VaultKeys::generate(further, &SystemEntropy));
        let put = async |name: &str, bytes: Bytes| {
            store.put_new(&name.parse().unwrap(), bytes).await.unwrap();
        };
        put("keys/00000001/00000001", first.clone()).await;
        put("keys/00000001/00000002", second).await;
        put("keys/00000001/00000003", Bytes::from_static(b"rotten")).await;
        put("keys/00000001/00000004", others).await;
        put("keys/00000001/00000005", of_another_vault).await;
        // Format 99, and nothing else that this version reads.
        put("keys/00000001/00000006", Bytes::from_static(&[0xa1, 0, 0x18, 99])).await;
        put("keys/00000001/00000007", vec![0; limits::KEY_OBJECT_BYTES_MAX + 1].into()).await;
        put("keys/00000002/00000001", first.clone()).await;
        put("aside/keys/00000001/00000001/ab", first).await;
        let (place, public) = ((name("main"), store), keys.public(1).unwrap());
        let mut found = Vec::new();
        for name in lying(&place, 1).await.unwrap() {
            if is_destroyed(&place, (&name, &public)).await.unwrap() {
                found.push(name.to_string());
            }
        }
        let expected = [1, 2, 3].map(|kek| format!("keys/00000001/{kek:08}"));
        assert_eq!(found[..3], expected);
        assert_eq!(found[3..], ["aside/keys/00000001/00000001/ab"]);
    }
}
