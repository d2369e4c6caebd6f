//! An object on its way into every location that a vault requires.
//!
//! ```text
//!   required still ─→ proven ─→ put, side by side ─┬─ everywhere: done
//!                                                  └─ one is away ─→ wait as the vault says
//!                                                       ─→ go on without it, where it says so
//! ```
//!
//! What is wrong with a place by its nature is neither waited for nor passed over.

use super::{Place, Places, show};
use bytes::Bytes;
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_ledger::{Actor, command::PassOver, row::VaultRow};
use holdfast_repository::layout;
use holdfast_storage::placement::{put_each, refusal};
use std::time::Duration;
use tokio::time::Instant;

/// Between two tries while a location is away that is waited for.
const PAUSE_WHILE_AWAY: Duration = Duration::from_secs(1);

impl Places {
    /// Durable in every required location, or an error that names those where it is not. Where the
    /// vault may go on without one that is away, that is passed over, and not required any more.
    pub(crate) async fn put(&self, vault: &VaultRow, name: &str, bytes: Bytes) -> Result<()> {
        let name = name.parse()?;
        let (asked, deadline) = (vault, Instant::now() + vault.wait());
        loop {
            // One that is not required any more is waited for no longer.
            let vault = &self.required_still(asked)?;
            let places = self.urls(vault);
            self.insist_on_use(vault)?;
            self.ledger.peers().insist_on_epoch()?;
            let (there, mut away) = self.proven_of(vault).await;
            self.insist_apart(vault)?;
            let puts = put_each(&there, &name, &bytes).await;
            away.extend(puts.into_iter().filter_map(|(name, put)| Some((name, put.err()?))));
            // What is open may lead to a disk that is gone, and is mounted again beside it.
            let failed = away.iter().filter(|(_, error)| is_away(error));
            failed.for_each(|(name, _)| self.distrust(name));
            if let Some(refusal) = refusal(&name, &away, vault.required.len()) {
                if away.iter().all(|(_, error)| is_away(error)) && Instant::now() < deadline {
                    tokio::time::sleep(PAUSE_WHILE_AWAY).await;
                    continue;
                }
                if !self.pass_over(vault, &away).await {
                    return Err(refusal);
                }
            }
            // One that was said to lie elsewhere meanwhile does not have it there.
            if self.urls(vault) == places {
                return Ok(());
            }
        }
    }

    /// The vault with those of its required locations that still are.
    fn required_still(&self, vault: &VaultRow) -> Result<VaultRow> {
        // One that is being made is in no ledger yet.
        let now: Option<VaultRow> = self.ledger.query().row(vault.id.as_bytes())?;
        let Some(now) = now else { return Ok(vault.clone()) };
        let is_still = |name: &&Name| now.required.contains(name);
        let required: Vec<Name> = vault.required.iter().filter(is_still).cloned().collect();
        match required.is_empty() {
            true => Ok(vault.clone()),
            false => Ok(VaultRow { required, ..vault.clone() }),
        }
    }

    /// The required locations that have shown that they are the vault's, and those that did not.
    async fn proven_of(&self, vault: &VaultRow) -> (Vec<Place>, Vec<(Name, Error)>) {
        let (mut there, mut away) = (Vec::with_capacity(vault.required.len()), Vec::new());
        for name in &vault.required {
            let proven = async {
                self.prove(vault, name).await?;
                self.location(name).await
            };
            match proven.await {
                Ok(store) => there.push((name.clone(), store)),
                Err(error) => away.push((name.clone(), error)),
            }
        }
        (there, away)
    }

    /// Whether the vault goes on without those that are away: as many as it was declared to, and
    /// never without all of them.
    async fn pass_over(&self, vault: &VaultRow, away: &[(Name, Error)]) -> bool {
        if !away.iter().all(|(_, error)| is_away(error)) || !vault.can_spare(away.len()) {
            return false;
        }
        for (location, error) in away {
            let command = PassOver { vault: vault.id, location: location.clone() };
            if let Err(refused) = self.ledger.propose(Actor::System, command).await {
                tracing::debug!(%refused, %location, "it stays required");
                return false;
            }
            tracing::warn!(%location, vault = %vault.name, %error, "passed over: it is away");
        }
        true
    }

    /// Passes over what does not answer, when something has waited for it long enough.
    pub(crate) async fn pass_over_silent(&self, vault: &VaultRow) {
        if !vault.can_spare(1) {
            return;
        }
        let (there, mut away) = self.proven_of(vault).await;
        for (name, store) in there {
            if let Err(error) = show(vault, &(name.clone(), store)).await {
                away.push((name, error));
            }
        }
        if !away.is_empty() {
            self.pass_over(vault, &away).await;
        }
    }

    /// Puts the vault's own object where it lies once more: a place that can be read may refuse to
    /// be written.
    pub(crate) async fn write_again(&self, vault: &VaultRow, name: &Name) -> Result<()> {
        let (store, own) = (self.location(name).await?, layout::ObjectName::vault());
        let own = own.as_str().parse()?;
        show(vault, &(name.clone(), store.clone())).await?;
        let bytes = store.get(&own, limits::RECORD_BYTES_MAX).await?;
        self.ledger.peers().insist_on_epoch()?;
        store.replace(&own, bytes).await
    }
}

/// It may be there again later; what is wrong with it by its nature is not passed over.
fn is_away(error: &Error) -> bool {
    matches!(
        error.code,
        Code::LocationBucketMissing
            | Code::LocationCredentialsMissing
            | Code::LocationCredentialsRefused
            | Code::LocationEmpty
            | Code::LocationFull
            | Code::LocationIoFailed
            | Code::LocationRefused
    )
}
