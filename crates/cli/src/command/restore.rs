//! `holdfast restore`: brings a point back, here as the caller or on the host of an agent.
//!
//! The point is opened first (its signature, then its first page), so that nothing is touched for a
//! point that cannot be read. What does not authenticate is not written: such a restore ends with
//! exit code 7 and names what is missing. Either way it is a run that `holdfast runs` shows, unless
//! no cluster is asked at all. A signal stops the restore, and the cluster is told.

use crate::{
    client::{
        Client, follow,
        restoring::{self, ByAgent},
    },
    confirm::confirm,
    demand::Demand,
    ending::{self, Ending},
    offline::points::Proof,
    opening::{Opened, PointArguments, open_in_run, open_online},
    output::{figures, path},
    progress::Bar,
};
use core::{sync::atomic::Ordering::Relaxed, time::Duration};
use holdfast_agent::restore::place::{Note, NoteKind};
use holdfast_agent::restore::{
    Progress, RestoreReport, RestoreRequest, insist_on_paths, open_report, restore, seal_paths,
};
use holdfast_common::{Clock, Code, Error, Name, Result, RunId, SystemClock, SystemEntropy};
use holdfast_runtime::Tasks;
use holdfast_wire::v1;
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["to", "in_place"]))]
pub struct Arguments {
    #[command(flatten)]
    point: PointArguments,
    /// Below this directory: /a/b of the point becomes DIR/a/b
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Where it was: the same as --to /; with --delete it asks first
    #[arg(long)]
    in_place: bool,
    /// Only these paths of the point, with everything below
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Remove what the point does not have, once everything else went well
    #[arg(long)]
    delete: bool,
    /// Overwrite what is in the way; what is right already never is
    #[arg(long)]
    force: bool,
    /// Say what would be written, removed and refused, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Read everything back and compare it
    #[arg(long)]
    verify: bool,
    /// Owners by number, even where this host knows their names
    #[arg(long)]
    numeric_ids: bool,
    /// On the host of this agent, by it, instead of here
    #[arg(long)]
    agent: Option<Name>,
    /// Overwrite and remove without a safety point first; only an agent makes one
    #[arg(long)]
    no_safety_point: bool,
    /// Print the run's id and do not wait; an agent restores then
    #[arg(long, requires = "agent")]
    detach: bool,
}

/// What came of a restore, wherever it was done.
struct Done {
    run: Option<RunId>,
    point: String,
    report: RestoreReport,
    skipped: u64,
    safety_point: Option<String>,
    /// How far the point is proven, where no cluster answers for it.
    proof: Option<Proof>,
    took: Duration,
}

const TICK: Duration = Duration::from_millis(200);
/// Paths that are named when a restore fails.
const UNPLACED_MAX: usize = 10_000;

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let request = request(&arguments)?;
    if request.in_place && request.delete && !request.dry_run {
        confirm(demand, "remove what the point does not have, in place")?;
    }
    let done = match (&arguments.agent, arguments.point.is_offline()) {
        (Some(_), true) => {
            return Err(Error::new(Code::UsageMalformed, "an agent restores through its cluster")
                .next("leave out --agent, or --from-location"));
        }
        (None, true) => tokio::select! {
            done = without_cluster(&arguments, &request, demand) => done?,
            stopped = ending::signal() => return stopped,
        },
        (agent, false) => {
            let (client, run) = (demand.client().await?, RunId::random(&SystemEntropy));
            let restored = async {
                match agent.as_ref().filter(|_| arguments.detach) {
                    Some(agent) => detached(&client, run, agent, (&arguments, &request), demand)
                        .await
                        .map(|()| None),
                    None => in_run(&client, run, &arguments, &request, demand).await.map(Some),
                }
            };
            tokio::select! {
                restored = restored => match restored? {
                    Some(done) => done,
                    None => return Ok(Ending::Done),
                },
                stopped = ending::signal() => {
                    stop(&client, &run, agent.is_some(), demand).await;
                    return stopped;
                }
            }
        }
    };
    if let Some(failure) = done.report.failure() {
        tell_unplaced(&done, demand);
        return Err(failure);
    }
    demand
        .output
        .answer(|| fields(&arguments, &request, &done), || text(&arguments, &request, &done))?;
    Ok(if done.skipped == 0 { Ending::Done } else { Ending::Partial })
}

