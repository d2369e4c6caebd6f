//! What a location lacks and no other one has: it is given up only when every place where the
//! vault lies by then was asked. A look takes hours in a large vault, and locations are declared
//! and moved meanwhile; what only one of them has is not lost.

use super::{copier::Copier, found::Found};
use crate::{
    fill::Lacking,
    verify::{judge, lose_home},
};
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::{
    Actor,
    command::LosePack,
    row::{PackState, VaultRow},
};
use holdfast_repository::layout::ObjectName;

impl Copier {
    /// Everything that the ledger relies on is there, or came while it was looked for: what no
    /// source could show is missing all the same.
    pub(super) async fn insist_on_whole(
        &self,
        vault: &VaultRow,
        found: &Found,
        lacking: &Lacking,
    ) -> Result<()> {
        let applied = *self.house.ledger.applied().borrow();
        self.queue.heard(applied).await;
        // Into a required location it was put when it was stored; nobody brings what is queued.
        let follows = !vault.required.contains(&self.row.location);
        if lacking.count == 0 || follows && self.queue.awaits(lacking) {
            return Ok(());
        }
        for id in &lacking.packs {
            let name = ObjectName::pack(id);
            let row = self.house.ledger.query().pack(&vault.id, id)?;
            let length = row.filter(|row| row.state == PackState::Stored).map(|row| row.length);
            let Some(length) = length.filter(|_| !(follows && self.queue.has(&name))) else {
                continue;
            };
            if found.has(&name, length).await? {
                continue;
            }
            if !found.is_all || self.places_now().await?.another_has(&name, length).await? {
                return Err(lacks(lacking.count, &name));
            }
            // No backup may rest on it any more, whatever lost it.
            tracing::error!(object = %name, "no location has it");
            let (vault, pack) = (vault.id, *id);
            self.house.ledger.propose(Actor::System, LosePack { vault, pack }).await?;
        }
        for id in &lacking.points {
            for name in [ObjectName::reach(id), ObjectName::point(id)] {
                if self.is_lost(&name, found, (follows, lacking.count)).await? {
                    judge(&self.house, *id, false).await?;
                    if name == ObjectName::point(id) {
                        lose_home(&self.house, vault.id, *id).await?;
                    }
                }
            }
        }
        for id in &lacking.homes {
            if self.is_lost(&ObjectName::point(id), found, (follows, lacking.count)).await? {
                lose_home(&self.house, vault.id, *id).await?;
            }
        }
        match lacking.all_are_named() {
            true => Ok(()),
            false => Err(Error::new(Code::LocationBehind, "what it lacks is looked for again")),
        }
    }

    /// Whether no location has a point's object, all of which could be read. It is not said to lie
    /// here, and nothing else is held up by it. What a source has, and nobody brought, is damaged
    /// there: that is for verification to say.
    async fn is_lost(
        &self,
        name: &ObjectName,
        found: &Found,
        (follows, lacking): (bool, u64),
    ) -> Result<bool> {
        let object = name.as_str().parse()?;
        if follows && self.queue.has(name) || found.to.1.head(&object).await?.is_some() {
            return Ok(false);
        }
        if !found.is_all {
            return Err(lacks(lacking, name));
        }
        tracing::error!(object = %name, "no location has it whole");
        for (_, store) in &self.places_now().await?.from {
            if store.head(&object).await?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Every place where the vault lies now, shown once more. While one of them cannot be read
    /// nothing is lost.
    async fn places_now(&self) -> Result<Found> {
        let found = self.places(&self.vault()?).await?;
        match found.is_all {
            true => Ok(found),
            false => Err(Error::new(Code::LocationBehind, "one of its other locations is away")
                .next("see to the vault's other locations: `holdfast location list`")),
        }
    }
}

fn lacks(count: u64, first: &ObjectName) -> Error {
    let message = format!("{count} objects are in no location that can be read, first {first}");
    Error::new(Code::LocationBehind, message)
        .next("see to the vault's other locations: `holdfast location list`")
}
