//! `holdfast keys`: which keys there are, new versions of them, and the recovery bundle, which is
//! what the worst day needs: `export` it, `verify` that it opens, `import` it under a new KEK when
//! the old one is lost.
//!
//! A bundle counts when it opens what was backed up, by itself. In operator custody only one that
//! was made with the operator's key does.

mod close;
mod destroy;
mod export;
mod import;
mod list;
mod loss;
mod rewrap;
mod rotate;

use crate::{
    client::{Admin, Client},
    demand::Demand,
    ending::Ending,
    offline::keys::read_bundle,
    output::{
        figures::{self, json_time},
        table::Table,
    },
    passphrase::PassphraseArguments,
    resource::Kind,
};
use clap::Subcommand;
use holdfast_common::{Code, Error, Result};
use holdfast_keyring::{BundleContents, BundledVault, KekSource, bundle};
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
    /// List the versions of the vaults' keys, the KEKs that wrap them, and the bundles
    #[command(after_help = EXAMPLES)]
    List,
    /// Give a vault's keys a new version, which seals all new sessions
    #[command(after_help = EXAMPLES)]
    Rotate(rotate::Arguments),
    /// Close a version of a vault's keys: nothing new comes to rely on it
    #[command(after_help = EXAMPLES)]
    Close(close::Arguments),
    /// Destroy an old version of a vault's keys for good; another person has to agree
    #[command(after_help = EXAMPLES)]
    Destroy(destroy::Arguments),
    /// Wrap every key of the cluster under another KEK
    #[command(after_help = EXAMPLES)]
    Rewrap(rewrap::Arguments),
    /// Write a recovery bundle, sealed under a passphrase
    #[command(after_help = EXAMPLES)]
    Export {
        /// The file to write; one that exists is not overwritten
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// In operator custody, the operator's key: file:PATH or env:NAME
        /// [default: operator.kek beside the context file]
        #[arg(long, value_name = "SOURCE")]
        kek: Option<KekSource>,
        #[command(flatten)]
        passphrase: PassphraseArguments,
    },
    /// Prove that a bundle opens the data by itself, and show what it holds
    #[command(after_help = EXAMPLES)]
    Verify {
        bundle: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseArguments,
    },
    /// Wrap the keys of a bundle under another KEK, because the old one is lost
    #[command(after_help = EXAMPLES)]
    Import(import::Arguments),
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    match arguments.verb {
        Verb::List => list::list(demand).await?,
        Verb::Close(arguments) => close::close(arguments, demand).await?,
        Verb::Destroy(arguments) => destroy::destroy(arguments, demand).await?,
        Verb::Rewrap(arguments) => rewrap::rewrap(arguments, demand).await?,
        Verb::Rotate(arguments) => rotate::rotate(arguments, demand).await?,
        Verb::Export { to, kek, passphrase } => {
            export::export(&to, kek, &passphrase, demand).await?;
        }
        Verb::Verify { bundle, passphrase } => verify(&bundle, &passphrase, demand).await?,
        Verb::Import(arguments) => import::import(arguments, demand).await?,
    }
    Ok(Ending::Done)
}

async fn vaults(client: &Client) -> Result<Vec<(String, v1::VaultSpec)>> {
    let question = v1::ListRequest { kind: Kind::Vault.word().to_owned(), name: String::new() };
    let ask = async |mut admin: Admin, question| admin.list(question).await;
    let found = client.ask(question, ask).await?.resources;
    let vault = |resource: v1::Resource| match resource.spec {
        Some(Spec::Vault(spec)) => Some((resource.name, spec)),
        _ => None,
    };
    Ok(found.into_iter().filter_map(vault).collect())
}

/// Opens the bundle, and tells the cluster, if one was named, that it can be opened. On the worst
/// day there is none to tell, which is no reason to fail.
async fn verify(file: &Path, passphrase: &PassphraseArguments, demand: &Demand<'_>) -> Result<()> {
    let contents = open(file, passphrase)?;
    insist_on_data(&contents)?;
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

pub(super) fn open(file: &Path, passphrase: &PassphraseArguments) -> Result<BundleContents> {
    let sealed = read_bundle(file)?;
    bundle::header(&sealed)?;
    bundle::open(&sealed, passphrase.read(false)?.as_bytes())
}

/// A bundle that cannot open what was backed up proves nothing.
fn insist_on_data(contents: &BundleContents) -> Result<()> {
    let Some(shut) = contents.vaults.iter().find(|held| !opens_data(held)) else { return Ok(()) };
    let (name, vault) = (&shut.name, shut.keys.vault());
    let message = format!("by itself the bundle opens nothing of vault `{name}` ({vault})");
    Err(Error::new(Code::KeyCustodyRefused, message)
        .cause("the vault is in operator custody, and the operator's key was not added")
        .next(
            "export one that does: holdfast keys export --to FILE --kek file:operator.kek; this \
             one opens with the operator's key beside it: --bundle FILE --kek file:operator.kek",
        ))
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
  holdfast keys rotate main
  holdfast keys rewrap --to file:/etc/holdfast/kek-2
  holdfast keys rewrap --to 'transit:https://bao:8200/transit/kek?token=file:/run/t' --new-version
  holdfast keys close --vault main 1 --yes
  holdfast keys destroy --vault main 1 --dry-run
  holdfast keys destroy --vault main 1
  holdfast keys destroy --vault main 1 --lose-points 12
  holdfast keys destroy --vault main 1 --approve 5e0c
  holdfast keys destroy --withdraw 5e0c
  holdfast keys export --to bundle.hfbd --passphrase-file secret.txt
  holdfast keys export --to bundle.hfbd --kek file:/root/operator.kek
  holdfast keys verify bundle.hfbd
  holdfast keys import bundle.hfbd --config C/coordinator.toml --kek file:/etc/holdfast/new
  holdfast keys import bundle.hfbd --location local:/srv/vault --kek file:/root/new";
