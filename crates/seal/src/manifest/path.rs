//! Paths of a manifest: bytes, absolute, in an order that keeps a directory's subtree together.
//!
//! `/` sorts before every other byte, so that `/a/b` comes right after `/a` and before `/a!`. A
//! path has no empty, `.` or `..` part and no NUL, so that nothing read from a manifest can climb
//! out of the place it is restored to.

use core::cmp::Ordering;
use holdfast_common::limits;

/// The order of entries, and of everything else that is sorted by path.
pub fn order(a: &[u8], b: &[u8]) -> Ordering {
    match a.iter().zip(b).find(|(x, y)| x != y) {
        Some((x, y)) => rank(*x).cmp(&rank(*y)),
        None => a.len().cmp(&b.len()),
    }
}

/// Whether a manifest may hold this path.
pub fn check(path: &[u8]) -> Result<(), &'static str> {
    if path.len() > limits::PATH_BYTES_MAX {
        return Err("the path is too long");
    }
    let Some(parts) = path.strip_prefix(b"/") else { return Err("the path is not absolute") };
    if path.contains(&0) {
        return Err("the path holds a NUL");
    }
    let is_step = |part: &[u8]| matches!(part, b"" | b"." | b"..");
    if !parts.is_empty() && parts.split(|byte| *byte == b'/').any(is_step) {
        return Err("the path has an empty part, or one of dots");
    }
    Ok(())
}

/// Whether `path` lies under the directory `dir`; nothing lies under itself.
pub fn is_below(dir: &[u8], path: &[u8]) -> bool {
    let dir = dir.strip_suffix(b"/").unwrap_or(dir);
    path.len() > dir.len() + 1 && path.starts_with(dir) && path[dir.len()] == b'/'
}

/// The entry of `dir` on the way to `path`, which lies below it.
pub fn child<'p>(dir: &[u8], path: &'p [u8]) -> &'p [u8] {
    let start = dir.strip_suffix(b"/").unwrap_or(dir).len() + 1;
    let end = path.iter().skip(start).position(|byte| *byte == b'/');
    end.map_or(path, |end| &path[..start + end])
}

fn rank(byte: u8) -> u8 {
    match byte {
        b'/' => 0,
        low if low < b'/' => low + 1,
        high => high,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_comes_right_after_its_directory() {
        let sorted: [&[u8]; 9] =
            [b"/", b"/a", b"/a/b", b"/a/b/c", b"/a/b\x01", b"/a\x01", b"/a!", b"/a.b", b"/aa"];
        for pair in sorted.windows(2) {
            assert_eq!(order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(order(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(order(b"/a", b"/a"), Ordering::Equal);
    }

    #[test]
    fn ranks_are_a_permutation_with_the_slash_first() {
        let mut ranks: Vec<u8> = (0..=255).map(rank).collect();
        assert_eq!(ranks[usize::from(b'/')], 0);
        ranks.sort_unstable();
        assert_eq!(ranks, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn only_clean_absolute_paths_are_paths() {
        for good in [&b"/"[..], b"/a", b"/a/b.c", b"/...", b"/.a", b"/a\n\xff\x01", b"/..a/b"] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        let long = [b"/".as_slice(), &vec![b'a'; limits::PATH_BYTES_MAX]].concat();
        assert_eq!(check(&long[..limits::PATH_BYTES_MAX]), Ok(()));
        let bads: [&[u8]; 12] = [
            b"", b"a", b"./a", b"//", b"/a/", b"/a//b", b"/.", b"/..", b"/a/./b", b"/a/../b",
            b"/a\0", &long,
        ];
        for bad in bads {
            assert!(check(bad).is_err(), "{:?}", &bad[..bad.len().min(9)]);
        }
    }

    #[test]
    fn below_means_below() {
        assert!(is_below(b"/", b"/a"));
        assert!(is_below(b"/a", b"/a/b/c"));
        for (dir, path) in [("/", "/"), ("/a", "/a"), ("/a", "/ab"), ("/a/b", "/a"), ("/a", "/b/a")]
        {
            assert!(!is_below(dir.as_bytes(), path.as_bytes()), "{dir} {path}");
        }
        assert_eq!(child(b"/", b"/a/b"), b"/a");
        assert_eq!(child(b"/a", b"/a/b"), b"/a/b");
        assert_eq!(child(b"/a", b"/a/b/c/d"), b"/a/b");
    }
}
