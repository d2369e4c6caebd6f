//! `holdfast dev`: a whole cluster of one in one process, over real mutual TLS on loopback, for
//! trying things. The same directory continues after any kill.

use crate::{demand::Demand, ending::Ending, house::dev::Dev};
use holdfast_common::{Code, Error, Result};
use holdfast_runtime::Signals;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where everything lies; made if absent [default: the state directory's holdfast-dev]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where to accept calls; port 0 chooses one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: String,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let mut signals = Signals::listen()?;
    let dir = match arguments.dir {
        Some(dir) => dir,
        None => usual_dir()?,
    };
    let dir = std::path::absolute(&dir)
        .map_err(|error| Error::io(format!("`{}` names no directory", dir.display()), &error))?;
    let mut dev = tokio::select! {
        started = Dev::start(&dir, arguments.listen) => started?,
        _ = signals.next() => return Ok(Ending::Done),
    };
    demand.output.line(&format!("ready {}", dev.address))?;
    demand.output.line(&format!("export HOLDFAST_CONTEXT={}", dev.context.display()))?;
    dev.run(&mut signals).await?;
    Ok(Ending::Done)
}

fn usual_dir() -> Result<PathBuf> {
    let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
    let state = named("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| named("HOME").map(|home| PathBuf::from(home).join(".local/state")));
    state.map(|state| state.join("holdfast-dev")).ok_or_else(|| {
        Error::new(Code::UsageMalformed, "neither XDG_STATE_HOME nor HOME is set")
            .next("name a directory with --dir")
    })
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast dev
  holdfast dev --dir /tmp/try --listen 127.0.0.1:7400";
