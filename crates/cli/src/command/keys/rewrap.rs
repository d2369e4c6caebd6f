//! `holdfast keys rewrap`: another KEK for everything that the coordinators keep secret.
//!
//! The coordinators do it by themselves. What only operators open is wrapped here, where the
//! operator's key is: under that key again, beside the coordinators' new one, or under a new one of
//! the operator's.

use super::rotate::{insist_on_no_operator, rendered};
use crate::{client::Admin, confirm::confirm, demand::Demand, offline::keys::environment};
use holdfast_common::{Result, SystemEntropy};
use holdfast_keyring::{Kek, KekSource, KeyObject, OperatorsHalf};
use holdfast_wire::v1;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where every coordinator finds the new KEK: file:PATH (made by one, if it is nowhere),
    /// env:NAME, passphrase-file:PATH
    #[arg(long, value_name = "SOURCE")]
    to: KekSource,
    /// In operator custody, the operator's key: file:PATH or env:NAME
    /// [default: operator.kek beside the context file]
    #[arg(long, value_name = "SOURCE")]
    kek: Option<KekSource>,
    /// In operator custody, a new operator's key instead: file:PATH (made if absent) or env:NAME
    #[arg(long, value_name = "SOURCE")]
    to_operator: Option<KekSource>,
}

pub(super) async fn rewrap(arguments: Arguments, demand: &Demand<'_>) -> Result<()> {
    let Arguments { to, kek, to_operator } = arguments;
    let client = demand.client().await?;
    let ask = async |mut admin: Admin, question| admin.plan_keys(question).await;
    let plans = client.ask(v1::PlanKeysRequest { vault: String::new() }, ask).await?.vaults;
    let theirs: Vec<_> = plans.iter().filter(|plan| plan.custody == "operator").collect();
    let keks = match theirs.first() {
        Some(plan) => Some((super::export::operator_key(&plan.name, kek, demand)?, to_operator)),
        None => {
            insist_on_no_operator(kek.is_some(), "--kek")?;
            insist_on_no_operator(to_operator.is_some(), "--to-operator")?;
            None
        }
    };
    confirm(demand, &format!("wrap every key of the cluster under the KEK of {to}"))?;
    let operators = match keks {
        Some((old, new)) => {
            let new = new.map(|source| load_or_make(&source)).transpose()?;
            halves(&theirs, &old, new.as_ref().unwrap_or(&old))?
        }
        None => Vec::new(),
    };
    let question = v1::RewrapKeysRequest { source: to.to_string(), operators };
    let ask = async |mut admin: Admin, question| admin.rewrap_keys(question).await;
    let made = client.ask(question, ask).await?;
    let (before, kek) = (hex::encode(&made.before), hex::encode(&made.kek_id));
    demand.output.answer(
        || json!({ "before": before, "kek": kek, "objects": made.objects }),
        || {
            format!(
                "{}\neverything is wrapped under KEK {kek} now\nwhat lies under KEK {before} stays \
                 in the locations and opens with it as long as that one is somewhere\nholdfast \
                 keys list",
                made.objects.join("\n")
            )
        },
    )
}

fn load_or_make(source: &KekSource) -> Result<Kek> {
    match source {
        KekSource::File(path) if !path.exists() => source.create(&SystemEntropy),
        _ => source.load(&environment, None),
    }
}

/// The private half of every version, under the operator's key as it is to be from now on.
fn halves(plans: &[&v1::KeysPlan], old: &Kek, new: &Kek) -> Result<Vec<v1::VaultHalf>> {
    let mut halves = Vec::new();
    for plan in plans {
        for version in &plan.versions {
            let object = KeyObject::from_bytes(&version.key_object)?;
            let private = object.unwrap_operator(old)?;
            let index = object.index_public();
            let number = version.next_kek_version;
            let half = OperatorsHalf::wrap(&private, index, number, new, &SystemEntropy)?;
            let vault_id = plan.vault_id.clone();
            halves.push(v1::VaultHalf { vault_id, half: Some(rendered(&half)) });
        }
    }
    Ok(halves)
}
