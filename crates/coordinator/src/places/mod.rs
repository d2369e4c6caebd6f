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

mod gates;
mod proofs;
mod putting;
mod silent;
#[cfg(test)]
mod tests;
mod watch;

use crate::raft::Ledger;
use futures::future::join_all;
use gates::Gates;
use holdfast_common::{Code, Entropy, Error, Name, Result, limits};
use holdfast_ledger::row::{LocationRow, VaultRow};
use holdfast_repository::{VaultObject, layout};
use holdfast_runtime::tasks::{OnError, Tasks};
use holdfast_storage::{
    Ground, Keeps, Meter, ObjectStore,
    layers::{
        meter::Counts,
        retry::{Retry, RetryOptions},
    },
    url,
};
use proofs::{Proofs, Unproven};
pub(crate) use silent::{Silent, is_silent};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
pub(crate) use watch::{Doubt, watch};

const LOOK: &str = "location look";
/// What a new location waits for the others to say where they stand.
const GROUND_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) type Place = (Name, Arc<dyn ObjectStore>);

pub(crate) struct Places {
    ledger: Ledger,
    /// Relative `local:` paths start here.
    base: PathBuf,
    /// By name and URL: a location that was changed is another one.
    open: Mutex<HashMap<(Name, String), Opened>>,
    /// Since this member started.
    counts: Mutex<HashMap<(Name, String), Arc<Counts>>>,
    opening: Gates,
    looking: Gates,
    /// Of those that showed the vault's own object.
    proofs: Proofs,
    /// Of required ones, what was wrong with them when they were looked at last.
    doubts: Mutex<BTreeMap<Name, Doubt>>,
    /// Those that did not answer.
    pub(crate) silent: Silent,
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
        let (open, counts, doubts) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (opening, looking, proofs, silent) = Default::default();
        Self {
            ledger,
            base,
            open,
            counts,
            opening,
            looking,
            proofs,
            doubts,
            silent,
            entropy,
            tasks,
        }
    }

    pub(crate) async fn location(&self, name: &Name) -> Result<Arc<dyn ObjectStore>> {
        Ok(self.opened(name).await?.store)
    }

    async fn opened(&self, name: &Name) -> Result<Opened> {
        let row = self.used(name)?;
        let key = standing(&row);
        if let Some(opened) = self.lock().get(&key) {
            return Ok(opened.clone());
        }
        let pass = self.opening.enter(&key).await;
        if let Some(opened) = self.lock().get(&key) {
            return Ok(opened.clone());
        }
        // Opened, never made: an empty mount point is not the location. One that hangs holds up
        // nobody else.
        let counts = self.counted(&row);
        let url = url::LocationUrl::resolve(&row.url, &self.base)?;
        let open = move || {
            let _until_it_ends = pass;
            Ok((url::open(&url)?, url::ground(&url)))
        };
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

    /// Asks a location for something small, once; what room is left there, where that is known. It
    /// may take longer than whoever asks waits, and then nobody asks beside it.
    pub(crate) async fn look(&self, row: &LocationRow) -> Result<Option<u64>> {
        let pass = self.looking.enter(&(row.name.clone(), row.url.clone())).await;
        let once = self.opened(&row.name).await?.once;
        let url = url::LocationUrl::resolve(&row.url, &self.base)?;
        let requires = |vault: &VaultRow| vault.required.contains(&row.name);
        let vault = self.ledger.query().vaults()?.into_iter().find(requires);
        let (tell, told) = tokio::sync::oneshot::channel();
        let (name, tasks) = (row.name.clone(), self.tasks.clone());
        self.tasks.spawn(LOOK, OnError::Log, async move {
            let _until_it_ends = pass;
            let looked = seen((name, once), vault, url, &tasks);
            let stopped = tasks.token().cancelled();
            // Whoever asked may be gone.
            drop(tell.send(tokio::select! { seen = looked => seen, () = stopped => Ok(None) }));
            Ok(())
        });
        told.await.unwrap_or_else(|_| {
            Err(Error::new(Code::LocationIoFailed, "the process is stopping, it was not asked"))
        })
    }

    /// Where a location lies, if it is in use.
    fn url(&self, name: &Name) -> Result<String> {
        Ok(self.used(name)?.url)
    }

    fn used(&self, name: &Name) -> Result<LocationRow> {
        let row = self.row(name)?;
        match row.disabled {
            None => Ok(row),
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
        // Side by side, and in their order: several that hang take no longer than one.
        let open = |name: &Name| {
            let name = name.clone();
            async move { self.silent.bound(&name, self.location(&name)).await }
        };
        let opened = join_all(vault.required.iter().map(open)).await;
        for (name, opened) in vault.required.iter().zip(opened) {
            match opened {
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
        match self.reachable(vault).await {
            (places, Some(error)) if places.is_empty() => Err(error),
            (places, _) => Ok(places),
        }
    }

    /// The same, and why one that may be read as well did not open.
    pub(crate) async fn reachable(&self, vault: &VaultRow) -> (Vec<Place>, Option<Error>) {
        self.open_of(vault, vault.holding().cloned().collect()).await
    }

    /// Each location of a vault, or why it cannot be read now: in their order, as copies are
    /// numbered.
    pub(crate) async fn each_of(
        &self,
        vault: &VaultRow,
    ) -> Vec<(Name, Result<Arc<dyn ObjectStore>>)> {
        let open = |name: &Name| {
            let name = name.clone();
            async move { (name.clone(), self.silent.bound(&name, self.location(&name)).await) }
        };
        join_all(vault.holding().map(open)).await
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
        let pass = self.opening.enter(&(name.clone(), left.to_owned())).await;
        let open = move || {
            let _until_it_ends = pass;
            url::open(&url)
        };
        let store = self.tasks.run_blocking("location", open).await?;
        Ok((name.clone(), store))
    }

    /// Whoever wants it next opens it anew.
    pub(crate) fn close(&self, name: &Name) {
        self.lock().retain(|(open, _), _| open != name);
    }

    /// Something failed there: whoever wants it next opens it anew, and it shows that it is still
    /// the vault's before anything is put there.
    pub(crate) fn distrust(&self, name: &Name) {
        self.close(name);
        self.proofs.doubt(name);
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
        let places: Vec<_> =
            names.into_iter().filter_map(|name| Some(standing(&self.used(name).ok()?))).collect();
        let open = self.lock();
        let ground = |place: &(Name, String)| open.get(place)?.ground.clone();
        let grounds: Vec<_> =
            places.iter().filter_map(|place| Some((place.0.clone(), ground(place)?))).collect();
        Shared::among(&grounds)
    }

    /// Refuses a location that would stand on the directory of another one that is declared. What
    /// is open was looked at when it was opened: a disk that hangs does not hold up another one.
    pub(crate) async fn insist_on_own_ground(
        &self,
        name: &Name,
        url: &url::LocationUrl,
    ) -> Result<()> {
        let (mut others, mut unknown) = (Vec::new(), Vec::new());
        for row in self.ledger.query().locations()? {
            if row.name != *name {
                let other = url::LocationUrl::resolve(&row.url, &self.base)?;
                let known = self.lock().get(&standing(&row)).cloned();
                if known.is_none() {
                    unknown.push(row.name.to_string());
                }
                others.push((row.name, other, known.and_then(|opened| opened.ground)));
            }
        }
        let this = (name.clone(), url.clone());
        let compare = move || insist_on_own_ground(&this, &others);
        let compared = self.tasks.run_blocking("location", compare);
        tokio::time::timeout(GROUND_PATIENCE, compared).await.unwrap_or_else(|_| {
            let others = unknown.join(", ");
            let message = format!("whether `{name}` is another place than {others} is not known");
            Err(Error::new(Code::LocationIoFailed, message).cause("one of them does not answer"))
        })
    }

    /// Every required location is the vault's. Each is looked at once.
    pub(crate) async fn prove_all(&self, vault: &VaultRow) -> Result<()> {
        for name in &vault.required {
            self.prove(vault, name).await?;
        }
        Ok(())
    }

    /// The location is the vault's, and a fence: whoever writes there asks first.
    pub(crate) async fn prove(&self, vault: &VaultRow, name: &Name) -> Result<()> {
        self.proof(vault, name).await.map_err(|unproven| unproven.error)
    }

    /// Each required location is the vault's, for whoever reads: one that cannot be written now,
    /// because it is full, is read nevertheless.
    pub(crate) async fn show_all(&self, vault: &VaultRow) -> Result<()> {
        for name in &vault.required {
            match self.proof(vault, name).await {
                Err(unproven) if !unproven.is_readable => return Err(unproven.error),
                _ => {}
            }
        }
        Ok(())
    }

    async fn proof(&self, vault: &VaultRow, name: &Name) -> Result<(), Unproven> {
        let (name, place) = standing(&self.used(name).map_err(unreadable)?);
        let key = (name.clone(), place.clone(), vault.id);
        let prove = async {
            // Opened anew: a store that was opened before its disk was mounted never sees it.
            self.lock().remove(&(name.clone(), place));
            let store = self.location(&name).await.map_err(unreadable)?;
            show(vault, &(name.clone(), store.clone())).await.map_err(unreadable)?;
            if self.proofs.was_tried(&key) {
                return Ok(());
            }
            match store.keeps().await {
                Ok(keeps) => insist_on_fence(vault, &name, keeps).map_err(unreadable),
                Err(error) => Err(Unproven { error, is_readable: true }),
            }
        };
        self.proofs.once(key.clone(), prove).await
    }

    /// Each required location writes a name once, before a vault is made over it.
    pub(crate) async fn insist_on_fences(&self, vault: &VaultRow) -> Result<()> {
        for name in &vault.required {
            insist_on_fence(vault, name, self.location(name).await?.keeps().await?)?;
        }
        Ok(())
    }
}

fn unreadable(error: Error) -> Unproven {
    Unproven { error, is_readable: false }
}

/// A location as it is now: when it moved, lost everything or was out of use, it is another one.
fn standing(row: &LocationRow) -> (Name, String) {
    (row.name.clone(), format!("{} #{}", row.url, row.revision))
}

/// The room that is left in a place that answers; that of a vault has the vault's own object.
async fn seen(
    place: Place,
    vault: Option<VaultRow>,
    url: url::LocationUrl,
    tasks: &Tasks,
) -> Result<Option<u64>> {
    match vault {
        Some(vault) => show(&vault, &place).await?,
        None => drop(place.1.head(&layout::ObjectName::vault().as_str().parse()?).await?),
    }
    tasks.run_blocking("location", move || url::free_bytes(&url)).await
}

/// A place that is not there is a location's fault, and not that of a path that somebody typed.
pub(crate) fn absent(name: &Name, error: Error) -> Error {
    if error.code != Code::FileMissing {
        return error;
    }
    Error::new(Code::LocationEmpty, format!("the location `{name}` is not there")).cause(error)
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
