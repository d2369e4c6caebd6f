//! Ids: one type each, so that a chunk can never be asked for where a pack is meant.
//!
//! Two shapes exist. *Content ids* are 32 bytes and say what a thing is (a keyed or plain BLAKE3).
//! *Given ids* are 16 random bytes, stamped once by whoever proposes the thing. Both are written as
//! lower-case hex; given ids are random from their first character on, so that people may shorten
//! them to eight. Encoded as CBOR byte strings. Ids are not secrets, but a `ChunkId` is never shown
//! to anyone outside its trust group.

use crate::{Code, Entropy, Error, Result};
use core::fmt;

fn parse_hex<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N]> {
    let mut out = [0u8; N];
    match hex::decode_to_slice(text, &mut out) {
        Ok(()) if !text.bytes().any(|b| b.is_ascii_uppercase()) => Ok(out),
        _ => Err(Error::new(Code::UsageIdMalformed, format!("`{text}` is not a {what} id"))
            .next(format!("a {what} id is {} lower-case hex characters", N * 2))),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $len:literal, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            pub const LEN: usize = $len;

            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// From a slice of exactly the right length, as it arrives from outside.
            pub fn from_slice(bytes: &[u8]) -> Result<Self> {
                bytes.try_into().map(Self).map_err(|_| {
                    Error::new(
                        Code::UsageIdMalformed,
                        format!("{} bytes given where a {} id has {}", bytes.len(), $what, $len),
                    )
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{self}", $what)
            }
        }

        impl core::str::FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                parse_hex($what, text).map(Self)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> core::result::Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> core::result::Result<Self, minicbor::decode::Error> {
                d.bytes()?.try_into().map(Self).map_err(|_| {
                    minicbor::decode::Error::message(concat!("wrong length of a ", $what, " id"))
                })
            }
        }
    )*};
}

ids! {
    /// Keyed BLAKE3 of a chunk's plaintext.
    ChunkId, 32, "chunk";
    /// Plain BLAKE3 of a whole file's content; lives only inside sealed manifest pages.
    ContentHash, 32, "content";
    /// BLAKE3 of a whole pack object.
    PackId, 32, "pack";
    /// BLAKE3 of a capsule's bytes.
    CapsuleId, 32, "capsule";
    AgentId, 16, "agent";
    ClusterId, 16, "cluster";
    HoldId, 16, "hold";
    PointId, 16, "point";
    RequestId, 16, "request";
    RunId, 16, "run";
    SegmentId, 16, "segment";
    SessionId, 16, "session";
    VaultId, 16, "vault";
}

macro_rules! given {
    ($($name:ident)*) => {$(
        impl $name {
            pub fn random(entropy: &dyn Entropy) -> Self {
                Self(entropy.array())
            }
        }
    )*};
}

given!(AgentId ClusterId HoldId PointId RequestId RunId SegmentId SessionId VaultId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_written_form() {
        let id = PointId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string().parse::<PointId>().unwrap(), id);
        assert_eq!(id.to_string().len(), 32);
    }

    #[test]
    fn ids_of_the_wrong_length_or_case_are_refused() {
        for bad in ["", "ab", &"AB".repeat(16), &"zz".repeat(16), &"ab".repeat(17)] {
            assert_eq!(bad.parse::<PointId>().unwrap_err().code, Code::UsageIdMalformed, "{bad}");
        }
        assert!(ChunkId::from_slice(&[0; 31]).is_err());
    }

    #[test]
    fn an_id_is_a_cbor_byte_string() {
        let id = RunId::from_bytes([7; 16]);
        let bytes = minicbor::to_vec(id).unwrap();
        assert_eq!(bytes[0], 0x50, "a byte string of 16");
        assert_eq!(minicbor::decode::<RunId>(&bytes).unwrap(), id);
        assert!(minicbor::decode::<ChunkId>(&bytes).is_err());
    }
}
