//! `holdfast verify`: proves that points can be restored, or names what cannot.
//!
//! `structure` and `storage` are done by the coordinators, without keys: names and lengths, or
//! every byte. `full` also opens every chunk here, as a restore would, and writes nothing. Paths
//! are sealed to the vault: the coordinators name chunks, and this command finds the paths. With
//! `--agent` a verifier opens them instead; with `--from-location` there are no coordinators, and
//! `full` alone can be had.

mod agent;

use crate::{
    client::{Admin, Client, select::Filter},
    demand::Demand,
    ending::{self, Ending},
    offline::{OfflineArguments, Unlocked, choose::may_be_of, gather::is_unread, points::Refused},
    opening::{Opened, Shelf},
    output::{figures, path},
    progress::Bar,
    walk,
};
use agent::ByAgent;
use holdfast_common::{ChunkId, Code, Error, Name, Result, codes::Exit};
use holdfast_seal::manifest::entry::Entry;
use holdfast_wire::{status::from_status, v1};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["point", "all", "policy"]))]
pub struct Arguments {
    /// A point's id, its first 8 or more characters, or `latest`
    #[arg(conflicts_with = "all")]
    point: Option<String>,
    /// Every point
    #[arg(long, conflicts_with = "policy")]
    all: bool,
    /// Every point of this policy; with `latest` its newest
    #[arg(long)]
    policy: Option<Name>,
    /// How deep
    #[arg(long, value_enum, default_value = "storage")]
    level: Level,
    /// With --level full: by this verifier instead of here, or by `any` that may
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    #[command(flatten)]
    offline: OfflineArguments,
}

