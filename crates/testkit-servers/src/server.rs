//! One server process: its address, its directory, its end.
//!
//! A shell stands between: when its standard input closes, because whoever started the server
//! dropped it or died, it ends the server with all that the server started, and removes the
//! directory. So nothing is left behind by a test that was killed.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

const KEEPER: &str = r#"
trap '' INT TERM
dir=$1; shift
setsid "$@" </dev/null >"$dir/said" 2>&1 &
server=$!
read -r _
kill -s KILL -- "-$server"
wait 2>/dev/null
rm -rf "$dir"
"#;
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_MAX: usize = 2400;

#[derive(Debug)]
pub struct Server {
    keeper: Child,
    directory: PathBuf,
}

impl Server {
    /// Starts `command` in a directory of its own, in which `prepare` may put what it needs.
    pub(crate) fn start(command: &mut Command, directory: Directory) -> Self {
        let directory = directory.0.keep();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&directory);
        keeper.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => keeper.env(name, value),
                None => keeper.env_remove(name),
            };
        }
        // It outlives whoever started it by a moment, and must not hold on to what that one writes.
        keeper.current_dir(&directory).stdin(Stdio::piped());
        keeper.stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = keeper.spawn().unwrap_or_else(|error| panic!("no shell: {error}"));
        Self { keeper, directory }
    }

    /// Waits until something answers at `address`.
    pub(crate) fn answering(mut self, address: SocketAddr) -> Self {
        for _ in 0..LOOKS_MAX {
            if answers(address) {
                return self;
            }
            if let Ok(Some(status)) = self.keeper.try_wait() {
                panic!("the server ended with {status}");
            }
            thread::sleep(LOOK);
        }
        panic!("nothing answers at {address}; the server said:\n{}", self.said());
    }

    /// The processes that it consists of, by what stands in `/proc`.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let all: Vec<[u32; 3]> = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(parent_and_session)
            .collect();
        let own = all.iter().find(|[_, parent, _]| *parent == self.keeper.id());
        let session = own.map(|[_, _, session]| *session);
        let is_own = |process: &&[u32; 3]| Some(process[2]) == session;
        all.iter().filter(is_own).map(|[id, ..]| *id).collect()
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.directory.join("said")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ended = self.keeper.wait();
    }
}

/// A process with its parent and its session.
fn parent_and_session(id: u32) -> Option<[u32; 3]> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    let mut numbers = after.split_whitespace().skip(1).map(|number| number.parse().ok());
    let (parent, _group, session) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some([id, parent, session])
}

/// A directory that will be a server's.
pub(crate) struct Directory(tempfile::TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        let made = tempfile::Builder::new().prefix("holdfast-server-").tempdir();
        Self(made.unwrap_or_else(|error| panic!("no temporary directory: {error}")))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let request = format!("GET / HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let mut first = [0; 4];
    let wait = Some(Duration::from_secs(5));
    stream.set_read_timeout(wait).is_ok()
        && stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut first).is_ok()
        && first == *b"HTTP"
}

/// An address on loopback at which nothing listens.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.unwrap_or_else(|error| panic!("no free port: {error}"))
}

/// What a program says when it is done; its error fails the test.
pub(crate) fn output(program: &Path, arguments: &[impl AsRef<OsStr>]) -> String {
    let mut command = Command::new("timeout");
    command.arg("60").arg(program).args(arguments);
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", program.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
