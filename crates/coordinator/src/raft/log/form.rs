//! The bytes of the log's files.
//!
//! ```text
//!   volume: "HFLV" ‖ 1 ‖ 3 zeros ‖ salt ‖ its number ‖ its first group ‖ CRC ‖ 4 zeros
//!           ‖ group ‖ group ‖ … ‖ zeros
//!   group:  "HFGP" ‖ length of its body ‖ its number ‖ CRC of the body ‖ CRC of salt and head
//!           ‖ body: records ‖ zeros up to a multiple of 8
//!   record: kind ‖ length ‖ bytes
//! ```
//!
//! Numbers are little-endian, CRCs are CRC-32C. The salt is the log's own: nothing that a client
//! wrote into a command reads as the head of a group, and no volume of another log fits in.

use holdfast_common::{Code, Error, Result};

pub(super) const VOLUME_HEAD: usize = 40;
pub(super) const GROUP_HEAD: usize = 24;

const VOLUME_MAGIC: &[u8; 8] = b"HFLV\x01\0\0\0";
const GROUP_MAGIC: &[u8; 4] = b"HFGP";
const RECORD_HEAD: usize = 5;
const ENTRY: u8 = 1;
const NOTE: u8 = 2;
const TRUNCATE: u8 = 3;
const REMOVE: u8 = 4;

/// What a volume says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VolumeHead {
    pub(super) salt: u64,
    pub(super) number: u64,
    pub(super) first_group: u64,
}

impl VolumeHead {
    pub(super) fn render(&self) -> [u8; VOLUME_HEAD] {
        let mut bytes = [0; VOLUME_HEAD];
        bytes[..8].copy_from_slice(VOLUME_MAGIC);
        bytes[8..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_group.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let head = Self {
            salt: u64_at(bytes, 8)?,
            number: u64_at(bytes, 16)?,
            first_group: u64_at(bytes, 24)?,
        };
        (bytes.get(..VOLUME_HEAD)? == head.render()).then_some(head)
    }
}

/// The head of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHead {
    pub(super) number: u64,
    pub(super) body_bytes: u32,
    pub(super) body_sum: u32,
}

impl GroupHead {
    pub(super) fn render(&self, salt: u64) -> [u8; GROUP_HEAD] {
        let mut bytes = [0; GROUP_HEAD];
        bytes[..4].copy_from_slice(GROUP_MAGIC);
        bytes[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.body_sum.to_le_bytes());
        let sum = crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &bytes[..20]);
        bytes[20..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8], salt: u64) -> Option<Self> {
        let head = Self {
            number: u64_at(bytes, 8)?,
            body_bytes: u32_at(bytes, 4)?,
            body_sum: u32_at(bytes, 16)?,
        };
        (bytes.get(..GROUP_HEAD)? == head.render(salt)).then_some(head)
    }
}

/// One change of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Record<'a> {
    /// An entry, as it is stored.
    Entry(u64, &'a [u8]),
    /// Something small under a name; the newest counts.
    Note(&'a str, &'a [u8]),
    /// The entries of this index and beyond are not of the log any more.
    Truncate(u64),
    /// The entries up to this index are not needed any more.
    Remove(u64),
}

/// Adds a record to the body of a group.
pub(super) fn push(body: &mut Vec<u8>, record: Record<'_>) {
    let start = body.len();
    body.extend_from_slice(&[0; RECORD_HEAD]);
    let kind = match record {
        Record::Entry(index, bytes) => {
            body.extend_from_slice(&index.to_le_bytes());
            body.extend_from_slice(bytes);
            ENTRY
        }
        Record::Note(name, bytes) => {
            // Names are ours, and short.
            body.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(bytes);
            NOTE
        }
        Record::Truncate(from) => {
            body.extend_from_slice(&from.to_le_bytes());
            TRUNCATE
        }
        Record::Remove(upto) => {
            body.extend_from_slice(&upto.to_le_bytes());
            REMOVE
        }
    };
    let length = u32::try_from(body.len() - start - RECORD_HEAD).unwrap_or(u32::MAX);
    body[start] = kind;
    body[start + 1..start + RECORD_HEAD].copy_from_slice(&length.to_le_bytes());
}

/// The records of a body, each with the place of its last field in it.
pub(super) fn records(body: &[u8]) -> Records<'_> {
    Records { body, at: 0 }
}

