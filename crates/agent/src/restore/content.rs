//! The bytes of one file, in order: for whoever wants to see them and not a restored file.
//!
//! Chunks are fetched a few at a time and opened one by one; what does not open ends the reading,
//! so that what was given is always a right beginning of the file. Holes are given as zeros.

use super::point::PointReader;
use super::source::FetchedFrame;
use holdfast_common::{ChunkId, ChunkKind, Code, Error, Result, limits};
use holdfast_seal::Opener;
use holdfast_seal::manifest::entry::{Content, Entry};

/// Gives the content of a file in pieces, holes included. Blocks.
pub fn read_content(
    reader: &PointReader,
    entry: &Entry,
    out: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let Some(content) = content_of(reader, entry)? else { return zeros(entry.size, out) };
    let mut writer = Writer::new(&content, entry.size, out);
    let mut wanted = Vec::with_capacity(CHUNKS_AHEAD);
    let mut give = |_, plain: Result<Vec<u8>>| writer.write(&plain?);
    for chunk in reader.manifest().chunks(&content) {
        wanted.push(chunk?.id);
        if wanted.len() == CHUNKS_AHEAD {
            open_chunks(reader, &wanted, &mut give)?;
            wanted.clear();
        }
    }
    open_chunks(reader, &wanted, &mut give)?;
    writer.finish()
}

/// A later hard link has the content of the first one, where both were one file when they were
/// saved; a restore leaves out what was not.
fn content_of(reader: &PointReader, entry: &Entry) -> Result<Option<Content>> {
    let (None, Some(group)) = (&entry.content, entry.hardlink_group) else {
        return Ok(entry.content.clone());
    };
    content_among(entry, group, reader.manifest().entries()?)
}

fn content_among(
    entry: &Entry,
    group: u64,
    others: impl Iterator<Item = Result<Entry>>,
) -> Result<Option<Content>> {
    for other in others {
        let other = other?;
        if other.hardlink_group == Some(group) && other.content.is_some() {
            if other.link_identity() != entry.link_identity() {
                let message = "another name of the file was saved when it was another file";
                return Err(Error::new(Code::FileChanged, message));
            }
            return Ok(other.content);
        }
    }
    Ok(None)
}

/// Fetches a few data chunks together and opens them, in order: each is authentic and what its id
/// says, or an error says why it is not there. Ends with the first error of `each`. Blocks.
pub fn open_chunks(
    reader: &PointReader,
    ids: &[ChunkId],
    each: &mut dyn FnMut(usize, Result<Vec<u8>>) -> Result<()>,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut opener = Opener::new(reader.record().vault)?;
    let mut frames: Vec<Option<Result<FetchedFrame>>> = ids.iter().map(|_| None).collect();
    reader.source().fetch(ChunkKind::Data, ids, &mut |position, frame| {
        if let Some(place) = frames.get_mut(position) {
            *place = Some(frame);
        }
    })?;
    for (position, (id, frame)) in ids.iter().zip(frames).enumerate() {
        let missing = || Error::new(Code::ChunkMissing, format!("chunk {id} was not answered"));
        let opened = frame.unwrap_or_else(|| Err(missing())).and_then(|fetched| {
            let FetchedFrame { frame, key } = fetched;
            opener.open(ChunkKind::Data, id, &key, reader.ids(), &frame)
        });
        let plain =
            opened.or_else(|error| reader.open_another(&mut opener, ChunkKind::Data, id, error));
        each(position, plain)?;
    }
    Ok(())
}

/// Puts the content stream back where it was, with zeros between the data ranges.
struct Writer<'a> {
    out: &'a mut dyn FnMut(&[u8]) -> Result<()>,
    /// `(offset, length)` of what is still to come; the whole file when it has no holes.
    ranges: std::vec::IntoIter<(u64, u64)>,
    left: u64,
    position: u64,
    size: u64,
}

impl<'a> Writer<'a> {
    fn new(content: &Content, size: u64, out: &'a mut dyn FnMut(&[u8]) -> Result<()>) -> Self {
        let ranges = match &content.ranges {
            Some(ranges) => ranges.iter().map(|range| (range.offset, range.length)).collect(),
            None => vec![(0, size)],
        };
        Self { out, ranges: ranges.into_iter(), left: 0, position: 0, size }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (offset, length) = self.ranges.next().ok_or_else(too_long)?;
                self.skip_to(offset)?;
                self.left = length;
                continue;
            }
            let take = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (now, later) = bytes.split_at(take);
            (self.out)(now)?;
            self.left -= take as u64;
            self.position += take as u64;
            bytes = later;
        }
        Ok(())
    }

    fn skip_to(&mut self, offset: u64) -> Result<()> {
        let hole = offset.checked_sub(self.position).ok_or_else(too_long)?;
        self.position = offset;
        zeros(hole, self.out)
    }

    fn finish(mut self) -> Result<()> {
        let short = self.left > 0 || self.ranges.any(|(_, length)| length > 0);
        if short {
            return Err(Error::new(Code::ManifestDamaged, "the chunks of a file end too early"));
        }
        self.skip_to(self.size)
    }
}

fn zeros(mut count: u64, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    while count > 0 {
        let take = count.min(ZEROS.len() as u64);
        out(&ZEROS[..take as usize])?;
        count -= take;
    }
    Ok(())
}

fn too_long() -> Error {
    Error::new(Code::ManifestDamaged, "the chunks of a file do not fit its data ranges")
}

static ZEROS: [u8; 64 * limits::KIB] = [0; 64 * limits::KIB];
/// Enough to keep the other end busy; at most so many chunks are in memory.
const CHUNKS_AHEAD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::ContentHash;
    use holdfast_seal::manifest::entry::{EntryKind, Profile};

    fn linked(path: &str, size: u64, mtime_ns: i64, content: Option<Content>) -> Entry {
        Entry {
            path: path.as_bytes().to_vec().into(),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime_ns,
            ctime_ns: 0,
            size,
            xattrs: None,
            link_target: None,
            device: None,
            hardlink_group: Some(1),
            inode: None,
            content,
            flags: None,
        }
    }

    #[test]
    fn a_name_of_what_was_another_file_has_not_its_content() {
        let content = Content {
            profile: Profile::ContentDefined,
            hash: ContentHash::from_bytes([0; 32]),
            chunks: Some(Vec::new()),
            lists: None,
            ranges: None,
        };
        let of = |later: Entry| {
            let all = [linked("/a", 0, 5, Some(content.clone())), later.clone()];
            content_among(&later, 1, all.into_iter().map(Ok))
        };
        assert_eq!(of(linked("/b", 0, 5, None)).unwrap(), Some(content.clone()));
        for (size, mtime_ns) in [(1, 5), (0, 6)] {
            let refused = of(linked("/b", size, mtime_ns, None)).unwrap_err();
            assert_eq!(refused.code, Code::FileChanged, "{size} bytes, written at {mtime_ns}");
        }
    }
}
