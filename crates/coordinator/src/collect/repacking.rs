//! Packs of which little is needed, small ones, and what keeps the object of a forgotten point:
//! what is needed of them goes into new packs, and they go.
//!
//! ```text
//!   condemned by the round, live ─→ every point is marked anew ─→ by kind and writer, in order
//!      each: read whole ─→ its needed frames ─→ a new pack, when it is full:
//!            announced ─→ put into every required location ─→ read back ─→ takes their place
//! ```
//!
//! Sealed chunks are copied as they are, so no key that opens one is needed. In memory is a pack
//! that is read, what is held of those before it, and the new one; one vault at a time. What fails
//! leaves its packs as they were: they are spared, and come up in a later round. Whoever leads next
//! goes on with what is condemned still; a pack that was announced and came to nothing is garbage.

use super::{
    choice::{Alike, alike, is_chosen_in},
    marking::{Insist, mark_all, settle, taken},
    rounds::is_waited_out,
};
use crate::{
    catalog::footer_in,
    house::{House, Vault},
    keys::{custody::SealingTo, sealed::sealed_to_of},
    region::insist_heard,
};
use bytes::Bytes;
use holdfast_common::{Code, Error, PackId, Result, codes::Exit, limits};
use holdfast_ledger::{
    Actor,
    command::{IntendRepack, IntendedPack, NoteSealed, RepackPacks, SealedPack, SparePacks},
    row::{self, PackHome, PackRow},
};
use holdfast_repository::{
    ChunkNumber,
    collect::{Mark, Remade, Remake, Source},
    layout::ObjectName,
    pack::{Footer, PackView},
};
use std::{collections::BTreeMap, sync::Arc};

/// How often a pack is put again because more locations are required than before.
const PLACINGS_MAX: usize = 4;

pub(super) struct Repacking<'a> {
    pub(super) house: &'a Arc<House>,
    pub(super) vault: &'a Vault,
    pub(super) round: u64,
    /// Where the round was cleared.
    pub(super) cleared: u64,
    pub(super) insist: Insist<'a>,
}

/// A pack that is being filled, and those that it takes over.
struct Filling {
    remake: Remake,
    sources: Vec<PackRow>,
}

