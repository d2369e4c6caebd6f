//! `holdfast keys import`: the keys of a bundle under a new KEK, offline.
//!
//! With `--config` for a coordinator: it starts with the new KEK as if nothing had been. With
//! `--location` for a location alone, whose coordinator is gone: then the new KEK opens it offline,
//! and no coordinator starts from that.

use super::open;
use crate::{
    confirm::confirm,
    demand::Demand,
    house,
    offline::keys::{admit_operators, environment},
    passphrase::PassphraseArguments,
};
use holdfast_common::{Code, Error, Result, SystemEntropy, limits};
use holdfast_keyring::{BundleContents, BundledVault, Custody, Kek, KekSource, KeyObject};
use holdfast_repository::{ObjectName, VaultObject};
use holdfast_storage::{LocationUrl, ObjectStore, url};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["config", "location"]))]
pub(super) struct Arguments {
    bundle: PathBuf,
    /// The coordinator.toml of the coordinator that shall start again; it must not run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A location without a coordinator, for restores with --from-location: local:PATH
    #[arg(long, value_name = "URL")]
    location: Option<String>,
    /// The new KEK: file:PATH (made if absent), env:NAME, passphrase-file:PATH, pkcs11:…, aws-kms:…
    /// or transit:… (docs/kek.md)
    #[arg(long, value_name = "SOURCE")]
    kek: KekSource,
    /// In operator custody, the operator's key: file:PATH (made if absent) or env:NAME
    #[arg(long, value_name = "SOURCE")]
    operator_kek: Option<KekSource>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
}

pub(super) async fn import(arguments: Arguments, demand: &Demand<'_>) -> Result<()> {
    let contents = open(&arguments.bundle, &arguments.passphrase)?;
    match (&arguments.config, &arguments.location) {
        (Some(config), _) => into_coordinator(contents, config, &arguments, demand).await,
        (None, Some(location)) => into_location(contents, location, &arguments, demand).await,
        (None, None) => Err(Error::new(Code::UsageMalformed, "nothing is named to import into")
            .next("name a coordinator with --config FILE, or a location with --location URL")),
    }
}

async fn into_coordinator(
    contents: BundleContents,
    config: &Path,
    arguments: &Arguments,
    demand: &Demand<'_>,
) -> Result<()> {
    confirm(demand, &format!("wrap the keys of {} under another key", config.display()))?;
    let made = house::rewrap(house::RewrapOptions {
        config: config.to_owned(),
        contents,
        kek: arguments.kek.clone(),
        operator: arguments.operator_kek.clone(),
    })
    .await?;
    let file = config.display();
    demand.output.answer(
        || json!({ "config": config, "kek": made.kek.to_string(), "objects": made.objects }),
        || format!("{}\nholdfast coordinator --config {file}", made.objects.join("\n")),
    )
}

async fn into_location(
    contents: BundleContents,
    location: &str,
    arguments: &Arguments,
    demand: &Demand<'_>,
) -> Result<()> {
    let here = std::env::current_dir()
        .map_err(|error| Error::io("the current directory cannot be read", &error))?;
    let store = url::open(&LocationUrl::resolve(location, &here)?)?;
    let name = ObjectName::vault().as_str().parse()?;
    let vault = VaultObject::from_bytes(&store.get(&name, limits::RECORD_BYTES_MAX).await?)?;
    let held = contents.vaults.into_iter().find(|held| held.keys.vault() == vault.id);
    let mut held = held.ok_or_else(|| {
        Error::new(Code::VaultForeign, format!("the bundle holds no keys of vault {}", vault.id))
    })?;
    let operator = match (held.custody, &arguments.operator_kek) {
        (Custody::Coordinator, _) => None,
        (Custody::Operator, Some(source)) => Some(source),
        (Custody::Operator, None) => {
            return Err(Error::new(Code::KeyCustodyRefused, "the vault is in operator custody")
                .next("name the operator's key too: --operator-kek file:operator.kek"));
        }
    };
    confirm(demand, &format!("wrap the keys of vault {} under another key", held.name))?;
    let source = &arguments.kek;
    let cluster = contents.cluster;
    let make =
        async |source| holdfast_kek::make(source, environment, cluster, &SystemEntropy).await;
    let kek = make(source).await?;
    let operator = match operator {
        Some(source) => Some(make(source).await?),
        None => None,
    };
    if operator.is_some() {
        admit_operators(&mut held.keys, arguments.operator_kek.as_slice(), &*store).await?;
    }
    let made = wrap_all(&held, &kek, operator.as_ref(), &*store).await?;
    let more = arguments.operator_kek.as_ref().filter(|_| operator.is_some());
    let more = more.map(|source| format!(" --kek {source}")).unwrap_or_default();
    demand.output.answer(
        || json!({ "vault": held.name.as_str(), "kek": kek.id.to_string(), "objects": made }),
        || {
            format!(
                "{}\nholdfast restore latest --to DIR --from-location {location} --kek \
                 {source}{more}\nfor a coordinator, import with --config FILE",
                made.join("\n")
            )
        },
    )
}

/// Every version under the next free KEK version; what is there already stays.
async fn wrap_all(
    held: &BundledVault,
    kek: &Kek,
    operator: Option<&Kek>,
    store: &dyn ObjectStore,
) -> Result<Vec<String>> {
    let mut made = Vec::new();
    for version in held.keys.versions() {
        let mut kek_version = 1;
        while store
            .head(&ObjectName::keys(version, kek_version)?.as_str().parse()?)
            .await?
            .is_some()
        {
            kek_version += 1;
        }
        let entropy = &SystemEntropy;
        let object = KeyObject::wrap(&held.keys, version, kek, kek_version, operator, entropy)?;
        let name = ObjectName::keys(version, kek_version)?;
        store.put_new(&name.as_str().parse()?, object.to_bytes().into()).await?;
        made.push(name.into_string());
    }
    Ok(made)
}
