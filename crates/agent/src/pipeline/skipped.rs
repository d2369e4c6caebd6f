//! What could not be saved, or not wholly: counted always, kept by path as far as room goes.
//!
//! At the end the list becomes a sealed page of its own, named in the point's record: the paths are
//! as secret as the manifest is, and whoever may read the point may read them.

use crate::flow::lock;
use crate::source::Skipped;
use holdfast_common::{Code, Error, Result};
use minicbor::{Decoder, Encoder};
use std::sync::Mutex;

pub(super) struct SkippedList {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    page: Vec<u8>,
    count: u64,
}

impl SkippedList {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), bytes_max }
    }

    pub(super) fn push(&self, skipped: Skipped) {
        let mut state = lock(&self.state);
        state.count += 1;
        if state.page.is_empty() {
            state.page.extend_from_slice(&PAGE_OPENING);
        }
        if state.page.len() + skipped.path.len() + ROW_OVERHEAD_BYTES <= self.bytes_max {
            append(&mut state.page, &skipped);
        }
    }

    pub(super) fn count(&self) -> u64 {
        lock(&self.state).count
    }

    /// The page, when there is anything to say.
    pub(super) fn page(&self) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        (state.count > 0).then(|| state.page.clone())
    }
}

/// Reads a page of skipped paths.
pub fn parse_skipped(page: &[u8]) -> Result<Vec<(Vec<u8>, Code)>> {
    let rows = page.strip_prefix(&PAGE_OPENING).ok_or_else(|| damaged("it is of another type"))?;
    let mut decoder = Decoder::new(rows);
    let mut out = Vec::new();
    while decoder.position() < rows.len() {
        out.push(row(&mut decoder).map_err(|error| damaged(&error.to_string()))?);
    }
    Ok(out)
}

fn row(decoder: &mut Decoder<'_>) -> Result<(Vec<u8>, Code), minicbor::decode::Error> {
    if decoder.array()? != Some(2) {
        return Err(minicbor::decode::Error::message("a row is not a pair"));
    }
    let path = decoder.bytes()?.to_vec();
    // A code that a newer agent knows and we do not is still a reason.
    let code = Code::from_name(decoder.str()?).unwrap_or(Code::FileIoFailed);
    Ok((path, code))
}

fn append(page: &mut Vec<u8>, skipped: &Skipped) {
    let mut encoder = Encoder::new(page);
    let written = encoder
        .array(2)
        .and_then(|e| e.bytes(&skipped.path))
        .and_then(|e| e.str(skipped.code.name()))
        .map(|_| ());
    match written {
        Ok(()) => {}
        Err(error) => unreachable!("encoding to memory failed: {error}"),
    }
}

fn damaged(why: &str) -> Error {
    Error::new(Code::ManifestDamaged, "the page of skipped paths is damaged").cause(why)
}

/// Page version 1, type 4 (format §7).
const PAGE_OPENING: [u8; 2] = [1, 4];
const ROW_OVERHEAD_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_is_read_back_in_order() {
        let list = SkippedList::new(1 << 16);
        assert_eq!(list.page(), None);
        list.push(Skipped::new(b"/a/\xff", Code::FilePermissionDenied));
        list.push(Skipped::new(b"/b", Code::FileChanged));
        let rows = parse_skipped(&list.page().unwrap()).unwrap();
        assert_eq!(
            rows,
            [
                (b"/a/\xff".to_vec(), Code::FilePermissionDenied),
                (b"/b".to_vec(), Code::FileChanged)
            ]
        );
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// Format §7. Never edited: a form that changes gets a version and a file of its own.
    #[test]
    fn a_page_of_the_first_version_is_written_and_read() {
        let golden = include_str!("../../tests/golden/page-skipped.hex");
        let golden = bytes_of(golden);
        let list = SkippedList::new(1 << 16);
        list.push(Skipped::new(b"/a/\xff", Code::FilePermissionDenied));
        list.push(Skipped::new(b"/b", Code::FileChanged));
        let now = list.page().unwrap();
        assert!(now == golden, "page-skipped.hex would now be {now:02x?}");
        let rows = parse_skipped(&golden).unwrap();
        assert_eq!(rows[0], (b"/a/\xff".to_vec(), Code::FilePermissionDenied));
        assert_eq!((rows.len(), rows[1].1), (2, Code::FileChanged));
    }

    #[test]
    fn the_page_is_bounded_and_the_count_goes_on() {
        let list = SkippedList::new(1000);
        for number in 0..500 {
            list.push(Skipped::new(format!("/path/{number}").as_bytes(), Code::FileMissing));
        }
        assert_eq!(list.count(), 500);
        let page = list.page().unwrap();
        assert!(page.len() <= 1000 && !parse_skipped(&page).unwrap().is_empty());
    }

    #[test]
    fn another_page_is_not_read_as_skipped_paths() {
        for bad in [&[][..], &[1, 1], &[2, 4], &[1, 4, 0x81, 0x41, 0x61], &[1, 4, 0x82]] {
            assert_eq!(parse_skipped(bad).unwrap_err().code, Code::ManifestDamaged, "{bad:?}");
        }
    }
}
