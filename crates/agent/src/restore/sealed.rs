//! What travels beside a restore by an agent and holds names: the wanted paths on the way there,
//! what was skipped on the way back. Sealed under the run's key, bounded, and parsed as carefully
//! as anything that comes over the network.

use super::engine::RestoreReport;
use super::place::{Note, NoteKind};
use super::point::PointReader;
use holdfast_common::{Code, Entropy, Error, Result, RunId, limits};
use holdfast_keyring::{RunKey, RunText, aead};
use minicbor::{Decoder, Encoder};

type Malformed = minicbor::decode::Error;

/// Seals the paths that a restore is to be of; nothing for all of them.
pub fn seal_paths(
    reader: &PointReader,
    run: &RunId,
    paths: &[Vec<u8>],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = Vec::new();
    paths.iter().for_each(|path| write(&mut list, |out| out.bytes(path).map(drop)));
    let sealed = RunKey::of(reader.ids(), run).seal(RunText::WantedPaths, &list, entropy);
    if sealed.len() > limits::RESTORE_PATHS_BYTES_MAX {
        return Err(Error::new(Code::LimitExceeded, "too many paths to restore at once")
            .next("restore a directory above them"));
    }
    Ok(sealed)
}

pub fn open_paths(reader: &PointReader, run: &RunId, sealed: &[u8]) -> Result<Vec<Vec<u8>>> {
    if sealed.is_empty() {
        return Ok(Vec::new());
    }
    parse_paths(&RunKey::of(reader.ids(), run).open(RunText::WantedPaths, sealed)?)
}

/// The wanted paths of a list that was opened.
pub fn parse_paths(list: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut rows = Decoder::new(list);
    let mut paths = Vec::new();
    while rows.position() < list.len() {
        paths.push(rows.bytes().map_err(malformed)?.to_vec());
    }
    Ok(paths)
}

/// Seals what a restore could not do: notes first, then skipped paths as far as there is room.
pub fn seal_report(
    reader: &PointReader,
    run: &RunId,
    report: &RestoreReport,
    entropy: &dyn Entropy,
) -> Vec<u8> {
    let room = limits::RESTORE_REPORT_BYTES_MAX - aead::FIELD_OVERHEAD_BYTES;
    let mut list = Vec::new();
    for note in report.notes.iter() {
        push(&mut list, room, |out| {
            let out = out.array(4)?.u8(note.kind as u8)?.str(note.code.name())?;
            out.bytes(&note.path)?.u64(note.count).map(drop)
        });
    }
    for (path, code) in &report.skipped {
        push(&mut list, room, |out| out.array(2)?.bytes(path)?.str(code.name()).map(drop));
    }
    if list.is_empty() {
        return list;
    }
    RunKey::of(reader.ids(), run).seal(RunText::Report, &list, entropy)
}

/// Adds what a sealed report says to a report that has the counts.
pub fn open_report(
    reader: &PointReader,
    run: &RunId,
    sealed: &[u8],
    report: &mut RestoreReport,
) -> Result<()> {
    if sealed.is_empty() {
        return Ok(());
    }
    parse_report(&RunKey::of(reader.ids(), run).open(RunText::Report, sealed)?, report)
}

/// Adds the rows of a report that was opened.
pub fn parse_report(list: &[u8], report: &mut RestoreReport) -> Result<()> {
    let mut rows = Decoder::new(list);
    while rows.position() < list.len() {
        row(&mut rows, report).map_err(malformed)?;
    }
    Ok(())
}

fn row(rows: &mut Decoder<'_>, report: &mut RestoreReport) -> Result<(), Malformed> {
    match rows.array()? {
        Some(2) => {
            let path = rows.bytes()?.to_vec();
            let code = code(rows)?;
            report.skip(path, code);
        }
        Some(4) => {
            let number = rows.u8()?;
            let kind = NoteKind::ALL.into_iter().find(|kind| *kind as u8 == number);
            let kind = kind.ok_or_else(|| Malformed::message("an unknown kind of note"))?;
            let (code, path) = (code(rows)?, rows.bytes()?.to_vec());
            let count = rows.u64()?;
            report.notes.push(Note { kind, code, path, count });
        }
        _ => return Err(Malformed::message("a row is neither a path nor a note")),
    }
    Ok(())
}

/// A code that a newer agent knows and we do not is still a reason.
fn code(rows: &mut Decoder<'_>) -> Result<Code, Malformed> {
    Ok(Code::from_name(rows.str()?).unwrap_or(Code::FileIoFailed))
}

type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

fn write(list: &mut Vec<u8>, fill: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) {
    match fill(&mut Encoder::new(list)) {
        Ok(()) => {}
        Err(error) => unreachable!("encoding to memory failed: {error}"),
    }
}

/// Appends a row, unless the list would grow beyond its room.
fn push(list: &mut Vec<u8>, room: usize, fill: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) {
    let before = list.len();
    write(list, fill);
    if list.len() > room {
        list.truncate(before);
    }
}

fn malformed(error: Malformed) -> Error {
    Error::new(Code::RecordMalformed, "a sealed text of a run cannot be read").cause(error)
}
