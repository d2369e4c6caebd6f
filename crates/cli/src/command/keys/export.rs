//! `holdfast keys export`: the bundle of the cluster, in a file of the operator's.
//!
//! In operator custody the coordinator's bundle opens nothing, so the operator's key completes it
//! here. Coordinators never see the passphrase then: what they hand out is sealed under one that is
//! drawn for that call and dropped after it. Without the operator's key nothing is exported.

use super::{insist_on_data, text, told, vaults};
use crate::{
    client::{Admin, Client},
    demand::Demand,
    offline::keys::environment,
    passphrase::PassphraseArguments,
};
use holdfast_common::{Code, Entropy, Error, Result, SystemEntropy};
use holdfast_keyring::{Argon, BundleContents, Kek, KekSource, KeyObject, bundle};
use holdfast_wire::v1;
use std::path::Path;

pub(super) async fn export(
    to: &Path,
    kek: Option<KekSource>,
    passphrase: &PassphraseArguments,
    demand: &Demand<'_>,
) -> Result<()> {
    if to.exists() {
        return Err(Error::new(Code::FileExists, format!("{} exists already", to.display()))
            .next("name a new file: a bundle is never overwritten"));
    }
    let client = demand.client().await?;
    let vaults = vaults(&client).await?;
    let is_operators = |(_, spec): &&(String, v1::VaultSpec)| spec.custody == "operator";
    let operator = match vaults.iter().find(is_operators) {
        Some((name, _)) => Some(operator_key(name, kek, demand)?),
        None => None,
    };
    let typed = passphrase.read(true)?;
    let (sealed, read_at) = match &operator {
        Some(operator) => complete(&client, operator, &typed).await?,
        None => {
            let handed_out = hand_out(&client, typed.clone()).await?;
            (handed_out.bundle.into(), handed_out.read_at)
        }
    };
    // A bundle that does not open is worse than none: try it before it counts.
    let contents = bundle::open(&sealed, typed.as_bytes())?;
    insist_on_data(&contents)?;
    if operator.is_some() {
        register(&client, &sealed, &contents, read_at).await?;
    }
    holdfast_runtime::files::write_private(to, &sealed)?;
    demand
        .output
        .answer(|| told(&contents, to), || format!("{}\n{}", text(&contents), to.display()))
}

/// The operator's key that was named, or the one that `cluster init` made beside the context.
pub(super) fn operator_key(
    vault: &str,
    named: Option<KekSource>,
    demand: &Demand<'_>,
) -> Result<Kek> {
    let beside = demand.context()?.with_file_name("operator.kek");
    let beside = beside.exists().then_some(KekSource::File(beside));
    let Some(source) = named.or(beside) else {
        let message = format!("the vault `{vault}` is in operator custody");
        return Err(Error::new(Code::KeyCustodyRefused, message)
            .cause("a bundle that is made without the operator's key opens nothing")
            .next("name the operator's key with --kek file:PATH"));
    };
    source.load(&environment, None)
}

async fn hand_out(client: &Client, passphrase: String) -> Result<v1::ExportBundleResponse> {
    let question = v1::ExportBundleRequest { passphrase };
    let ask = async |mut admin: Admin, question| admin.export_bundle(question).await;
    client.ask(question, ask).await
}

/// The coordinator's bundle with the private halves that the operator's key opens.
async fn complete(client: &Client, operator: &Kek, passphrase: &str) -> Result<(Vec<u8>, u64)> {
    let entropy: &dyn Entropy = &SystemEntropy;
    let once = hex::encode(entropy.array::<32>());
    let handed_out = hand_out(client, once.clone()).await?;
    let mut contents = bundle::open(&handed_out.bundle, once.as_bytes())?;
    for bytes in &handed_out.key_objects {
        let object = KeyObject::from_bytes(bytes)?;
        let mut vaults = contents.vaults.iter_mut();
        if let Some(held) = vaults.find(|held| held.keys.vault() == object.vault()) {
            held.keys.admit(object.unwrap_operator(operator)?)?;
        }
    }
    let sealed =
        bundle::seal(&contents, passphrase.as_bytes(), &Argon::generate(entropy), entropy)?;
    Ok((sealed, handed_out.read_at))
}

/// Has the cluster remember this bundle: `keys verify` can say of it that it opens.
async fn register(
    client: &Client,
    sealed: &[u8],
    contents: &BundleContents,
    read_at: u64,
) -> Result<()> {
    let keys = contents.vaults.iter().map(|held| v1::BundledKey {
        vault_id: held.keys.vault().as_bytes().to_vec().into(),
        version: held.keys.newest(),
    });
    let question = v1::CompleteBundleRequest {
        bundle_hash: blake3::hash(sealed).as_bytes().to_vec().into(),
        keys: keys.collect(),
        read_at: Some(read_at),
    };
    let ask = async |mut admin: Admin, question| admin.complete_bundle(question).await;
    client.ask(question, ask).await.map(drop)
}
