//! `holdfast backup`: starts a run, shows its progress, ends when it ends.
//!
//! The id of the run is chosen here, so that a call that is repeated after a lost answer starts
//! one run and not two. The point's id is the last line on stdout.

use crate::{
    client::{Admin, Client, follow, select},
    demand::Demand,
    ending::{self, Ending},
    opening::open_online,
    output::{figures, path},
    progress::Bar,
    resource::file,
};
use holdfast_common::{Code, Error, Name, Result, RunId, SystemEntropy};
use holdfast_runtime::Tasks;
use holdfast_wire::v1::{self, start_backup_request::What};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true)
    .args(["policy", "paths"]))]
pub struct Arguments {
    /// Back up what this policy says
    #[arg(conflicts_with_all = [
        "paths", "vault", "agent", "exclude", "include", "one_file_system",
    ])]
    policy: Option<Name>,
    /// Back up this path of the agent's host; may be repeated
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Into this vault instead of the context's
    #[arg(long)]
    vault: Option<Name>,
    /// On the host of this agent; needed unless there is exactly one
    #[arg(long)]
    agent: Option<Name>,
    /// Leave out what matches; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Take only what matches of what is left; may be repeated
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Do not cross mount points
    #[arg(long)]
    one_file_system: bool,
    /// Read and offer everything again, trusting no cache
    #[arg(long)]
    full: bool,
    /// Print the run's id and do not wait
    #[arg(long)]
    detach: bool,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let run = RunId::random(&SystemEntropy);
    tokio::select! {
        ending = back_up(&arguments, run, demand) => ending,
        stopped = ending::signal() => {
            follow::tell_left(demand.output, &run, "goes on, if it has begun");
            stopped
        }
    }
}

async fn back_up(arguments: &Arguments, run: RunId, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let run_id = start(&client, arguments, run).await?;
    if arguments.detach {
        let run = super::runs::begun(&client, &run_id).await;
        demand.output.answer(|| begun_fields(&run), || hex::encode(&run_id))?;
        return Ok(Ending::Done);
    }
    let bar = Bar::start(demand.output, "waiting for the agent");
    let run = follow::to_the_end(&client, &run_id, async |event| {
        if let Some(progress) = &event.progress {
            bar.counts(progress.entries, progress.bytes_read, None);
        }
        Ok(())
    })
    .await?;
    bar.clear();
    conclude(&client, &run, demand).await
}

async fn start(client: &Client, arguments: &Arguments, run: RunId) -> Result<bytes::Bytes> {
    let question = v1::StartBackupRequest {
        what: Some(what(client, arguments)?),
        options: Some(v1::BackupOptions { full: arguments.full, ..Default::default() }),
        run_id: bytes::Bytes::copy_from_slice(run.as_bytes()),
    };
    let ask = async |mut admin: Admin, question| admin.start_backup(question).await;
    Ok(client.ask(question, ask).await?.run_id)
}

/// A run that nobody waits for has its row, and no figures yet.
fn begun_fields(run: &v1::Run) -> Value {
    let figures = json!({
        "point": null,
        "entries": null,
        "bytes_read": null,
        "bytes_new": null,
        "bytes_stored": null,
        "chunks_new": null,
        "chunks_reused": null,
        "duration_ms": null,
        "skipped_count": null,
        "skipped": [],
    });
    super::runs::begun_fields(run, figures)
}

fn what(client: &Client, arguments: &Arguments) -> Result<What> {
    if let Some(policy) = &arguments.policy {
        return Ok(What::Policy(policy.to_string()));
    }
    let paths = arguments.paths.iter().map(|path| full_path(path)).collect::<Result<Vec<_>>>()?;
    let source = file::files(
        paths.into_iter().map(PathBuf::into_os_string),
        file::Patterns { exclude: arguments.exclude.clone(), include: arguments.include.clone() },
        arguments.one_file_system,
    )?;
    let vault = arguments.vault.as_ref().map_or(client.vault(), Name::as_str);
    Ok(What::Path(v1::PathBackup {
        source: Some(source),
        agent: arguments.agent.as_ref().map(ToString::to_string).unwrap_or_default(),
        vault: vault.to_owned(),
    }))
}

