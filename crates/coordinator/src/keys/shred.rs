//! A destroyed version of a vault's keys leaves memory, and its objects leave every location.
//!
//! ```text
//!   row of what is left ─→ each member: wiped from memory
//!                      └─→ leader, each location: is it this vault's? is no epoch claimed?
//!                          keys/VERSION/…, what was put aside ─→ deleted, looked for ─→ noted
//! ```
//!
//! A location that is away, disabled or locked is tried again, less and less often, until all of it
//! is gone, whoever leads. One that was seen clear is looked at again from time to time: somebody
//! who was wrapping keys anew, or bringing a location what it lacked, may have been slow. What lies
//! there under another pair of keys is not what was destroyed, and stays.

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
/// Between two tries where something is left, at first and at last.
const AGAIN_MIN: Duration = Duration::from_secs(10);
const AGAIN_MAX: Duration = Duration::from_secs(3600);
/// Where nothing was left.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// How long the log is waited for at a time.
const LOG_PATIENCE: Duration = Duration::from_secs(5);
/// Commands come in crowds.
const PACE: Duration = Duration::from_millis(200);

/// Wipes what was destroyed from this member's memory as soon as that is applied.
pub(crate) async fn forget(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let custodian = &house.keys()?.custodian;
    let mut applied = house.ledger.applied();
    loop {
        if let Err(error) = custodian.forget_destroyed(&house.ledger.query()) {
            tracing::warn!(%error, "a destroyed version of keys is in memory still");
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
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
    /// As which place it was asked last: its revision, and whether it was in use.
    seen: (u64, bool),
    due: Duration,
    pause: Duration,
}

impl Desk {
    fn is_due(&self, row: &LocationRow, now: Duration) -> bool {
        self.seen != place(row) || self.due <= now
    }

    fn next(before: Option<&Self>, row: &LocationRow, is_gone: bool, now: Duration) -> Self {
        let before = before.filter(|desk| desk.seen == place(row)).map(|desk| desk.pause);
        let pause = match before {
            _ if is_gone => Duration::ZERO,
            None => AGAIN_MIN,
            Some(pause) => (2 * pause).clamp(AGAIN_MIN, AGAIN_MAX),
        };
        let wait = if is_gone { LOOK_AGAIN } else { pause };
        Self { seen: place(row), due: now + wait, pause }
    }
}

fn place(row: &LocationRow) -> (u64, bool) {
    (row.revision, row.disabled.is_none())
}

async fn look(house: &Arc<House>, desks: &mut Desks) -> Result<()> {
    if !house.ledger.leads() {
        desks.clear();
        return Ok(());
    }
    let query = house.ledger.query();
    let (vaults, locations) = (query.vaults()?, query.locations()?);
    for vault in vaults {
        for destroyed in query.destroyed_keys(&vault.id)? {
            for location in &locations {
                let key = (vault.id, destroyed.version, location.name.clone());
                let now = house.clock.elapsed();
                if desks.get(&key).is_some_and(|desk| !desk.is_due(location, now)) {
                    continue;
                }
                let is_gone = clear(house, &vault, &destroyed, location).await?;
                let desk = Desk::next(desks.get(&key), location, is_gone, now);
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
    let applied = *house.ledger.applied().borrow();
    let behind = || Error::new(Code::LocationBehind, "the ledger's log is not shipped so far yet");
    tokio::time::timeout(LOG_PATIENCE, house.shipped(applied)).await.map_err(|_| behind())??;
    insist_heard(house).await?;
    let public = KeyRemains::from_bytes(&destroyed.remains)?.public();
    let cleared = clear_in(house, vault, &public, &location.name).await;
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
    for name in lying(&place, public.version).await? {
        clear_one(house, &place, (&name, public)).await?;
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

/// Whether this is what was destroyed, or nothing that opens: of another pair nobody decided.
async fn is_destroyed(
    (location, store): &Place,
    (name, public): (&ObjectName, &VaultPublicKey),
) -> Result<bool> {
    let bytes = match store.get(name, limits::KEY_OBJECT_BYTES_MAX).await {
        Err(error) if error.code == Code::ObjectMissing => return Ok(false),
        Err(error) if error.code == Code::LimitExceeded => return Ok(true),
        found => found?,
    };
    let Ok(keys) = KeyObject::from_bytes(&bytes) else { return Ok(true) };
    if keys.vault() != public.vault || keys.public() == *public {
        return Ok(true);
    }
    tracing::warn!(object = %name, %location, "other keys of that name stay");
    Ok(false)
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
    fn what_is_left_is_tried_less_and_less_often_and_another_place_at_once() {
        let now = Duration::from_secs(1000);
        let mut desk = Desk::next(None, &row(1, None), false, now);
        assert_eq!(desk.due, now + AGAIN_MIN);
        for _ in 0..20 {
            let next = Desk::next(Some(&desk), &row(1, None), false, now);
            assert!(next.pause > desk.pause || next.pause == AGAIN_MAX);
            desk = next;
        }
        assert!(!desk.is_due(&row(1, None), now));
        assert!(desk.is_due(&row(2, None), now), "it moved");
        assert!(desk.is_due(&row(1, Some(Timestamp::ZERO)), now), "it was put out of use");
        let gone = Desk::next(Some(&desk), &row(1, None), true, now);
        assert!(!gone.is_due(&row(1, None), now));
        assert!(gone.is_due(&row(1, None), now + LOOK_AGAIN), "somebody may have been slow");
    }

    fn objects(keys: &VaultKeys) -> [Bytes; 2] {
        [1, 2].map(|kek_version| {
            let kek = Kek::from_secret(Secret::random(&SystemEntropy));
            let object = KeyObject::wrap(keys, 1, &kek, kek_version, None, &SystemEntropy);
            object.unwrap().to_bytes().into()
        })
    }

    #[tokio::test]
    async fn every_object_of_the_version_is_found_and_those_of_another_pair_stay() {
        let store: Arc<dyn ObjectStore> =
            Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        let keys = VaultKeys::generate(VAULT, &SystemEntropy);
        let [first, second] = objects(&keys);
        let [others, _] = objects(&VaultKeys::generate(VAULT, &SystemEntropy));
        let put = async |name: &str, bytes: Bytes| {
            store.put_new(&name.parse().unwrap(), bytes).await.unwrap();
        };
        put("keys/00000001/00000001", first.clone()).await;
        put("keys/00000001/00000002", second).await;
        put("keys/00000001/00000003", Bytes::from_static(b"rotten")).await;
        put("keys/00000001/00000004", others).await;
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
