//! How records become bytes: CBOR maps with small integer keys.
//!
//! Everything small that is stored or replicated (ledger commands and rows, point records, key
//! records) is a plain type with numbered fields. A new field gets a new number and an old reader
//! skips it; a number is never used again. The bytes are deterministic: fields in the order of
//! their numbers, definite lengths. Whoever changes a form sees its golden bytes change.

use crate::{Code, Error, Result};
use minicbor::{Decode, Encode};

/// Renders a record. Writing to memory cannot fail; the encoder's own error type is uninhabited.
pub fn to_bytes<T: Encode<()>>(record: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    match minicbor::encode(record, &mut out) {
        Ok(()) => out,
        Err(error) => unreachable!("encoding to memory failed: {error}"),
    }
}

/// Parses a record and insists that nothing follows it.
pub fn from_bytes<'b, T: Decode<'b, ()>>(what: &'static str, bytes: &'b [u8]) -> Result<T> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let record = decoder.decode::<T>().map_err(|error| malformed(what, &error.to_string()))?;
    if decoder.position() != bytes.len() {
        return Err(malformed(what, "bytes follow the record"));
    }
    Ok(record)
}

fn malformed(what: &'static str, why: &str) -> Error {
    Error::new(Code::RecordMalformed, format!("a {what} record cannot be read")).cause(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Decode, Encode, PartialEq)]
    #[cbor(map)]
    struct Old {
        #[n(0)]
        a: u32,
    }

    #[derive(Debug, Decode, Encode, PartialEq)]
    #[cbor(map)]
    struct New {
        #[n(0)]
        a: u32,
        #[n(1)]
        b: Option<String>,
    }

    #[test]
    fn an_old_reader_skips_a_new_field_and_a_new_reader_misses_none() {
        let new = to_bytes(&New { a: 7, b: Some("x".into()) });
        assert_eq!(from_bytes::<Old>("test", &new).unwrap(), Old { a: 7 });
        let old = to_bytes(&Old { a: 7 });
        assert_eq!(from_bytes::<New>("test", &old).unwrap(), New { a: 7, b: None });
    }

    #[test]
    fn trailing_bytes_and_truncation_are_refused() {
        let mut bytes = to_bytes(&Old { a: 7 });
        bytes.push(0);
        assert_eq!(from_bytes::<Old>("test", &bytes).unwrap_err().code, Code::RecordMalformed);
        assert!(from_bytes::<Old>("test", &bytes[..1]).is_err());
    }
}