impl Arguments {
    /// What it asked of an agent ends with the command.
    pub fn drains(&self) -> bool {
        self.agent.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    /// Open every chunk as a restore would
    Full,
    /// Read every byte of every object
    Storage,
    /// Names, lengths, footers, reach
    Structure,
}

/// What is wrong with one object, or with one point where no object is to blame.
struct Damaged {
    object: String,
    location: Option<String>,
    problem: String,
    healed_from: Option<String>,
    points: BTreeSet<Vec<u8>>,
    chunks: Vec<ChunkId>,
    paths: BTreeSet<Vec<u8>>,
    /// False when the manifest itself is damaged, so that more paths may be affected.
    all_paths: bool,
}

#[derive(Default)]
struct Found {
    points: u64,
    /// None where nobody counts them: without a cluster.
    objects: Option<u64>,
    bytes: u64,
    damaged: Vec<Damaged>,
    /// Since when each location had been read back before this.
    before: Vec<v1::CheckedBefore>,
    /// Points that nobody could open, and why the first of them.
    unproven: Vec<(Vec<u8>, Error)>,
    /// The verifiers that opened the points, where it was not done here.
    agents: BTreeSet<String>,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    if arguments.offline.are_named() && arguments.level != Level::Full {
        let message = "objects are compared by the coordinators, and no cluster is asked";
        return Err(Error::new(Code::UsageMalformed, message).next("add --level full"));
    }
    let Some(name) = arguments.agent.clone() else {
        return verify(&arguments, None, demand).await;
    };
    agent::refuse(arguments.level == Level::Full, arguments.offline.are_named())?;
    let by = ByAgent::new(name);
    tokio::select! {
        ended = verify(&arguments, Some(&by), demand) => ended,
        stopped = ending::signal() => {
            by.stop(demand).await;
            stopped
        }
    }
}

async fn verify(
    arguments: &Arguments,
    by: Option<&ByAgent>,
    demand: &Demand<'_>,
) -> Result<Ending> {
    let shelf = Shelf::of(&arguments.offline, demand).await?;
    let points = points(&shelf, arguments).await?;
    let bar = Bar::start(demand.output, "verifying");
    let mut found = match &shelf {
        Shelf::Cluster(client) => objects(client, arguments, &points, &bar).await?,
        Shelf::Location(location) => known(location, arguments, demand).await?,
    };
    name_paths((&shelf, demand), &points, &mut found).await?;
    if arguments.level == Level::Full {
        for point in &points {
            let opened = match (&shelf, by) {
                (Shelf::Cluster(client), Some(by)) => {
                    agent::verify((client, by), point, &bar, &mut found).await
                }
                _ => open_all((&shelf, demand), point, &mut found).await,
            };
            if let Err(error) = opened {
                let nobody_there = error.code.exit() == Exit::Unreachable;
                found.unproven.push((point.id.to_vec(), error));
                if nobody_there {
                    break;
                }
            }
        }
    }
    bar.clear();
    end(arguments, demand, found)
}

/// What was seen to be damaged while the location was opened.
async fn known(location: &Unlocked, arguments: &Arguments, demand: &Demand<'_>) -> Result<Found> {
    let mut found = Found::default();
    let offline = location.offline();
    let policy = arguments.policy.as_ref().map(Name::as_str);
    let is_asked = |refused: &&Refused| {
        arguments.all || arguments.point.is_none() && may_be_of(refused, policy)
    };
    for refused in offline.refused.iter().filter(is_asked) {
        let id = refused.id.as_bytes().to_vec();
        match &refused.unproven {
            Some(_) => found.unproven.push((id, refused.error.clone())),
            None => found.damaged.push(Damaged {
                points: BTreeSet::from([id]),
                all_paths: false,
                ..Damaged::object(format!("points/{}", refused.id), refused.error.code)
            }),
        }
    }
    for (name, error) in &location.gathered(demand).await?.damage {
        let name = name.to_string();
        if found.damaged.iter().all(|damaged| damaged.object != name) {
            found.damaged.push(Damaged::object(name, error.code));
        }
    }
    found.damaged.iter_mut().for_each(|damaged| damaged.location = Some(offline.url.clone()));
    Ok(found)
}

/// Damage is told whatever else went wrong, and found damage is damage although it was healed:
/// whoever looks after the disk is to hear of it.
fn end(arguments: &Arguments, demand: &Demand<'_>, mut found: Found) -> Result<Ending> {
    if found.damaged.is_empty() && !found.unproven.is_empty() {
        return Err(found.unproven.swap_remove(0).1);
    }
    for (point, error) in &found.unproven {
        demand.output.remark(&format!("point {} was not opened: {error}", hex::encode(point)));
    }
    demand.output.answer(|| fields(arguments, &found), || text(&found))?;
    Ok(if found.damaged.is_empty() { Ending::Done } else { Ending::Damage })
}

async fn points(shelf: &Shelf, arguments: &Arguments) -> Result<Vec<v1::Point>> {
    match &arguments.point {
        Some(point) => Ok(vec![shelf.point(point, arguments.policy.as_ref()).await?]),
        None => {
            let policy = arguments.policy.as_ref().map(ToString::to_string);
            let filter = Filter { policy, checkpoints: arguments.all, ..Filter::default() };
            shelf.points(&filter).await
        }
    }
}

async fn objects(
    client: &Client,
    arguments: &Arguments,
    points: &[v1::Point],
    bar: &Bar,
) -> Result<Found> {
    let chosen = arguments.point.is_some();
    let question = v1::VerifyObjectsRequest {
        points: points.iter().filter(|_| chosen).map(|point| point.id.clone()).collect(),
        level: match arguments.level {
            Level::Structure => "structure",
            Level::Full | Level::Storage => "storage",
        }
        .to_owned(),
        policy: arguments.policy.as_ref().filter(|_| !chosen).map(ToString::to_string),
    };
    let ask = async |mut admin: Admin, question| admin.verify_objects(question).await;
    let mut events = client.ask(question, ask).await?;
    let mut found = Found::default();
    while let Some(event) = events.message().await.map_err(|status| from_status(&status))? {
        (found.points, found.bytes) = (event.points, event.bytes);
        found.objects = Some(event.objects);
        bar.counts(event.objects, event.bytes, None);
        for damage in event.damaged {
            found.damaged.push(Damaged::parse(damage)?);
        }
        found.before.extend(event.before);
        if event.done {
            return Ok(found);
        }
    }
    Err(Error::new(
        Code::ClusterUnreachable,
        "the coordinator stopped before the verification was over",
    ))
}

impl Damaged {
    /// Of which nothing is known but why it does not open.
    fn object(object: String, code: Code) -> Self {
        Self {
            object,
            location: None,
            problem: problem_of(code).to_owned(),
            healed_from: None,
            points: BTreeSet::new(),
            chunks: Vec::new(),
            paths: BTreeSet::new(),
            all_paths: true,
        }
    }

