//! `holdfast keys destroy`: an old version of a vault's keys goes for good, and two people decide.
//!
//! The first call asks, another person's call agrees. Both are shown what would be lost, and what
//! opens it still for all that; coordinators count once more before anything goes.

use crate::{
    client::{Admin, Client},
    confirm::confirm,
    demand::Demand,
    output::figures::{self, json_time},
};
use holdfast_common::{Code, Error, Name, Result, Timestamp};
use holdfast_wire::v1;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The version that is to be destroyed; a newer one has followed it, and it is closed
    #[arg(required_unless_present = "withdraw")]
    version: Option<u32>,
    /// The vault whose keys they are
    #[arg(long, required_unless_present = "withdraw")]
    vault: Option<Name>,
    /// Say what would be lost, and change nothing
    #[arg(long, conflicts_with_all = ["lose_points", "approve", "withdraw"])]
    dry_run: bool,
    /// How many points are lost with it, exactly as many as --dry-run names
    #[arg(long, value_name = "N", conflicts_with_all = ["approve", "withdraw"])]
    lose_points: Option<u64>,
    /// Agree to what somebody else asked for, by the id of the request
    #[arg(long, value_name = "ID", conflicts_with = "withdraw")]
    approve: Option<String>,
    /// Take a request back, or say no to one
    #[arg(long, value_name = "ID", conflicts_with_all = ["version", "vault"])]
    withdraw: Option<String>,
}

pub(super) async fn destroy(arguments: Arguments, demand: &Demand<'_>) -> Result<()> {
    let Arguments { version, vault, dry_run, lose_points, approve, withdraw } = arguments;
    if let Some(id) = withdraw {
        return take_back(&id, demand).await;
    }
    let (Some(version), Some(vault)) = (version, vault) else {
        return Err(Error::new(Code::UsageMalformed, "name a version and its --vault"));
    };
    if dry_run {
        return super::loss::show(&vault, version, demand).await;
    }
    match approve {
        Some(id) => agree((&vault, version), &id, demand).await,
        None => ask((&vault, version), lose_points.unwrap_or(0), demand).await,
    }
}

/// The first person.
async fn ask((vault, version): (&Name, u32), lose: u64, demand: &Demand<'_>) -> Result<()> {
    let client = demand.client().await?;
    show((vault, version), &client, demand).await?;
    let what = format!(
        "ask that version {version} of the keys of `{vault}` be destroyed for good; {lose} points \
         may be lost with it"
    );
    confirm(demand, &what)?;
    let question = v1::AskDestroyRequest { vault: vault.to_string(), version, lose_points: lose };
    let ask = async |mut admin: Admin, question| admin.ask_destroy(question).await;
    let asked = client.ask_once(question, ask).await?.request.unwrap_or_default();
    demand.output.answer(
        || request(&asked),
        || {
            let id = hex::encode(&asked.id);
            format!(
                "{id}\nanother administrator agrees until {} with:\n  holdfast keys destroy \
                 {version} --vault {vault} --approve {id}\nor anybody says no with:\n  holdfast \
                 keys destroy --withdraw {id}",
                time(asked.ends_ns)
            )
        },
    )
}

/// What it costs, and what opens it still; to be read before anybody says yes.
async fn show((vault, version): (&Name, u32), client: &Client, demand: &Demand<'_>) -> Result<()> {
    let plan = super::loss::plan(vault, version, client).await?;
    if !demand.output.is_json() {
        demand.output.remark(&format!("{}\n", super::loss::text(vault, &plan)));
    }
    Ok(())
}

