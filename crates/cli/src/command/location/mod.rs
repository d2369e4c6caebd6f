//! `holdfast location add | list | test | disable | enable | replace | rebuild | remove`: where
//! vaults lie.
//!
//! The coordinator that is asked tries a place, since it is the one with the credentials. What
//! takes a place out of use shows which vaults rely on it, and asks. Nothing here touches an
//! object.

mod shown;

use crate::{
    client::{Admin, Client},
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    output::figures,
};
use clap::Subcommand;
use holdfast_common::{Code, Error, Name, Result};
use holdfast_wire::v1;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Try a new location, and declare it
    #[command(after_help = EXAMPLES)]
    Add {
        name: Name,
        /// `local:PATH` or `s3:BUCKET/PREFIX`; a relative path begins where the coordinator runs
        url: String,
        /// The failure domain that it stands in; that of the asked coordinator unless named
        #[arg(long)]
        region: Option<Name>,
        /// Declare it without having tried it
        #[arg(long)]
        untested: bool,
    },
    /// List the locations, who requires them, and how they answer
    #[command(after_help = EXAMPLES)]
    List,
    /// Say what the asked coordinator may do there, and what the place enforces
    #[command(after_help = EXAMPLES)]
    Test {
        /// A location that is declared
        #[arg(required_unless_present = "url", conflicts_with = "url")]
        name: Option<Name>,
        /// A place that is not
        #[arg(long)]
        url: Option<String>,
    },
    /// Neither write nor read a location, until it is enabled again
    #[command(after_help = EXAMPLES)]
    Disable { name: Name },
    /// Put a location to use again, and bring it what it lacks
    #[command(after_help = EXAMPLES)]
    Enable { name: Name },
    /// Say that a location lies elsewhere now, with all it holds
    #[command(after_help = EXAMPLES)]
    Replace {
        name: Name,
        url: String,
        /// The new place holds nothing, and is filled from the vaults' other locations
        #[arg(long)]
        empty: bool,
        /// Where it lies now is gone for good: what no other location has is lost
        #[arg(long)]
        old_is_gone: bool,
    },
    /// Fill a location that lost what it held, from the others that its vaults lie in
    #[command(after_help = EXAMPLES)]
    Rebuild { name: Name },
    /// Forget a location that no vault lies in; what lies there stays
    #[command(after_help = EXAMPLES)]
    Remove { name: Name },
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    match arguments.verb {
        Verb::Add { name, url, region, untested } => {
            let region = region.map(|region| region.to_string()).unwrap_or_default();
            let name = name.to_string();
            add(v1::AddLocationRequest { name, url, region, untested }, demand).await
        }
        Verb::List => list(demand).await,
        Verb::Test { name, url } => {
            let name = name.map(|name| name.to_string()).unwrap_or_default();
            test(v1::TestLocationRequest { name, url: url.unwrap_or_default() }, demand).await
        }
        Verb::Disable { name } => disable(&name, demand).await,
        Verb::Enable { name } => enable(&name, demand).await,
        Verb::Replace { name, url, empty, old_is_gone } => {
            let name = name.to_string();
            replace(v1::ReplaceLocationRequest { name, url, empty, old_is_gone }, demand).await
        }
        Verb::Rebuild { name } => rebuild(&name, demand).await,
        Verb::Remove { name } => remove(&name, demand).await,
    }
}

async fn add(question: v1::AddLocationRequest, demand: &Demand<'_>) -> Result<Ending> {
    let name = question.name.clone();
    let client = demand.client().await?;
    let ask = async |mut admin: Admin, question| admin.add_location(question).await;
    let added = client.ask_once(question, ask).await?;
    let trial = added.trial.as_ref();
    demand.output.answer(
        || {
            json!({
                "location": name,
                "url": added.url,
                "region": added.region,
                "test": trial.map(shown::trial_fields),
            })
        },
        || {
            let said = format!("location {name} added: {} in {}", added.url, added.region);
            let tried = trial.map(|trial| format!("{}\n\n", shown::trial_text(trial)));
            format!("{}{said}", tried.unwrap_or_default())
        },
    )?;
    Ok(Ending::Done)
}

async fn list(demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let found = locations(&client).await?;
    demand.output.answer(
        || json!({ "locations": found.iter().map(shown::fields).collect::<Vec<_>>() }),
        || shown::table(&found),
    )?;
    Ok(Ending::Done)
}

async fn test(question: v1::TestLocationRequest, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let ask = async |mut admin: Admin, question| admin.test_location(question).await;
    let trial = client.ask(question, ask).await?.trial.unwrap_or_default();
    demand.output.answer(|| shown::trial_fields(&trial), || shown::trial_text(&trial))?;
    let refused = trial.checks.iter().find(|check| !check.ok);
    Ok(refused.map_or(Ending::Done, |check| {
        // A newer coordinator may know codes that this binary does not.
        Code::from_name(&check.code).map_or(Ending::Failed, |code| Ending::Found(code.exit()))
    }))
}

