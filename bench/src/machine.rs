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
        ("work directory", relative(work)),
        ("load before the run", load.split(' ').take(3).collect::<Vec<_>>().join(" ")),
    ])
}

/// As whoever reads the report may have it too: beneath where the command ran, or its own name.
fn relative(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let own = path.file_name().map(Path::new);
    path.strip_prefix(&here).ok().or(own).unwrap_or(path).display().to_string()
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, said)| said.trim()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_no_path_of_the_machine_it_was_made_on() {
        let here = std::env::current_dir().unwrap();
        for (what, said) in facts(&here.join("target/bench")).unwrap() {
            assert!(!said.contains(here.to_str().unwrap()), "{what}: {said}");
        }
        assert_eq!(relative(&here.join("target/bench")), "target/bench");
        assert_eq!(relative(Path::new("/somewhere/else/bench")), "bench");
        assert_eq!(relative(Path::new("target/bench")), "bench");
    }
}