    fn parse(told: v1::Damage) -> Result<Self> {
        Ok(Self {
            object: told.object,
            location: Some(told.location),
            problem: told.problem,
            healed_from: told.healed_from,
            points: told.points.into_iter().map(|id| id.to_vec()).collect(),
            chunks: told
                .chunk_ids
                .iter()
                .map(|id| ChunkId::from_slice(id))
                .collect::<Result<_>>()?,
            paths: BTreeSet::new(),
            all_paths: true,
        })
    }
}

/// Finds the paths that need the chunks which cannot be had any more.
async fn name_paths(
    (shelf, demand): (&Shelf, &Demand<'_>),
    points: &[v1::Point],
    found: &mut Found,
) -> Result<()> {
    let mut lost: BTreeMap<Vec<u8>, HashMap<ChunkId, Vec<usize>>> = BTreeMap::new();
    for (number, damaged) in found.damaged.iter().enumerate() {
        for point in &damaged.points {
            let chunks = lost.entry(point.clone()).or_default();
            damaged.chunks.iter().for_each(|id| chunks.entry(*id).or_default().push(number));
        }
    }
    for (id, chunks) in lost.into_iter().filter(|(_, chunks)| !chunks.is_empty()) {
        let Some(point) = points.iter().find(|point| point.id[..] == id[..]) else { continue };
        let every: BTreeSet<usize> = chunks.values().flatten().copied().collect();
        let Ok(opened) = shelf.open(point.clone(), "verify", demand).await else {
            every.iter().for_each(|number| found.damaged[*number].all_paths = false);
            continue;
        };
        let produce =
            move |rows: &mut walk::Rows<(usize, Vec<u8>)>| affected(&opened, &chunks, rows);
        let walked = walk::through("verify", produce, |batch| {
            for (number, path) in batch {
                found.damaged[number].paths.insert(path);
            }
            Ok(())
        })
        .await;
        if walked.is_err() {
            every.iter().for_each(|number| found.damaged[*number].all_paths = false);
        }
    }
    Ok(())
}

fn affected(
    opened: &Opened,
    lost: &HashMap<ChunkId, Vec<usize>>,
    rows: &mut walk::Rows<(usize, Vec<u8>)>,
) -> Result<()> {
    let manifest = opened.manifest();
    for entry in manifest.entries()? {
        let entry: Entry = entry?;
        let Some(content) = &entry.content else { continue };
        let mut named = BTreeSet::new();
        for list in content.lists.iter().flatten() {
            named.extend(lost.get(&list.page).into_iter().flatten().copied());
        }
        for chunk in manifest.chunks(content) {
            // A chunk list that cannot be read was named by its page above.
            let Ok(chunk) = chunk else { break };
            named.extend(lost.get(&chunk.id).into_iter().flatten().copied());
        }
        for number in named {
            rows.push((number, entry.path.to_vec()))?;
        }
    }
    Ok(())
}

/// Opens every chunk of a point; what fails and was not named yet is named after the point.
async fn open_all(
    (shelf, demand): (&Shelf, &Demand<'_>),
    point: &v1::Point,
    found: &mut Found,
) -> Result<()> {
    let mut problems: BTreeMap<&str, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut damage = None;
    let opened_bytes = Arc::new(AtomicU64::new(0));
    match shelf.open(point.clone(), "verify", demand).await {
        Err(error) if is_damage(&error) => damage = Some(error),
        Err(error) => return Err(error),
        Ok(opened) => {
            let bytes = opened_bytes.clone();
            let produce = move |rows: &mut walk::Rows<(Vec<u8>, Code)>| {
                bytes.store(opened.verify(rows)?, Relaxed);
                Ok(())
            };
            let verified = walk::through("verify", produce, |batch| {
                for (path, code) in batch {
                    problems.entry(problem_of(code)).or_default().insert(path);
                }
                Ok(())
            });
            match verified.await {
                Err(error) if is_damage(&error) => damage = Some(error),
                ended => ended?,
            }
        }
    }
    if found.objects.is_none() {
        found.points += 1;
        found.bytes += opened_bytes.load(Relaxed);
    }
    name_problems(point, problems, damage, found);
    Ok(())
}

fn name_problems(
    point: &v1::Point,
    mut problems: BTreeMap<&str, BTreeSet<Vec<u8>>>,
    damage: Option<Error>,
    found: &mut Found,
) {
    let known = |path: &Vec<u8>| found.damaged.iter().any(|d| d.paths.contains(path));
    problems.values_mut().for_each(|paths| paths.retain(|path| !known(path)));
    problems.retain(|_, paths| !paths.is_empty());
    let told_already = found.damaged.iter().any(|d| d.points.contains(&point.id[..]));
    if let Some(error) = &damage
        && !(told_already && problems.is_empty())
    {
        problems.entry(problem_of(error.code)).or_default();
    }
    found.damaged.extend(problems.into_iter().map(|(problem, paths)| Damaged {
        object: format!("points/{}", hex::encode(&point.id)),
        location: None,
        problem: problem.to_owned(),
        healed_from: None,
        points: BTreeSet::from([point.id.to_vec()]),
        chunks: Vec::new(),
        paths,
        all_paths: damage.is_none(),
    }));
}

/// What an error says of the bytes that were wanted: they are nowhere, nobody gives them, or they
/// are not what they should be.
const fn problem_of(code: Code) -> &'static str {
    match code {
        Code::ChunkMissing | Code::ObjectMissing | Code::PackMissing => "missing",
        code if is_unread(code) => "unreadable",
        _ => "hash",
    }
}

fn is_damage(error: &Error) -> bool {
    error.code.exit() == Exit::Damage
}

fn fields(arguments: &Arguments, found: &Found) -> Value {
    let level = match arguments.level {
        Level::Full => "full",
        Level::Storage => "storage",
        Level::Structure => "structure",
    };
    json!({
        "level": level,
        "points": found.points,
        "objects": found.objects,
        "bytes": found.bytes,
        "damaged": found.damaged.iter().map(damaged_fields).collect::<Vec<_>>(),
        "unproven": found.unproven.iter().map(|(id, _)| hex::encode(id)).collect::<Vec<_>>(),
        "agents": found.agents,
        "before": found.before.iter().map(before_fields).collect::<Vec<_>>(),
    })
}

/// When a location had been read back before this.
fn before_fields(before: &v1::CheckedBefore) -> Value {
    json!({
        "vault": before.vault,
        "location": before.location,
        "oldest": figures::json_time(before.oldest_ns),
    })
}

fn before_text(before: &v1::CheckedBefore) -> String {
    let v1::CheckedBefore { vault, location, oldest_ns } = before;
    match oldest_ns {
        Some(_) => {
            let oldest = figures::time_if_any(*oldest_ns);
            format!("{location} ({vault}): the oldest check before this was of {oldest}")
        }
        None => format!("{location} ({vault}): not all had been read back before this"),
    }
}

fn damaged_fields(damaged: &Damaged) -> Value {
    let mut fields = path::json_list(damaged.paths.iter().map(Vec::as_slice));
    let others = [
        ("object", json!(damaged.object)),
        ("location", json!(damaged.location)),
        ("problem", json!(damaged.problem)),
        ("healed_from", json!(damaged.healed_from)),
        ("points", damaged.points.iter().map(hex::encode).collect()),
        ("paths_complete", json!(damaged.all_paths)),
    ];
    fields.extend(others.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(fields)
}

fn text(found: &Found) -> String {
    let mut lines = Vec::new();
    for damaged in &found.damaged {
        let place = damaged.location.as_deref().unwrap_or("every location");
        let healed = damaged.healed_from.as_ref().map(|from| format!(", healed from {from}"));
        let healed = healed.unwrap_or_default();
        lines.push(format!("DAMAGED {} in {place}: {}{healed}", damaged.object, damaged.problem));
        lines.extend(damaged.points.iter().map(|point| format!("  point {}", hex::encode(point))));
        lines.extend(damaged.paths.iter().map(|p| format!("  path  {}", path::text(p))));
        if !damaged.all_paths {
            lines.push("  the point's list of entries is damaged too: more may be affected".into());
        }
    }
    lines.extend(found.before.iter().map(before_text));
    let verdict = match found.damaged.len() {
        0 => "nothing damaged".to_owned(),
        count => format!("{count} damaged"),
    };
    let objects = found.objects.map(|objects| format!("{objects} objects, "));
    let agents: Vec<_> = found.agents.iter().map(String::as_str).collect();
    let by = if agents.is_empty() { String::new() } else { format!(" by {}", agents.join(", ")) };
    lines.push(format!(
        "{} points, {}{} verified{by}: {verdict}",
        found.points,
        objects.unwrap_or_default(),
        figures::size(found.bytes)
    ));
    lines.join("\n")
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast verify latest --policy nightly
  holdfast verify --all --level structure
  holdfast verify 1f0c2a9b --level full
  holdfast verify latest --policy nightly --level full --agent any
  holdfast verify --all --level full --agent verifier-1
  holdfast verify --all --level full --from-location local:/srv/vault --bundle bundle.hfbd";
