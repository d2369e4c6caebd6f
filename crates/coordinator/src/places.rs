//! The locations of vaults, opened on first use and kept.
//!
//! Before the first byte is written a location proves that it is this vault's: a disk that is not
//! mounted leaves an empty directory behind, and what is put there is stored nowhere. Reading needs
//! no proof, since every object is checked by itself.
//!
//! Two locations that stand on one directory hold one copy: they are refused where they are
//! declared, and no pack and no point is written to a vault that requires both.
//!
//! A disabled location does not open. What must lie in every required one is refused then; what is
//! read, verified or shipped goes by the others ([`Places::in_use`]).
//!
//! ```text
//!   Retry → Meter → store      the meter's counts outlive a store that is opened anew
//! ```

use crate::raft::Ledger;
use bytes::Bytes;
use holdfast_common::{Code, Entropy, Error, Name, Result, VaultId, limits};
use holdfast_ledger::{
    Actor,
    command::PassOver,
    row::{LocationRow, VaultRow},
};
use holdfast_repository::{VaultObject, layout};
use holdfast_runtime::tasks::Tasks;
use holdfast_storage::{
    Ground, Keeps, Meter, ObjectStore,
    layers::{
        meter::Counts,
        retry::{Retry, RetryOptions},
    },
    placement::{put_each, refusal},
    url,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Between two tries while a location is away that is waited for.
const PAUSE_WHILE_AWAY: Duration = Duration::from_secs(1);

pub(crate) type Place = (Name, Arc<dyn ObjectStore>);

pub(crate) struct Places {
    ledger: Ledger,
    /// Relative `local:` paths start here.
    base: PathBuf,
    /// By name and URL: a location that was changed is another one.
    open: Mutex<HashMap<(Name, String), Opened>>,
    /// Since this member started.
    counts: Mutex<HashMap<(Name, String), Arc<Counts>>>,
    /// Those that showed the vault's own object.
    proven: Mutex<HashSet<(Name, String, VaultId)>>,
    entropy: Arc<dyn Entropy>,
    tasks: Tasks,
}

#[derive(Clone)]
struct Opened {
    store: Arc<dyn ObjectStore>,
    /// The same without another try.
    once: Arc<dyn ObjectStore>,
    /// As it was when the location was opened.
    ground: Option<Ground>,
}

impl Places {
    pub(crate) fn new(
        ledger: Ledger,
        base: PathBuf,
        entropy: Arc<dyn Entropy>,
        tasks: Tasks,
    ) -> Self {
        let (open, proven, counts) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { ledger, base, open, proven, counts, entropy, tasks }
    }

    pub(crate) async fn location(&self, name: &Name) -> Result<Arc<dyn ObjectStore>> {
        Ok(self.opened(name).await?.store)
    }

    async fn opened(&self, name: &Name) -> Result<Opened> {
        let key = (name.clone(), self.url(name)?);
        if let Some(opened) = self.lock().get(&key) {
            return Ok(opened.clone());
        }
        // Opened, never made: an empty mount point is not the location. One that hangs holds up
        // nobody else.
        let counts = self.counts(&key);
        let url = url::LocationUrl::resolve(&key.1, &self.base)?;
        let open = move || Ok((url::open(&url)?, url::ground(&url)));
        let opened = self.tasks.run_blocking("location", open).await;
        let opened = opened.map_err(|error| absent(name, error));
        let (store, ground) = opened.inspect_err(|error| counts.note_error(error))?;
        let once: Arc<dyn ObjectStore> = Arc::new(Meter::counting(store, counts));
        let store: Arc<dyn ObjectStore> =
            Arc::new(Retry::new(once.clone(), RetryOptions::default(), self.entropy.clone()));
        Ok(self.lock().entry(key).or_insert(Opened { store, once, ground }).clone())
    }

    fn counts(&self, key: &(Name, String)) -> Arc<Counts> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.entry(key.clone()).or_default().clone()
    }

    /// What was counted of a location where it lies now.
    pub(crate) fn counted(&self, row: &LocationRow) -> Arc<Counts> {
        self.counts(&(row.name.clone(), row.url.clone()))
    }

    /// Asks a location for something small, once; what room is left there, where that is known.
    pub(crate) async fn look(&self, row: &LocationRow) -> Result<Option<u64>> {
        let name = layout::ObjectName::vault().as_str().parse()?;
        self.opened(&row.name).await?.once.head(&name).await?;
        let url = url::LocationUrl::resolve(&row.url, &self.base)?;
        self.tasks.run_blocking("location", move || url::free_bytes(&url)).await
    }

    /// Where a location lies, if it is in use.
    fn url(&self, name: &Name) -> Result<String> {
        let row = self.row(name)?;
        match row.disabled {
            None => Ok(row.url),
            Some(_) => Err(disabled(name)),
        }
    }

    pub(crate) fn row(&self, name: &Name) -> Result<LocationRow> {
        let row: Option<LocationRow> = self.ledger.query().row(name.as_str().as_bytes())?;
        row.ok_or_else(|| {
            Error::new(Code::LocationMissing, format!("there is no location `{name}`"))
        })
    }

    fn is_disabled(&self, name: &Name) -> bool {
        self.row(name).is_ok_and(|row| row.disabled.is_some())
    }

    /// Refuses what must lie in every required location while one of them is disabled.
    pub(crate) fn insist_on_use(&self, vault: &VaultRow) -> Result<()> {
        match vault.required.iter().find(|name| self.is_disabled(name)) {
            None => Ok(()),
            Some(name) => {
                let message =
                    format!("the vault `{}` requires `{name}`, which is disabled", vault.name);
                Err(Error::new(Code::LocationDisabled, message)
                    .next(format!("put it to use again: `holdfast location enable {name}`")))
            }
        }
    }

    /// The vault as if it did not require what is disabled. When all of it is, there is nothing to
    /// go by.
    pub(crate) fn in_use(&self, vault: &VaultRow) -> Result<VaultRow> {
        let used = |name: &&Name| !self.is_disabled(name);
        let required: Vec<Name> = vault.required.iter().filter(used).cloned().collect();
        match vault.required.first() {
            Some(name) if required.is_empty() => Err(disabled(name)),
            _ => Ok(VaultRow { required, ..vault.clone() }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Name, String), Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The locations that a vault requires, in its order.
    pub(crate) async fn required(&self, vault: &VaultRow) -> Result<Vec<Place>> {
        match self.try_all(vault).await {
            (places, None) => Ok(places),
            (_, Some(error)) => Err(error),
        }
    }

    /// The required locations that are in use and open, and why another did not.
    pub(crate) async fn those_that_open(&self, vault: &VaultRow) -> (Vec<Place>, Option<Error>) {
        match self.in_use(vault) {
            Ok(vault) => self.try_all(&vault).await,
            Err(error) => (Vec::new(), Some(error)),
        }
    }

    async fn try_all(&self, vault: &VaultRow) -> (Vec<Place>, Option<Error>) {
        let (mut places, mut failed) = (Vec::with_capacity(vault.required.len()), None);
        for name in &vault.required {
            match self.location(name).await {
                Ok(store) => places.push((name.clone(), store)),
                Err(error) => failed = Some(error),
            }
        }
        (places, failed)
    }

    /// All locations of a vault, those that follow too.
    pub(crate) async fn open_all(&self, vault: &VaultRow) -> Result<Vec<Place>> {
        let required = vault.holding().cloned().collect();
        self.required(&VaultRow { required, ..vault.clone() }).await
    }

    /// No two locations of a vault stand on one directory, as far as they were opened.
    pub(crate) fn insist_on_grounds_of(&self, vault: &VaultRow) -> Result<()> {
        let required = vault.holding().cloned().collect();
        self.insist_apart(&VaultRow { required, ..vault.clone() })
    }

    /// Where a vault may be read: any location is as good as another, those that follow last.
    pub(crate) async fn readable(&self, vault: &VaultRow) -> Result<Vec<Place>> {
        let all = vault.holding().cloned().collect();
        match self.open_of(vault, all).await {
            (places, Some(error)) if places.is_empty() => Err(error),
            (places, _) => Ok(places),
        }
    }

    /// Those of some of a vault's locations that are in use and open, and why another did not.
    pub(crate) async fn open_of(
        &self,
        vault: &VaultRow,
        names: Vec<Name>,
    ) -> (Vec<Place>, Option<Error>) {
        if names.is_empty() {
            return (Vec::new(), None);
        }
        self.those_that_open(&VaultRow { required: names, ..vault.clone() }).await
    }

    /// Where a location lay before, opened for whoever looks for what it had.
    pub(crate) async fn open_left(&self, name: &Name, left: &str) -> Result<Place> {
        let url = url::LocationUrl::resolve(left, &self.base)?;
        let store = self.tasks.run_blocking("location", move || url::open(&url)).await?;
        Ok((name.clone(), store))
    }

    /// Whoever wants it next opens it anew.
    pub(crate) fn close(&self, name: &Name) {
        self.lock().retain(|(open, _), _| open != name);
    }

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

    /// Where the required locations of a vault lie.
    fn urls(&self, vault: &VaultRow) -> Vec<Option<String>> {
        vault.required.iter().map(|name| self.url(name).ok()).collect()
    }

    /// No two required locations of a vault stand on one directory, as far as they were opened.
    pub(crate) fn insist_apart(&self, vault: &VaultRow) -> Result<()> {
        match self.shared(vault) {
            None => Ok(()),
            Some(shared) => Err(shared.error()),
        }
    }

    /// The first two required locations of a vault that are one.
    pub(crate) fn shared(&self, vault: &VaultRow) -> Option<Shared> {
        // A name that stands there twice is one location.
        let names: BTreeSet<_> = vault.required.iter().collect();
        let urls: Vec<_> =
            names.into_iter().filter_map(|name| Some((name, self.url(name).ok()?))).collect();
        let open = self.lock();
        let ground = |(name, url): &(&Name, String)| {
            open.get(&((*name).clone(), url.clone()))?.ground.clone()
        };
        let grounds: Vec<_> =
            urls.iter().filter_map(|place| Some((place.0.clone(), ground(place)?))).collect();
        Shared::among(&grounds)
    }

    /// Refuses a location that would stand on the directory of another one that is declared. What
    /// is open was looked at when it was opened: a disk that hangs does not hold up another one.
    pub(crate) async fn insist_on_own_ground(
        &self,
        name: &Name,
        url: &url::LocationUrl,
    ) -> Result<()> {
        let mut others = Vec::new();
        for row in self.ledger.query().locations()? {
            if row.name != *name {
                let other = url::LocationUrl::resolve(&row.url, &self.base)?;
                let known = self.lock().get(&(row.name.clone(), row.url)).cloned();
                others.push((row.name, other, known.and_then(|opened| opened.ground)));
            }
        }
        let this = (name.clone(), url.clone());
        let compare = move || insist_on_own_ground(&this, &others);
        self.tasks.run_blocking("location", compare).await
    }

    /// Every required location is the vault's. Each is looked at once.
    pub(crate) async fn prove_all(&self, vault: &VaultRow) -> Result<()> {
        for name in &vault.required {
            self.prove(vault, name).await?;
        }
        Ok(())
    }

    pub(crate) async fn prove(&self, vault: &VaultRow, name: &Name) -> Result<()> {
        let url = self.url(name)?;
        let key = (name.clone(), url.clone(), vault.id);
        let proven = || self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if !proven().contains(&key) {
            // Opened anew: a store that was opened before its disk was mounted never sees it.
            self.lock().remove(&(name.clone(), url));
            show(vault, &(name.clone(), self.location(name).await?)).await?;
            // One that cannot be written now is not a fence, and not none: puts say why.
            if let Ok(keeps) = self.opened(name).await?.once.keeps().await {
                insist_on_fence(vault, name, keeps)?;
                proven().insert(key);
            }
        }
        Ok(())
    }
}

/// A place that is not there is a location's fault, and not that of a path that somebody typed.
fn absent(name: &Name, error: Error) -> Error {
    if error.code != Code::FileMissing {
        return error;
    }
    Error::new(Code::LocationEmpty, format!("the location `{name}` is not there")).cause(error)
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

fn disabled(name: &Name) -> Error {
    Error::new(Code::LocationDisabled, format!("the location `{name}` is disabled"))
        .next(format!("put it to use again: `holdfast location enable {name}`"))
}

/// Whoever leads is known by a name that only one could write.
fn insist_on_fence(vault: &VaultRow, name: &Name, keeps: Keeps) -> Result<()> {
    if keeps.create_only {
        return Ok(());
    }
    let message = format!(
        "the vault `{}` requires `{name}`, where a name can be written twice: it is no fence",
        vault.name
    );
    Err(Error::new(Code::LocationUnfenced, message))
}

/// Two locations of which one holds no copy of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shared(pub(crate) Name, pub(crate) Name);

impl Shared {
    fn among(grounds: &[(Name, Ground)]) -> Option<Self> {
        grounds.iter().enumerate().find_map(|(at, (name, ground))| {
            let (other, _) = grounds[..at].iter().find(|(_, other)| other.is(ground))?;
            Some(Self(other.clone(), name.clone()))
        })
    }

    pub(crate) fn error(&self) -> Error {
        let Self(one, other) = self;
        let message = format!(
            "the locations `{one}` and `{other}` are one directory, or one lies inside the other: \
             they hold one copy and not two"
        );
        Error::new(Code::LocationShared, message)
    }
}

/// A location that is declared, and what it stands on where that is known already.
pub(crate) type Declared = (Name, url::LocationUrl, Option<Ground>);

/// A new location is none of the others, by its text or by what it stands on.
pub(crate) fn insist_on_own_ground(
    (name, url): &(Name, url::LocationUrl),
    others: &[Declared],
) -> Result<()> {
    let ground = url::ground(url);
    let is_same = |(_, other, known): &&Declared| {
        let meets = || {
            let other = known.clone().or_else(|| url::ground(other))?;
            Some(ground.as_ref()?.meets(&other))
        };
        other == url || meets().unwrap_or(false)
    };
    match others.iter().find(is_same) {
        None => Ok(()),
        Some((other, ..)) => Err(Shared(other.clone(), name.clone()).error()),
    }
}

/// The location holds this vault's own object: it is the vault's and readable, whatever becomes of
/// one object there.
pub(crate) async fn show(vault: &VaultRow, (location, store): &Place) -> Result<()> {
    let name = layout::ObjectName::vault().as_str().parse()?;
    match store.get(&name, limits::RECORD_BYTES_MAX).await {
        Ok(bytes) => {
            let found = VaultObject::from_bytes(&bytes)?.id;
            if found != vault.id {
                let message = format!("the location `{location}` holds another vault, {found}");
                return Err(Error::new(Code::VaultForeign, message)
                    .next("put the location's own disk or directory back"));
            }
        }
        Err(error) if error.code == Code::ObjectMissing => {
            let message =
                format!("the location `{location}` does not hold the vault `{}`", vault.name);
            return Err(Error::new(Code::LocationEmpty, message));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Makes a location that was just declared, and opens it.
pub(crate) fn make(text: &str, base: &std::path::Path) -> Result<Arc<dyn ObjectStore>> {
    url::create(&url::LocationUrl::resolve(text, base)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::name;
    use holdfast_ledger::row::{Custody, Sharing};

    #[test]
    fn a_vault_may_not_require_a_place_where_a_name_is_written_twice() {
        let vault = VaultRow {
            id: VaultId::from_bytes([1; 16]),
            name: name("main"),
            sharing: Sharing::Agent,
            custody: Custody::Coordinator,
            required: vec![name("far")],
            key_version: 1,
            key_object: Vec::new().into(),
            created: holdfast_common::Timestamp::ZERO,
            revision: 1,
            next_number: 0,
            packs: 0,
            grown: None,
            beside: None,
        };
        insist_on_fence(&vault, &name("far"), Keeps::ALL).unwrap();
        let read_back = Keeps { checked: false, ..Keeps::ALL };
        insist_on_fence(&vault, &name("far"), read_back).unwrap();
        let no_fence = Keeps { create_only: false, ..Keeps::ALL };
        let error = insist_on_fence(&vault, &name("far"), no_fence).unwrap_err();
        assert_eq!(error.code, Code::LocationUnfenced);
        assert!(error.message.contains("`main` requires `far`"), "{error}");
    }
}
