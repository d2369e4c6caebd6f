//! `holdfast mount [POINT] DIR`: a point, or all of them, as directories and files of this host.
//!
//! Looks at the directory, opens what is to be shown, mounts, says so, and serves until somebody
//! unmounts it or stops the command. Points are read as `cat` reads them; `desk` brings what the
//! mount's threads ask for to where the cluster or the location is asked.

mod desk;

use crate::{
    client::select::Filter,
    demand::Demand,
    ending::{self, Ending},
    offline::OfflineArguments,
    opening::Shelf,
    output::figures,
};
use core::time::Duration;
use desk::{Desk, Wanted};
use holdfast_common::{
    Clock, Code, Error, Name, PointId, Result, SystemClock,
    limits::{self, MIB},
};
use holdfast_mount::{Directory, Ends, Library, Mounted, Options, Shown};
use holdfast_runtime::{Signals, Tasks};
use rustix::process::{getgid, getuid};
use serde_json::json;
use std::{path::PathBuf, sync::Arc};

#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Arguments {
    /// A point's id, its first 8 or more characters, or `latest`; without it, all points are shown
    point: Option<String>,
    /// An empty directory to show it in
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// What `latest` means; without a point, show only points of this policy
    #[arg(long)]
    policy: Option<Name>,
    /// Show only points that this agent made
    #[arg(long, conflicts_with = "point")]
    agent: Option<Name>,
    /// Show only points of this vault
    #[arg(long, conflicts_with = "point")]
    vault: Option<Name>,
    /// How much of what was read to keep in memory
    #[arg(long, value_name = "SIZE", value_parser = figures::parse_size, default_value = "128M")]
    cache: usize,
    /// Let go of a point that nobody has read for so long, until somebody does again
    #[arg(long, value_name = "SPAN", value_parser = figures::parse_span, default_value = "4h")]
    idle: Duration,
    /// Let every user of this host in, as far as the modes and owners in the point allow
    #[arg(long)]
    allow_other: bool,
    #[command(flatten)]
    offline: OfflineArguments,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let directory = Directory::new(&arguments.directory)?;
    // One ear from the beginning to the end: what is said between two of them nobody hears.
    let mut signals = Signals::listen()?;
    let tasks = Tasks::new("mount");
    let preparing = async {
        let shelf = Shelf::of(&arguments.offline, demand).await?;
        let shown = shown(&shelf, &arguments).await?;
        Ok::<_, Error>((shelf, shown))
    };
    let (shelf, shown) = tokio::select! {
        prepared = preparing => prepared?,
        signal = signals.next() => return Ok(ending::stopped_by(signal)),
    };
    let options = options(&arguments, shown)?;
    let vault = arguments.vault.map(|name| name.to_string());
    let filter = Filter {
        policy: arguments.policy.map(|name| name.to_string()),
        agent: arguments.agent.map(|name| name.to_string()),
        limit: limits::MOUNT_POINTS_LISTED_MAX,
        ..Filter::default()
    };
    let (desk, asks) = Desk::new();
    let wanted = Wanted { filter, vault };
    let serving = desk::serve(&shelf, &wanted, demand, asks);
    let showing = show(&tasks, Arc::new(desk), (directory, options), &mut signals, demand);
    tokio::select! {
        shown = showing => shown,
        () = serving => Ok(Ending::Done),
    }
}

async fn shown(shelf: &Shelf, arguments: &Arguments) -> Result<Shown> {
    let Some(text) = &arguments.point else { return Ok(Shown::All) };
    let point = shelf.point(text, arguments.policy.as_ref()).await?;
    Ok(Shown::Point(PointId::from_slice(&point.id)?))
}

fn options(arguments: &Arguments, shown: Shown) -> Result<Options> {
    if arguments.cache < limits::MOUNT_CACHE_BYTES_MIN {
        let least = limits::MOUNT_CACHE_BYTES_MIN / MIB;
        let message = format!("a mount needs {least} MiB of cache at least");
        return Err(Error::new(Code::UsageMalformed, message));
    }
    if arguments.idle.is_zero() {
        return Err(Error::new(Code::UsageMalformed, "--idle 0 would hold no point at all"));
    }
    Ok(Options {
        shown,
        cache_bytes: arguments.cache,
        idle: arguments.idle,
        owner: (getuid().as_raw(), getgid().as_raw()),
        since: SystemClock::start().now(),
        allow_other: arguments.allow_other,
    })
}

/// Mounts, says so, and waits for the end.
async fn show(
    tasks: &Tasks,
    library: Arc<dyn Library>,
    (directory, options): (Directory, Options),
    signals: &mut Signals,
    demand: &Demand<'_>,
) -> Result<Ending> {
    let said = directory.clone();
    let shown = options.shown;
    let begin = move || {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        holdfast_mount::mount(library, clock, &directory, options)
    };
    let mounting = tasks.run_blocking("mount", begin);
    tokio::pin!(mounting);
    let mounted: Mounted = tokio::select! {
        mounted = &mut mounting => mounted?,
        signal = signals.next() => {
            // It may be about to stand.
            if let Ok(Ok(mounted)) = tokio::time::timeout(PATIENCE, mounting).await {
                mounted.ends().end()?;
            }
            return Ok(ending::stopped_by(signal));
        }
    };
    let ends = mounted.ends();
    let waiting = tasks.run_blocking("serve", move || mounted.wait());
    tokio::pin!(waiting);
    if let Err(error) = tell(&said, shown, demand) {
        stop(tasks, &ends).await?;
        return Err(error);
    }
    tokio::select! {
        ended = &mut waiting => ended?,
        _ = signals.next() => {
            stop(tasks, &ends).await?;
            // Where it could not be taken away by force, whoever has a file open keeps it from
            // ending, and this from waiting for it.
            if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
                demand.output.remark("note: something of it was open still");
                tasks.run_blocking("let go", move || { ends.let_go(); Ok(()) }).await?;
            }
        }
    }
    Ok(Ending::Done)
}

async fn stop(tasks: &Tasks, ends: &Ends) -> Result<()> {
    let ends = ends.clone();
    tasks.run_blocking("unmount", move || ends.end()).await
}

fn tell(directory: &Directory, shown: Shown, demand: &Demand<'_>) -> Result<()> {
    let path = directory.path();
    let point = match shown {
        Shown::All => None,
        Shown::Point(point) => Some(point.to_string()),
    };
    demand.output.answer(
        || json!({ "mounted": path.to_string_lossy(), "point": point }),
        || format!("mounted {}", path.display()),
    )
}

/// How long a mount that is being taken away may go on for those who still use it.
const PATIENCE: Duration = Duration::from_secs(2);

pub const EXAMPLES: &str = "\
Examples:
  holdfast mount latest /mnt --policy nightly           the newest point of a policy
  holdfast mount 1f0c2a9b /mnt                          one point; in the foreground until Ctrl-C
  holdfast mount /mnt                                   all points: by-policy, by-time, points
  holdfast mount /mnt --allow-other --cache 1G          for every user, with more memory
  holdfast mount /mnt --from-location local:/srv/vault --bundle bundle.hfbd
  umount /mnt                                           ends it as well";
