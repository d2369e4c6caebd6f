//! What the figures were taken on.

use crate::files;
use holdfast_common::{Clock, Result, SystemClock};
use std::path::Path;

pub fn facts(work: &Path) -> Result<Vec<(&'static str, String)>> {
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let cpu = files::read_text(Path::new("/proc/cpuinfo"))?;
    let memory = files::read_text(Path::new("/proc/meminfo"))?;
    let load = files::read_text(Path::new("/proc/loadavg"))?;
    let kernel = files::read_text(Path::new("/proc/sys/kernel/osrelease"))?;
    let now = SystemClock::start().now().to_string();
    Ok(vec![
        ("date", now.split('.').next().unwrap_or_default().to_owned() + "Z"),
        ("processor", format!("{cores} × {}", field(&cpu, "model name"))),
        ("memory", field(&memory, "MemTotal")),
        ("kernel", kernel.trim().to_owned()),
        ("work directory", work.display().to_string()),
        ("load before the run", load.split(' ').take(3).collect::<Vec<_>>().join(" ")),
    ])
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, said)| said.trim()).to_owned()
}
