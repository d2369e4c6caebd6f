//! A manifest's path, proven to name something beneath the target.
//!
//! The proof is lexical: absolute, no empty part, no `.` and no `..`, no NUL, within the limits.
//! That the parts lead nowhere else on the disk is proven by whoever resolves them.

use holdfast_common::{Code, Error, Result, limits};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsidePath<'a> {
    /// Without the leading slash; empty for the target itself.
    relative: &'a [u8],
}

impl<'a> InsidePath<'a> {
    /// Any path, `/` for the target itself included.
    pub fn parse(path: &'a [u8]) -> Result<Self> {
        let relative = match path.strip_prefix(b"/") {
            Some(relative) if path.len() <= limits::PATH_BYTES_MAX => relative,
            _ => return Err(escaped(path)),
        };
        let is_name = |part: &[u8]| {
            !matches!(part, b"" | b"." | b"..")
                && part.len() <= limits::PATH_PART_BYTES_MAX
                && !part.contains(&0)
        };
        if relative.is_empty() || relative.split(|byte| *byte == b'/').all(is_name) {
            return Ok(Self { relative });
        }
        Err(escaped(path))
    }

    pub fn is_target(&self) -> bool {
        self.relative.is_empty()
    }

    pub(crate) fn relative(&self) -> &'a [u8] {
        self.relative
    }

    /// The path of the directory above, and the last name. The target itself has neither.
    pub(crate) fn split(&self) -> Option<(Self, &'a [u8])> {
        if self.is_target() {
            return None;
        }
        Some(match self.relative.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (Self { relative: &self.relative[..at] }, &self.relative[at + 1..]),
            None => (Self { relative: b"" }, self.relative),
        })
    }
}

pub(crate) fn escaped(path: &[u8]) -> Error {
    Error::new(Code::TargetEscape, format!("`{}` does not lie in the target", shown(path)))
}

/// A path for a message: whatever bytes it has, it cannot disturb a terminal.
pub(crate) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_lead_out_are_refused() {
        let long = format!("/{}", "x".repeat(256));
        let longer = "/x".repeat(limits::PATH_BYTES_MAX / 2 + 1);
        let bad = [
            "", "etc", "../etc", "/..", "/../etc", "/a/..", "/a/../b", "/.", "/a/./b", "//",
            "/a//b", "/a/", "/a\0b", &long, &longer,
        ];
        for path in bad {
            let refused = InsidePath::parse(path.as_bytes()).unwrap_err();
            assert_eq!(refused.code, Code::TargetEscape, "{path}");
        }
    }

    #[test]
    fn a_path_is_its_directory_and_its_name() {
        let split = |path: &'static [u8]| {
            let (above, name) = InsidePath::parse(path).unwrap().split().unwrap();
            (above.relative(), name)
        };
        assert_eq!(split(b"/a"), (&b""[..], &b"a"[..]));
        assert_eq!(split(b"/a/...b"), (&b"a"[..], &b"...b"[..]));
        assert_eq!(split(b"/a/\xff/c"), (&b"a/\xff"[..], &b"c"[..]));
        assert!(InsidePath::parse(b"/").unwrap().split().is_none());
    }
}
