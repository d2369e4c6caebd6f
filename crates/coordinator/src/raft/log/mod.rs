//! The files of the log: written at their end only, a group of records and one sync at a time.
//!
//! ```text
//!   records ─→ group ─→ end of the newest volume ─ fdatasync ─→ contents (index → place)
//!                          └ large enough ─→ a new volume
//!   open    ─→ every volume, oldest first, every byte checked ─→ contents
//!   remove  ─→ volumes that nothing lies in any more are deleted, oldest first
//! ```
//!
//! Groups are numbered without a gap, through all volumes: one that is missing, or put in from
//! elsewhere, is seen. A group is there whole or not at all. After a cut of the power the last one
//! may be torn, and then nobody was promised it; `generation` knows if somebody was. Whatever else
//! is wrong is damage, and never mended by leaving something out. What a start finds at the end is
//! written again and synced: whoever wrote it may not have come so far.

mod contents;
mod form;
pub(super) mod former;
mod volume;

use super::generation::Generation;
use crate::store::sync_directory;
use contents::Contents;
use form::{GROUP_HEAD, GroupHead, VOLUME_HEAD, VolumeHead};
use holdfast_common::{Code, Entropy, Error, Result, SystemEntropy, limits};
use std::{
    fs::{self, File},
    io,
    ops::RangeBounds,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(super) use form::Record;

/// Which volume is the first that must be there; else it is the very first.
const OLDEST: &str = "oldest";
const FIRST: u64 = 1;

/// Records that are written together.
#[derive(Default)]
pub(super) struct Group {
    body: Vec<u8>,
    is_removing: bool,
}

impl Group {
    pub(super) fn push(&mut self, record: Record<'_>) {
        self.is_removing |= matches!(record, Record::Remove(_));
        form::push(&mut self.body, record);
    }

    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// What the log holds, for whoever reads; it follows the writer.
#[derive(Clone)]
pub(super) struct Reader {
    directory: Arc<Path>,
    contents: Arc<Mutex<Contents>>,
}

impl Reader {
    pub(super) fn note(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().note(name).map(<[u8]>::to_vec)
    }

    pub(super) fn last(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let last = self.lock().last();
        last.map_or(Ok(None), |last| Ok(self.entries(last..=last)?.pop()))
    }

    /// Entries as they are stored; those that are removed meanwhile are left out.
    pub(super) fn entries(&self, range: impl RangeBounds<u64>) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let places = self.lock().places(range);
        let mut entries = Vec::with_capacity(places.len());
        let mut open: Option<(u64, File)> = None;
        for (index, place) in places {
            if open.as_ref().is_none_or(|(number, _)| *number != place.volume) {
                match File::open(volume::path_of(&self.directory, place.volume)) {
                    Ok(file) => open = Some((place.volume, file)),
                    Err(error) if self.lock().holds(index) => return Err(error),
                    Err(_) => continue,
                }
            }
            if let Some((_, file)) = &open {
                let mut bytes = vec![0; place.length as usize];
                file.read_exact_at(&mut bytes, u64::from(place.at))?;
                entries.push((index, bytes));
            }
        }
        Ok(entries)
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one who writes.
pub(super) struct Writer {
    reader: Reader,
    volume: VolumeHead,
    file: File,
    /// Where the next group goes, and up to where there are zeros.
    end: usize,
    zeroed: usize,
    /// The number of the last group.
    group: u64,
    generation: Generation,
    volume_bytes_max: usize,
}

/// Whether there is a log in `directory`.
pub(super) fn exists(directory: &Path) -> Result<bool> {
    Ok(directory.exists() && !volume::numbers(directory)?.is_empty())
}

/// Opens the log in `directory`, or makes it, and checks every byte of it.
pub(super) fn open(directory: &Path) -> Result<Writer> {
    open_with(directory, limits::LOG_VOLUME_BYTES)
}

fn open_with(directory: &Path, volume_bytes_max: usize) -> Result<Writer> {
    if !exists(directory)? {
        return create(directory, 1, volume_bytes_max);
    }
    let numbers = volume::numbers(directory)?;
    let mut contents = Contents::default();
    let mut before: Option<(VolumeHead, volume::End)> = None;
    for number in &numbers {
        if let Some((head, end)) = before
            && (end.is_torn || head.number + 1 != *number)
        {
            return Err(volume::damaged(head.number, "it ends before the next one begins"));
        }
        before = Some(take_volume(directory, *number, before, &mut contents)?);
    }
    let Some((head, end)) = before else {
        return Err(Error::new(Code::LogDamaged, "the log is empty"));
    };
    let oldest = contents.note(OLDEST).and_then(|bytes| bytes.first_chunk::<8>().copied());
    if numbers[0] > oldest.map_or(FIRST, u64::from_le_bytes) {
        return Err(Error::new(Code::LogDamaged, "a file of the log is missing"));
    }
    let (mut generation, is_behind) = Generation::open(directory, end.group)
        .map_err(|error| Error::new(Code::LogDamaged, "the log's generation").cause(error))?;
    if is_behind {
        return Err(Error::new(Code::LogDamaged, "the log has gone back to an earlier state"));
    }
    let path = volume::path_of(directory, head.number);
    let io = |error: io::Error| Error::io("the log cannot be opened", &error);
    let file = File::options().read(true).write(true).open(path).map_err(io)?;
    let mut zeroed = usize::try_from(file.metadata().map_err(io)?.len()).unwrap_or(usize::MAX);
    if end.is_torn {
        tracing::warn!(group = end.group + 1, "the log ends with a group that was never whole");
        file.set_len(end.at as u64).map_err(io)?;
        zeroed = end.at;
    }
    write_again(&file, &end).map_err(io)?;
    sync_directory(directory)?;
    sync_directory(directory.parent().unwrap_or(Path::new("/")))?;
    generation.tell(end.group).map_err(io)?;
    let reader = Reader { directory: directory.into(), contents: Arc::new(Mutex::new(contents)) };
    let (volume, group) = (head, end.group);
    Ok(Writer { reader, volume, file, end: end.at, zeroed, group, generation, volume_bytes_max })
}

/// Makes the last group durable. A process that was killed may have written it and not synced it,
/// or seen its sync fail: what was found counts from now on, and what is promised rests on it.
fn write_again(file: &File, end: &volume::End) -> io::Result<()> {
    let mut bytes = vec![0; end.at - end.last];
    file.read_exact_at(&mut bytes, end.last as u64)?;
    file.write_all_at(&bytes, end.last as u64)?;
    file.sync_all()
}

/// Reads a volume that follows `before`.
fn take_volume(
    directory: &Path,
    number: u64,
    before: Option<(VolumeHead, volume::End)>,
    contents: &mut Contents,
) -> Result<(VolumeHead, volume::End)> {
    let bytes = fs::read(volume::path_of(directory, number))
        .map_err(|error| Error::io("the log cannot be read", &error))?;
    let head = VolumeHead::parse(&bytes)
        .filter(|head| head.number == number)
        .ok_or_else(|| volume::damaged(number, "it does not begin as a file of a log"))?;
    if let Some((previous, end)) = before
        && (head.salt != previous.salt || head.first_group != end.group + 1)
    {
        return Err(volume::damaged(number, "it does not go on from the one before"));
    }
    let end = volume::read(&bytes, &head, |body, at| {
        form::records(body).try_for_each(|record| {
            let (place, record) = record?;
            contents.take(record, number, at + place);
            Ok(())
        })
    })?;
    Ok((head, end))
}

/// Makes a log whose first group has this number.
fn create(directory: &Path, first_group: u64, volume_bytes_max: usize) -> Result<Writer> {
    let io = |error: io::Error| Error::io("the log cannot be made", &error);
    fs::create_dir_all(directory).map_err(io)?;
    let group = first_group - 1;
    let (generation, was_here) = Generation::open(directory, group).map_err(io)?;
    if was_here {
        // Whom this member voted for went with the log that was here.
        return Err(Error::new(Code::LogDamaged, "the log is missing"));
    }
    // Nothing of the ledger's: only what tells this log from others.
    let chance: &dyn Entropy = &SystemEntropy;
    let salt = u64::from_le_bytes(chance.array());
    let volume = VolumeHead { salt, number: FIRST, first_group };
    let file = volume::create(directory, &volume, limits::LOG_AHEAD_BYTES_MIN).map_err(io)?;
    sync_directory(directory.parent().unwrap_or(Path::new("/")))?;
    let reader = Reader { directory: directory.into(), contents: Arc::default() };
    let (end, zeroed) = (VOLUME_HEAD, limits::LOG_AHEAD_BYTES_MIN);
    Ok(Writer { reader, volume, file, end, zeroed, group, generation, volume_bytes_max })
}

impl Writer {
    pub(super) fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Writes a group; it is durable when this returns.
    pub(super) fn write(&mut self, group: &Group) -> io::Result<()> {
        self.append(&group.body)?;
        if group.is_removing {
            self.drop_volumes()?;
        }
        Ok(())
    }

    fn append(&mut self, body: &[u8]) -> io::Result<()> {
        if self.end >= self.volume_bytes_max {
            self.turn()?;
        }
        let body_bytes = u32::try_from(body.len()).map_err(io::Error::other)?;
        let (number, body_sum) = (self.group + 1, crc32c::crc32c(body));
        let head = GroupHead { number, body_bytes, body_sum };
        let next = volume::next(self.end, body.len());
        let mut bytes = Vec::with_capacity(next - self.end);
        bytes.extend_from_slice(&head.render(self.volume.salt));
        bytes.extend_from_slice(body);
        bytes.resize(next - self.end, 0);
        self.lay_zeros(next)?;
        self.file.write_all_at(&bytes, self.end as u64)?;
        self.file.sync_data()?;
        {
            let mut contents = self.reader.lock();
            for record in form::records(body) {
                let (place, record) = record.map_err(io::Error::other)?;
                contents.take(record, self.volume.number, self.end + GROUP_HEAD + place);
            }
        }
        (self.end, self.group) = (next, number);
        self.generation.tell(number)
    }

    /// So that there are zeros from `next` on, as many as were written so far, within bounds.
    fn lay_zeros(&mut self, next: usize) -> io::Result<()> {
        if next <= self.zeroed {
            return Ok(());
        }
        let ahead = next.clamp(limits::LOG_AHEAD_BYTES_MIN, limits::LOG_AHEAD_BYTES_MAX);
        self.file.write_all_at(&vec![0; next + ahead - self.zeroed], self.zeroed as u64)?;
        self.zeroed = next + ahead;
        Ok(())
    }

    /// Goes on in a new volume.
    fn turn(&mut self) -> io::Result<()> {
        let VolumeHead { salt, number, .. } = self.volume;
        let volume = VolumeHead { salt, number: number + 1, first_group: self.group + 1 };
        let ahead = limits::LOG_AHEAD_BYTES_MAX;
        self.file = volume::create(&self.reader.directory, &volume, ahead)?;
        (self.volume, self.end, self.zeroed) = (volume, VOLUME_HEAD, ahead);
        Ok(())
    }

    /// Deletes the volumes that nothing lies in, the oldest first. Before that all notes are
    /// written again, and that those volumes need not be there.
    fn drop_volumes(&mut self) -> io::Result<()> {
        let needed = self.reader.lock().oldest_volume().unwrap_or(self.volume.number);
        let there = volume::numbers(&self.reader.directory).map_err(io::Error::other)?;
        if there.first().is_none_or(|first| *first >= needed) {
            return Ok(());
        }
        let mut body = Vec::new();
        self.reader.lock().notes().for_each(|note| form::push(&mut body, note));
        form::push(&mut body, Record::Note(OLDEST, &needed.to_le_bytes()));
        self.append(&body)?;
        for number in there.into_iter().take_while(|number| *number < needed) {
            fs::remove_file(volume::path_of(&self.reader.directory, number))?;
            sync_directory(&self.reader.directory).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// The paths of the log's files, the newest last.
#[cfg(test)]
pub(super) fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let numbers = volume::numbers(directory).unwrap();
    numbers.into_iter().map(|number| volume::path_of(directory, number)).collect()
}

#[cfg(test)]
mod tests;