/// The command is being stopped, and what it asked for with it.
async fn stop(client: &Client, run: &RunId, by_agent: bool, demand: &Demand<'_>) {
    let is_heard = match by_agent {
        true => restoring::stop(client, run).await,
        false => restoring::abandon(client, run).await,
    };
    let fate = match (is_heard, by_agent) {
        (true, true) => "was asked to stop",
        (true, false) => "was stopped",
        (false, true) => "goes on, if it has begun: nobody heard that it is to stop",
        (false, false) => "was stopped, and nobody heard of it",
    };
    follow::tell_left(demand.output, run, fate);
}

async fn without_cluster(
    arguments: &Arguments,
    request: &RestoreRequest,
    demand: &Demand<'_>,
) -> Result<Done> {
    let clock = SystemClock::start();
    let opened = Arc::new(arguments.point.open("restore", demand).await?);
    let report = run(&opened, request, demand).await?;
    let done = Done::here(None, opened.id(), report, clock.elapsed());
    Ok(Done { proof: opened.proof, ..done })
}

async fn in_run(
    client: &Client,
    id: RunId,
    arguments: &Arguments,
    request: &RestoreRequest,
    demand: &Demand<'_>,
) -> Result<Done> {
    let point = arguments.point.find(client).await?;
    match &arguments.agent {
        Some(agent) => by_agent(client, id, agent, point, (arguments, request), demand).await,
        None => here(client, id, point, request, demand).await,
    }
}

/// As the caller, on this host.
async fn here(
    client: &Client,
    id: RunId,
    point: v1::Point,
    request: &RestoreRequest,
    demand: &Demand<'_>,
) -> Result<Done> {
    let clock = SystemClock::start();
    restoring::start(client, &id, &point, request, None).await?;
    let named = hex::encode(&point.id);
    // The point stays open until the end is told: the coordinator takes a run without a session
    // for one whose asker went away.
    let opened = open_in_run(client, point, "restore", Some(id)).await.map(Arc::new);
    let report = match &opened {
        Ok(opened) => run(opened, request, demand).await,
        Err(error) => Err(error.clone()),
    };
    restoring::end(client, &id, &report).await;
    drop(opened);
    Ok(Done::here(Some(id), named, report?, clock.elapsed()))
}

/// By an agent, by itself: whoever asked does not wait.
async fn detached(
    client: &Client,
    id: RunId,
    agent: &Name,
    (arguments, request): (&Arguments, &RestoreRequest),
    demand: &Demand<'_>,
) -> Result<()> {
    let point = arguments.point.find(client).await?;
    order(client, id, agent, &point, (arguments, request)).await?;
    let run = super::runs::begun(client, id.as_bytes()).await;
    demand.output.answer(|| begun_fields(&run, request), || id.to_string())
}

/// Has an agent restore. The point is opened here too: what is wanted of it is checked and sealed.
async fn order(
    client: &Client,
    id: RunId,
    agent: &Name,
    point: &v1::Point,
    (arguments, request): (&Arguments, &RestoreRequest),
) -> Result<Arc<Opened>> {
    let opened = Arc::new(open_online(client, point.clone(), "restore").await?);
    let (checked, paths) = (Arc::clone(&opened), request.paths.clone());
    let sealing = move || {
        insist_on_paths(&checked.reader, &paths)?;
        seal_paths(&checked.reader, &id, &paths, &SystemEntropy)
    };
    let sealed_paths = Tasks::new("seal").run_blocking("seal", sealing).await?;
    let safety_point = !arguments.no_safety_point;
    let by = ByAgent { agent: agent.clone(), sealed_paths, safety_point };
    restoring::start(client, &id, point, request, Some(&by)).await?;
    Ok(opened)
}

/// By an agent, on its host, to the end: what was skipped is opened here.
async fn by_agent(
    client: &Client,
    id: RunId,
    agent: &Name,
    point: v1::Point,
    asked: (&Arguments, &RestoreRequest),
    demand: &Demand<'_>,
) -> Result<Done> {
    let opened = order(client, id, agent, &point, asked).await?;
    let bar = Bar::start(demand.output, "waiting for the agent");
    let run_id = bytes::Bytes::copy_from_slice(id.as_bytes());
    let run = follow::to_the_end(client, &run_id, async |event| {
        if let Some(progress) = &event.progress {
            bar.counts(progress.entries, progress.bytes_read, Some(point.bytes));
        }
        Ok(())
    })
    .await?;
    bar.clear();
    let told = run.restored.clone().unwrap_or_default();
    let mut report = restoring::report_of(&told);
    open_report(&opened.reader, &id, &told.sealed_report, &mut report)?;
    if report.failure().is_none() && !matches!(&*run.state, "done" | "partial") {
        return Err(follow::failure(&run));
    }
    Ok(Done {
        run: Some(id),
        point: opened.id(),
        report,
        skipped: told.skipped,
        safety_point: told.safety_point.as_deref().map(hex::encode),
        proof: None,
        took: follow::duration(&run),
    })
}

