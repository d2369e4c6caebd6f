//! `holdfast cluster init`: makes a cluster of one member, offline. `holdfast cluster status`: its
//! members as the leader sees them. `cluster confirm-clock`: a person vouches for its time. What
//! changes who belongs to it is in `members`, the worst day in `recover`.

mod members;
mod recover;

use crate::{
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    house::{self, Founding},
    output::{
        figures::{self, json_time},
        table::Table,
    },
};
use clap::Subcommand;
use core::time::Duration;
use holdfast_common::{Code, Error, Name, Result, Timestamp};
use holdfast_keyring::KekSource;
use holdfast_wire::v1;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a cluster: its keys, its CA, vault `main`, coordinator.toml and operator.toml
    #[command(after_help = INIT_EXAMPLES)]
    Init(Init),
    /// Make a token with which one coordinator may join; whoever has it can become one
    #[command(after_help = EXAMPLES)]
    Token {
        /// How long the token is good for: 90s, 15m, 1h, 2d
        #[arg(long, value_parser = figures::parse_span, value_name = "SPAN")]
        ttl: Option<Duration>,
        /// For a witness only, which is given no key
        #[arg(long)]
        witness: bool,
    },
    /// Trade a token for a place in the cluster and write coordinator.toml
    #[command(after_help = JOIN_EXAMPLES)]
    Join(members::Join),
    /// All coordinators are lost: make the cluster anew from a location and a key, offline
    #[command(after_help = recover::EXAMPLES)]
    Recover(Box<recover::Recover>),
    /// Show the members
    #[command(after_help = EXAMPLES)]
    Status,
    /// Make a member a voter; refused for one that lacks much of the ledger
    #[command(after_help = EXAMPLES)]
    Promote { member: String },
    /// Take a member's vote away; it goes on following
    #[command(after_help = EXAMPLES)]
    Demote { member: String },
    /// Take a member out of the cluster, for ever; also one that is lost
    #[command(after_help = EXAMPLES)]
    Remove { member: String },
    /// Have another voter lead
    #[command(after_help = EXAMPLES)]
    Transfer {
        /// Whichever has most of the ledger, unless one is named
        member: Option<String>,
    },
    /// Say that the coordinator's clock is right, when `status` reports that it jumped
    #[command(after_help = EXAMPLES)]
    ConfirmClock,
}

