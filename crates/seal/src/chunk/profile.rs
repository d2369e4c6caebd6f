//! Which of the three ways of cutting suits a file.
//!
//! Databases and disk images change in place, a page here and there: cuts at fixed, page-aligned
//! offsets waste least on them. Everything else may have bytes inserted: cuts follow the content.
//! What is small is one chunk. A wrong guess costs space, never correctness; the profile that was
//! used is kept in the entry, so that it can be kept for the file's later versions.

use super::{ChunkParameters, Profile, recognise};
use holdfast_common::limits;

/// How much of a file's beginning [`choose`] wants to see.
pub const PROFILE_HEAD_BYTES: usize = 64 * limits::KIB;

/// Chooses by what the file holds: `head` is its first [`PROFILE_HEAD_BYTES`] (all of a shorter
/// one), `size` the length of its content stream.
pub fn choose(head: &[u8], size: u64, parameters: &ChunkParameters) -> Profile {
    let head = &head[..head.len().min(PROFILE_HEAD_BYTES)];
    if size <= parameters.min() as u64 {
        Profile::Whole
    } else if recognise::is_database(head, size) || recognise::is_disk_image(head, size) {
        Profile::Fixed
    } else {
        Profile::ContentDefined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = 1 << 30;

    fn chosen(head: &[u8], size: u64) -> Profile {
        choose(head, size, &ChunkParameters::default())
    }

    #[test]
    fn small_content_is_one_chunk_whatever_it_holds() {
        let min = limits::CDC_BYTES_MIN as u64;
        assert_eq!(chosen(b"SQLite format 3\0", min), Profile::Whole);
        assert_eq!(chosen(b"SQLite format 3\0", min + 1), Profile::Fixed);
        assert_eq!(chosen(b"", 0), Profile::Whole);
    }

    #[test]
    fn ordinary_files_are_cut_by_content() {
        assert_eq!(chosen(&[0x20; 65536], LARGE), Profile::ContentDefined);
        assert_eq!(chosen(&[0; 65536], LARGE), Profile::ContentDefined);
        assert_eq!(chosen(&[0xff; 65536], LARGE), Profile::ContentDefined);
        assert_eq!(chosen(b"SQLite format 4\0 is a text", LARGE), Profile::ContentDefined);
        assert_eq!(chosen(b"", LARGE), Profile::ContentDefined);
    }
}
