//! Where the owner of a host lets a restore go that somebody else orders.
//!
//! Without a word in `agent.toml` that is everywhere, as an operator expects; a list narrows it,
//! and an empty list forbids it. The directory is judged by where it really is: a link, however it
//! came there, leads to no place that is not allowed (docs/decisions/0004). It is judged by its
//! path, to refuse early, and again when it is open, because a path can change in between.

use super::place::{Target, TargetOptions};
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
        real(directory).map_or_else(|| Err(refused()), |real| insist(allowed, &real))
    }

    /// Opens a directory, and makes it where it is missing, once it is known to lie in an allowed
    /// one. Whatever happens to its path later, this is where the restore goes.
    pub(super) fn open(&self, directory: &Path, options: TargetOptions) -> Result<Target> {
        match &self.0 {
            None => Target::open(directory, options),
            Some(allowed) => {
                Target::open_where(directory, options, Some(&|real| insist(allowed, real)))
            }
        }
    }

    /// The same to look at: nothing is made, and there may be none.
    pub(super) fn look(&self, directory: &Path, options: TargetOptions) -> Result<Option<Target>> {
        match &self.0 {
            None => Target::look(directory, options, None),
            Some(allowed) => Target::look(directory, options, Some(&|real| insist(allowed, real))),
        }
    }
}

fn insist(allowed: &[PathBuf], there: &Path) -> Result<()> {
    // One that is not there yet is allowed where it would be made.
    let inside = |allowed: &PathBuf| real(allowed).is_some_and(|real| there.starts_with(real));
    if allowed.iter().any(inside) { Ok(()) } else { Err(refused()) }
}

fn refused() -> Error {
    Error::new(Code::TargetRefused, "the agent's configuration allows no restore there")
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
    #[test]
    fn an_allowed_directory_that_is_missing_is_made_and_allows_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("real")).unwrap();
        symlink("real", base.join("link")).unwrap();
        symlink("/not/there/yet", base.join("dangling")).unwrap();
        let targets = Targets::new(Some(vec![base.join("link/back"), base.join("dangling")]));
        for bad in ["real", "link", "real/backup", "link/back/../x", "dangling", "dangling/x"] {
            assert!(!allows(&targets, &base.join(bad)), "{bad}");
            let opened = targets.open(&base.join(bad), TargetOptions::default());
            assert!(opened.is_err(), "{bad}");
        }
        assert!(!allows(&targets, Path::new("/not/there/yet")));
        assert_eq!(std::fs::read_dir(base.join("real")).unwrap().count(), 0);
        for good in ["real/back", "link/back/new"] {
            assert!(allows(&targets, &base.join(good)), "{good}");
        }
        targets.open(&base.join("link/back/new"), TargetOptions::default()).unwrap();
        assert!(base.join("real/back/new").is_dir());
    }

    #[test]
    fn what_is_opened_is_judged_whatever_its_path_was_judged_to_be() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("back/there")).unwrap();
        std::fs::create_dir(base.join("outside")).unwrap();
        let targets = Targets::new(Some(vec![base.join("back")]));
        let asked = [base.join("back/there"), base.join("back/there/new")];
        assert!(asked.iter().all(|path| allows(&targets, path)));
        // Swapped after the look at its path.
        std::fs::remove_dir(base.join("back/there")).unwrap();
        symlink("../outside", base.join("back/there")).unwrap();
        for path in &asked {
            let refused = targets.open(path, TargetOptions::default()).unwrap_err();
            assert_eq!(refused.code, Code::TargetRefused);
        }
        assert_eq!(std::fs::read_dir(base.join("outside")).unwrap().count(), 0, "nothing is made");
    }
}
