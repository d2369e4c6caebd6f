//! Points that stand mounted on this host. What they show was backed up: to walk them would fetch
//! all of it, and back it up once more.
//!
//! The kernel says of a mount only that some process serves it; which one, its list of mounts
//! says. The list is read when a walk comes from one file system into another, or is refused.

use std::io::{BufRead, BufReader};

/// Whether a point, or all of them, are mounted on this very path.
pub(super) fn is_mounted_on(path: &[u8]) -> bool {
    let Ok(list) = std::fs::File::open(MOUNTS) else { return false };
    let rows = BufReader::new(list).split(b'\n').map_while(Result::ok);
    rows.into_iter().any(|row| is_of_points(&row) && stands_on(&row, path))
}

/// `36 35 0:33 / /mnt/points ro,nosuid shared:1 - fuse.holdfast holdfast ro`
fn is_of_points(row: &[u8]) -> bool {
    let mut fields = row.split(|byte| *byte == b' ').skip_while(|field| *field != b"-");
    let (kind, source) = (fields.nth(1), fields.next());
    kind == Some(KIND) || kind == Some(b"fuse") && source == Some(SOURCE)
}

fn stands_on(row: &[u8], path: &[u8]) -> bool {
    let Some(field) = row.split(|byte| *byte == b' ').nth(4) else { return false };
    let mut pieces = field.split(|byte| *byte == b'\\');
    let mut shown = pieces.next().unwrap_or_default().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at(piece.len().min(3));
        shown.push(digits.iter().fold(0, |byte: u8, digit| (byte << 3) | (digit & 7)));
        shown.extend_from_slice(rest);
    }
    shown == path
}

const MOUNTS: &str = "/proc/self/mountinfo";
/// As the mount names itself.
const KIND: &[u8] = b"fuse.holdfast";
/// What it names itself where the kernel was not told its kind.
const SOURCE: &[u8] = b"holdfast";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mount_of_points_on_the_very_path_is_one() {
        let row = b"36 35 0:33 / /mnt/a\\040b ro,nosuid shared:1 - fuse.holdfast holdfast ro";
        assert!(is_of_points(row) && stands_on(row, b"/mnt/a b"));
        assert!(!stands_on(row, b"/mnt/a") && !stands_on(row, b"/mnt/a b/c"));
        assert!(is_of_points(b"36 35 0:33 / /mnt/x rw - fuse holdfast rw"));
        let other = b"36 35 0:33 / /mnt/x rw - fuse.sshfs fuse.holdfast rw";
        assert!(!is_of_points(other) && stands_on(other, b"/mnt/x"));
        assert!(!is_mounted_on(b"/proc"));
    }
}