/// The second person.
async fn agree((vault, version): (&Name, u32), id: &str, demand: &Demand<'_>) -> Result<()> {
    let client = demand.client().await?;
    let asked = find(&client, id).await?;
    if (asked.vault.as_str(), asked.version) != (vault.as_str(), version) {
        let (of, its) = (&asked.vault, asked.version);
        let message = format!("that request is about version {its} of the keys of `{of}`");
        return Err(Error::new(Code::ResourceConflict, message).next("holdfast keys list"));
    }
    show((vault, version), &client, demand).await?;
    let (by, at) = (&asked.asked_by, time(asked.asked_ns));
    let what = format!(
        "destroy version {version} of the keys of `{vault}` for good, as `{by}` asked at {at}; {}",
        lost(asked.points)
    );
    confirm(demand, &what)?;
    let question = v1::DestroyKeysRequest { id: asked.id.clone() };
    let agree = async |mut admin: Admin, question| admin.destroy_keys(question).await;
    let v1::DestroyKeysResponse { points, .. } = client.ask_once(question, agree).await?;
    demand.output.answer(
        || {
            json!({
                "id": hex::encode(&asked.id),
                "vault": vault.as_str(),
                "version": version,
                "points_lost": points,
            })
        },
        || done(vault, version, points),
    )
}

fn done(vault: &Name, version: u32, points: u64) -> String {
    format!(
        "version {version} of the keys of `{vault}` is destroyed; {}\nits objects leave the \
         locations: holdfast keys list\nwhat was wrapped before stays under the KEK of then: \
         holdfast keys rewrap --to SOURCE, then destroy the old KEK at its provider\nbundles that \
         were exported before open it still: destroy every copy",
        lost(points)
    )
}

async fn take_back(id: &str, demand: &Demand<'_>) -> Result<()> {
    let client = demand.client().await?;
    let asked = find(&client, id).await?;
    let question = v1::WithdrawDestroyRequest { id: asked.id.clone() };
    let withdraw = async |mut admin: Admin, question| admin.withdraw_destroy(question).await;
    client.ask_once(question, withdraw).await?;
    demand.output.answer(
        || request(&asked),
        || {
            let (version, vault) = (asked.version, &asked.vault);
            format!("version {version} of the keys of `{vault}` stays")
        },
    )
}

/// By the beginning of its id, where that is of one alone.
async fn find(client: &Client, id: &str) -> Result<v1::DestroyRequest> {
    let list = async |mut admin: Admin, question| admin.list_keys(question).await;
    let asked = client.ask(v1::ListKeysRequest {}, list).await?.requests;
    one_of(asked, id)
}

fn one_of(asked: Vec<v1::DestroyRequest>, id: &str) -> Result<v1::DestroyRequest> {
    let is_it =
        |asked: &v1::DestroyRequest| !id.is_empty() && hex::encode(&asked.id).starts_with(id);
    let mut found: Vec<_> = asked.into_iter().filter(is_it).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => {
            Err(Error::new(Code::UsageMalformed, format!("`{id}` begins several requests"))
                .next("give more characters of the id"))
        }
        (None, _) => {
            let message = format!("nobody asks for anything as `{id}`, or nobody agreed in time");
            Err(Error::new(Code::KeyRequestMissing, message))
        }
    }
}

fn lost(points: u64) -> String {
    match points {
        0 => "no point is lost with it".to_owned(),
        1 => "1 point is lost with it".to_owned(),
        many => format!("{many} points are lost with it"),
    }
}

/// A request, as a script reads it.
pub(super) fn request(asked: &v1::DestroyRequest) -> Value {
    json!({
        "id": hex::encode(&asked.id),
        "vault": asked.vault,
        "version": asked.version,
        "asked_by": asked.asked_by,
        "asked": json_time(Some(asked.asked_ns)),
        "ends": json_time(Some(asked.ends_ns)),
        "points_lost": asked.points,
    })
}

fn time(ns: i64) -> String {
    figures::time(Timestamp::from_nanos(ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_by_as_much_of_its_id_as_tells_it_from_others() {
        let asked =
            |id: [u8; 2]| v1::DestroyRequest { id: id.to_vec().into(), ..Default::default() };
        let all = || vec![asked([0xab, 0x01]), asked([0xab, 0x02])];
        assert_eq!(one_of(all(), "ab02").unwrap(), asked([0xab, 0x02]));
        for (id, code) in [
            ("ab", Code::UsageMalformed),
            ("", Code::KeyRequestMissing),
            ("c", Code::KeyRequestMissing),
        ] {
            assert_eq!(one_of(all(), id).unwrap_err().code, code, "{id}");
        }
    }
}
