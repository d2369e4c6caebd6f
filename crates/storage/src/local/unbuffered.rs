//! Large objects go to the disk past the page cache.
//!
//! A pack is written once and synced at once: a copy of it in the page cache costs about as much
//! processor time as hashing it, and pushes out what the host's own programs had there. The bytes
//! pass through one aligned piece of memory instead. A file system that will not have that takes
//! them the usual way, and so do small objects and the end of one that fills no block.

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::fs::File;
use std::io::{ErrorKind, Result, Write};

/// What every disk takes as a unit.
const BLOCK: usize = 4096;
/// Below this the page cache is the faster way.
const LARGE: usize = 1 << 20;
const PIECE: usize = 1 << 20;

/// Writes all of it at the file's position. Durable only when it is synced, as ever.
pub(super) fn write_all(mut file: &File, bytes: &[u8]) -> Result<()> {
    let mut written = 0;
    if bytes.len() >= LARGE && bypass(file, true).is_ok() {
        let outcome = write_blocks(file, bytes);
        bypass(file, false)?;
        written = outcome?;
    }
    file.write_all(&bytes[written..])
}

/// As many whole blocks as can be written like this.
fn write_blocks(mut file: &File, bytes: &[u8]) -> Result<usize> {
    let mut memory = vec![0; PIECE + BLOCK];
    let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
    let piece = &mut memory[start..start + PIECE];
    let (whole, mut written) = (bytes.len() - bytes.len() % BLOCK, 0);
    while written < whole {
        let length = PIECE.min(whole - written);
        piece[..length].copy_from_slice(&bytes[written..written + length]);
        match file.write(&piece[..length]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The way is closed after all, or a short write left it off the blocks.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn bypass(file: &File, on: bool) -> rustix::io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, on);
    fcntl_setfl(file, flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::fstat;

    #[test]
    fn every_byte_arrives_whatever_the_length() {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let lengths =
            [0, 1, LARGE - 1, LARGE, LARGE + 1, LARGE + BLOCK, 3 * PIECE - 1, 3 * PIECE + 5000];
        for length in lengths {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 31 + i / 4096) as u8).collect();
            let path = directory.path().join(length.to_string());
            let file = File::create(&path).unwrap();
            write_all(&file, &bytes).unwrap();
            assert!(!fcntl_getfl(&file).unwrap().contains(OFlags::DIRECT), "as it was before");
            assert!(std::fs::read(&path).unwrap() == bytes, "{length} bytes");
        }
    }

    #[test]
    fn what_cannot_bypass_the_cache_goes_through_it() {
        // Off the blocks from the first byte on: every direct write is refused.
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let bytes = vec![7; 2 * LARGE];
        (&file).write_all(b"odd").unwrap();
        write_all(&file, &bytes).unwrap();
        assert_eq!(fstat(&file).unwrap().st_size as usize, 3 + bytes.len());
    }

    #[test]
    fn a_disk_that_is_full_is_told() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = write_all(&full, &vec![0; LARGE]).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NOSPC));
    }
}
