//! Where the owner of a host lets a restore go that somebody else orders.
//!
//! Without a word in `agent.toml` that is everywhere, as an operator expects; a list narrows it,
//! and an empty list forbids it. The directory is judged by where it really is: a link, however it
//! came there, leads to no place that is not allowed (docs/decisions/0004).

use holdfast_common::{Code, Error, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets(Option<Vec<PathBuf>>);

impl Targets {
    /// `None` for everywhere.
    pub fn new(allowed: Option<Vec<PathBuf>>) -> Self {
        Self(allowed)
    }

    /// Refuses a directory that lies in no allowed one.
    pub fn insist_on(&self, directory: &Path) -> Result<()> {
        let Some(allowed) = &self.0 else { return Ok(()) };
        let real = real(directory);
        let inside = |allowed: &PathBuf| {
            let allowed = allowed.canonicalize().ok();
            real.as_ref().zip(allowed).is_some_and(|(real, allowed)| real.starts_with(allowed))
        };
        if allowed.iter().any(inside) {
            return Ok(());
        }
        Err(Error::new(Code::TargetRefused, "the agent's configuration allows no restore there"))
    }
}

/// Where a directory is, or would be made: what exists of it is resolved, and nothing above it can
/// be named by what does not.
fn real(directory: &Path) -> Option<PathBuf> {
    if !directory.is_absolute() {
        return None;
    }
    let mut missing: Vec<OsString> = Vec::new();
    let mut there = directory;
    loop {
        match there.canonicalize() {
            Ok(found) => {
                return Some(missing.iter().rev().fold(found, |path, name| path.join(name)));
            }
            // A link that leads nowhere would be followed when somewhere is made.
            Err(_) if there.symlink_metadata().is_ok() => return None,
            Err(_) => {
                // `..` behind something that is missing has no name, and leads nowhere.
                missing.push(there.file_name()?.to_owned());
                there = there.parent()?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn allows(targets: &Targets, directory: &Path) -> bool {
        match targets.insist_on(directory) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code, Code::TargetRefused);
                false
            }
        }
    }

    #[test]
    fn without_a_list_everywhere_is_allowed_and_with_an_empty_one_nowhere() {
        assert!(allows(&Targets::new(None), Path::new("/")));
        assert!(!allows(&Targets::new(Some(vec![])), Path::new("/tmp")));
    }

    #[test]
    fn only_what_really_lies_in_an_allowed_directory_is_allowed() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("back/inner")).unwrap();
        std::fs::create_dir_all(base.join("backup")).unwrap();
        symlink("/etc", base.join("back/out")).unwrap();
        symlink("/not/there/yet", base.join("back/dangling")).unwrap();
        symlink("inner", base.join("back/within")).unwrap();
        let targets = Targets::new(Some(vec![base.join("back")]));
        for good in ["back", "back/inner", "back/new/deep", "back/within/new"] {
            assert!(allows(&targets, &base.join(good)), "{good}");
        }
        for bad in [
            "",
            "backup",
            "back/out",
            "back/out/new",
            "back/../backup",
            "back/dangling",
            "new",
            "back/new/../../x",
        ] {
            assert!(!allows(&targets, &base.join(bad)), "{bad}");
        }
        assert!(!allows(&targets, Path::new("/")), "in place is not below it");
        assert!(!allows(&targets, Path::new("back")), "relative to nothing");
    }
}
