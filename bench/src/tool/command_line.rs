//! One command: what to run, where, in which environment; run plainly or under GNU time.
//!
//! GNU time waits with `wait4` and says what the kernel counted: no sampling. What the command
//! writes goes to a log; a failure quotes its end.

use super::Usage;
use crate::files;
use holdfast_common::{Clock, Code, Error, Result, SystemClock};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub directory: Option<PathBuf>,
}

impl CommandLine {
    /// Split at spaces; `{}` stands for the next of `paths`.
    pub fn new(program: impl Into<PathBuf>, words: &str, paths: &[&Path]) -> Self {
        let mut paths = paths.iter();
        let mut arguments = Vec::new();
        for word in words.split_whitespace() {
            let path = word.contains("{}").then(|| paths.next()).flatten();
            arguments.push(match path {
                Some(path) => word.replace("{}", &path.display().to_string()),
                None => word.to_owned(),
            });
        }
        Self { program: program.into(), arguments, ..Self::default() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn inside(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// What it wrote to stdout.
    pub fn output(&self) -> Result<String> {
        let out = self
            .command(&self.program)
            .args(&self.arguments)
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| self.unstartable(&error))?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
        }
        Err(self.failed(&String::from_utf8_lossy(&out.stderr)))
    }

    /// What it cost; its words go to `log`.
    pub fn measure(&self, log: &Path) -> Result<Usage> {
        let told = log.with_extension("usage");
        let out = File::create(log).map_err(|error| files::failed("create", log, &error))?;
        let err = out.try_clone().map_err(|error| files::failed("open", log, &error))?;
        let mut command = self.command(Path::new(TIME));
        command.args(["-f", "%U %S %M", "-o"]).arg(&told).arg(&self.program).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let clock = SystemClock::start();
        let status = command.status().map_err(|error| {
            Error::io(format!("{TIME} cannot be started"), &error).next("run bench/setup")
        })?;
        let wall = clock.elapsed().as_secs_f64();
        if !status.success() {
            return Err(self.failed(&files::read_text(log)?));
        }
        Usage::parse(wall, &files::read_text(&told)?)
            .ok_or_else(|| Error::new(Code::FileIoFailed, "GNU time said something unknown"))
    }

    /// As people would type it.
    pub fn shown(&self) -> String {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        core::iter::once(&*program)
            .chain(self.arguments.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    fn failed(&self, log: &str) -> Error {
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES_QUOTED)..].join(" | ");
        Error::new(Code::FileIoFailed, format!("`{}` failed", self.shown())).cause(last)
    }

    fn unstartable(&self, error: &std::io::Error) -> Error {
        Error::io(format!("{} cannot be started", self.program.display()), error)
            .next("run bench/setup")
    }
}

const TIME: &str = "/usr/bin/time";
const LINES_QUOTED: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_where_their_places_are_and_are_never_split() {
        let line = CommandLine::new(
            "/usr/bin/borg",
            "create {}::x {}",
            &[Path::new("/a b"), Path::new("/c")],
        );
        assert_eq!(line.arguments, ["create", "/a b::x", "/c"]);
        assert_eq!(line.shown(), "borg create /a b::x /c");
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let line = CommandLine::new("/bin/ls", "{}", &[Path::new("/nowhere at all")]);
        let error = line.output().unwrap_err();
        assert!(error.cause.unwrap().contains("/nowhere at all"));
    }
}