impl Repacking<'_> {
    /// All that the round condemned for it; what is left then is spared.
    pub(super) async fn all(&self) -> Result<()> {
        let sources = self.sources()?;
        if sources.is_empty() {
            return Ok(());
        }
        match self.repack(sources).await {
            // Room is made by what is given up, and not by waiting for it.
            Err(error) if is_waited_out(&error) && error.code.exit() != Exit::NoSpace => {
                return Err(error);
            }
            Err(error) => {
                let vault = &self.vault.row.name;
                tracing::warn!(%error, %vault, "packs are not packed anew now");
            }
            Ok(()) => {}
        }
        self.spare(&self.sources()?).await
    }

    fn sources(&self) -> Result<Vec<PackRow>> {
        let (query, vault) = (self.house.ledger.query(), self.vault.row.id);
        let (mut sources, mut after) = (Vec::new(), None);
        loop {
            let page = query.packs(&vault, after.as_ref())?;
            let Some(last) = page.last() else { return Ok(sources) };
            after = Some(last.id);
            sources.extend(page.into_iter().filter(|row| is_chosen_in(row, self.round)));
        }
    }

    async fn repack(&self, sources: Vec<PackRow>) -> Result<()> {
        // Whoever leads elsewhere relies on packs as they are.
        insist_heard(self.house).await?;
        let mark = Arc::new(self.settled_mark().await?);
        let mut groups: BTreeMap<Alike, Vec<PackRow>> = BTreeMap::new();
        for row in sources {
            groups.entry(alike(&row)).or_default().push(row);
        }
        for mut rows in groups.into_values() {
            // Chunks of one backup stay together.
            rows.sort_unstable_by_key(|row| row.base);
            self.group(rows, &mark).await?;
        }
        Ok(())
    }

    /// What every point needs, whatever comes and goes meanwhile: a backup that goes on from a
    /// point needs what that one needs, and may be committed, and the other forgotten, while this
    /// reads.
    async fn settled_mark(&self) -> Result<Mark> {
        let mark = mark_all(self.house, self.vault, self.insist).await?;
        settle(self.house, (self.vault, self.round), mark, self.insist).await
    }

    /// Packs of one kind and writer, sealed to the same versions of the keys.
    async fn group(&self, rows: Vec<PackRow>, mark: &Arc<Mark>) -> Result<()> {
        let mut filling: Option<Filling> = None;
        for row in rows {
            (self.insist)(mark.points())?;
            let read = match self.read(&row).await {
                Ok(read) if !self.is_as_said(&row, &read.0).await? => continue,
                Ok(read) => Arc::new(read),
                Err(error) => {
                    tracing::warn!(%error, pack = %row.id, "a pack is not packed anew");
                    continue;
                }
            };
            let begun = match filling.take() {
                Some(begun) => begun,
                None => self.begin(&read),
            };
            let (begun, took) = self.take(begun, &row, &read, mark).await?;
            if took {
                filling = self.kept(begun).await?;
                continue;
            }
            // It is full: the next one takes it, or none does.
            self.close(begun).await?;
            let (begun, took) = self.take(self.begin(&read), &row, &read, mark).await?;
            if took {
                filling = self.kept(begun).await?;
            } else {
                tracing::info!(pack = %row.id, "what is needed of a pack fits no other");
            }
        }
        match filling {
            Some(last) => self.close(last).await,
            None => Ok(()),
        }
    }

    /// A location may have said anything of the front of a pack of before; what the whole pack says
    /// counts. This round leaves such a one as it is.
    async fn is_as_said(&self, row: &PackRow, view: &PackView) -> Result<bool> {
        let Some(said) = &row.sealed_to else { return Ok(true) };
        let versions = sealed_to_of(view)?;
        if versions == *said {
            return Ok(true);
        }
        tracing::error!(pack = %row.id, ?said, ?versions, "a pack is not sealed to what was said");
        let packs = vec![SealedPack { id: row.id, versions }];
        let note = NoteSealed { vault: row.vault, packs, whole: true };
        self.house.ledger.propose(Actor::System, note).await?;
        Ok(false)
    }

    fn begin(&self, (view, _): &(PackView, Footer)) -> Filling {
        let remake = Remake::new(self.vault.row.id, view.kind());
        Filling { remake, sources: Vec::new() }
    }

    /// No entry names more than so many.
    async fn kept(&self, filling: Filling) -> Result<Option<Filling>> {
        if filling.sources.len() < limits::PACKS_COLLECTED_MAX {
            return Ok(Some(filling));
        }
        self.close(filling).await.map(|()| None)
    }

    async fn take(
        &self,
        mut filling: Filling,
        row: &PackRow,
        read: &Arc<(PackView, Footer)>,
        mark: &Arc<Mark>,
    ) -> Result<(Filling, bool)> {
        let (row, read, mark) = (row.clone(), read.clone(), mark.clone());
        let take = move || {
            let (view, footer) = &*read;
            let (base, taken) = (ChunkNumber::from_u64(row.base), taken(&row)?);
            let source = Source { view, footer, base, taken: &taken };
            let took = filling.remake.take(&source, &mark)?;
            filling.sources.extend(took.then_some(row));
            Ok((filling, took))
        };
        self.house.tasks.run_blocking("repack", take).await
    }

    /// The whole pack, from the first location that has it so.
    async fn read(&self, row: &PackRow) -> Result<(PackView, Footer)> {
        let (name, range) = match row.home {
            PackHome::Object => (ObjectName::pack(&row.id), 0..u64::from(row.length)),
            PackHome::Point(home, at) => {
                let at = u64::from(at);
                (ObjectName::point(&home), at..at + u64::from(row.length))
            }
        };
        let name = name.as_str().parse()?;
        let mut last = Error::new(Code::PackMissing, format!("{name} is in no location"));
        for (_, store) in self.house.places.readable(&self.vault.row).await? {
            match store.get_range(&name, range.clone()).await {
                Ok(bytes) => match self.look_into(row, bytes).await {
                    Ok(read) => return Ok(read),
                    Err(error) => last = error,
                },
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn look_into(&self, row: &PackRow, bytes: Bytes) -> Result<(PackView, Footer)> {
        let (vault, id, custody) = (self.vault.row.id, row.id, self.vault.custody.clone());
        let look = move || {
            let view = PackView::parse(&vault, bytes)?;
            view.verify(&id)?;
            let footer = view.open_footer(custody.as_ref())?;
            Ok((view, footer))
        };
        self.house.tasks.run_blocking("repack", look).await
    }

    /// The new pack takes the place of those that it was made of.
    async fn close(&self, filling: Filling) -> Result<()> {
        let Filling { remake, sources } = filling;
        if remake.is_empty() {
            return Ok(());
        }
        let Some(first) = sources.first() else { return Ok(()) };
        let (writer, theirs) = (first.writer, first.sealed_to.clone());
        let (custody, vault) = (self.vault.custody.clone(), self.vault.row.id);
        let seal = move || {
            let version = theirs.as_ref().and_then(|versions| versions.last().copied());
            let version = version.unwrap_or(custody.keys().newest());
            let sealer = SealingTo { custody: &custody, version };
            let Remade { pack, taken } = remake.finish(&sealer)?;
            let view = PackView::parse(&vault, pack.bytes)?;
            let footer = view.open_footer(custody.as_ref())?;
            let sealed_to = theirs.map(|_| sealed_to_of(&view)).transpose()?;
            Ok((pack.id, view, footer, (taken, sealed_to)))
        };
        let (id, view, footer, (taken, sealed_to)) =
            self.house.tasks.run_blocking("repack", seal).await?;
        let taken: Vec<row::TakenRun> = taken
            .iter()
            .map(|run| row::TakenRun {
                number: run.number.as_u64(),
                slot: run.slot.as_u32(),
                count: run.count,
            })
            .collect();
        let pack = IntendedPack {
            id,
            kind: view.kind() as u8,
            slots: u32::try_from(footer.rows.len()).unwrap_or(u32::MAX),
            length: u32::try_from(view.bytes().len()).unwrap_or(u32::MAX),
            home: PackHome::Object,
            digest: *view.digest(),
            sealed_to,
        };
        (self.insist)(0)?;
        let intend = IntendRepack { vault, round: self.round, pack, writer };
        self.house.ledger.propose(Actor::System, intend).await?;
        let sources = sources.into_iter().map(|row| row.id).collect();
        self.place(id, (view.bytes(), &footer), taken, sources).await?;
        let catalog = &self.vault.catalog;
        if let Some(row) = self.house.ledger.query().pack(&vault, &id)? {
            catalog.add(&row, &footer);
        }
        if catalog.is_due() {
            self.house.settle(self.vault).await?;
        }
        Ok(())
    }

    /// Puts it where it is required and reads it back, until the ledger takes it: the vault may
    /// come to require a further location meanwhile.
    async fn place(
        &self,
        pack: PackId,
        (bytes, footer): (&Bytes, &Footer),
        taken: Vec<row::TakenRun>,
        sources: Vec<PackId>,
    ) -> Result<()> {
        let (query, name) = (self.house.ledger.query(), ObjectName::pack(&pack));
        let mut left = PLACINGS_MAX;
        loop {
            let vault = query.vault(&self.vault.row.id)?;
            self.house.places.put(&vault, name.as_str(), bytes.clone()).await?;
            self.insist_on_footers(&vault, &pack, footer).await?;
            (self.insist)(0)?;
            let repack = RepackPacks {
                vault: vault.id,
                round: self.round,
                cleared: self.cleared,
                revision: vault.revision,
                pack,
                taken: taken.clone(),
                sources: sources.clone(),
            };
            left -= 1;
            match self.house.ledger.propose(Actor::System, repack).await {
                Err(error) if error.code == Code::VaultGrown && left > 0 => {}
                ended => return ended.map(drop),
            }
        }
    }

    async fn insist_on_footers(
        &self,
        vault: &row::VaultRow,
        pack: &PackId,
        footer: &Footer,
    ) -> Result<()> {
        let Some(row) = self.house.ledger.query().pack(&vault.id, pack)? else {
            return Err(Error::new(Code::InternalBug, "an announced pack has no row"));
        };
        let now = self.house.ledger.query().vault(&vault.id)?;
        let required = vault.required.iter().filter(|name| now.required.contains(name));
        let required = required.cloned().collect();
        let still = row::VaultRow { required, ..vault.clone() };
        for place in self.house.places.required(&still).await? {
            let read = footer_in(&row, &place, &self.vault.custody).await?;
            if read != *footer {
                let message = format!("{pack} in `{}` is not what was put there", place.0);
                return Err(Error::new(Code::PackDamaged, message));
            }
        }
        Ok(())
    }

    async fn spare(&self, rows: &[PackRow]) -> Result<()> {
        for part in rows.chunks(limits::PACKS_COLLECTED_MAX) {
            let packs = part.iter().map(|row| row.id).collect();
            let spare = SparePacks { vault: self.vault.row.id, packs };
            self.house.ledger.propose(Actor::System, spare).await?;
        }
        Ok(())
    }
}
