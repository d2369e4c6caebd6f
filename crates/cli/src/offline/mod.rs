//! Reading a location with no cluster at all: the worst day.
//!
//! ```text
//!   --bundle | --kek ─▶ keys ─▶ points (signatures) ─▶ gather: segments, then footers ─▶ index
//!                                                                                      │
//!                                     restore, ls, cat … ◀── source: frames + chunk keys ◀┘
//! ```
//!
//! Needs the location and the keys and nothing else. A segment that does not open costs time, not
//! data: the footers of its packs are read instead. What is damaged or missing is said on stderr
//! at once, and again as an error by whoever needs it; nothing wrong is ever given out.

pub mod choose;
pub mod gather;
pub mod index;
pub mod keys;
pub mod order;
pub mod points;
pub mod source;
pub mod unlocked;

use crate::{demand::Demand, passphrase::PassphraseArguments};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_keyring::{Enrolled, KekSource, VaultKeys};
use holdfast_repository::{ObjectName, VaultObject};
use holdfast_storage::{LocationUrl, ObjectStore, url};
use keys::KeyChoice;
use points::{OfflinePoint, Proof};
use std::{path::PathBuf, sync::Arc};
pub use unlocked::Unlocked;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct OfflineArguments {
    /// Read this location itself, with no cluster: local:PATH
    #[arg(long, value_name = "URL")]
    from_location: Option<String>,
    /// Open it with this recovery bundle
    #[arg(long, value_name = "FILE", requires = "from_location")]
    bundle: Option<PathBuf>,
    /// Open it with the key that wraps the vault's keys, as coordinator.toml
    /// names it: file:PATH, env:NAME, pkcs11:…, aws-kms:…, transit:…; in operator custody
    /// name the coordinators' and the operator's, or the operator's beside a bundle without it
    #[arg(long, value_name = "SOURCE", requires = "from_location")]
    kek: Vec<KekSource>,
    /// Open points whose agents the bundle does not know, without the proof that they made them
    #[arg(long, requires = "from_location")]
    accept_unsigned: bool,
    #[command(flatten)]
    passphrase: PassphraseArguments,
}

/// A location and what opens it.
pub struct Choice {
    pub url: String,
    pub keys: KeyChoice,
    pub accept_unsigned: bool,
}

impl OfflineArguments {
    /// Whether no cluster is to be asked.
    pub fn are_named(&self) -> bool {
        self.from_location.is_some()
    }

    /// `None` when the cluster is to be asked. May be asked once: a passphrase that is piped or
    /// typed is read here, and is gone then.
    pub fn choice(&self) -> Result<Option<Choice>> {
        let Some(url) = &self.from_location else { return Ok(None) };
        let keys = match (&self.bundle, &self.kek[..]) {
            (Some(file), operators) => KeyChoice::Bundle {
                file: file.clone(),
                passphrase: self.passphrase.read(false)?,
                operators: operators.to_vec(),
            },
            (None, []) => {
                return Err(Error::new(Code::UsageMalformed, "nothing opens the location")
                    .next("name the bundle with --bundle FILE, or the key with --kek SOURCE"));
            }
            (None, sources) => KeyChoice::Keks(sources.to_vec()),
        };
        Ok(Some(Choice { url: url.clone(), keys, accept_unsigned: self.accept_unsigned }))
    }
}

/// A vault in a location, opened.
pub struct Offline {
    pub store: Arc<dyn ObjectStore>,
    pub vault: VaultObject,
    pub vault_name: String,
    pub keys: Arc<VaultKeys>,
    /// Whose signatures count; `None` when only the KEK is here, which does not know.
    pub enrolment: Option<Vec<Enrolled>>,
    pub accept_unsigned: bool,
    /// Newest first.
    pub points: Vec<OfflinePoint>,
    pub refused: Vec<points::Refused>,
    pub url: String,
}

pub async fn open(choice: &Choice, demand: &Demand<'_>) -> Result<Offline> {
    let store = store(&choice.url)?;
    let object = get(&*store, &ObjectName::vault(), limits::RECORD_BYTES_MAX).await?;
    let vault = VaultObject::from_bytes(&object)?;
    let opened = keys::open(&choice.keys, &*store, &vault.id).await?;
    let mut offline = Offline {
        store,
        vault,
        vault_name: opened.vault_name,
        keys: Arc::new(opened.keys),
        enrolment: opened.enrolment,
        accept_unsigned: choice.accept_unsigned,
        points: Vec::new(),
        refused: Vec::new(),
        url: choice.url.clone(),
    };
    if offline.enrolment.is_none() {
        demand.output.remark(
            "note: a KEK does not know who was enrolled; that a point is its agent's own work \
             can only be checked with a bundle",
        );
    }
    points::read_all(&mut offline).await?;
    for refused in &offline.refused {
        let word = if refused.unproven.is_some() { "refused" } else { "damaged" };
        demand.output.remark(&format!("{word}: points/{}: {}", refused.id, refused.error));
    }
    offline.warn(demand);
    Ok(offline)
}

impl Offline {
    /// What was accepted and is not proven.
    fn warn(&self, demand: &Demand<'_>) {
        if self.enrolment.is_none() {
            return;
        }
        for point in &self.points {
            let why = match point.proof {
                Proof::Checked => continue,
                Proof::NotChecked => {
                    "the bundle does not know its agent; who made it is not proven"
                }
                Proof::Wrong => "it is NOT what its agent signed",
            };
            demand.output.remark(&format!("warning: points/{}: {why}", point.record.point));
        }
    }
}

/// A location that a person named here, relative to where they are.
fn store(text: &str) -> Result<Arc<dyn ObjectStore>> {
    let here = std::env::current_dir()
        .map_err(|error| Error::io("the current directory cannot be read", &error))?;
    url::open(&LocationUrl::resolve(text, &here)?)
}

async fn get(store: &dyn ObjectStore, name: &ObjectName, bytes_max: usize) -> Result<Bytes> {
    store.get(&name.as_str().parse()?, bytes_max).await
}

/// The names below a prefix, page by page.
async fn list(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<ObjectName>> {
    let prefix = prefix.parse()?;
    let mut found: Vec<ObjectName> = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(&prefix, after.as_ref(), limits::LIST_PAGE_ROWS).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.name.clone());
        for meta in &page {
            found.push(meta.name.as_str().parse()?);
        }
    }
}
