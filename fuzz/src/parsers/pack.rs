//! Packs: header, footer and trailer, and that a pack has one spelling.

use crate::{
    Refused,
    examples::{Blind, VAULT, unhex},
};
use bytes::Bytes;
use holdfast_repository::{
    Footer, PackBuilder, PackView,
    pack::{FrameSpan, HeaderRead, footer_range, read_header},
};

const PACK: &str = include_str!("../../../crates/repository/tests/golden/pack-1.hex");
const FOOTER: &str = include_str!("../../../crates/repository/tests/golden/footer-1.hex");
const TRAILER_BYTES: usize = 8;

/// What parses, built again from its parts, is the same pack.
pub fn pack(bytes: &[u8]) -> Result<(), Refused> {
    let view = PackView::parse(&VAULT, Bytes::copy_from_slice(bytes))?;
    let footer = view.open_footer(&Blind)?;
    let mut builder = PackBuilder::with_bytes_max(VAULT, view.kind(), bytes.len());
    for capsule in view.capsules() {
        builder.add_capsule(capsule)?;
    }
    for row in &footer.rows {
        let frame = view.frame(row).expect("a checked row has its frame");
        assert_eq!(frame.len(), row.length as usize);
        builder.push(row.id, row.capsule, &frame).expect("what was read can be written");
    }
    for taken in &footer.taken {
        builder.take_number(taken.slot, taken.number).expect("what was read can be written");
    }
    let field = footer_range(bytes, bytes.len() as u64).expect("it was found once");
    let field = &bytes[field.start as usize..field.end as usize];
    let (version, sealed) = field.split_first_chunk::<4>().expect("it was opened");
    let sealer = |_: &[u8; 32], plaintext: &[u8]| {
        let tag = &sealed[sealed.len() - 16..];
        Ok((u32::from_le_bytes(*version), [&sealed[..32], plaintext, tag].concat()))
    };
    let again = builder.finish(&sealer).expect("what was read can be written");
    assert!(again.bytes == bytes, "a pack has one spelling");
    Ok(())
}

pub fn pack_header(bytes: &[u8]) -> Result<(), Refused> {
    let whole = Bytes::copy_from_slice(bytes);
    match read_header(&VAULT, &whole)? {
        HeaderRead::Complete(header) => {
            let start = header.frames_start as usize;
            assert!(start <= bytes.len());
            let prefix = whole.slice(..start);
            assert_eq!(read_header(&VAULT, &prefix)?, HeaderRead::Complete(header));
            Ok(())
        }
        HeaderRead::More { bytes: wanted } => {
            assert!(wanted > bytes.len(), "asking again must bring more");
            Err(Refused)
        }
    }
}

/// The length of the object, then its last bytes.
pub fn pack_trailer(bytes: &[u8]) -> Result<(), Refused> {
    let (length, tail) = bytes.split_first_chunk::<4>().ok_or(Refused)?;
    let length = u64::from(u32::from_le_bytes(*length));
    let range = footer_range(tail, length)?;
    assert!(range.start < range.end && range.end + TRAILER_BYTES as u64 == length);
    Ok(())
}

/// Where frames begin, how many capsules there are, then the plaintext.
pub fn pack_footer(bytes: &[u8]) -> Result<(), Refused> {
    let (numbers, plaintext) = bytes.split_first_chunk::<8>().ok_or(Refused)?;
    let [start, end, capsules] =
        [0, 2, 4].map(|at| u16::from_le_bytes([numbers[at], numbers[at + 1]]));
    let span = FrameSpan { start: start.into(), end: end.into(), capsules: capsules.into() };
    let field = [&[0; 36][..], plaintext, &[0; 16]].concat();
    let footer = Footer::open(&field, &[0; 32], span, &Blind)?;
    let covered: u32 = footer.rows.iter().map(|row| row.length).sum();
    assert_eq!(covered, span.end - span.start, "the rows cover the frames");
    Ok(())
}

pub fn packs() -> Vec<Vec<u8>> {
    vec![unhex(PACK)]
}

pub fn pack_trailers() -> Vec<Vec<u8>> {
    let pack = unhex(PACK);
    let length = u32::try_from(pack.len()).unwrap().to_le_bytes();
    vec![[&length, &pack[pack.len() - TRAILER_BYTES..]].concat()]
}

pub fn pack_footers() -> Vec<Vec<u8>> {
    let view = PackView::parse(&VAULT, unhex(PACK).into()).unwrap();
    let span = view.span();
    let numbers = [span.start, span.end, span.capsules as u32, 0];
    let numbers = numbers.map(|number| (number as u16).to_le_bytes()).concat();
    vec![[numbers, unhex(FOOTER)].concat()]
}
