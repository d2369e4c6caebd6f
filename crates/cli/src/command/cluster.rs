//! `holdfast cluster init`: makes a cluster of one member, offline. `holdfast cluster status`: its
//! members as the leader sees them. `cluster confirm-clock`: a person vouches for its time.

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
    /// Say that the coordinator's clock is right, when `status` reports that it jumped
    #[command(after_help = EXAMPLES)]
    ConfirmClock,
    /// Show the members
    #[command(after_help = EXAMPLES)]
    Status,
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
    /// A location of vault `main`, as NAME=URL; may be repeated
    #[arg(long = "location", value_name = "NAME=URL", required = true, value_parser = location)]
    locations: Vec<(Name, String)>,
    /// What wraps the keys: file:PATH (made if absent), env:NAME, passphrase-file:PATH
    #[arg(long, value_name = "SOURCE")]
    kek: KekSource,
    /// Who can open what is backed up
    #[arg(long, value_enum)]
    custody: Custody,
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
        Verb::ConfirmClock => confirm_clock(demand).await,
        Verb::Status => status(demand).await,
    }
}

async fn found(init: Init, demand: &Demand<'_>) -> Result<Ending> {
    let dir = init.dir.clone();
    house::init(Founding {
        dir: init.dir,
        name: init.name,
        region: init.region,
        listen: init.listen,
        locations: init.locations,
        kek: init.kek,
        custody: init.custody,
        trial: false,
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
        || {
            let mut table = Table::new(["id", "name", "region", "role", "state", ">applied"]);
            for member in &status.members {
                table.row([
                    member.id.to_string(),
                    member.name.clone(),
                    member.region.clone(),
                    member.role.clone(),
                    member.state.clone(),
                    member.applied.to_string(),
                ]);
            }
            table.render()
        },
    )?;
    Ok(Ending::Done)
}

fn location(text: &str) -> Result<(Name, String)> {
    let (name, url) = text.split_once('=').ok_or_else(|| {
        Error::new(Code::UsageMalformed, format!("`{text}` is not NAME=URL"))
            .next("write it as main=local:/srv/vault")
    })?;
    Ok((name.parse()?, url.to_owned()))
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast cluster status
  holdfast cluster confirm-clock --yes
  holdfast --output json cluster status";
const INIT_EXAMPLES: &str = "\
Examples:
  holdfast cluster init --dir C --name one --region eu --listen 10.0.0.1:7400 \\
      --location main=local:/srv/vault --kek file:/etc/holdfast/kek --custody coordinator";