impl Done {
    fn here(run: Option<RunId>, point: String, report: RestoreReport, took: Duration) -> Self {
        let skipped = report.reasons.count();
        Self { run, point, report, skipped, safety_point: None, proof: None, took }
    }
}

fn request(arguments: &Arguments) -> Result<RestoreRequest> {
    let target = arguments.to.clone().unwrap_or_else(|| PathBuf::from("/"));
    let climbs = target.components().any(|part| part == Component::ParentDir);
    if arguments.agent.is_some() && (climbs || !target.is_absolute()) {
        let message = format!("`{}` is not an absolute path without `..`", target.display());
        return Err(Error::new(Code::UsageMalformed, message)
            .next("name a directory of the agent's host, beginning with /"));
    }
    let target = std::path::absolute(&target)
        .map_err(|error| Error::io(format!("`{}` names no path", target.display()), &error))?;
    if arguments.agent.is_none() && target.metadata().is_ok_and(|found| !found.is_dir()) {
        let message = format!("`{}` is not a directory", target.display());
        return Err(Error::new(Code::UsageMalformed, message));
    }
    let paths = arguments.paths.iter().cloned().map(wanted).collect::<Result<_>>()?;
    // What leads to `/` on another host is its agent's to see.
    let is_root = || match &arguments.agent {
        Some(_) => target == Path::new("/"),
        None => is_root(&target),
    };
    Ok(RestoreRequest {
        in_place: arguments.in_place || is_root(),
        target,
        paths,
        delete: arguments.delete,
        force: arguments.force,
        dry_run: arguments.dry_run,
        verify: arguments.verify,
        numeric_ids: arguments.numeric_ids,
    })
}

/// Whether a directory is `/`, whatever it is called.
fn is_root(directory: &Path) -> bool {
    let inode = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    inode(directory).is_some_and(|here| Some(here) == inode(Path::new("/")))
}

fn wanted(path: OsString) -> Result<Vec<u8>> {
    let bytes = super::ls::trimmed(path.into_vec());
    if bytes.starts_with(b"/") {
        return Ok(bytes);
    }
    let shown = path::text(&bytes);
    Err(Error::new(Code::UsageMalformed, format!("`{shown}` is not an absolute path"))
        .next("write paths as `holdfast ls` prints them"))
}

async fn run(
    opened: &Arc<Opened>,
    request: &RestoreRequest,
    demand: &Demand<'_>,
) -> Result<RestoreReport> {
    let bar = Bar::start(demand.output, "restoring");
    let progress = Arc::new(Progress::default());
    let tasks = Tasks::new("restore");
    let work = {
        let (opened, request) = (Arc::clone(opened), request.clone());
        let progress = Arc::clone(&progress);
        tasks.run_blocking("restore", move || {
            insist_on_paths(&opened.reader, &request.paths)?;
            restore(&opened.reader, &request, &progress)
        })
    };
    let watch = async {
        loop {
            tokio::time::sleep(TICK).await;
            let total = progress.bytes_total.load(Relaxed);
            bar.counts(progress.entries.load(Relaxed), progress.bytes.load(Relaxed), Some(total));
        }
    };
    tokio::select! {
        report = work => report,
        () = watch => unreachable!("the watch never ends"),
    }
}

/// Every path that is not in place, before the error that names the first: on stderr, where a
/// failure tells everything.
fn tell_unplaced(done: &Done, demand: &Demand<'_>) {
    let skipped = &done.report.skipped;
    let output = demand.output;
    for row in skipped.iter().take(UNPLACED_MAX) {
        match output.is_json() {
            true => output.remark(&json!({ "skipped": path::skipped(row) }).to_string()),
            false => output.remark(&not_placed(row)),
        }
    }
    let told = skipped.len().min(UNPLACED_MAX) as u64;
    let more = done.skipped.max(skipped.len() as u64) - told;
    match (more, output.is_json()) {
        (0, _) => {}
        (_, true) => output.remark(&json!({ "skipped_more": more }).to_string()),
        (_, false) => output.remark(&format!("and {more} more")),
    }
}

fn not_placed((bytes, code): &(Vec<u8>, Code)) -> String {
    format!("skipped {}: {}", path::text(bytes), code.name())
}

