//! What a recorded process did to its directory, as values. `recorder.c` writes what this reads.

use std::path::{Path, PathBuf};

const HEAD: usize = 21;
const O_CREAT: u64 = 0o100;
const O_TRUNC: u64 = 0o1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Something was promised to somebody.
    Acknowledge(String),
    Close {
        fd: i32,
    },
    Duplicate {
        fd: i32,
        copy: i32,
    },
    Make {
        path: PathBuf,
    },
    Open {
        fd: i32,
        path: PathBuf,
        create: bool,
        empty: bool,
    },
    Remove {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    SetLength {
        fd: i32,
        length: usize,
    },
    Sync {
        fd: i32,
        data_only: bool,
    },
    Write {
        fd: i32,
        offset: usize,
        bytes: Vec<u8>,
    },
}

/// Reads a record; paths become relative to `directory`.
pub(super) fn read(record: &Path, directory: &Path) -> Vec<Event> {
    let bytes = std::fs::read(record).unwrap();
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while let Some(raw) = Raw::take(&mut rest, directory) {
        let fd = raw.fd;
        events.push(match raw.kind {
            b'2' => Event::Duplicate { fd, copy: i32::try_from(raw.number).unwrap() },
            b'A' => Event::Acknowledge(String::from_utf8(raw.bytes.to_vec()).unwrap()),
            b'C' => Event::Close { fd },
            b'D' | b'S' => Event::Sync { fd, data_only: raw.kind == b'D' },
            b'M' => Event::Make { path: raw.path() },
            b'O' => {
                let (create, empty) = (raw.number & O_CREAT != 0, raw.number & O_TRUNC != 0);
                Event::Open { fd, path: raw.path(), create, empty }
            }
            b'R' => {
                let to = Raw::take(&mut rest, directory).unwrap();
                Event::Rename { from: raw.path(), to: to.path() }
            }
            b'T' => Event::SetLength { fd, length: raw.number() },
            b'U' => Event::Remove { path: raw.path() },
            b'W' => Event::Write { fd, offset: raw.number(), bytes: raw.bytes.to_vec() },
            other => panic!("the record has an event of kind {other}"),
        });
    }
    events
}

struct Raw<'a> {
    kind: u8,
    fd: i32,
    number: u64,
    bytes: &'a [u8],
    directory: &'a Path,
}

impl<'a> Raw<'a> {
    fn take(rest: &mut &'a [u8], directory: &'a Path) -> Option<Self> {
        let (head, tail) = rest.split_at_checked(HEAD)?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let length = usize::try_from(word(13)).unwrap();
        let fd = i32::from_le_bytes(head[1..5].try_into().unwrap());
        let (bytes, tail) = tail.split_at(length);
        *rest = tail;
        Some(Self { kind: head[0], fd, number: word(5), bytes, directory })
    }

    fn number(&self) -> usize {
        usize::try_from(self.number).unwrap()
    }

    fn path(&self) -> PathBuf {
        let path = Path::new(std::str::from_utf8(self.bytes).unwrap());
        path.strip_prefix(self.directory).unwrap().to_owned()
    }
}
