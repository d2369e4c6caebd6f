//! A long-running process of ours: started, awaited, watched through /proc, stopped by its id.

use crate::files;
use holdfast_common::{Clock, Code, Error, Result, SystemClock};
use rustix::{
    param::clock_ticks_per_second,
    process::{Pid, Signal, kill_process},
};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

pub struct Service {
    child: Child,
    /// Kept open: the service may still write to it.
    _stdout: BufReader<ChildStdout>,
}

impl Service {
    /// Starts `program` and waits for its line `ready …`.
    pub fn start(program: &Path, arguments: &[&str], log: &Path) -> Result<Self> {
        Self::start_with(program, arguments, &[], log)
    }

    /// The same, with more in its environment.
    pub fn start_with(
        program: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
        log: &Path,
    ) -> Result<Self> {
        let fail = |error| files::failed("start", program, &error);
        let stderr = File::options().create(true).append(true).open(log).map_err(fail)?;
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(fail)?;
        let piped = child.stdout.take();
        let mut stdout = BufReader::new(piped.ok_or_else(|| ended(program, log))?);
        let mut line = String::new();
        stdout.read_line(&mut line).map_err(fail)?;
        if !line.starts_with("ready") {
            return Err(ended(program, log));
        }
        Ok(Self { child, _stdout: stdout })
    }

    /// User and system seconds since it started.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.id())
    }

    /// The peak resident size since [`Self::forget_peak`].
    pub fn peak_bytes(&self) -> Result<u64> {
        let status = files::read_text(&self.proc("status"))?;
        peak_kib(&status).map(|kib| kib << 10).ok_or_else(|| unknown("status"))
    }

    pub fn forget_peak(&self) -> Result<()> {
        let file = self.proc("clear_refs");
        std::fs::write(&file, "5").map_err(|error| files::failed("write", &file, &error))
    }

    /// SIGTERM, and SIGKILL when that does not help in time.
    pub fn stop(mut self) -> Result<()> {
        let id = Pid::from_child(&self.child);
        // It may have ended by itself; the wait below tells.
        let _gone = kill_process(id, Signal::TERM);
        let clock = SystemClock::start();
        while clock.elapsed() < STOP_PATIENCE {
            match self.child.try_wait() {
                Ok(Some(_)) => return Ok(()),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err(Error::new(Code::RunCancelled, "a service did not stop when it was told to"))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // After `stop` it is gone already, which is what both calls then say.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// User and system seconds of any process.
pub fn cpu_seconds(process: u32) -> Result<f64> {
    let stat = files::read_text(&PathBuf::from(format!("/proc/{process}/stat")))?;
    let ticks = ticks(&stat).ok_or_else(|| unknown("stat"))?;
    Ok(ticks as f64 / clock_ticks_per_second() as f64)
}

/// Fields 14 and 15 of /proc/PID/stat; the name before them may hold spaces and brackets.
pub(super) fn ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn unknown(file: &str) -> Error {
    Error::new(Code::FileIoFailed, format!("/proc/PID/{file} has another shape"))
}

fn ended(program: &Path, log: &Path) -> Error {
    let said = files::read_text(log).unwrap_or_default();
    let last = said.lines().last().unwrap_or("nothing").to_owned();
    Error::new(Code::RunCancelled, format!("{} did not become ready", program.display()))
        .cause(last)
}

const STOP_PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 9 9 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn the_peak_is_found_among_other_lines() {
        assert_eq!(peak_kib("VmPeak:\t 9 kB\nVmHWM:\t  1234 kB\n"), Some(1234));
        assert_eq!(peak_kib("VmPeak:\t 9 kB\n"), None);
    }
}
