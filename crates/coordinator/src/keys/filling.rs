//! Packs that were stored before anybody said to which versions of the keys they are sealed are
//! looked into, in the background: their fronts are read, and the ledger is told.
//!
//! ```text
//!   rows that say nothing, a page at a time ─→ front and footer's version, from any location
//!        read ─→ told, some at once          bad, or nowhere ─→ noted here, passed over
//! ```
//!
//! Only the leader does this. Where it is is in the rows alone: the next leader goes on with what
//! says nothing still. One pack that cannot be read keeps no other from being looked into; it is
//! tried again with the next pass. Until a row says something nothing rests on it once a version is
//! closed, and no version is destroyed.

use crate::{catalog::sealed_to_in, house::House, places::Place};
use futures::{StreamExt, stream};
use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::{
    Actor,
    command::{NoteSealed, SealedPack},
    level::SEALED,
    row::{PackRow, VaultRow},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// A member that does not lead looks again whether it does.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Between passes, while nothing is left or what is left cannot be read.
const PASS_INTERVAL: Duration = Duration::from_secs(600);
/// So many packs are looked into at once.
const LOOKS: usize = limits::FOOTERS_IN_FLIGHT_MAX;

pub(crate) async fn keep(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    loop {
        let passed = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            passed = pass(&house) => passed,
        };
        let pause = match passed {
            Ok(true) => PASS_INTERVAL,
            Ok(false) => LOOK_INTERVAL,
            Err(error) => {
                tracing::debug!(%error, "packs are looked into later");
                LOOK_INTERVAL
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Every row that says nothing, once; false where that is not for this member to do now.
async fn pass(house: &House) -> Result<bool> {
    if !is_due(house)? {
        return Ok(false);
    }
    for vault in house.ledger.query().vaults()? {
        let (mut after, mut bad) = (None, Bad::default());
        loop {
            let page = house.ledger.query().packs(&vault.id, after.as_ref())?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            let is_wanted = |row: &PackRow| row.may_be_read() && row.sealed_to.is_none();
            let rows: Vec<PackRow> = page.into_iter().filter(is_wanted).collect();
            if rows.is_empty() {
                continue;
            }
            let places = match house.places.readable(&vault).await {
                Ok(places) => places,
                // Other vaults lie elsewhere.
                Err(error) => {
                    bad.first.get_or_insert(error);
                    break;
                }
            };
            look_into(house, (&vault, &places), rows, &mut bad).await?;
            if !is_due(house)? {
                return Ok(false);
            }
        }
        bad.tell(vault.name.as_str());
    }
    Ok(true)
}

fn is_due(house: &House) -> Result<bool> {
    house.ledger.peers().insist_on_epoch()?;
    Ok(house.ledger.leads() && house.ledger.query().level()? >= SEALED)
}

/// Packs that were passed over.
#[derive(Default)]
struct Bad {
    packs: u64,
    first: Option<Error>,
}

impl Bad {
    fn note(&mut self, row: &PackRow, error: Error) {
        tracing::debug!(%error, pack = %row.id, "a pack cannot be looked into");
        self.packs += 1;
        self.first.get_or_insert(error);
    }

    fn tell(&self, vault: &str) {
        if let Some(error) = &self.first {
            let packs = self.packs;
            tracing::warn!(%error, %vault, packs, "packs that cannot be looked into");
        }
    }
}

async fn look_into(
    house: &House,
    (vault, places): (&VaultRow, &[Place]),
    rows: Vec<PackRow>,
    bad: &mut Bad,
) -> Result<()> {
    let look = |row: PackRow| async move {
        let found = first_answer(&row, places, vault.key_version).await;
        (row, found)
    };
    let mut looks = stream::iter(rows).map(look).buffered(LOOKS);
    let mut packs = Vec::new();
    while let Some((row, found)) = looks.next().await {
        match found {
            Ok(versions) => packs.push(SealedPack { id: row.id, versions }),
            Err(error) => bad.note(&row, error),
        }
    }
    for packs in packs.chunks(limits::PACKS_COLLECTED_MAX / 2) {
        let note = NoteSealed { vault: vault.id, packs: packs.to_vec(), whole: false };
        house.ledger.propose(Actor::System, note).await?;
    }
    Ok(())
}

/// From the first location that shows the pack as it was written. What names a version that the
/// vault never had was not.
async fn first_answer(row: &PackRow, places: &[Place], newest: u32) -> Result<Vec<u32>> {
    let mut last = Error::new(Code::PackMissing, format!("the pack {} is nowhere", row.id));
    for place in places {
        match sealed_to_in(row, place).await {
            Ok(versions) if versions.iter().all(|version| (1..=newest).contains(version)) => {
                return Ok(versions);
            }
            Ok(_) => {
                let message = "a pack names a version that the keys never had";
                last = Error::new(Code::PackDamaged, message);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{VAULT, pack};
    use holdfast_common::{ChunkId, ChunkKind, SystemClock, SystemEntropy};
    use holdfast_keyring::VaultKeys;
    use holdfast_repository::{PackBuilder, layout::ObjectName};
    use holdfast_storage::{MemoryStore, ObjectStore};

    fn place(name: &str) -> Place {
        let store: Arc<dyn ObjectStore> =
            Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        (name.parse().unwrap(), store)
    }

    #[tokio::test]
    async fn a_pack_is_looked_into_wherever_its_front_is_whole() {
        let mut keys = VaultKeys::generate(VAULT, &SystemEntropy);
        keys.rotate(2, &SystemEntropy).unwrap();
        let mut builder = PackBuilder::new(VAULT, ChunkKind::Data);
        for version in [2, 1] {
            let (_, capsule) = keys.public(version).unwrap().encapsulate(&SystemEntropy).unwrap();
            builder.add_capsule(capsule.as_bytes()).unwrap();
        }
        builder.push(ChunkId::from_bytes([1; 32]), 0, &[0xf1; 40]).unwrap();
        let seal = |_: &[u8; 32], plain: &[u8]| Ok((3, [&[0; 48][..], plain].concat()));
        let made = builder.finish(&seal).unwrap();
        let length = u32::try_from(made.bytes.len()).unwrap();
        let row = PackRow { id: made.id, length, ..pack([0; 32]) };
        let name = ObjectName::pack(&made.id).as_str().parse().unwrap();
        let [damaged, empty, whole] = ["damaged", "empty", "whole"].map(place);
        let junk = vec![7; made.bytes.len()];
        damaged.1.put_new(&name, junk.into()).await.unwrap();
        whole.1.put_new(&name, made.bytes.clone()).await.unwrap();
        let all = [damaged.clone(), empty.clone(), whole];
        assert_eq!(first_answer(&row, &all, 3).await.unwrap(), [1, 2, 3]);
        let error = first_answer(&row, &[empty, damaged], 3).await.unwrap_err();
        assert_eq!(error.code, Code::PackDamaged);
        let unknown = first_answer(&row, &all, 2).await.unwrap_err();
        assert_eq!(unknown.code, Code::PackDamaged, "a version that the keys never had");
    }
}
