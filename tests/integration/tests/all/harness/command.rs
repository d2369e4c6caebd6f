//! One command, run to its end, and what it said.
//!
//! Every command ends: one that does not within the bound is killed, and the test that ran it
//! fails with what it ran, instead of waiting for whoever runs the tests to lose patience.

use super::binary;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

pub struct Outcome {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
    shown: String,
}

/// Runs `holdfast <arguments>`; the context is given by environment.
pub fn holdfast(context: Option<&Path>, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(binary());
    command.args(arguments);
    Outcome::of(context, &mut command)
}

impl Outcome {
    /// Runs a command that was prepared otherwise.
    pub fn of(context: Option<&Path>, command: &mut Command) -> Self {
        Self::fed(context, command, "")
    }

    /// The same with something to read on stdin.
    pub fn fed(context: Option<&Path>, command: &mut Command, input: &str) -> Self {
        command.env_remove("HOLDFAST_CONTEXT").stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(context) = context {
            command.env("HOLDFAST_CONTEXT", context);
        }
        let shown = format!("{command:?}");
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may be gone already; it is judged by how it ended.
        let _may_be_unread = child.stdin.take().unwrap().write_all(input.as_bytes());
        let done = ended(child, BOUND).unwrap_or_else(|said| {
            panic!("`{shown}` did not end within {} s: {said}", BOUND.as_secs())
        });
        Self {
            code: done.status.code().unwrap_or(-1),
            stdout: done.stdout,
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
            shown,
        }
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends(0)
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.told());
        self
    }

    fn told(&self) -> String {
        let stdout = String::from_utf8_lossy(&self.stdout);
        format!("{}\n--- stdout\n{stdout}\n--- stderr\n{}", self.shown, self.stderr)
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap_or_else(|_| panic!("{}", self.told()))
    }

    /// The one JSON object on stdout, of the right schema.
    #[track_caller]
    pub fn object(&self) -> Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "one object: {}", self.told());
        objects.remove(0)
    }

    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        let parse = |line: &str| {
            let object: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: {}", self.told()));
            assert_eq!(object["schema"], "holdfast/v1", "{}", self.told());
            object
        };
        self.text().lines().map(parse).collect()
    }

    /// The `error` of a failure in JSON mode: stdout is empty, it is stderr's last line.
    #[track_caller]
    pub fn error(&self) -> Value {
        assert!(self.stdout.is_empty(), "stdout of a failure is empty: {}", self.told());
        let last = self.stderr.lines().last().unwrap_or_default();
        let told: Value =
            serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", self.told()));
        for field in ["code", "message", "cause", "next", "retry"] {
            assert!(told["error"].get(field).is_some(), "`{field}` is there: {}", self.told());
        }
        told["error"].clone()
    }

    /// The failure's exit code and error code.
    #[track_caller]
    pub fn fails(self, exit: i32, code: &str) {
        let outcome = self.ends(exit);
        assert_eq!(outcome.error()["code"], code, "{}", outcome.told());
    }
}

/// What a child said to its end; what it said until then, when it was killed for not coming to one.
fn ended(child: Child, bound: Duration) -> Result<Output, String> {
    let pid = Pid::from_child(&child);
    let (told, ends) = mpsc::channel();
    thread::spawn(move || told.send(child.wait_with_output()));
    match ends.recv_timeout(bound) {
        Ok(done) => Ok(done.unwrap()),
        Err(_) => {
            kill_process(pid, Signal::KILL).unwrap();
            // Whoever inherited its output may keep that open.
            let said = ends.recv_timeout(KILLED).ok().and_then(Result::ok);
            Err(said.map_or_else(String::new, |said| {
                let text = [said.stdout, b"\n--- stderr\n".to_vec(), said.stderr].concat();
                String::from_utf8_lossy(&text).into_owned()
            }))
        }
    }
}

/// Longer than any command of a test takes on a slow machine.
const BOUND: Duration = Duration::from_secs(240);
const KILLED: Duration = Duration::from_secs(10);

#[test]
fn a_command_that_does_not_end_is_killed_and_named() {
    let mut sleeper = Command::new("sleep");
    sleeper.arg("600").stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = sleeper.spawn().unwrap();
    let pid = Pid::from_child(&child);
    ended(child, Duration::from_millis(100)).unwrap_err();
    assert!(rustix::process::test_kill_process(pid).is_err(), "it is gone");
}
