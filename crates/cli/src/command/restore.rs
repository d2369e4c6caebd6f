//! `holdfast restore`: brings a point back, here, as the caller.
//!
//! The point is opened first (its signature, then its first page), so that nothing is touched for a
//! point that cannot be read. What does not authenticate is not written: such a restore ends with
//! exit code 7 and names what is missing.

use crate::{
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    opening::{Opened, PointArguments},
    output::{figures, path},
    progress::Bar,
};
use core::{sync::atomic::Ordering::Relaxed, time::Duration};
use holdfast_agent::restore::{Progress, RestoreReport, RestoreRequest, restore};
use holdfast_common::{Clock, Code, Error, Result, SystemClock};
use holdfast_runtime::Tasks;
use serde_json::{Value, json};
use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, sync::Arc};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["to", "in_place"]))]
pub struct Arguments {
    #[command(flatten)]
    point: PointArguments,
    /// Below this directory: /a/b of the point becomes DIR/a/b
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Where it was: the same as --to /
    #[arg(long)]
    in_place: bool,
    /// Only these paths of the point, with everything below
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Remove what the point does not have
    #[arg(long)]
    delete: bool,
    /// Overwrite what is in the way
    #[arg(long)]
    force: bool,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Read everything back and compare it
    #[arg(long)]
    verify: bool,
    /// Owners by number, even where this host knows their names
    #[arg(long)]
    numeric_ids: bool,
    /// Do not take a safety point first (none is taken yet)
    #[arg(long)]
    no_safety_point: bool,
}

const TICK: Duration = Duration::from_millis(200);

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    if arguments.in_place && arguments.delete && !arguments.dry_run {
        confirm(demand, "remove what the point does not have, in place")?;
    }
    let request = request(&arguments)?;
    let clock = SystemClock::start();
    let opened = Arc::new(arguments.point.open("restore", demand).await?);
    let report = run(&opened, &request, demand).await?;
    judge(&report)?;
    let took = clock.elapsed();
    demand.output.answer(
        || fields(&opened.id(), &request, &report, took),
        || text(&request, &report, took),
    )?;
    Ok(if report.skipped.is_empty() { Ending::Done } else { Ending::Partial })
}

fn request(arguments: &Arguments) -> Result<RestoreRequest> {
    let target = arguments.to.clone().unwrap_or_else(|| PathBuf::from("/"));
    let target = std::path::absolute(&target)
        .map_err(|error| Error::io(format!("`{}` names no path", target.display()), &error))?;
    let paths = arguments.paths.iter().cloned().map(wanted).collect::<Result<_>>()?;
    Ok(RestoreRequest {
        in_place: arguments.in_place,
        target,
        paths,
        delete: arguments.delete,
        force: arguments.force,
        dry_run: arguments.dry_run,
        verify: arguments.verify,
        numeric_ids: arguments.numeric_ids,
    })
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
            insist_on_paths(&opened, &request)?;
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

/// A path that the point does not have is a mistake, and nothing is restored for it.
fn insist_on_paths(opened: &Opened, request: &RestoreRequest) -> Result<()> {
    let manifest = opened.manifest();
    for wanted in &request.paths {
        if manifest.subtree(wanted)?.next().transpose()?.is_none() {
            return Err(super::ls::missing(wanted));
        }
    }
    Ok(())
}

/// Damage and refusals are failures; what could not be written for another reason is told as
/// skipped.
fn judge(report: &RestoreReport) -> Result<()> {
    if let Some(error) = report.damage() {
        return Err(error.next("restore another point, or run `holdfast verify --all`"));
    }
    let in_the_way = |(_, code): &&(Vec<u8>, Code)| *code == Code::FileExists;
    let Some((first, _)) = report.skipped.iter().find(in_the_way) else { return Ok(()) };
    let count = report.skipped.iter().filter(in_the_way).count();
    Err(Error::new(
        Code::FileExists,
        format!("{count} entries are in the way, first `{}`", path::text(first)),
    )
    .cause(format!("{} other entries were restored", report.entries)))
}

fn fields(point: &str, request: &RestoreRequest, report: &RestoreReport, took: Duration) -> Value {
    json!({
        "run": null,
        "point": point,
        "target": request.target.to_string_lossy(),
        "dry_run": request.dry_run,
        "entries": report.entries,
        "bytes_written": report.bytes_written,
        "bytes_reused": report.bytes_reused,
        "removed": report.removed,
        "safety_point": null,
        "verified": request.verify,
        "files_verified": report.verified,
        "skipped": report.skipped.iter().map(path::skipped).collect::<Vec<_>>(),
        "notes": report.notes.iter().map(|note| json!({
            "kind": format!("{:?}", note.kind).to_lowercase(),
            "code": note.code.name(),
            "path": String::from_utf8_lossy(&note.path),
            "count": note.count,
        })).collect::<Vec<_>>(),
        "duration_ms": took.as_millis() as u64,
    })
}

fn text(request: &RestoreRequest, report: &RestoreReport, took: Duration) -> String {
    let mut lines: Vec<_> = report
        .skipped
        .iter()
        .map(|(bytes, code)| format!("skipped {}: {}", path::text(bytes), code.name()))
        .collect();
    for note in report.notes.iter() {
        lines.push(format!(
            "note: {:?} could not be set on {} entries, first {}: {}",
            note.kind,
            note.count,
            path::text(&note.path),
            note.code.name()
        ));
    }
    let verb = if request.dry_run { "would be written" } else { "written" };
    let verified = if request.verify { ", read back and compared" } else { "" };
    lines.push(format!(
        "{} entries, {} {verb}, {} were there already, in {}{verified}",
        report.entries,
        figures::size(report.bytes_written),
        figures::size(report.bytes_reused),
        figures::span(took),
    ));
    lines.join("\n")
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast restore latest --to /tmp/back
  holdfast restore 1f0c2a9b --to /tmp/back /srv/images/2026
  holdfast restore latest --policy nightly --in-place --force
  holdfast restore latest --to /mnt --from-location local:/srv/vault --bundle bundle.hfbd";