/// A relative path means one below the caller's directory, as it would for any other command.
fn full_path(path: &std::path::Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::io(format!("`{}` names no path", path.display()), &error))
}

/// A run that made a point is an answer; one that made none is an error.
async fn conclude(client: &Client, run: &v1::Run, demand: &Demand<'_>) -> Result<Ending> {
    let Some(point) = run.point.as_deref().filter(|_| matches!(&*run.state, "done" | "partial"))
    else {
        return Err(follow::failure(run));
    };
    let id = hex::encode(point);
    let skipped =
        if run.state == "partial" { skipped(client, &id, demand).await } else { Vec::new() };
    demand.output.answer(|| fields(run, &id, &skipped), || text(run, &id, &skipped))?;
    Ok(follow::ending(&run.state))
}

/// What was skipped is sealed to the vault with the point; the coordinators know how many only.
/// A vault that cannot be opened from here still has its point: the list is then empty, and says
/// that it is not all.
async fn skipped(client: &Client, point: &str, demand: &Demand<'_>) -> Vec<(Vec<u8>, Code)> {
    let read = async {
        let point = select::point(client, point, None).await?;
        let opened = open_online(client, point, "list").await?;
        Tasks::new("skipped").run_blocking("skipped", move || opened.reader.skipped()).await
    };
    read.await.unwrap_or_else(|error| {
        let advice = match error.code {
            Code::KeyCustodyRefused => format!(
                "whoever holds the vault's key lists them: `holdfast ls {} --skipped \
                 --from-location URL --bundle FILE`",
                &point[..POINT_SHOWN_CHARACTERS]
            ),
            _ => error.advice().to_owned(),
        };
        demand.output.remark(&format!("what was skipped cannot be listed: {error}; {advice}"));
        Vec::new()
    })
}

fn fields(run: &v1::Run, point: &str, skipped: &[(Vec<u8>, Code)]) -> Value {
    let counts = run.counts.unwrap_or_default();
    json!({
        "run": hex::encode(&run.id),
        "point": point,
        "state": run.state,
        "entries": counts.entries,
        "bytes_read": counts.bytes_read,
        "bytes_new": counts.bytes_new,
        "bytes_stored": counts.bytes_stored,
        "chunks_new": counts.chunks_new,
        "chunks_reused": counts.chunks_reused,
        "duration_ms": follow::duration(run).as_millis() as u64,
        "skipped_count": counts.skipped,
        "skipped_complete": skipped.len() as u64 == counts.skipped,
        "skipped": skipped.iter().map(path::skipped).collect::<Vec<_>>(),
    })
}

fn text(run: &v1::Run, point: &str, skipped: &[(Vec<u8>, Code)]) -> String {
    let counts = run.counts.unwrap_or_default();
    let each = skipped
        .iter()
        .map(|(path, code)| format!("skipped {}: {}\n", path::text(path), code.name()));
    let each: String = each.collect();
    let skipped = match counts.skipped {
        0 => String::new(),
        count => format!(", {count} SKIPPED"),
    };
    format!(
        "{each}{} entries, {} read, {} new, {} stored in {}{skipped}\n{point}",
        counts.entries,
        figures::size(counts.bytes_read),
        figures::size(counts.bytes_new),
        figures::size(counts.bytes_stored),
        figures::span(follow::duration(run)),
    )
}

/// As many as an id may be cut to.
const POINT_SHOWN_CHARACTERS: usize = 8;

pub const EXAMPLES: &str = "\
Examples:
  holdfast backup nightly
  holdfast backup --path /srv --path /etc --exclude '*.tmp'
  holdfast backup --path /home --agent files-1 --vault main --detach";