fn fields(arguments: &Arguments, request: &RestoreRequest, done: &Done) -> Value {
    let report = &done.report;
    let mut fields = path::json_named("target", request.directory().as_os_str().as_bytes());
    let others = json!({
        "run": done.run.map(|run| run.to_string()),
        "agent": arguments.agent.as_ref().map(Name::as_str),
        "point": done.point,
        "signature": done.proof.map(Proof::word),
        "dry_run": request.dry_run,
        "entries": report.entries,
        "bytes_written": report.bytes_written,
        "bytes_reused": report.bytes_reused,
        "removed": report.removed,
        "safety_point": done.safety_point,
        "verified": request.verify && !request.dry_run,
        "files_verified": report.verified,
        "skipped_count": done.skipped,
        "skipped": report.skipped.iter().map(path::skipped).collect::<Vec<_>>(),
        "notes": report.notes.iter().map(note_fields).collect::<Vec<_>>(),
        "duration_ms": done.took.as_millis() as u64,
    });
    if let Value::Object(others) = others {
        fields.extend(others);
    }
    Value::Object(fields)
}

/// A run that nobody waits for has its row, and no figures yet.
fn begun_fields(run: &v1::Run, request: &RestoreRequest) -> Value {
    let mut figures = path::json_named("target", request.directory().as_os_str().as_bytes());
    let others = json!({
        "dry_run": request.dry_run,
        "entries": null,
        "bytes_written": null,
        "bytes_reused": null,
        "removed": null,
        "safety_point": null,
        "verified": false,
        "files_verified": null,
        "skipped_count": null,
        "skipped": [],
        "notes": [],
        "duration_ms": null,
    });
    if let Value::Object(others) = others {
        figures.extend(others);
    }
    super::runs::begun_fields(run, Value::Object(figures))
}

fn note_fields(note: &Note) -> Value {
    let mut fields = path::json(&note.path);
    fields.insert("kind".to_owned(), format!("{:?}", note.kind).to_lowercase().into());
    fields.insert("code".to_owned(), note.code.name().into());
    fields.insert("count".to_owned(), note.count.into());
    Value::Object(fields)
}

fn text(arguments: &Arguments, request: &RestoreRequest, done: &Done) -> String {
    let report = &done.report;
    let mut lines: Vec<_> = report.skipped.iter().map(not_placed).collect();
    lines.extend(report.notes.iter().map(note_text));
    lines.extend(safety(arguments, request, done));
    if request.delete {
        let verb = if request.dry_run { "would be removed" } else { "removed" };
        lines.push(format!("{} entries that the point does not have {verb}", report.removed));
    }
    let verb = if request.dry_run { "would be written" } else { "written" };
    let verified = if request.verify && !request.dry_run { ", read back and compared" } else { "" };
    lines.push(format!(
        "{} entries, {} {verb}, {} were there already, in {}{verified}",
        report.entries,
        figures::size(report.bytes_written),
        figures::size(report.bytes_reused),
        figures::span(done.took),
    ));
    lines.join("\n")
}

fn note_text(note: &Note) -> String {
    let what = match (note.kind, note.code) {
        (NoteKind::Removal, _) => "what the point does not have was left:".to_owned(),
        (NoteKind::Mode, Code::FileExists) => {
            "directories that were there keep owner, mode and attributes:".to_owned()
        }
        (kind, _) => format!("{kind:?} could not be set on"),
    };
    let (count, first) = (note.count, path::text(&note.path));
    format!("note: {what} {count} entries, first {first}: {}", note.code.name())
}

/// What can be gone back to, where something may have been overwritten or removed.
fn safety(arguments: &Arguments, request: &RestoreRequest, done: &Done) -> Option<String> {
    let changes = request.force || request.delete;
    match (&done.safety_point, &arguments.agent) {
        (Some(point), _) => Some(format!("what was there before is in the safety point {point}")),
        (None, None) if changes && !request.dry_run && !arguments.no_safety_point => Some(
            "no safety point was made: only a restore by the host's agent makes one (--agent)"
                .to_owned(),
        ),
        (None, _) => None,
    }
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast restore latest --to /tmp/back
  holdfast restore 1f0c2a9b --to /tmp/back /srv/images/2026
  holdfast restore latest --policy nightly --in-place --force
  holdfast restore 1f0c2a9b --to /srv/back --agent files-2
  holdfast restore 1f0c2a9b --to /srv/back --agent files-2 --detach
  holdfast restore latest --policy nightly --in-place --force --agent files-1
  holdfast restore latest --to /mnt --from-location local:/srv/vault --bundle bundle.hfbd";
