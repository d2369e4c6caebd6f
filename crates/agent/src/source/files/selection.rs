//! What of a tree is taken: the exclude list, where the last matching pattern decides, and the
//! include list, which narrows what is left.
//!
//! The walk does not descend into an excluded directory, so nothing beneath one can be taken back
//! with `!`. Paths that were given by name are taken whatever the patterns say; the walk sees to
//! that, since it knows them.

use super::FilesOptions;
use super::pattern::Pattern;
use holdfast_common::{Code, Error, Result, limits};

#[derive(Clone, Debug, Default)]
pub struct Selection {
    exclude: Vec<Pattern>,
    include: Vec<Pattern>,
}

impl Selection {
    pub fn parse(options: &FilesOptions) -> Result<Self> {
        if options.exclude.len() + options.include.len() > limits::EXCLUDE_PATTERNS_MAX {
            return Err(Error::new(
                Code::LimitExceeded,
                format!("more than {} patterns", limits::EXCLUDE_PATTERNS_MAX),
            ));
        }
        let include: Vec<Pattern> = parse_all(&options.include)?;
        if include.iter().any(Pattern::is_negated) {
            return Err(Error::new(
                Code::ResourceMalformed,
                "an include pattern cannot begin with `!`",
            )
            .next("exclude the path instead"));
        }
        Ok(Self { exclude: parse_all(&options.exclude)?, include })
    }

    pub fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        self.exclude
            .iter()
            .rev()
            .find(|pattern| pattern.matches(path, is_directory))
            .is_some_and(|pattern| !pattern.is_negated())
    }

    /// Whether the include list lets it in: it, or a directory above it, is listed.
    pub fn includes(&self, path: &[u8], is_directory: bool) -> bool {
        if is_directory || self.include.is_empty() {
            return true;
        }
        let above = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        self.listed(path, false)
            || above.into_iter().any(|(end, _)| self.listed(&path[..end], true))
    }

    fn listed(&self, path: &[u8], is_directory: bool) -> bool {
        self.include.iter().any(|pattern| pattern.matches(path, is_directory))
    }
}

fn parse_all(texts: &[String]) -> Result<Vec<Pattern>> {
    texts.iter().map(|text| Pattern::parse(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(exclude: &[&str], include: &[&str]) -> Result<Selection> {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Selection::parse(&FilesOptions {
            exclude: owned(exclude),
            include: owned(include),
            ..FilesOptions::default()
        })
    }

    #[test]
    fn the_last_matching_pattern_decides() {
        let chosen = selection(&["*.log", "!keep.log", "/x/keep.log"], &[]).unwrap();
        assert!(chosen.excludes(b"/a.log", false));
        assert!(!chosen.excludes(b"/keep.log", false));
        assert!(chosen.excludes(b"/x/keep.log", false));
        assert!(!chosen.excludes(b"/other", false));
    }

    #[test]
    fn an_include_list_takes_what_it_names_and_what_lies_beneath() {
        let chosen = selection(&[], &["*.dcm", "config/"]).unwrap();
        assert!(chosen.includes(b"/a/b.dcm", false));
        assert!(chosen.includes(b"/a/config/deep/x", false));
        assert!(!chosen.includes(b"/a/config", false), "a file of that name is no directory");
        assert!(!chosen.includes(b"/a/b.txt", false));
        assert!(chosen.includes(b"/a", true), "directories are walked");
        assert!(selection(&[], &[]).unwrap().includes(b"/x", false));
    }

    #[test]
    fn too_many_patterns_and_negated_includes_are_refused() {
        assert_eq!(selection(&[], &["!x"]).unwrap_err().code, Code::ResourceMalformed);
        let many = vec!["x"; limits::EXCLUDE_PATTERNS_MAX + 1];
        assert_eq!(selection(&many, &[]).unwrap_err().code, Code::LimitExceeded);
    }
}
