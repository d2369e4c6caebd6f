//! Receiving one pack: checked whole, announced, durable everywhere, then counted.

use super::WriteSession;
use crate::{
    house::{House, Vault},
    keys::sealed::insist_on_capsules,
};
use bytes::Bytes;
use holdfast_common::{ChunkKind, Code, Error, PackId, PointId, Result};
use holdfast_ledger::{
    command::{IntendPacks, IntendedPack, Outcome, StorePacks},
    level::{PLACED_UNDER, SEALED},
    row::{PackHome, PackState},
};
use holdfast_repository::{
    ChunkNumber, layout,
    pack::{Footer, PackView},
};
use std::sync::Arc;

/// A pack whose digest, structure and footer were found to be right.
pub(super) struct ReceivedPack {
    pub(super) id: PackId,
    pub(super) kind: ChunkKind,
    pub(super) bytes: Bytes,
    pub(super) digest: [u8; 32],
    pub(super) footer: Footer,
    /// The versions of the vault's keys that it is sealed to.
    pub(super) sealed_to: Vec<u32>,
}

impl ReceivedPack {
    /// Whatever is wrong with it is the sender's fault: nothing that was stored is damaged.
    pub(super) fn check(vault: &Vault, id: PackId, bytes: Bytes) -> Result<Self> {
        Self::look_into(vault, id, bytes).map_err(|error| match error.code {
            Code::PackDamaged | Code::KeyWrong => Error { code: Code::PackRefused, ..error },
            _ => error,
        })
    }

    fn look_into(vault: &Vault, id: PackId, bytes: Bytes) -> Result<Self> {
        let view = PackView::parse(&vault.row.id, bytes.clone())?;
        view.verify(&id)?;
        let footer = view.open_footer(vault.custody.as_ref())?;
        if !footer.taken.is_empty() {
            return Err(Error::new(
                Code::PackRefused,
                "an agent's pack cannot take over the numbers of others",
            ));
        }
        let sealed_to = insist_on_capsules(&view, &vault.custody.keys())?;
        Ok(Self { id, kind: view.kind(), bytes, digest: *view.digest(), footer, sealed_to })
    }

    /// At a level of the ledger: members of older ones would not keep all of it.
    pub(super) fn intended(&self, home: PackHome, level: u32) -> IntendedPack {
        IntendedPack {
            id: self.id,
            kind: self.kind as u8,
            slots: u32::try_from(self.footer.rows.len()).unwrap_or(u32::MAX),
            length: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            home,
            digest: self.digest,
            sealed_to: (level >= SEALED).then(|| self.sealed_to.clone()),
        }
    }
}

impl House {
    /// Stores one pack of a session; returns when it is durable in every required location.
    pub(crate) async fn put_pack(
        self: &Arc<Self>,
        session: &WriteSession,
        id: PackId,
        bytes: Bytes,
    ) -> Result<()> {
        let vault = self.vault(&session.row.vault)?;
        if vault.catalog.is_due() {
            self.settle(&vault).await?;
        }
        let pack = {
            let vault = vault.clone();
            let check = move || ReceivedPack::check(&vault, id, bytes);
            self.tasks.run_blocking("pack", check).await?
        };
        self.insist_on_own(session, &vault, &id, &PackHome::Object)?;
        let packs = vec![pack.intended(PackHome::Object, self.ledger.query().level()?)];
        let intend = IntendPacks { session: session.row.id, packs };
        let bases = bases(self.ledger.propose(session.actor(), intend).await?)?;
        // One that failed may have been agreed to all the same.
        self.place_pack(session, &pack).await.inspect_err(|_| vault.catalog.look_again())?;
        self.count(session, &vault, &pack, bases.first().copied())
    }

    /// Puts a pack where it is required until the ledger takes it as stored: while it was put, the
    /// vault may have come to require a further location.
    async fn place_pack(&self, session: &WriteSession, pack: &ReceivedPack) -> Result<()> {
        let name = layout::ObjectName::pack(&pack.id);
        let mut left = PLACINGS_MAX;
        loop {
            let query = self.ledger.query();
            let vault = query.vault(&session.row.vault)?;
            let revision = (query.level()? >= PLACED_UNDER).then_some(vault.revision);
            self.places.put(&vault, name.as_str(), pack.bytes.clone()).await?;
            let (session_id, packs) = (session.row.id, vec![pack.id]);
            let store = StorePacks { session: session_id, packs, revision };
            left -= 1;
            match self.ledger.propose(session.actor(), store).await {
                Err(error) if error.code == Code::VaultGrown && left > 0 => {}
                ended => return ended.map(drop),
            }
        }
    }

    /// A stored pack joins the index, and all its chunks the session's reach.
    pub(super) fn count(
        &self,
        session: &WriteSession,
        vault: &Vault,
        pack: &ReceivedPack,
        base: Option<u64>,
    ) -> Result<()> {
        // As an answer: whoever copies the reach meanwhile has all of it, or counts from before.
        let _under_way = session.answer();
        let row = self.ledger.query().pack(&vault.row.id, &pack.id)?;
        let row = row.filter(|row| row.state == PackState::Stored && Some(row.base) == base);
        let Some(row) = row else {
            return Err(Error::new(Code::InternalBug, "a stored pack has no row"));
        };
        vault.catalog.add(&row, &pack.footer);
        session.reached().insert_range(ChunkNumber::from_u64(row.base), row.slots)
    }
}

pub(super) fn bases(outcome: Outcome) -> Result<Vec<u64>> {
    match outcome {
        Outcome::Bases(bases) => Ok(bases),
        _ => Err(Error::new(Code::InternalBug, "announced packs got no numbers")),
    }
}

/// How often an object is put again because more locations are required than before.
pub(super) const PLACINGS_MAX: usize = 4;

/// Where inline packs lie within a point's object: at the end, each behind its length.
pub(crate) fn inline_homes(point: &PointId, object: &[u8], inline: &[Bytes]) -> Vec<PackHome> {
    let mut end = object.len();
    let mut homes: Vec<PackHome> = inline
        .iter()
        .rev()
        .map(|pack| {
            let start = end - pack.len();
            end = start - 4;
            PackHome::Point(*point, u32::try_from(start).unwrap_or(u32::MAX))
        })
        .collect();
    homes.reverse();
    homes
}
