//! What a location lacks and no other one has: it is given up only when every place where the
//! vault lies by then was asked. A look takes hours in a large vault, and locations are declared
//! and moved meanwhile; what only one of them has is not lost.
//!
//! What they have and nobody could bring is damaged there, or came there late: verification looks
//! at it at once, and heals it or gives it up. So whatever the ledger relies on is here when a look
//! ends, and a point that is brought later rests on nothing that is not.
//!
//! While locations of a region that was given up are awaited, a point may lie in those: no backup
//! rests on its packs, and nobody says that it is lost.

use super::{copier::Copier, found::Found, taken::only_there};
use crate::{
    fill::{Lacking, Left},
    region::awaited,
    verify::{Expected, Fate, judge, look_everywhere, lose_home},
};
use holdfast_common::{Code, Error, Name, Result, VaultId};
use holdfast_ledger::{
    Actor, Query,
    command::LosePack,
    level::RETENTION,
    row::{PackState, VaultRow},
};
use holdfast_repository::layout::{Object, ObjectName};

impl Copier {
    /// Everything that the ledger relies on is there, or came while it was looked for: what no
    /// source could show is missing all the same. The lost locations in which the rest may lie.
    pub(super) async fn insist_on_whole(
        &self,
        vault: &VaultRow,
        found: &Found,
        lacking: &Lacking,
    ) -> Result<Vec<Name>> {
        let applied = *self.house.ledger.applied().borrow();
        self.queue.heard(applied).await;
        // Into a required location it was put when it was stored; nobody brings what is queued.
        let follows = !vault.required.contains(&self.row.location);
        if lacking.count == 0 || follows && self.queue.awaits(lacking) {
            return Ok(Vec::new());
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
        let mut may_have = Vec::new();
        for id in &lacking.points {
            for name in [ObjectName::reach(id), ObjectName::point(id)] {
                if self.is_nowhere(&name, found, (follows, lacking.count)).await? {
                    let lost = self.awaited()?;
                    if lost.is_empty() {
                        judge(&self.house, *id, false).await?;
                    } else {
                        may_have = lost;
                    }
                    if name == ObjectName::point(id) {
                        lose_home(&self.house, vault.id, *id).await?;
                    }
                }
            }
        }
        for id in &lacking.homes {
            if self.is_nowhere(&ObjectName::point(id), found, (follows, lacking.count)).await? {
                lose_home(&self.house, vault.id, *id).await?;
            }
        }
        if !follows && !may_have.is_empty() {
            return Err(only_there(&self.row.location, lacking.count, &may_have));
        }
        match lacking.all_are_named() {
            true => Ok(may_have),
            false => Err(again()),
        }
    }

    /// What the vault required and is awaited now, whatever it was when the look began.
    pub(super) fn awaited(&self) -> Result<Vec<Name>> {
        awaited(&self.house.ledger.query(), &self.vault()?)
    }

    /// Whether no location has a point's object, all of which could be read: it is not said to lie
    /// here, and nothing else is held up by it.
    async fn is_nowhere(
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
                return match self.is_given_up(name).await? {
                    true => self.awaited().map(|lost| !lost.is_empty()),
                    false => Err(again()),
                };
            }
        }
        Ok(true)
    }

    /// Sees to what the ledger relies on and no source has whole. Nothing of it stays as it is:
    /// what was healed is brought by the next look, and what was given up holds nothing up.
    pub(super) async fn settle_damaged(&self, lacks: &Left, is_all: bool) -> Result<()> {
        let Some(first) = lacks.first.first() else { return Ok(()) };
        if !is_all {
            let count = lacks.count;
            let message = format!("{count} objects are whole in no location, first {first}");
            return Err(Error::new(Code::ObjectDamaged, message)
                .next("holdfast verify --all --level storage"));
        }
        self.places_now().await?;
        let mut is_settled = lacks.count == lacks.first.len() as u64;
        for left in &lacks.first {
            is_settled &= self.is_given_up(&left.name).await?;
        }
        if is_settled { Ok(()) } else { Err(again()) }
    }

    /// Whether an object is relied on no more, when verification has looked at it everywhere.
    async fn is_given_up(&self, name: &ObjectName) -> Result<bool> {
        let (query, vault) = (self.house.ledger.query(), &self.row.vault);
        let expected = match name.object() {
            Object::Pack(id) => query.pack(vault, &id)?.map(|row| Expected::pack(&row)),
            Object::Point(id) => match query.forgotten(&id)? {
                Some(forgotten) => Some(Expected::home(&forgotten.point)),
                None => query.point_even_forgotten(&id)?.map(|row| Expected::point(&row)),
            },
            Object::Reach(id) => query.point_even_forgotten(&id)?.map(|row| Expected::reach(&row)),
            _ => None,
        };
        let Some(expected) = expected.transpose()? else { return Ok(true) };
        let vault = self.house.vault(vault)?;
        let here = Some(&self.row.location);
        let (_, fate) = Box::pin(look_everywhere(&self.house, &vault, &expected, here)).await?;
        gives_up(&self.house.ledger.query(), vault.row.id, name, fate)
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

/// Whether what became of an object is that it is relied on no more. What only lost locations may
/// have is not, and nobody judges it. A segment never is: the index is made anew from the packs.
fn gives_up(query: &Query<'_>, vault: VaultId, name: &ObjectName, fate: Fate) -> Result<bool> {
    let is_stored = |state: PackState| state == PackState::Stored;
    let is_relied_on = match name.object() {
        Object::Pack(id) => query.pack(&vault, &id)?.is_some_and(|row| is_stored(row.state)),
        Object::Point(id) | Object::Reach(id) => match query.point(&id) {
            // Below the level that says so, no point is ever called lost.
            Ok(point) => query.level()? >= RETENTION && point.lost.is_none(),
            Err(_) => query.packs_within(&vault, &id)?.iter().any(|pack| is_stored(pack.state)),
        },
        _ => false,
    };
    Ok(fate == Fate::OutOfReach || !is_relied_on)
}

fn lacks(count: u64, first: &ObjectName) -> Error {
    let message = format!("{count} objects are in no location that can be read, first {first}");
    Error::new(Code::LocationBehind, message)
        .next("see to the vault's other locations: `holdfast location list`")
}

fn again() -> Error {
    Error::new(Code::LocationBehind, "what it lacks is looked for again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, id, moment, name};
    use holdfast_common::{PointId, Timestamp};
    use holdfast_ledger::row::{EpochRow, LevelRow, epoch::Suspended};

    #[test]
    fn a_point_that_was_healed_is_given_up_by_nobody_whatever_is_awaited() {
        let mut crowd = Crowd::default();
        crowd.put(&LevelRow { level: holdfast_ledger::LEVEL, since: Timestamp::ZERO });
        crowd.point(7, |_| ());
        crowd.put(&EpochRow {
            number: 2,
            regions: vec![name("dr")],
            member: 2,
            base: 9,
            since: moment(1),
            operator: "admin".to_owned(),
            reason: None,
            suspended: vec![Suspended { vault: VAULT, locations: vec![name("main")], alone: None }],
            taken: None,
            gap: None,
        });
        let object = ObjectName::point(&PointId::from_bytes(id(7)));
        let given_up = crowd.ask(|query| {
            [Fate::Whole, Fate::Damaged, Fate::OutOfReach]
                .map(|fate| gives_up(&query, VAULT, &object, fate).unwrap())
        });
        assert_eq!(given_up, [false, false, true]);
    }
}