#[derive(Debug, clap::Args)]
struct Init {
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
    /// A location of vault `main`, as NAME=URL; may be repeated
    #[arg(long = "location", value_name = "NAME=URL", required = true, value_parser = location)]
    locations: Vec<(Name, String)>,
    /// What wraps the keys: file:PATH (made if absent), env:NAME, passphrase-file:PATH
    #[arg(long, value_name = "SOURCE")]
    kek: KekSource,
    /// Who can open what is backed up
    #[arg(long, value_enum)]
    custody: Custody,
    /// Be as a binary that knows no more than this feature level
    #[arg(long, hide_short_help = true, value_name = "N", value_parser = super::feature_level())]
    max_level: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Custody {
    /// The coordinators: unattended restores and drills
    Coordinator,
    /// Only operators, with the operator's key
    Operator,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    match arguments.verb {
        Verb::Init(init) => found(init, demand).await,
        Verb::Token { ttl, witness } => members::token(ttl, witness, demand).await,
        Verb::Join(join) => members::join(join, demand).await,
        Verb::Recover(arguments) => recover::recover(*arguments, demand).await,
        Verb::Status => status(demand).await,
        Verb::Promote { member } => members::place(member, true, demand).await,
        Verb::Demote { member } => members::place(member, false, demand).await,
        Verb::Remove { member } => members::remove(member, demand).await,
        Verb::Transfer { member } => members::transfer(member, demand).await,
        Verb::ConfirmClock => confirm_clock(demand).await,
    }
}

async fn found(init: Init, demand: &Demand<'_>) -> Result<Ending> {
    let dir = init.dir.clone();
    house::init(Founding {
        dir: init.dir,
        name: init.name,
        region: init.region,
        listen: init.listen,
        advertise: init.advertise,
        locations: init.locations,
        kek: init.kek,
        custody: init.custody,
        trial: false,
        level_max: init.max_level,
    })
    .await?;
    let (config, context) = (dir.join("coordinator.toml"), dir.join("operator.toml"));
    demand.output.answer(
        || json!({ "config": config, "context": context, "vault": "main" }),
        || {
            format!(
                "holdfast coordinator --config {}\nexport HOLDFAST_CONTEXT={}",
                config.display(),
                context.display()
            )
        },
    )?;
    Ok(Ending::Done)
}

async fn confirm_clock(demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    confirm(demand, "let the cluster's time follow the coordinator's clock")?;
    let ask = async |mut admin: crate::client::Admin, question| admin.confirm_clock(question).await;
    let now = client.ask(v1::ConfirmClockRequest {}, ask).await?.now_ns;
    demand.output.answer(
        || json!({ "now": json_time(Some(now)) }),
        || figures::time(Timestamp::from_nanos(now)),
    )?;
    Ok(Ending::Done)
}

async fn status(demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let ask = async |mut admin: crate::client::Admin, question| admin.status(question).await;
    let status = client.ask(v1::StatusRequest {}, ask).await?;
    demand.output.answer(
        || super::status::cluster_fields(&status),
        || format!("{}\n\n{}", lead(&status), members_table(&status)),
    )?;
    Ok(Ending::Done)
}

/// Who leads, since when, and what the cluster goes by.
fn lead(status: &v1::StatusResponse) -> String {
    let named = |id| status.members.iter().find(|member| member.id == id);
    let who = match (status.leader, status.leader_since_ns) {
        (Some(id), since) => {
            let name = named(id).map_or_else(|| id.to_string(), |member| member.name.clone());
            match since {
                Some(_) => format!("`{name}` leads since {}", figures::time_if_any(since)),
                None => format!("`{name}` leads"),
            }
        }
        (None, _) => "nobody leads".to_owned(),
    };
    format!("{who} (term {}, epoch {}, level {})", status.term, status.epoch, status.level)
}

fn members_table(status: &v1::StatusResponse) -> String {
    let mut table = Table::new([
        "id",
        "name",
        "region",
        "role",
        "duty",
        "state",
        ">replicated",
        ">applied",
        ">lag",
        ">contact",
        "address",
    ]);
    for member in &status.members {
        let figure = |known: Option<u64>| known.map_or_else(String::new, |known| known.to_string());
        table.row([
            member.id.to_string(),
            member.name.clone(),
            member.region.clone(),
            member.role.clone(),
            member.duty.clone(),
            member.state.clone(),
            figure(member.replicated),
            member.applied.to_string(),
            figure(member.lag),
            member.last_contact_ms.map_or_else(String::new, |ago| format!("{ago} ms")),
            member.address.clone(),
        ]);
    }
    table.render()
}

fn location(text: &str) -> Result<(Name, String)> {
    let (name, url) = text.split_once('=').ok_or_else(|| {
        Error::new(Code::UsageMalformed, "a location is written NAME=URL")
            .next("write it as main=local:/srv/vault")
    })?;
    Ok((name.parse()?, url.to_owned()))
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast cluster token --ttl 15m
  holdfast cluster token --witness
  holdfast cluster status
  holdfast cluster promote two
  holdfast cluster remove three --yes
  holdfast cluster transfer two
  holdfast cluster confirm-clock --yes
  holdfast --output json cluster status";
const JOIN_EXAMPLES: &str = "\
Examples:
  holdfast cluster join --dir C2 --name two --region eu --listen 10.0.0.2:7400 \\
      --coordinator 10.0.0.1:7400 --token hf1-…
  holdfast cluster join --dir C4 --name four --region us --listen 10.1.0.4:7400 --learner \\
      --coordinator 10.0.0.1:7400 --token hf1-…
  holdfast cluster join --dir W --name w --region ch --listen 10.2.0.1:7400 --witness \\
      --coordinator 10.0.0.1:7400 --token hf1-…";
const INIT_EXAMPLES: &str = "\
Examples:
  holdfast cluster init --dir C --name one --region eu --listen 10.0.0.1:7400 \\
      --location main=local:/srv/vault --kek file:/etc/holdfast/kek --custody coordinator";
