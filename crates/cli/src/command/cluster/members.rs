//! `holdfast cluster token | join | promote | demote | remove | transfer`: who belongs to the
//! cluster, and who leads it.
//!
//! What is wanted is written down first and then comes true; the command waits for it and shows
//! what it waits for. A command that gave up waiting took nothing back.

use crate::{
    client::{Admin, Client},
    command::feature_level,
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    output::figures::{self, json_time},
    progress::Bar,
};
use core::time::Duration;
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_coordinator::{JoinOptions, LEVEL_FIRST};
use holdfast_keyring::KekSource;
use holdfast_wire::v1;
use serde_json::json;
use std::path::PathBuf;
use tokio::time::Instant;

#[derive(Debug, clap::Args)]
pub struct Join {
    /// Where the coordinator keeps its files; made if absent
    #[arg(long)]
    dir: PathBuf,
    /// The name of this member
    #[arg(long)]
    name: Name,
    /// The failure domain that this member stands in
    #[arg(long)]
    region: Name,
    /// Where this member accepts calls
    #[arg(long, value_name = "ADDR")]
    listen: String,
    /// Where the others reach it, when that is not where it listens
    #[arg(long, value_name = "ADDR")]
    advertise: Option<String>,
    /// Where any member accepts calls
    #[arg(long, value_name = "ADDR")]
    coordinator: String,
    /// What `holdfast cluster token` printed
    #[arg(long)]
    token: String,
    /// Where this member finds the KEK; a key file is brought along unless this is given
    #[arg(long, value_name = "SOURCE")]
    kek: Option<KekSource>,
    /// Follow the ledger and do not vote, as in a region to fall back on
    #[arg(long)]
    learner: bool,
    /// Vote and keep the ledger, and be given no key and no data
    #[arg(long, conflicts_with_all = ["learner", "kek"])]
    witness: bool,
    /// Be as a binary that knows no more than this feature level
    #[arg(long, hide_short_help = true, value_name = "N", value_parser = feature_level())]
    max_level: Option<u32>,
}

/// Membership changes wait for the member itself, which may have to take a whole snapshot first.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// From which feature level on there are witnesses.
const WITNESSES: u32 = 2;

pub async fn token(ttl: Option<Duration>, witness: bool, demand: &Demand<'_>) -> Result<Ending> {
    let ttl = ttl.unwrap_or(Duration::from_secs(limits::TOKEN_TTL_SECS));
    let question = v1::CreateTokenRequest {
        ttl_ms: ttl.as_millis() as u64,
        for_member: true,
        witness,
        ..Default::default()
    };
    let client = demand.client().await?;
    if witness {
        insist_on_level(&client, WITNESSES).await?;
    }
    let ask = async |mut admin: Admin, question| admin.create_token(question).await;
    let made = client.ask(question, ask).await?;
    demand.output.answer(
        || json!({ "token": made.token, "expires": json_time(Some(made.expires_ns)) }),
        || made.token.clone(),
    )?;
    Ok(Ending::Done)
}

/// A member that does not know the level would take what is asked for something else.
async fn insist_on_level(client: &Client, wanted: u32) -> Result<()> {
    let ask = async |mut admin: Admin, question| admin.status(question).await;
    let level = client.ask(v1::StatusRequest {}, ask).await?.level.max(LEVEL_FIRST);
    if level >= wanted {
        return Ok(());
    }
    let message = format!("this needs level {wanted}, and the cluster is at level {level}");
    Err(Error::new(Code::LevelLow, message))
}

pub async fn join(join: Join, demand: &Demand<'_>) -> Result<Ending> {
    let joined = holdfast_coordinator::join(JoinOptions {
        dir: join.dir,
        name: join.name.clone(),
        region: join.region,
        listen: join.listen,
        advertise: join.advertise,
        coordinator: join.coordinator,
        token: join.token,
        kek: join.kek,
        learner: join.learner,
        witness: join.witness,
        level_max: join.max_level,
    })
    .await?;
    let (id, name) = (joined.node_id.to_string(), join.name.as_str());
    demand.output.answer(
        || json!({ "id": id, "name": name, "config": joined.config }),
        || format!("holdfast coordinator --config {}", joined.config.display()),
    )?;
    Ok(Ending::Done)
}

/// Makes a member vote, or stop voting.
pub async fn place(member: String, voter: bool, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let role = if voter { "voter" } else { "learner" };
    let question = v1::PlaceMemberRequest { member: member.clone(), voter };
    let ask = async |mut admin: Admin, question| admin.place_member(question).await;
    client.ask(question, ask).await?;
    let what = format!("until `{member}` is a {role}");
    let is_placed =
        |status: &v1::StatusResponse| find(status, &member).is_some_and(|row| row.role == role);
    let status = wait(&client, demand, &what, is_placed).await?;
    told(demand, &member, &status)
}

pub async fn remove(member: String, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    confirm(demand, &format!("take `{member}` out of the cluster for ever"))?;
    let question = v1::RemoveMemberRequest { member: member.clone() };
    let ask = async |mut admin: Admin, question| admin.remove_member(question).await;
    client.ask(question, ask).await?;
    demand.output.answer(|| json!({ "removed": member }), || format!("{member} removed"))?;
    Ok(Ending::Done)
}

pub async fn transfer(member: Option<String>, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let question = v1::TransferLeaderRequest { member: member.unwrap_or_default() };
    let ask = async |mut admin: Admin, question| admin.transfer_leader(question).await;
    let leader = client.ask(question, ask).await?.leader;
    demand.output.answer(|| json!({ "leader": leader }), || format!("{leader} leads"))?;
    Ok(Ending::Done)
}

fn told(demand: &Demand<'_>, member: &str, status: &v1::StatusResponse) -> Result<Ending> {
    let row = find(status, member).cloned().unwrap_or_default();
    demand.output.answer(
        || json!({ "id": row.id.to_string(), "name": row.name, "role": row.role }),
        || format!("{} is a {}", row.name, row.role),
    )?;
    Ok(Ending::Done)
}

fn find<'a>(status: &'a v1::StatusResponse, member: &str) -> Option<&'a v1::MemberStatus> {
    status.members.iter().find(|row| row.name == member || row.id.to_string() == member)
}

async fn wait(
    client: &Client,
    demand: &Demand<'_>,
    what: &str,
    is_reached: impl Fn(&v1::StatusResponse) -> bool,
) -> Result<v1::StatusResponse> {
    let bar = Bar::start(demand.output, "waiting for the member");
    let begun = Instant::now();
    loop {
        let ask = async |mut admin: Admin, question| admin.status(question).await;
        let status = client.ask(v1::StatusRequest {}, ask).await?;
        if is_reached(&status) {
            bar.clear();
            return Ok(status);
        }
        if begun.elapsed() > PATIENCE {
            let waited = figures::span(PATIENCE);
            return Err(Error::new(Code::ClusterBusy, format!("waited {waited} {what}"))
                .next("it is written down and goes on; look with `holdfast cluster status`"));
        }
        tokio::time::sleep(LOOK).await;
    }
}
