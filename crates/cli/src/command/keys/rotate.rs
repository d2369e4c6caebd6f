//! `holdfast keys rotate`: a new version of a vault's keys.
//!
//! In coordinator custody the coordinators make it. In operator custody it is made here, where the
//! operator's key is: the old private half vouches for the new one, and coordinators are given what
//! they may hold.

use crate::{
    client::{Admin, Client},
    demand::Demand,
};
use holdfast_common::{Code, Error, Result, SystemEntropy, VaultId, limits};
use holdfast_keyring::{
    IndexPrivateKey, Kek, KekSource, KeyObject, OperatorsHalf, Succession, VaultPrivateKey,
};
use holdfast_wire::v1;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The vault whose keys get a new version
    vault: String,
    /// In operator custody, the operator's key: file:PATH or env:NAME
    /// [default: operator.kek beside the context file]
    #[arg(long, value_name = "SOURCE")]
    kek: Option<KekSource>,
}

pub(super) async fn rotate(arguments: Arguments, demand: &Demand<'_>) -> Result<()> {
    let Arguments { vault, kek } = arguments;
    let client = demand.client().await?;
    let plan = plan(&client, &vault).await?;
    let operators = match plan.custody == "operator" {
        true => {
            let operator = super::export::operator_key(&vault, kek, demand)?;
            Some(operators_version(&plan, &operator)?)
        }
        false => {
            insist_on_no_operator(kek.is_some(), "--kek")?;
            None
        }
    };
    let question = v1::RotateKeysRequest { vault: vault.clone(), operators };
    let ask = async |mut admin: Admin, question| admin.rotate_keys(question).await;
    let made = client.ask(question, ask).await?;
    let v1::RotateKeysResponse { version, before, object } = made;
    demand.output.answer(
        || json!({ "vault": vault, "version": version, "before": before, "object": object }),
        || {
            format!(
                "{object}\nnew sessions are sealed to version {version}; version {before} and \
                 those before it go on opening what was sealed to them\nno bundle opens version \
                 {version} yet:\nholdfast keys export --to FILE\nholdfast keys verify FILE"
            )
        },
    )
}

async fn plan(client: &Client, vault: &str) -> Result<v1::KeysPlan> {
    let question = v1::PlanKeysRequest { vault: vault.to_owned() };
    let ask = async |mut admin: Admin, question| admin.plan_keys(question).await;
    let mut plans = client.ask(question, ask).await?.vaults;
    plans.pop().ok_or_else(|| Error::new(Code::VaultMissing, format!("there is no vault {vault}")))
}

/// Whoever names an operator's key believes that something is under it.
pub(super) fn insist_on_no_operator(is_named: bool, flag: &str) -> Result<()> {
    if !is_named {
        return Ok(());
    }
    let message = format!("{flag} is of no use: nothing here is in operator custody");
    Err(Error::new(Code::UsageMalformed, message).next(format!("leave {flag} out")))
}

/// A number far behind ends all rotation: there is none above the highest. What attempts left
/// behind is few.
fn insist_on_near(before: u32, next: u32) -> Result<()> {
    let last = before.saturating_add(limits::KEY_VERSION_STEP_MAX);
    if next > before && next <= last {
        return Ok(());
    }
    let message = format!(
        "the coordinators want version {next} behind version {before}; at most {last} is believed"
    );
    Err(Error::new(Code::LimitExceeded, message)
        .next("find out why before anything is rotated: no number is given back"))
}

/// The next version, made where the operator's key is.
fn operators_version(plan: &v1::KeysPlan, operator: &Kek) -> Result<v1::OperatorsVersion> {
    let entropy = &SystemEntropy;
    let newest = plan.versions.last().ok_or_else(|| {
        Error::new(Code::KeyWrong, "the coordinators tell of no version of the keys")
    })?;
    let object = KeyObject::from_bytes(&newest.key_object)?;
    let old = object.unwrap_operator(operator)?;
    insist_on_near(object.version(), plan.next_version)?;
    let vault: VaultId = object.vault();
    let new = VaultPrivateKey::generate(vault, plan.next_version, entropy);
    let index = IndexPrivateKey::generate(vault, plan.next_version, entropy);
    let succession = Succession::sign(&old, &new.public())?;
    let half = OperatorsHalf::wrap(&new, index.public().key, FIRST_KEK_VERSION, operator, entropy)?;
    Ok(v1::OperatorsVersion {
        half: Some(rendered(&half)),
        index_private: index.secret().expose().to_vec().into(),
        before: succession.before,
        signature: succession.signature.to_vec().into(),
    })
}

pub(super) fn rendered(half: &OperatorsHalf) -> v1::OperatorsHalf {
    v1::OperatorsHalf {
        version: half.version,
        kek_version: half.kek_version,
        vault_public: half.vault_public.to_vec().into(),
        index_public: half.index_public.to_vec().into(),
        operator_kek_id: half.operator_kek.as_bytes().to_vec().into(),
        wrapped: half.wrapped.to_vec().into(),
    }
}

const FIRST_KEK_VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::Secret;
    use holdfast_keyring::VaultKeys;

    #[test]
    fn a_version_far_behind_the_newest_is_made_for_nobody() {
        let entropy = &SystemEntropy;
        let keys = VaultKeys::generate(VaultId::random(entropy), entropy);
        let (kek, operator) = (Kek::from_secret(Secret::random(entropy)), Secret::random(entropy));
        let operator = Kek::from_secret(operator);
        let object = KeyObject::wrap(&keys, 1, &kek, 1, Some(&operator), entropy).unwrap();
        let plan = |next_version| v1::KeysPlan {
            next_version,
            versions: vec![v1::KeyVersionPlan {
                version: 1,
                next_kek_version: 2,
                key_object: object.to_bytes().into(),
            }],
            ..v1::KeysPlan::default()
        };
        for next in [2, 1 + limits::KEY_VERSION_STEP_MAX] {
            assert!(operators_version(&plan(next), &operator).is_ok(), "{next}");
        }
        for next in [0, 1, 2 + limits::KEY_VERSION_STEP_MAX, limits::KEY_VERSION_MAX, u32::MAX] {
            let refused = operators_version(&plan(next), &operator).map(drop).unwrap_err();
            assert_eq!(refused.code, Code::LimitExceeded, "{next}");
        }
    }

    #[test]
    fn an_operators_key_that_nothing_is_under_is_refused_as_a_wrong_argument() {
        assert!(insist_on_no_operator(false, "--kek").is_ok());
        let refused = insist_on_no_operator(true, "--to-operator").unwrap_err();
        assert_eq!(refused.code, Code::UsageMalformed);
    }
}
