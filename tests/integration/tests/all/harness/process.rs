//! Services as child processes: started, awaited until `ready`, stopped or killed by their id.

use super::{Outcome, holdfast};
use holdfast_common::limits::KIB;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex,
        mpsc::{Receiver, sync_channel},
    },
    time::{Duration, Instant},
};

const READY_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// Any user that is not root and owns nothing else.
const NOBODY: u32 = 65_534;

/// The binary under test.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("HOLDFAST_BINARY") {
        return named.into();
    }
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().nth(2).unwrap().join("holdfast");
    assert!(
        found.exists(),
        "{} is not there: run `cargo build -p holdfast-cli` first, or set HOLDFAST_BINARY",
        found.display()
    );
    found
}

/// Polls until `condition` gives something, and fails the test with `what` at the deadline.
pub fn wait_until<T>(what: &str, patience: Duration, condition: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One running service. Dropped, it is killed.
pub struct Service {
    child: Mutex<Child>,
    lines: Mutex<Receiver<String>>,
    log: PathBuf,
    pub address: String,
}

impl Service {
    /// Starts `holdfast <arguments>` and waits for its `ready ADDR`; stderr goes to `log`.
    pub fn start(arguments: &[&str], log: &Path) -> Self {
        Self::spawn(Command::new(binary()).args(arguments), log)
    }

    /// The same as a user who may read little; needs a test that runs as root.
    pub fn start_as(uid: u32, arguments: &[&str], log: &Path) -> Self {
        Self::spawn(Command::new(binary()).args(arguments).uid(uid).gid(uid), log)
    }

    /// A command that was prepared otherwise, with an environment of its own.
    pub fn start_command(command: &mut Command, log: &Path) -> Self {
        Self::spawn(command, log)
    }

    fn spawn(command: &mut Command, log: &Path) -> Self {
        let stderr = File::options().create(true).append(true).open(log).unwrap();
        let mut child = command
            .env_remove("HOLDFAST_CONTEXT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = sync_channel(64);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let mut service = Self {
            child: Mutex::new(child),
            lines: Mutex::new(lines),
            log: log.to_owned(),
            address: String::new(),
        };
        let first = service.line();
        let address = first.strip_prefix("ready ");
        service.address = address.unwrap_or_else(|| panic!("`{first}` is not ready")).to_owned();
        service
    }

    /// The next line on stdout.
    pub fn line(&self) -> String {
        self.lines.lock().unwrap().recv_timeout(READY_PATIENCE).unwrap_or_else(|_| {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            panic!("no line within {READY_PATIENCE:?}; the log says:\n{log}")
        })
    }

    /// How it ended, if it has by itself.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// The most that it ever held in memory.
    pub fn resident_bytes_max(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * KIB
    }

    pub fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
    }

    /// SIGTERM, and the exit within the promised time.
    pub fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(start.elapsed() < STOP_PATIENCE, "still there {STOP_PATIENCE:?} after SIGTERM");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL, and the end of it.
    pub fn kill(mut self) {
        self.kill_in_place();
    }

    /// The same for a service that another will take the place of.
    pub fn kill_in_place(&mut self) {
        let child = self.child.get_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _already_gone = child.kill();
        let _reaped = child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.log.display(), self.log());
        }
    }
}

/// A `holdfast dev` in a directory.
pub struct Dev {
    pub dir: PathBuf,
    pub service: Service,
}

impl Dev {
    pub fn start(dir: &Path) -> Self {
        let service = Service::start(&["dev", "--dir", dir.to_str().unwrap()], &log_of(dir));
        Self::announced(dir, service)
    }

    pub fn start_as(uid: u32, dir: &Path) -> Self {
        let arguments = ["dev", "--dir", dir.to_str().unwrap()];
        Self::announced(dir, Service::start_as(uid, &arguments, &log_of(dir)))
    }

    /// As somebody from whom a file can be locked away, which it cannot be from root.
    pub fn start_as_nobody(dir: &Path) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::start(dir);
        }
        std::os::unix::fs::chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
        Self::start_as(NOBODY, dir)
    }

    fn announced(dir: &Path, service: Service) -> Self {
        let line = service.line();
        assert_eq!(
            line,
            format!("export HOLDFAST_CONTEXT={}", dir.join("operator.toml").display())
        );
        Self { dir: dir.to_owned(), service }
    }

    pub fn context(&self) -> PathBuf {
        self.dir.join("operator.toml")
    }

    /// Runs an operator's command against it, in table mode.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        holdfast(Some(&self.context()), arguments)
    }

    /// Runs an operator's command against it, in JSON mode.
    pub fn json(&self, arguments: &[&str]) -> Outcome {
        self.run(&[&["--output", "json"], arguments].concat())
    }

    /// Backs a path up and gives the point's id.
    pub fn backup(&self, path: &Path) -> String {
        let told = self.json(&["backup", "--path", path.to_str().unwrap()]).ok().object();
        told["point"].as_str().unwrap().to_owned()
    }
}

fn log_of(dir: &Path) -> PathBuf {
    dir.with_extension("log")
}
