//! The vault object: round trip, versions, and parameters nobody could chunk with.

use crate::clear::VAULT;
use holdfast_common::{Code, Timestamp};
use holdfast_repository::{ChunkParameters, VaultObject};

fn object() -> VaultObject {
    let created = Timestamp::from_nanos(1_795_255_200_000_000_000);
    VaultObject { id: VAULT, created, chunks: ChunkParameters::default() }
}

#[test]
fn a_vault_object_is_read_back_as_it_was_written() {
    assert_eq!(VaultObject::from_bytes(&object().to_bytes()).unwrap(), object());
}

#[test]
fn a_later_version_is_told_apart_from_damage() {
    let mut bytes = object().to_bytes();
    assert_eq!(bytes[..3], [0xa4, 0x00, 0x01], "a map of four, version 1 first");
    bytes[2] = 2;
    assert_eq!(VaultObject::from_bytes(&bytes).unwrap_err().code, Code::VersionUnknown);
    // A later version may look quite different behind its version.
    let later = [0xa2, 0x00, 0x02, 0x01, 0x61, b'x'];
    assert_eq!(VaultObject::from_bytes(&later).unwrap_err().code, Code::VersionUnknown);
}

#[test]
fn truncated_and_trailed_vault_objects_are_refused() {
    let bytes = object().to_bytes();
    for end in 0..bytes.len() {
        let error = VaultObject::from_bytes(&bytes[..end]).unwrap_err();
        assert_eq!(error.code, Code::RecordMalformed, "cut at {end}");
    }
    let trailed = [bytes.as_slice(), &[0]].concat();
    assert_eq!(VaultObject::from_bytes(&trailed).unwrap_err().code, Code::RecordMalformed);
    let huge = vec![0; 2 << 20];
    assert_eq!(VaultObject::from_bytes(&huge).unwrap_err().code, Code::RecordMalformed);
}

#[test]
fn chunk_sizes_that_do_not_rise_or_exceed_the_limit_are_refused() {
    let good = ChunkParameters::default();
    assert!(good.check().is_ok());
    for bad in [
        ChunkParameters { bytes_min: 0, ..good },
        ChunkParameters { bytes_avg: good.bytes_min, ..good },
        ChunkParameters { bytes_max: good.bytes_avg, ..good },
        ChunkParameters { bytes_max: good.bytes_max + 1, ..good },
        ChunkParameters { fixed_bytes: 0, ..good },
        ChunkParameters { fixed_bytes: u32::MAX, ..good },
    ] {
        let bytes = VaultObject { chunks: bad, ..object() }.to_bytes();
        let error = VaultObject::from_bytes(&bytes).unwrap_err();
        assert_eq!(error.code, Code::RecordMalformed, "{bad:?}");
    }
}
