//! Credentials for tests: in files of their own, or in the environment of a process of its own.

use holdfast_testkit_servers::tools;
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

/// A key in a file that only its owner can read.
pub(crate) struct KeyFile {
    path: String,
    _directory: tempfile::TempDir,
}

impl KeyFile {
    pub(crate) fn of(key: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, format!("{key}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Self { path: path.to_str().unwrap().to_owned(), _directory: directory }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// What a test that is ignored says in a process with this environment and no other.
pub(crate) fn own_environment(test: &str, environment: &[(&str, &str)]) -> String {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", test, "--ignored", "--nocapture", "--test-threads", "1"]);
    process.env_clear();
    process.env("HOLDFAST_TOOLS", tools());
    process.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let output = process.envs(environment.iter().copied()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}
