//! One file of the log: made whole before it has its name, read group by group.
//!
//! The file is longer than what was written: zeros are laid ahead, so that a sync has no length to
//! write down. What follows the last group is nothing (zeros), or what a power cut left of a group
//! that nobody was promised. Where a later group follows, nothing was cut: a sync lies between the
//! two, and what is bad before it is damage.

use super::form::{GROUP_HEAD, GroupHead, VOLUME_HEAD, VolumeHead};
use crate::store::sync_directory;
use holdfast_common::{Code, Error, Result};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Groups begin at multiples of this.
const GRAIN: usize = 8;

pub(super) fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("volume-{number:020}"))
}

/// The numbers of the volumes that are there, in order.
pub(super) fn numbers(directory: &Path) -> Result<Vec<u64>> {
    let io = |error: io::Error| Error::io("the log's files cannot be listed", &error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("volume-"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a volume without groups, of `bytes` so far, and gives it its name when it is durable.
pub(super) fn create(directory: &Path, head: &VolumeHead, bytes: usize) -> io::Result<File> {
    let (part, path) = (directory.join("volume.part"), path_of(directory, head.number));
    let mut zeroed = vec![0; bytes.max(VOLUME_HEAD)];
    zeroed[..VOLUME_HEAD].copy_from_slice(&head.render());
    fs::write(&part, &zeroed)?;
    let file = File::options().read(true).write(true).open(&part)?;
    file.sync_all()?;
    fs::rename(&part, &path)?;
    sync_directory(directory).map_err(io::Error::other)?;
    Ok(file)
}

/// How a volume ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Where the last group begins; where there is none, the volume.
    pub(super) last: usize,
    /// Where the next group goes.
    pub(super) at: usize,
    /// The number of the last group.
    pub(super) group: u64,
    /// What follows is not only zeros.
    pub(super) is_torn: bool,
}

/// Shows the body of each group and where it begins.
pub(super) fn read(
    bytes: &[u8],
    head: &VolumeHead,
    mut show: impl FnMut(&[u8], usize) -> Result<()>,
) -> Result<End> {
    let (mut last, mut at) = (0, VOLUME_HEAD);
    let mut group = head.first_group.saturating_sub(1);
    while let Some((number, body)) = group_at(bytes, at, head.salt)
        && number == group + 1
    {
        show(body, at + GROUP_HEAD)?;
        (last, at, group) = (at, next(at, body.len()), number);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let is_torn = rest.iter().any(|byte| *byte != 0);
    if is_torn && later_group(rest, head.salt, group + 1) {
        return Err(damaged(head.number, "a group in its middle is damaged"));
    }
    Ok(End { last, at, group, is_torn })
}

/// Where the group after one at `at` begins.
pub(super) fn next(at: usize, body_bytes: usize) -> usize {
    (at + GROUP_HEAD + body_bytes).next_multiple_of(GRAIN)
}

fn group_at(bytes: &[u8], at: usize, salt: u64) -> Option<(u64, &[u8])> {
    let head = GroupHead::parse(bytes.get(at..)?, salt)?;
    let body = bytes.get(at + GROUP_HEAD..)?.get(..usize::try_from(head.body_bytes).ok()?)?;
    (crc32c::crc32c(body) == head.body_sum).then_some((head.number, body))
}

/// Whether the head of a group beyond `number` lies anywhere in here.
fn later_group(bytes: &[u8], salt: u64, number: u64) -> bool {
    let places = (0..bytes.len()).step_by(GRAIN);
    let heads = places.filter_map(|at| GroupHead::parse(&bytes[at..], salt));
    heads.into_iter().any(|head| head.number > number)
}

pub(super) fn damaged(number: u64, what: &str) -> Error {
    Error::new(Code::LogDamaged, format!("file {number} of the log is damaged")).cause(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: VolumeHead = VolumeHead { salt: 7, number: 3, first_group: 10 };

    /// Groups of these bodies, and 64 zeros.
    fn volume(bodies: &[&[u8]]) -> Vec<u8> {
        let mut bytes = HEAD.render().to_vec();
        for (number, body) in (HEAD.first_group..).zip(bodies) {
            let body_bytes = u32::try_from(body.len()).unwrap();
            let head = GroupHead { number, body_bytes, body_sum: crc32c::crc32c(body) };
            let end = next(bytes.len(), body.len());
            bytes.extend_from_slice(&head.render(HEAD.salt));
            bytes.extend_from_slice(body);
            bytes.resize(end, 0);
        }
        bytes.resize(bytes.len() + 64, 0);
        bytes
    }

    fn bodies(bytes: &[u8]) -> Result<(Vec<Vec<u8>>, End)> {
        let mut found = Vec::new();
        let end = read(bytes, &HEAD, |body, at| {
            assert_eq!(&bytes[at..at + body.len()], body);
            found.push(body.to_vec());
            Ok(())
        })?;
        Ok((found, end))
    }

    #[test]
    fn a_volume_is_read_to_its_last_group_and_zeros_follow() {
        let bytes = volume(&[b"one", b"", b"three"]);
        let (found, end) = bodies(&bytes).unwrap();
        assert_eq!(found, [&b"one"[..], b"", b"three"]);
        let (at, last) = (bytes.len() - 64, next(next(VOLUME_HEAD, 3), 0));
        assert_eq!(end, End { last, at, group: 12, is_torn: false });
        let (found, end) = bodies(&volume(&[])).unwrap();
        assert_eq!((found.len(), end.last, end.at, end.group), (0, 0, VOLUME_HEAD, 9));
        let (found, end) = bodies(&bytes[..bytes.len() - 64]).unwrap();
        assert_eq!((found.len(), end.is_torn), (3, false), "without zeros ahead");
    }

    #[test]
    fn what_is_left_of_the_last_group_is_torn_and_a_bad_one_before_another_is_damage() {
        let bytes = volume(&[b"one", b"two two two", b"three three"]);
        let third = next(next(VOLUME_HEAD, 3), 11);
        for at in VOLUME_HEAD..bytes.len() - 64 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            match bodies(&flipped) {
                // A zero between two groups says nothing.
                Ok((found, end)) if found.len() == 3 => assert!(!end.is_torn, "{at}"),
                Ok((found, end)) => {
                    assert!(at >= third, "byte {at} is of a group that another follows");
                    assert_eq!((found.len(), end.at, end.is_torn), (2, third, true));
                }
                Err(error) => {
                    assert!(at < third, "byte {at} is of the last group");
                    assert_eq!(error.code, Code::LogDamaged);
                }
            }
        }
        for cut in third + 1..bytes.len() - 64 - 5 {
            let (found, end) = bodies(&bytes[..cut]).unwrap();
            assert_eq!((found.len(), end.at, end.is_torn), (2, third, true), "{cut}");
        }
    }

    #[test]
    fn a_group_of_another_log_or_number_is_not_read() {
        let bytes = volume(&[b"one", b"two"]);
        let other = VolumeHead { salt: 8, ..HEAD };
        let end = read(&bytes, &other, |_, _| panic!("of another log")).unwrap();
        assert!(end.is_torn);
        let later = VolumeHead { first_group: 9, ..HEAD };
        assert!(read(&bytes, &later, |_, _| panic!("of another number")).is_err());
    }

    #[test]
    fn a_volume_has_its_name_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        for number in [12, 3] {
            create(directory.path(), &VolumeHead { number, ..HEAD }, 4096).unwrap();
        }
        fs::write(directory.path().join("volume.part"), b"begun").unwrap();
        assert_eq!(numbers(directory.path()).unwrap(), [3, 12]);
        let bytes = fs::read(path_of(directory.path(), 3)).unwrap();
        assert_eq!((bytes.len(), VolumeHead::parse(&bytes)), (4096, Some(HEAD)));
    }
}
