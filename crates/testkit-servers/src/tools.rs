//! Where `.ci/setup test` puts what is installed for tests alone.

use std::path::PathBuf;

/// A file of an installed tool.
pub(crate) fn tool(path: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let tools = std::env::var_os("HOLDFAST_TOOLS").map(PathBuf::from);
    let tools = tools.or_else(|| Some(home()?.join("holdfast/tools")));
    let file = tools.unwrap_or_default().join(path);
    assert!(file.exists(), "{} is not there: run .ci/setup test", file.display());
    file
}
