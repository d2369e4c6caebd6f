//! The paths that were asked for, as a tree from the filesystem's root.
//!
//! The tree says at each name whether everything beneath is taken or only what leads to a given
//! path; overlapping paths merge in it. Symbolic links *on the way* to a given path, and a given
//! path that is one itself, are taken as links, and where they lead is taken as if it had been
//! given too: naming a path that passes through `/var/run` saves the link and what lies in `/run`.
//! This is the only place of the walk that follows a link, and it does so before the walk begins;
//! with `links_only` it follows none.

use crate::source::{Skipped, code_of};
use holdfast_common::{Code, Error, Result};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel itself would follow.
const LINKS_FOLLOWED_MAX: usize = 40;

#[derive(Debug, Default)]
pub(crate) struct Given {
    /// Node 0 is `/`.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) children: BTreeMap<Vec<u8>, usize>,
    pub(crate) whole: bool,
}

impl Given {
    /// Looks each path up. Those that do not exist are given back as skipped.
    pub(crate) fn locate(paths: &[PathBuf], links_only: bool) -> Result<(Self, Vec<Skipped>)> {
        let mut given = Self { nodes: vec![Node::default()] };
        let mut missing = Vec::new();
        for path in paths {
            check(path)?;
            if let Err(errno) = given.add(path, links_only) {
                missing.push(Skipped::new(path.as_os_str().as_bytes(), code_of(errno)));
            }
        }
        if paths.is_empty() || missing.len() == paths.len() {
            let listed: Vec<String> = paths.iter().map(|p| format!("`{}`", p.display())).collect();
            return Err(Error::new(
                Code::SourceEmpty,
                format!("nothing to read: no path of [{}] exists here", listed.join(", ")),
            ));
        }
        Ok((given, missing))
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        &self.nodes[at]
    }

    /// Takes the path, every link on its way, and where they lead.
    fn add(&mut self, path: &Path, links_only: bool) -> std::result::Result<(), Errno> {
        let mut left: Vec<Vec<u8>> = parts(path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == b".." {
                at.pop();
                continue;
            }
            let here = at.join(OsStr::from_bytes(&part));
            let is_link = here.symlink_metadata().map_err(|e| errno_of(&e))?.is_symlink();
            if !is_link {
                at = here;
                continue;
            }
            links += 1;
            if links > LINKS_FOLLOWED_MAX {
                return Err(Errno::LOOP);
            }
            self.insert(&here);
            let target = PathBuf::from(std::ffi::OsString::from_vec(
                std::fs::read_link(&here).map_err(|e| errno_of(&e))?.into_os_string().into_vec(),
            ));
            let dangles = left.is_empty() && here.metadata().is_err();
            if dangles || links_only {
                return Ok(());
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            left.extend(parts(&target));
        }
        self.insert(&at);
        Ok(())
    }

    fn insert(&mut self, path: &Path) {
        let mut at = 0;
        for part in parts(path).into_iter().rev() {
            let next = self.nodes.len();
            at = *self.nodes[at].children.entry(part).or_insert(next);
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].whole = true;
    }
}

/// The parts of a path, last first; `.` and empty ones are dropped, `..` is kept.
fn parts(path: &Path) -> Vec<Vec<u8>> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.as_bytes().to_vec()),
            Component::ParentDir => Some(b"..".to_vec()),
            _ => None,
        })
        .collect()
}

/// `a/..` is not `.` where `a` is a link: what the caller meant cannot be known.
fn check(path: &Path) -> Result<()> {
    let climbs = path.components().any(|part| part == Component::ParentDir);
    let holds_nul = path.as_os_str().as_bytes().contains(&0);
    if path.is_absolute() && !climbs && !holds_nul {
        return Ok(());
    }
    Err(Error::new(
        Code::UsageMalformed,
        format!("`{}` is not a path that can be backed up", path.display()),
    )
    .next("give an absolute path without `..`"))
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(given: &Given, at: usize, path: &str, out: &mut Vec<String>) {
        if given.node(at).whole {
            out.push(path.to_owned());
        }
        for (name, child) in &given.node(at).children {
            whole(given, *child, &format!("{path}/{}", String::from_utf8_lossy(name)), out);
        }
    }

    fn located(paths: &[PathBuf]) -> Vec<String> {
        let (given, missing) = Given::locate(paths, false).unwrap();
        assert_eq!(missing, []);
        let mut out = Vec::new();
        whole(&given, 0, "", &mut out);
        out
    }

    #[test]
    fn a_given_link_and_links_on_the_way_are_taken_with_where_they_lead() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("real/inner")).unwrap();
        std::os::unix::fs::symlink("real", base.join("relative")).unwrap();
        std::os::unix::fs::symlink("../relative/inner", base.join("real/up")).unwrap();
        let expected =
            ["real/inner", "real/up", "relative"].map(|name| base.join(name).display().to_string());
        assert_eq!(located(&[base.join("relative/up")]), expected);
    }

    #[test]
    fn links_alone_are_taken_where_nothing_else_is_wanted() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("real/inner")).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        for path in ["link", "link/inner"] {
            let (given, missing) = Given::locate(&[base.join(path)], true).unwrap();
            assert_eq!(missing, []);
            let mut out = Vec::new();
            whole(&given, 0, "", &mut out);
            assert_eq!(out, [base.join("link").display().to_string()], "{path}");
        }
    }

    #[test]
    fn a_dangling_or_circular_link_is_taken_as_a_link_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("nowhere", base.join("dangling")).unwrap();
        std::os::unix::fs::symlink("circle", base.join("circle")).unwrap();
        for name in ["dangling", "circle"] {
            assert_eq!(located(&[base.join(name)]), [base.join(name).display().to_string()]);
        }
    }

    #[test]
    fn a_missing_path_is_reported_and_none_at_all_is_an_error() {
        let absent = PathBuf::from("/no/such/path");
        let (_, missing) = Given::locate(&[PathBuf::from("/"), absent.clone()], false).unwrap();
        assert_eq!(missing, [Skipped::new(b"/no/such/path", Code::FileMissing)]);
        assert_eq!(Given::locate(&[absent], false).unwrap_err().code, Code::SourceEmpty);
        assert_eq!(Given::locate(&[], false).unwrap_err().code, Code::SourceEmpty);
    }

    #[test]
    fn relative_and_climbing_paths_are_refused() {
        for bad in ["etc", "", "./etc", "/etc/../root"] {
            let refused = Given::locate(&[PathBuf::from(bad)], false).unwrap_err();
            assert_eq!(refused.code, Code::UsageMalformed, "{bad}");
        }
    }
}