async fn disable(name: &Name, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let vaults = requiring(&client, name).await?;
    if !vaults.is_empty() {
        confirm(
            demand,
            &format!("refuse backups into {}, which require `{name}`", quoted(&vaults)),
        )?;
    }
    let question = v1::DisableLocationRequest { name: name.to_string() };
    let ask = async |mut admin: Admin, question| admin.disable_location(question).await;
    let changed = client.ask(question, ask).await?.changed;
    demand.output.answer(
        || {
            json!({
                "location": name.as_str(),
                "state": "disabled",
                "changed": changed,
                "required_by": vaults,
            })
        },
        || {
            let stopped = match vaults.is_empty() {
                true => String::new(),
                false => format!("; no backups into {} until it is enabled", quoted(&vaults)),
            };
            format!("location {name} disabled{stopped}")
        },
    )?;
    Ok(Ending::Done)
}

async fn enable(name: &Name, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let question = v1::EnableLocationRequest { name: name.to_string() };
    let ask = async |mut admin: Admin, question| admin.enable_location(question).await;
    let done = client.ask(question, ask).await?;
    demand.output.answer(
        || {
            json!({
                "location": name.as_str(),
                "state": "enabled",
                "changed": done.changed,
                "objects": done.objects,
                "bytes": done.bytes,
            })
        },
        || format!("location {name} enabled{}", brought(done.objects, done.bytes)),
    )?;
    Ok(Ending::Done)
}

async fn replace(question: v1::ReplaceLocationRequest, demand: &Demand<'_>) -> Result<Ending> {
    let (client, name) = (demand.client().await?, question.name.clone());
    let ask = async |mut admin: Admin, question| admin.replace_location(question).await;
    let done = client.ask(question, ask).await?;
    demand.output.answer(
        || {
            json!({
                "location": name.as_str(),
                "old_url": done.old_url,
                "url": done.url,
                "vaults": done.vaults,
                "objects": done.objects,
                "bytes": done.bytes,
                "next": VERIFY,
                "test": done.trial.as_ref().map(shown::trial_fields),
            })
        },
        || {
            let brought = brought(done.objects, done.bytes);
            if done.old_url == done.url {
                return format!("location {name} lies at {} already{brought}", done.url);
            }
            let moved = format!("location {name} lies at {}{brought}", done.url);
            format!("{moved}\n{} was not touched\nnext: {VERIFY}", done.old_url)
        },
    )?;
    Ok(Ending::Done)
}

async fn rebuild(name: &Name, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    confirm(demand, &format!("fill `{name}` again where it is, as if it held nothing"))?;
    let question = v1::RebuildLocationRequest { name: name.to_string() };
    let ask = async |mut admin: Admin, question| admin.rebuild_location(question).await;
    let vaults = client.ask_once(question, ask).await?.vaults;
    let next = "holdfast location list";
    demand.output.answer(
        || json!({ "location": name.as_str(), "vaults": vaults, "next": next }),
        || {
            let held = quoted(&vaults);
            format!("location {name} is filled again with what {held} holds\nnext: {next}")
        },
    )?;
    Ok(Ending::Done)
}

async fn remove(name: &Name, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    confirm(demand, &format!("forget the location {name}; what lies there stays"))?;
    let question = v1::DeleteRequest { kind: "location".to_owned(), name: name.to_string() };
    let ask = async |mut admin: Admin, question| admin.delete(question).await;
    client.ask_once(question, ask).await?;
    demand.output.answer(
        || json!({ "location": name.as_str(), "result": "removed" }),
        || format!("location {name} removed; what lies there was not touched"),
    )?;
    Ok(Ending::Done)
}

async fn locations(client: &Client) -> Result<Vec<v1::LocationStatus>> {
    let ask = async |mut admin: Admin, question| admin.list_locations(question).await;
    Ok(client.ask(v1::ListLocationsRequest {}, ask).await?.locations)
}

/// The vaults that require a location.
async fn requiring(client: &Client, name: &Name) -> Result<Vec<String>> {
    let found = locations(client).await?.into_iter().find(|found| found.name == name.as_str());
    let missing = || Error::new(Code::LocationMissing, format!("there is no location `{name}`"));
    found.map(|found| found.required_by).ok_or_else(missing)
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn brought(objects: u64, bytes: u64) -> String {
    match objects {
        0 => String::new(),
        _ => format!("; {objects} objects ({}) that it lacked were brought", figures::size(bytes)),
    }
}

/// What proves that a place holds what it is said to.
const VERIFY: &str = "holdfast verify --all --level storage";

pub const EXAMPLES: &str = "\
Examples:
  holdfast location test --url 's3:clinic-backup/vault?region=eu-central-1'
  holdfast location add far local:/mnt/far/vault --region west
  holdfast location list
  holdfast location test far
  holdfast location disable far --yes
  holdfast location enable far
  holdfast location replace far local:/mnt/new/vault
  holdfast location replace far s3:new-bucket/vault --empty --old-is-gone
  holdfast location rebuild far --yes
  holdfast location remove old";
