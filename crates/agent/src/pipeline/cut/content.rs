//! The content of one file as it is being cut: its hash, its chunks, its list of them.

use super::CutBuffer;
use crate::cache::ROWS_MAX;
use crate::pipeline::progress::add;
use crate::pipeline::run::Run;
use crate::source::Skipped;
use crate::source::files::ContentReader;
use holdfast_common::{ContentHash, Result};
use holdfast_seal::chunk::{PROFILE_HEAD_BYTES, Profile, choose};
use holdfast_seal::manifest::ChunkList;
use holdfast_seal::manifest::entry::{self, ChunkRef, Range};

pub(super) struct Content {
    profile: Profile,
    hash: blake3::Hasher,
    list: ChunkList,
    /// Every chunk, for the cache; `None` once there are too many.
    rows: Option<Vec<ChunkRef>>,
}

/// Looks at the beginning of the stream and chooses how to cut it.
pub(super) fn begin(
    run: &Run<'_>,
    reader: &mut ContentReader,
    buffer: &mut CutBuffer,
) -> Result<Content, Skipped> {
    buffer.fill(reader, PROFILE_HEAD_BYTES)?;
    let length = reader.stream_length();
    let profile = choose(buffer.bytes(), length, run.session.chunker.parameters());
    let (hash, list) = (blake3::Hasher::new(), ChunkList::new());
    Ok(Content { profile, hash, list, rows: Some(Vec::new()) })
}

impl Content {
    pub(super) fn window(&self, run: &Run<'_>) -> usize {
        run.session.chunker.window(self.profile)
    }

    /// Takes the next chunk off the buffer; `false` at the end of the content.
    pub(super) fn cut_next(&mut self, run: &Run<'_>, buffer: &mut CutBuffer) -> Result<bool> {
        let chunker = &run.session.chunker;
        let Some(cut) = chunker.next_cut(self.profile, buffer.bytes(), buffer.at_end()) else {
            return Ok(false);
        };
        let plain = &buffer.bytes()[..cut];
        self.hash.update(plain);
        let chunk = ChunkRef { id: run.send_data(plain)?, length: cut as u32 };
        buffer.consume(cut);
        add(&run.progress.bytes_read, cut as u64);
        self.list.push(chunk, &run.session.ids, &mut |page| run.send(page))?;
        match &mut self.rows {
            Some(rows) if rows.len() < ROWS_MAX => rows.push(chunk),
            rows => *rows = None,
        }
        Ok(true)
    }

    /// The entry's content, and all chunks where those are not in it.
    pub(super) fn finish(
        self,
        run: &Run<'_>,
        ranges: Option<Vec<Range>>,
    ) -> Result<(entry::Content, Option<Vec<ChunkRef>>)> {
        let table = self.list.finish(&run.session.ids, &mut |page| run.send(page))?;
        let hash = ContentHash::from_bytes(self.hash.finalize().into());
        let content = table.into_content(self.profile, hash, ranges);
        let rows = self.rows.filter(|_| content.lists.is_some());
        Ok((content, rows))
    }
}