pub(super) struct Records<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(usize, Record<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.body.len() {
            return None;
        }
        let Some((length, inner, record)) = take(&self.body[self.at..]) else {
            self.at = self.body.len();
            return Some(Err(malformed()));
        };
        let place = self.at + inner;
        self.at += length;
        Some(Ok((place, record)))
    }
}

/// How long the first record is, where its last field begins, and what it says.
fn take(bytes: &[u8]) -> Option<(usize, usize, Record<'_>)> {
    let kind = *bytes.first()?;
    let length = usize::try_from(u32_at(bytes, 1)?).ok()?;
    let data = bytes.get(RECORD_HEAD..RECORD_HEAD.checked_add(length)?)?;
    let number = || u64_at(data, 0).filter(|_| data.len() == 8);
    let (inner, record) = match kind {
        ENTRY => (8, Record::Entry(u64_at(data, 0)?, data.get(8..)?)),
        NOTE => {
            let inner = 1 + usize::from(*data.first()?);
            let name = std::str::from_utf8(data.get(1..inner)?).ok()?;
            (inner, Record::Note(name, data.get(inner..)?))
        }
        TRUNCATE => (0, Record::Truncate(number()?)),
        REMOVE => (0, Record::Remove(number()?)),
        _ => return None,
    };
    Some((RECORD_HEAD + length, RECORD_HEAD + inner, record))
}

fn malformed() -> Error {
    Error::new(Code::LogDamaged, "the log holds a record of an unknown kind")
        .next("it may be of a newer version; otherwise join this member anew")
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|found| u64::from_le_bytes(*found))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|found| u32::from_le_bytes(*found))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: VolumeHead = VolumeHead { salt: 0x0102_0304_0506_0708, number: 9, first_group: 77 };

    #[test]
    fn these_bytes_are_the_form_for_ever() {
        assert_eq!(
            hex(&HEAD.render()),
            "48464c5601000000080706050403020109000000000000004d000000000000003cd06f7300000000"
        );
        let mut body = Vec::new();
        push(&mut body, Record::Entry(5, b"five"));
        push(&mut body, Record::Note("vote", b"mine"));
        push(&mut body, Record::Truncate(6));
        push(&mut body, Record::Remove(4));
        assert_eq!(
            hex(&body),
            "010c000000050000000000000066697665\
             020900000004766f74656d696e65\
             03080000000600000000000000\
             04080000000400000000000000"
        );
        let body_sum = crc32c::crc32c(&body);
        let group = GroupHead { number: 78, body_bytes: 57, body_sum };
        assert_eq!(
            hex(&group.render(HEAD.salt)),
            "48464750390000004e00000000000000c941f0088f1b1b0a"
        );
    }

    #[test]
    fn what_was_pushed_is_read_again_with_the_places_of_entries() {
        let mut body = Vec::new();
        let pushed = [
            Record::Entry(5, b"five"),
            Record::Note("vote", b""),
            Record::Entry(6, b""),
            Record::Truncate(6),
            Record::Remove(u64::MAX),
        ];
        pushed.into_iter().for_each(|record| push(&mut body, record));
        let read: Vec<_> = records(&body).map(Result::unwrap).collect();
        assert_eq!(read.iter().map(|(_, record)| *record).collect::<Vec<_>>(), pushed);
        assert_eq!(&body[read[0].0..][..4], b"five");
        for cut in 1..body.len() {
            let whole = records(&body[..cut]).filter(Result::is_ok).count();
            assert!(whole < pushed.len(), "{cut}");
            assert!(records(&body[..cut]).count() <= pushed.len());
        }
        assert!(records(&[9, 0, 0, 0, 0]).next().unwrap().is_err(), "an unknown kind");
    }

    #[test]
    fn a_head_with_any_bit_changed_is_none_and_of_another_log_neither() {
        let group = GroupHead { number: 78, body_bytes: 57, body_sum: 3 };
        let (volume, rendered) = (HEAD.render(), group.render(1));
        assert_eq!(VolumeHead::parse(&volume), Some(HEAD));
        assert_eq!(GroupHead::parse(&rendered, 1), Some(group));
        assert_eq!(GroupHead::parse(&rendered, 2), None);
        for bit in 0..VOLUME_HEAD * 8 {
            let mut flipped = volume;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(VolumeHead::parse(&flipped), None, "{bit}");
        }
        for bit in 0..GROUP_HEAD * 8 {
            let mut flipped = rendered;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(GroupHead::parse(&flipped, 1), None, "{bit}");
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
