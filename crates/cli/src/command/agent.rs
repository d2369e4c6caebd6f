//! `holdfast agent`: with `--config` the agent itself; else what enrols and looks after agents.

use crate::{
    client::{Admin, Client},
    command::status::{agent_fields, agents_text},
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    house,
    output::figures::{self, json_time},
};
use clap::Subcommand;
use core::time::Duration;
use holdfast_common::{Code, Error, Name, Result, Timestamp, limits};
use holdfast_wire::v1;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Arguments {
    /// Run the agent that this agent.toml describes
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token with which one host may join
    #[command(after_help = EXAMPLES)]
    Token {
        /// A label of the agent, as KEY=VALUE; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// How long the token is good for: 90s, 15m, 1h, 2d
        #[arg(long, value_parser = figures::parse_span, value_name = "SPAN")]
        ttl: Option<Duration>,
        /// For an agent that opens what others backed up, to see whether it could be
        /// restored, and does nothing else
        #[arg(long)]
        verifier: bool,
    },
    /// Trade a token for an identity and write agent.toml
    #[command(after_help = EXAMPLES)]
    Join {
        /// Where a coordinator accepts calls
        #[arg(long, value_name = "ADDR")]
        coordinator: String,
        #[arg(long)]
        token: String,
        /// Where the agent keeps its identity and its cache
        #[arg(long)]
        dir: PathBuf,
        /// The name that the agent would like
        #[arg(long)]
        name: Option<Name>,
    },
    /// Tell an agent where the coordinators are now, when none of those it knows is left
    #[command(after_help = EXAMPLES)]
    Repoint {
        /// Where the agent keeps its identity and its cache
        #[arg(long)]
        dir: PathBuf,
        /// Where a coordinator accepts calls; may be repeated
        #[arg(long = "coordinator", value_name = "ADDR", required = true)]
        coordinators: Vec<String>,
    },
    /// List the enrolled agents
    #[command(after_help = EXAMPLES)]
    List,
    /// Show one agent
    #[command(after_help = EXAMPLES)]
    Show { agent: String },
    /// Shut an agent out for good; takes effect at once
    #[command(after_help = EXAMPLES)]
    Revoke { agent: String },
}

impl Arguments {
    pub fn is_service(&self) -> bool {
        self.verb.is_none()
    }
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    match (arguments.verb, arguments.config) {
        (None, Some(config)) => house::agent(&config, demand.output).await?,
        (None, None) => {
            return Err(Error::new(Code::UsageMalformed, "an agent needs --config FILE"));
        }
        (Some(verb), _) => look_after(verb, demand).await?,
    }
    Ok(Ending::Done)
}

async fn look_after(verb: Verb, demand: &Demand<'_>) -> Result<()> {
    match verb {
        Verb::Token { labels, ttl, verifier } => token(labels, ttl, verifier, demand).await,
        Verb::Join { coordinator, token, dir, name } => {
            let joined = house::join(coordinator, token, dir, name).await?;
            demand.output.answer(
                || json!({ "agent": joined.name, "id": joined.id, "config": joined.config }),
                || format!("holdfast agent --config {}", joined.config.display()),
            )
        }
        Verb::Repoint { dir, coordinators } => {
            let moved = house::repoint(&dir, coordinators)?;
            demand.output.answer(
                || json!({ "agent": moved.name, "id": moved.id, "config": moved.config }),
                || format!("holdfast agent --config {}", moved.config.display()),
            )
        }
        Verb::List => list(demand).await,
        Verb::Show { agent } => show(&agent, demand).await,
        Verb::Revoke { agent } => revoke(agent, demand).await,
    }
}

