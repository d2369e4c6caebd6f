//! What hard links need again at the end of a restore, a few in memory and the rest in a file
//! without a name, in the target.
//!
//! Written one after the other, found again by where they begin. Where no file can be had all of
//! them stay in memory.

use holdfast_common::{Error, Result, limits};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Each with its length before it.
    near: Vec<u8>,
    /// What comes before `near`, and how long that is.
    far: Option<OwnedFd>,
    far_length: u64,
    /// No file could be had, or it took no more: what comes stays near.
    stays: bool,
}

impl Aside {
    /// Where it can be found again; `file` makes the file when it is needed.
    pub(crate) fn put(&mut self, bytes: &[u8], file: impl FnOnce() -> Result<OwnedFd>) -> u64 {
        if self.near.len() + bytes.len() > limits::RESTORE_LINKS_BYTES_MAX
            && !self.stays
            && let Err(error) = self.put_away(file)
        {
            tracing::warn!(%error, "paths of hard links stay in memory");
            self.stays = true;
        }
        let at = self.far_length + self.near.len() as u64;
        self.near.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.near.extend_from_slice(bytes);
        at
    }

    fn put_away(&mut self, file: impl FnOnce() -> Result<OwnedFd>) -> Result<()> {
        let far = match &self.far {
            Some(far) => far,
            None => self.far.insert(file()?),
        };
        write_all(far, &self.near, self.far_length).map_err(failed)?;
        self.far_length += self.near.len() as u64;
        self.near.clear();
        Ok(())
    }

    /// What was put there.
    pub(crate) fn get(&self, at: u64) -> Result<Vec<u8>> {
        let mut length = [0; LENGTH_BYTES];
        self.read(at, &mut length)?;
        let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(limits::RESTORE_LINKS_BYTES_MAX)];
        self.read(at + LENGTH_BYTES as u64, &mut bytes)?;
        Ok(bytes)
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        match (at.checked_sub(self.far_length), &self.far) {
            (None, Some(far)) => read_all(far, bytes, at).map_err(failed),
            (None, None) => Err(failed(Errno::IO)),
            (Some(start), _) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let there = self.near.get(start..).and_then(|rest| rest.get(..bytes.len()));
                bytes.copy_from_slice(there.ok_or_else(|| failed(Errno::IO))?);
                Ok(())
            }
        }
    }
}

pub(super) fn write_all(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match retry_on_intr(|| pwrite(file, bytes, at))? {
            0 => return Err(Errno::IO),
            written => {
                bytes = &bytes[written..];
                at += written as u64;
            }
        }
    }
    Ok(())
}

pub(super) fn read_all(
    file: &OwnedFd,
    mut bytes: &mut [u8],
    mut at: u64,
) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match retry_on_intr(|| pread(file, &mut *bytes, at))? {
            0 => return Err(Errno::IO),
            read => {
                bytes = &mut bytes[read..];
                at += read as u64;
            }
        }
    }
    Ok(())
}

fn failed(errno: Errno) -> Error {
    Error::io("cannot keep paths of hard links in the target", &errno.into())
}

const LENGTH_BYTES: usize = size_of::<u64>();

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::Code;

    const COUNT: usize = 200_000;

    fn path(number: usize) -> Vec<u8> {
        format!("/a/directory/of/links/{number}").into_bytes()
    }

    #[test]
    fn however_many_there_are_few_are_in_memory_and_each_is_found_again() {
        let mut aside = Aside::default();
        let file = || Ok(tempfile::tempfile().unwrap().into());
        let places: Vec<u64> = (0..COUNT).map(|number| aside.put(&path(number), file)).collect();
        assert!(aside.near.len() <= limits::RESTORE_LINKS_BYTES_MAX + 64 && aside.far.is_some());
        for (number, place) in places.into_iter().enumerate() {
            assert_eq!(aside.get(place).unwrap(), path(number), "{number}");
        }
    }

    #[test]
    fn where_no_file_can_be_had_they_stay_in_memory() {
        let mut aside = Aside::default();
        let refused = || Err(Error::new(Code::DiskFull, "no file"));
        let places: Vec<u64> = (0..COUNT).map(|number| aside.put(&path(number), refused)).collect();
        assert_eq!(aside.get(places[COUNT - 1]).unwrap(), path(COUNT - 1));
        assert!(aside.get(u64::MAX - 8).is_err(), "what was never put there");
    }
}
