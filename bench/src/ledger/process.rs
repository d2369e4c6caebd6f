//! A member's process: started, killed by its id, started again with the same command line; and
//! the ports that members listen on.
//!
//! Nothing outlives its owner: dropping a process kills it and waits for its end.

use crate::files;
use holdfast_common::{Code, Error, Result};
use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `program` with an empty environment; what it says is appended to `log`.
    pub fn start(program: &Path, arguments: Vec<String>, log: &Path) -> Result<Self> {
        let child = spawn(program, &arguments, log)?;
        Ok(Self { program: program.to_owned(), arguments, log: log.to_owned(), child })
    }

    /// SIGKILL; gone when this returns.
    pub fn kill(&mut self) -> Result<()> {
        let fail = |error| Error::io("a member cannot be killed", &error);
        self.child.kill().map_err(fail)?;
        self.child.wait().map(|_| ()).map_err(fail)
    }

    /// The same again, after it was killed.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.program, &self.arguments, &self.log)?;
        Ok(())
    }

    /// Whether it ended by itself, and then whether well.
    pub fn has_ended(&mut self) -> Result<Option<bool>> {
        let ended = self.child.try_wait();
        let ended = ended.map_err(|error| Error::io("a process cannot be awaited", &error))?;
        Ok(ended.map(|status| status.success()))
    }

    /// The last line of a process that ended by itself.
    pub fn refuse_ended(&mut self) -> Result<()> {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            return Ok(());
        }
        let said = files::read_text(&self.log).unwrap_or_default();
        let last = said.lines().last().unwrap_or("nothing").to_owned();
        let message = format!("{} ended by itself", self.program.display());
        Err(Error::new(Code::RunInterrupted, message).cause(last))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is what both calls then say.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Ports of 127.0.0.1 that nobody listens on. They lie below those that the kernel hands out by
/// itself: a member that is started again must find its port free.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    // All are held until all are found.
    let listeners: Vec<TcpListener> = candidates()
        .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .take(count)
        .collect();
    if listeners.len() < count {
        return Err(Error::new(Code::ClusterBusy, "too few ports of 127.0.0.1 are free"));
    }
    let found = listeners.iter().map(|listener| listener.local_addr().map(|at| at.port()));
    found.collect::<Result<_, _>>().map_err(|error| Error::io("a port has no number", &error))
}

/// Runs beside each other begin at different places.
fn candidates() -> impl Iterator<Item = u16> {
    FIRST_PORT + (std::process::id() % 5_000) as u16..=LAST_PORT
}

fn spawn(program: &Path, arguments: &[String], log: &Path) -> Result<Child> {
    let fail = |error| files::failed("start", program, &error);
    let log = File::options().create(true).append(true).open(log).map_err(fail)?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(fail)
}

const FIRST_PORT: u16 = 20_000;
/// The kernel's own begin at 32768.
const LAST_PORT: u16 = 32_767;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_distinct_and_below_the_kernels_own() {
        let ports = free_ports(6).unwrap();
        assert_eq!(ports.len(), 6);
        assert!(ports.is_sorted_by(|a, b| a < b), "{ports:?}");
        assert!(ports.iter().all(|port| (FIRST_PORT..=LAST_PORT).contains(port)));
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_free() {
        // The other tests take ports as well, now and then.
        let held = candidates().find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
        let taken = held.as_ref().unwrap().local_addr().unwrap().port();
        assert!(!free_ports(6).unwrap().contains(&taken));
    }

    #[test]
    fn a_process_ends_with_its_owner_and_can_be_started_again_before() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let sleep = Path::new("/bin/sleep");
        let mut process = Process::start(sleep, vec!["1000".into()], &log).unwrap();
        let first = process.child.id();
        process.refuse_ended().unwrap();
        process.kill().unwrap();
        assert!(!Path::new(&format!("/proc/{first}")).exists());
        assert_eq!(process.refuse_ended().unwrap_err().code, Code::RunInterrupted);
        process.restart().unwrap();
        process.refuse_ended().unwrap();
        let second = PathBuf::from(format!("/proc/{}", process.child.id()));
        assert!(second.exists());
        drop(process);
        assert!(!second.exists());
    }
}