async fn token(
    labels: Vec<(String, String)>,
    ttl: Option<Duration>,
    verifier: bool,
    demand: &Demand<'_>,
) -> Result<()> {
    let ttl = ttl.unwrap_or(Duration::from_secs(limits::TOKEN_TTL_SECS));
    let question = v1::CreateTokenRequest {
        labels: labels.into_iter().collect(),
        ttl_ms: ttl.as_millis() as u64,
        for_member: false,
        witness: false,
        verifier,
    };
    let client = demand.client().await?;
    let ask = async |mut admin: Admin, question| admin.create_token(question).await;
    let made = client.ask(question, ask).await?;
    if made.verifier != verifier {
        let message = "this coordinator knows no verifiers, and made a token for any agent";
        return Err(Error::new(Code::LevelLow, message));
    }
    demand.output.answer(
        || json!({ "token": made.token, "expires": json_time(Some(made.expires_ns)) }),
        || made.token.clone(),
    )
}

async fn list(demand: &Demand<'_>) -> Result<()> {
    let agents = agents(&demand.client().await?).await?;
    demand.output.answer(
        || json!({ "agents": agents.iter().map(agent_fields).collect::<Vec<_>>() }),
        || agents_text(&agents),
    )
}

async fn show(text: &str, demand: &Demand<'_>) -> Result<()> {
    let agents = agents(&demand.client().await?).await?;
    let agent = find(&agents, text)?;
    demand.output.answer(
        || json!({ "agents": [agent_fields(agent)] }),
        || {
            let ends = figures::time(Timestamp::from_nanos(agent.certificate_ends_ns));
            let table = agents_text(core::slice::from_ref(agent));
            format!("{table}\n\nThe certificate ends {ends} and is renewed before.")
        },
    )
}

async fn revoke(text: String, demand: &Demand<'_>) -> Result<()> {
    let client = demand.client().await?;
    let agents = agents(&client).await?;
    let agent = find(&agents, &text)?;
    confirm(demand, &format!("shut agent {} out for good", agent.name))?;
    let question = v1::RevokeAgentRequest { agent: hex::encode(&agent.id) };
    client
        .ask(question, async |mut admin: Admin, question| admin.revoke_agent(question).await)
        .await?;
    demand.output.answer(
        || json!({ "agent": agent.name, "state": "revoked" }),
        || format!("agent {} is revoked", agent.name),
    )
}

async fn agents(client: &Client) -> Result<Vec<v1::AgentStatus>> {
    let ask = async |mut admin: Admin, question| admin.list_agents(question).await;
    Ok(client.ask(v1::ListAgentsRequest {}, ask).await?.agents)
}

fn find<'a>(agents: &'a [v1::AgentStatus], text: &str) -> Result<&'a v1::AgentStatus> {
    let named = agents.iter().find(|agent| agent.name == text);
    if let Some(named) = named {
        return Ok(named);
    }
    let fits = |agent: &&v1::AgentStatus| hex::encode(&agent.id).starts_with(text);
    let mut fitting = agents.iter().filter(fits).filter(|_| text.len() >= ID_PREFIX_MIN);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => {
            let message = format!("more than one agent's id begins with `{text}`");
            Err(Error::new(Code::UsageIdMalformed, message).next("give more characters of the id"))
        }
        (None, _) => Err(Error::new(Code::AgentMissing, format!("no agent is named `{text}`"))),
    }
}

fn label(text: &str) -> Result<(String, String)> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| Error::new(Code::UsageMalformed, format!("`{text}` is not KEY=VALUE")))?;
    Ok((key.parse::<Name>()?.to_string(), value.to_owned()))
}

/// What a person writes of an id; as of points and runs.
const ID_PREFIX_MIN: usize = 8;

pub const EXAMPLES: &str = "\
Examples:
  holdfast agent token --label role=pacs --ttl 1h
  holdfast agent token --verifier
  holdfast agent join --coordinator 10.0.0.1:7400 --token T --dir /var/lib/holdfast --name pacs-1
  holdfast agent --config /var/lib/holdfast/agent.toml
  holdfast agent list
  holdfast agent repoint --dir /var/lib/holdfast --coordinator 10.0.0.4:7400
  holdfast agent revoke pacs-1 --yes";
