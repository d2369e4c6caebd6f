//! How secrets stand in records: byte strings of an exact length, wiped wherever they pass.
//!
//! Used as `#[cbor(with = "crate::secret_record")]`. [`to_wiped_bytes`] measures a record before it
//! writes it, so that no half-grown buffer full of keys is given back to the allocator.

use core::convert::Infallible;
use holdfast_common::{Result, Secret};
use minicbor::{
    Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};
use zeroize::Zeroizing;

pub(crate) fn encode<C, W: Write>(
    secret: &Secret<32>,
    encoder: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), EncodeError<W::Error>> {
    encoder.bytes(secret.expose())?.ok()
}

pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Secret<32>, DecodeError> {
    Secret::from_slice(decoder.bytes()?)
        .ok_or_else(|| DecodeError::message("a key is not 32 bytes long"))
}

/// The same for a key that may be absent.
pub(crate) mod optional {
    use super::*;

    pub(crate) fn encode<C, W: Write>(
        secret: &Option<Secret<32>>,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match secret {
            Some(secret) => super::encode(secret, encoder, context),
            None => encoder.null()?.ok(),
        }
    }

    pub(crate) fn decode<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Option<Secret<32>>, DecodeError> {
        super::decode(decoder, context).map(Some)
    }

    pub(crate) fn is_nil(secret: &Option<Secret<32>>) -> bool {
        secret.is_none()
    }

    pub(crate) fn nil() -> Option<Option<Secret<32>>> {
        Some(None)
    }
}

/// The same for a key in a form of its own, such as PKCS#8.
pub(crate) mod bytes {
    use super::*;

    pub(crate) fn encode<C, W: Write>(
        secret: &Zeroizing<Vec<u8>>,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        encoder.bytes(secret)?.ok()
    }

    pub(crate) fn decode<C>(
        decoder: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
        Ok(Zeroizing::new(decoder.bytes()?.to_vec()))
    }
}

pub(crate) fn to_wiped_bytes<T: Encode<()>>(record: &T) -> Zeroizing<Vec<u8>> {
    let mut length = Length(0);
    let measured = minicbor::encode(record, &mut length);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
    let written = minicbor::encode(record, &mut *bytes);
    match measured.and(written) {
        Ok(()) => bytes,
        Err(error) => unreachable!("encoding to memory failed: {error}"),
    }
}

struct Length(usize);

impl Write for Length {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0 += bytes.len();
        Ok(())
    }
}
