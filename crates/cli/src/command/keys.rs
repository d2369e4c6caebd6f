//! `holdfast keys`: which keys there are, and the recovery bundle, which is what the worst day
//! needs: `export` it, `verify` that it opens, `import` it under a new KEK when the old one is
//! lost.

use crate::{
    client::Admin,
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    offline::keys::{environment, read_bundle},
    output::{
        figures::{self, json_time},
        table::Table,
    },
    passphrase::PassphraseArguments,
    resource::Kind,
};
use clap::Subcommand;
use holdfast_common::{Code, Error, Result, SystemEntropy, limits};
use holdfast_keyring::{BundleContents, BundledVault, Custody, Kek, KekSource, KeyObject, bundle};
use holdfast_repository::{ObjectName, VaultObject};
use holdfast_storage::{LocationUrl, ObjectStore, url};
use holdfast_wire::v1::{self, resource::Spec};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the vaults' keys
    #[command(after_help = EXAMPLES)]
    List,
    /// Write a recovery bundle, sealed under a passphrase
    #[command(after_help = EXAMPLES)]
    Export {
        /// The file to write; one that exists is not overwritten
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseArguments,
    },
    /// Prove that a bundle opens, and show what it holds
    #[command(after_help = EXAMPLES)]
    Verify {
        bundle: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseArguments,
    },
    /// Wrap the keys of a bundle under another KEK, into a location whose KEK is lost
    #[command(after_help = EXAMPLES)]
    Import {
        bundle: PathBuf,
        /// The location whose vault it is: local:PATH
        #[arg(long, value_name = "URL")]
        location: String,
        /// The new KEK: file:PATH (made if absent) or env:NAME
        #[arg(long, value_name = "SOURCE")]
        kek: KekSource,
        #[command(flatten)]
        passphrase: PassphraseArguments,
    },
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    match arguments.verb {
        Verb::List => list(demand).await?,
        Verb::Export { to, passphrase } => export(&to, &passphrase, demand).await?,
        Verb::Verify { bundle, passphrase } => verify(&bundle, &passphrase, demand).await?,
        Verb::Import { bundle, location, kek, passphrase } => {
            let contents = open(&bundle, &passphrase)?;
            import(contents, &location, &kek, demand).await?;
        }
    }
    Ok(Ending::Done)
}

async fn list(demand: &Demand<'_>) -> Result<()> {
    let client = demand.client().await?;
    let question = v1::ListRequest { kind: Kind::Vault.word().to_owned(), name: String::new() };
    let ask = async |mut admin: Admin, question| admin.list(question).await;
    let found = client.ask(question, ask).await?.resources;
    let vaults: Vec<_> = found
        .iter()
        .filter_map(|resource| match &resource.spec {
            Some(Spec::Vault(spec)) => Some((&resource.name, spec)),
            _ => None,
        })
        .collect();
    demand.output.answer(
        || {
            let key = |(name, spec): &(&String, &v1::VaultSpec)| {
                json!({
                    "vault": name,
                    "vault_id": hex::encode(&spec.id),
                    "version": spec.key_version,
                    "custody": spec.custody,
                })
            };
            json!({ "keys": vaults.iter().map(key).collect::<Vec<_>>() })
        },
        || {
            let mut table = Table::new(["vault", ">version", "custody", "vault id"]);
            for (name, spec) in &vaults {
                let id = hex::encode(&spec.id);
                table.row([
                    (*name).clone(),
                    spec.key_version.to_string(),
                    spec.custody.clone(),
                    id,
                ]);
            }
            table.render()
        },
    )
}

async fn export(to: &Path, passphrase: &PassphraseArguments, demand: &Demand<'_>) -> Result<()> {
    if to.exists() {
        return Err(Error::new(Code::FileExists, format!("{} exists already", to.display()))
            .next("name a new file: a bundle is never overwritten"));
    }
    let client = demand.client().await?;
    let question = v1::ExportBundleRequest { passphrase: passphrase.read(true)? };
    let typed = question.passphrase.clone();
    let ask = async |mut admin: Admin, question| admin.export_bundle(question).await;
    let sealed = client.ask(question, ask).await?.bundle;
    // A bundle that does not open is worse than none: try it before it counts.
    let contents = bundle::open(&sealed, typed.as_bytes())?;
    holdfast_runtime::files::write_private(to, &sealed)?;
    demand
        .output
        .answer(|| told(&contents, to), || format!("{}\n{}", text(&contents), to.display()))
}

