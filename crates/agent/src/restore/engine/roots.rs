//! The paths that a point was made of, for whoever may remove beneath them and nowhere else.
//!
//! A record names them in one text with commas between them, and a path may have commas in it. So
//! the text alone is not believed: a path counts only when the manifest has it, or the backup told
//! that it could not read it, and when the text can be taken in no other way. Where it can, or in
//! none, the paths are not known, and nothing may be removed.

use super::super::point::PointReader;
use super::delete::unknown;
use holdfast_common::{Code, Result};
use holdfast_seal::manifest::entry::EntryKind;
use holdfast_seal::manifest::path;

/// The paths without a slash at their end; none where no path was asked for (a safety point).
pub(super) fn of(reader: &PointReader, skipped: &[(Vec<u8>, Code)]) -> Result<Vec<Vec<u8>>> {
    let Some(text) = reader.record().source.strip_prefix("files:") else { return Ok(Vec::new()) };
    let manifest = reader.manifest();
    let mut is_known = |asked: &[u8]| -> Result<bool> {
        let told = |known: &[u8]| {
            known == asked || path::is_below(asked, known) || path::is_below(known, asked)
        };
        if asked == b"/" || skipped.iter().any(|(known, _)| told(known)) {
            return Ok(true);
        }
        if manifest.get(asked)?.is_some() {
            return Ok(true);
        }
        // Behind a link it has another path, and is beneath none of ours.
        let above = asked.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        for (at, _) in above {
            match manifest.get(&asked[..at])? {
                Some(entry) if entry.kind == EntryKind::Symlink => return Ok(true),
                Some(_) => {}
                None => return Ok(false),
            }
        }
        Ok(false)
    };
    // A name that is no text is not what stands in the record.
    let is_exact = !text.contains('\u{fffd}');
    let found = if is_exact { find(text.as_bytes(), &mut is_known)? } else { None };
    found.ok_or_else(|| unknown("the record does not tell which paths the point was made of"))
}

/// The only way to take the text apart so that every path is known.
fn find(
    text: &[u8],
    is_known: &mut dyn FnMut(&[u8]) -> Result<bool>,
) -> Result<Option<Vec<Vec<u8>>>> {
    if !text.starts_with(b"/") {
        return Ok(None);
    }
    // A comma that no slash follows is part of a name: all paths begin with one.
    let ends: Vec<usize> = (0..text.len())
        .filter(|at| text[*at] == b',' && text.get(at + 1) == Some(&b'/'))
        .chain([text.len()])
        .collect();
    // Of the rest from each beginning: in how many ways, up to two, and where the first path ends.
    let mut ways = vec![(0_u8, 0_usize); ends.len() + 1];
    ways[ends.len()].0 = 1;
    for first in (0..ends.len()).rev() {
        let start = first.checked_sub(1).map_or(0, |before| ends[before] + 1);
        for last in first..ends.len() {
            let rest = ways[last + 1].0;
            if rest > 0 && is_known(&plain(&text[start..ends[last]]))? {
                ways[first] = ((ways[first].0 + rest).min(2), last);
            }
            // A path that goes on behind this comma has a directory with it at its end.
            let joined = text.get(start..=ends[last]).map(plain);
            match joined {
                Some(directory) if is_known(&directory)? => {}
                _ => break,
            }
        }
    }
    if ways[0].0 != 1 {
        return Ok(None);
    }
    let (mut roots, mut first) = (Vec::new(), 0);
    while first < ends.len() {
        let start = first.checked_sub(1).map_or(0, |before| ends[before] + 1);
        roots.push(plain(&text[start..ends[ways[first].1]]));
        first = ways[first].1 + 1;
    }
    Ok(Some(roots))
}

/// As a manifest writes a path: no empty part, no `.`.
fn plain(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let plain: Vec<u8> = parts.flat_map(|part| [b"/", part].concat()).collect();
    if plain.is_empty() { b"/".to_vec() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found where the manifest has these paths.
    fn roots(text: &str, known: &[&str]) -> Option<Vec<String>> {
        let mut is_known =
            |asked: &[u8]| Ok(asked == b"/" || known.iter().any(|path| path.as_bytes() == asked));
        let found = find(text.as_bytes(), &mut is_known).unwrap()?;
        Some(found.into_iter().map(|path| String::from_utf8(path).unwrap()).collect())
    }

    fn some(paths: &[&str]) -> Option<Vec<String>> {
        Some(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn a_path_is_found_whole_whatever_commas_it_has() {
        assert_eq!(roots("/", &[]), some(&["/"]));
        assert_eq!(roots("/srv,/etc/", &["/srv", "/etc"]), some(&["/srv", "/etc"]));
        assert_eq!(roots("/data,old", &["/data,old"]), some(&["/data,old"]));
        let one = ["/data,", "/data,/etc"];
        assert_eq!(roots("/data,/etc", &one), some(&["/data,/etc"]));
        let three = ["/a", "/b,", "/b,/c", "/d"];
        assert_eq!(roots("/a,/b,/c,/./d//", &three), some(&["/a", "/b,/c", "/d"]));
    }

    #[test]
    fn a_text_that_can_be_taken_in_two_ways_or_in_none_names_no_path() {
        assert_eq!(roots("/data,/etc", &["/data", "/etc", "/data,", "/data,/etc"]), None);
        assert_eq!(roots("/data,/etc", &["/data"]), None);
        assert_eq!(roots("/gone", &[]), None);
        assert_eq!(roots("", &[]), None);
        assert_eq!(roots("data", &["/data"]), None);
    }
}