/// Opens the bundle, and tells the cluster, if one was named, that it can be opened. On the worst
/// day there is none to tell, which is no reason to fail.
async fn verify(file: &Path, passphrase: &PassphraseArguments, demand: &Demand<'_>) -> Result<()> {
    let contents = open(file, passphrase)?;
    let recorded = match demand.context {
        Some(_) => record(file, demand)
            .await
            .inspect_err(|error| demand.output.remark(&format!("not counted: {error}")))
            .is_ok(),
        None => false,
    };
    let fields = || {
        let mut fields = told(&contents, file);
        fields["recorded"] = recorded.into();
        fields
    };
    demand.output.answer(fields, || text(&contents))
}

async fn record(file: &Path, demand: &Demand<'_>) -> Result<()> {
    let bundle_hash = blake3::hash(&read_bundle(file)?).as_bytes().to_vec().into();
    let client = demand.client().await?;
    let ask = async |mut admin: Admin, question| admin.verify_bundle(question).await;
    client.ask(v1::VerifyBundleRequest { bundle_hash }, ask).await.map(drop)
}

fn open(file: &Path, passphrase: &PassphraseArguments) -> Result<BundleContents> {
    let sealed = read_bundle(file)?;
    bundle::header(&sealed)?;
    bundle::open(&sealed, passphrase.read(false)?.as_bytes())
}

async fn import(
    contents: BundleContents,
    location: &str,
    source: &KekSource,
    demand: &Demand<'_>,
) -> Result<()> {
    let here = std::env::current_dir()
        .map_err(|error| Error::io("the current directory cannot be read", &error))?;
    let store = url::open(&LocationUrl::resolve(location, &here)?)?;
    let name = ObjectName::vault().as_str().parse()?;
    let vault = VaultObject::from_bytes(&store.get(&name, limits::RECORD_BYTES_MAX).await?)?;
    let held = contents.vaults.iter().find(|held| held.keys.vault() == vault.id);
    let held = held.ok_or_else(|| {
        Error::new(Code::VaultForeign, format!("the bundle holds no keys of vault {}", vault.id))
    })?;
    if held.custody == Custody::Operator {
        return Err(Error::new(Code::KeyCustodyRefused, "the vault is in operator custody")
            .next("restore with the bundle itself: --from-location URL --bundle FILE"));
    }
    confirm(demand, &format!("wrap the keys of vault {} under another key", held.name))?;
    let kek = load_or_create(source)?;
    let made = wrap_all(held, &kek, &*store).await?;
    demand.output.answer(
        || json!({ "vault": held.name.as_str(), "kek": kek.id.to_string(), "objects": made }),
        || format!("{}\nset kek = \"{source}\" in coordinator.toml", made.join("\n")),
    )
}

fn load_or_create(source: &KekSource) -> Result<Kek> {
    match source {
        KekSource::File(path) if !path.exists() => source.create(&SystemEntropy),
        _ => source.load(&environment, None),
    }
}

/// Every version under the next free KEK version; what is there already stays.
async fn wrap_all(held: &BundledVault, kek: &Kek, store: &dyn ObjectStore) -> Result<Vec<String>> {
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
        let object = KeyObject::wrap(&held.keys, version, kek, kek_version, None, &SystemEntropy)?;
        let name = ObjectName::keys(version, kek_version)?;
        store.put_new(&name.as_str().parse()?, object.to_bytes().into()).await?;
        made.push(name.into_string());
    }
    Ok(made)
}

fn told(contents: &BundleContents, file: &Path) -> Value {
    json!({
        "bundle": file,
        "cluster": contents.cluster.to_string(),
        "created": json_time(Some(contents.created.as_nanos())),
        "vaults": contents.vaults.iter().map(|held| json!({
            "name": held.name.as_str(),
            "id": held.keys.vault().to_string(),
            "versions": held.keys.versions().collect::<Vec<_>>(),
            "opens_data": opens_data(held),
        })).collect::<Vec<_>>(),
        "agents": contents.enrolment.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
    })
}

fn opens_data(held: &BundledVault) -> bool {
    held.keys.versions().all(|version| held.keys.private(version).is_ok())
}

fn text(contents: &BundleContents) -> String {
    let mut table = Table::new(["vault", "versions", "opens data"]);
    for held in &contents.vaults {
        let versions: Vec<_> = held.keys.versions().map(|version| version.to_string()).collect();
        let opens = if opens_data(held) { "yes" } else { "no: the operator's key is needed too" };
        table.row([held.name.to_string(), versions.join(","), opens.to_owned()]);
    }
    format!(
        "bundle of cluster {}, made {}, {} agents\n\n{}",
        contents.cluster,
        figures::time(contents.created),
        contents.enrolment.len(),
        table.render()
    )
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast keys list
  holdfast keys export --to bundle.hfbd --passphrase-file secret.txt
  holdfast keys verify bundle.hfbd
  holdfast keys import bundle.hfbd --location local:/srv/vault --kek file:/etc/holdfast/kek";
