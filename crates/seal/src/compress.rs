//! zstd where it pays, raw where it does not.
//!
//! One [`Compressor`] and one [`Decompressor`] per thread: each keeps its context and its buffer,
//! so that a chunk costs no allocation here. Before a large chunk is compressed small windows all
//! over it are tried at the cheapest level; when none of them shrinks, the chunk stays raw.
//! Nothing is decompressed beyond the length that was declared for it, and no declared length is
//! believed beyond the limit of a chunk.
//!
//! Measured per MiB at level 3, on a shared 2-core host: noise 50 µs instead of 260, gzip archives
//! 160 to 280 instead of 340 to 490, libraries and programs no difference. The price: of heaps of
//! small images, what is stored grows by 5 to 7 % of their size that zstd would have saved.
//! Sampling less did worse there: three windows of 4 KiB lost 16 to 19 %.

use holdfast_common::{Code, Error, Result, limits};
use zstd::bulk;

/// How a payload is stored; the number is the frame's codec byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    Raw = 0,
    Zstd = 1,
}

impl TryFrom<u8> for Codec {
    type Error = Error;

    fn try_from(byte: u8) -> Result<Self> {
        match byte {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Zstd),
            other => Err(damaged(format!("{other} is no codec"))),
        }
    }
}

/// Compresses chunk after chunk with one context.
pub struct Compressor {
    level: bulk::Compressor<'static>,
    probe: bulk::Compressor<'static>,
    out: Vec<u8>,
}

impl Compressor {
    /// `level` is zstd's: 1 is fast, 3 usual, 19 thorough.
    pub fn new(level: i32) -> Result<Self> {
        if !zstd::compression_level_range().contains(&level) {
            return Err(Error::new(Code::UsageMalformed, format!("{level} is no zstd level"))
                .next("choose a level from 1 to 19"));
        }
        Ok(Self { level: context(level)?, probe: context(PROBE_LEVEL)?, out: Vec::new() })
    }

    /// The payload to store, and how to read it. It borrows from the chunk or from this context.
    pub fn compress<'a>(&'a mut self, plain: &'a [u8]) -> Result<(Codec, &'a [u8])> {
        if plain.len() > limits::CHUNK_BYTES_MAX {
            return Err(Error::new(
                Code::LimitExceeded,
                format!("a chunk of {} bytes is longer than chunks may be", plain.len()),
            ));
        }
        if plain.len() >= PROBE_FROM_BYTES && !self.probe_pays(plain)? {
            return Ok((Codec::Raw, plain));
        }
        let length = run(&mut self.level, plain, &mut self.out)?;
        if pays(length, plain.len(), KEEP_PER_CENT) {
            Ok((Codec::Zstd, &self.out[..length]))
        } else {
            Ok((Codec::Raw, plain))
        }
    }

    /// Tries the end of every stride until one shrinks.
    fn probe_pays(&mut self, plain: &[u8]) -> Result<bool> {
        for stride in plain.chunks(PROBE_STRIDE_BYTES) {
            let window = &stride[stride.len().saturating_sub(PROBE_WINDOW_BYTES)..];
            let length = run(&mut self.probe, window, &mut self.out)?;
            if pays(length, window.len(), PROBE_PER_CENT) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Decompresses chunk after chunk with one context.
pub struct Decompressor {
    context: bulk::Decompressor<'static>,
}

impl Decompressor {
    pub fn new() -> Result<Self> {
        let context = bulk::Decompressor::new().map_err(|error| broken(&error))?;
        Ok(Self { context })
    }

    /// Gives back exactly `length` bytes or refuses; never allocates for more. They lie in `room`,
    /// which grows once to the largest chunk, or in the payload where they were stored raw.
    pub fn decompress<'a>(
        &mut self,
        codec: Codec,
        payload: &'a [u8],
        length: usize,
        room: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        if length > limits::CHUNK_BYTES_MAX {
            return Err(damaged(format!("{length} bytes are declared, more than a chunk has")));
        }
        let plain = match codec {
            Codec::Raw => payload,
            Codec::Zstd => {
                if room.len() < length {
                    room.resize(length, 0);
                }
                let held = self
                    .context
                    .decompress_to_buffer(payload, &mut room[..length])
                    .map_err(|error| damaged("it does not decompress").cause(error))?;
                &room[..held]
            }
        };
        if plain.len() == length {
            Ok(plain)
        } else {
            Err(damaged(format!("it does not hold the {length} bytes that it declares")))
        }
    }
}

fn context(level: i32) -> Result<bulk::Compressor<'static>> {
    bulk::Compressor::new(level).map_err(|error| broken(&error))
}

/// Compresses into a buffer that grows once to what the largest chunk can need.
fn run(context: &mut bulk::Compressor, plain: &[u8], out: &mut Vec<u8>) -> Result<usize> {
    let bound = zstd::compress_bound(plain.len());
    if out.len() < bound {
        out.resize(bound, 0);
    }
    context.compress_to_buffer(plain, out.as_mut_slice()).map_err(|error| broken(&error))
}

fn pays(out: usize, plain: usize, per_cent: usize) -> bool {
    out * 100 < plain * per_cent
}

fn damaged(why: impl Into<String>) -> Error {
    Error::new(Code::ChunkDamaged, "a chunk's payload cannot be read").cause(why.into())
}

fn broken(error: &std::io::Error) -> Error {
    Error::new(Code::InternalBug, "zstd refused to work").cause(error)
}

/// A chunk that shrinks by less than 3 % is cheaper to keep raw: it is read back without zstd.
const KEEP_PER_CENT: usize = 97;
const PROBE_LEVEL: i32 = 1;
const PROBE_FROM_BYTES: usize = 64 * limits::KIB;
const PROBE_STRIDE_BYTES: usize = 32 * limits::KIB;
const PROBE_WINDOW_BYTES: usize = limits::KIB;
const PROBE_PER_CENT: usize = 99;

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that nothing compresses, without a source of randomness.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut step = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(|_| step()).collect()
    }

    fn codec(plain: &[u8]) -> Codec {
        Compressor::new(3).unwrap().compress(plain).unwrap().0
    }

    #[test]
    fn what_shrinks_is_compressed_and_what_does_not_stays_raw() {
        for length in [0, 1, 100, 5000, PROBE_FROM_BYTES - 1, PROBE_FROM_BYTES, 1 << 20] {
            let expected = if length > 1 { Codec::Zstd } else { Codec::Raw };
            assert_eq!(codec(&vec![b'x'; length]), expected, "{length} equal bytes");
            assert_eq!(codec(&noise(length)), Codec::Raw, "{length} bytes of noise");
        }
    }

    #[test]
    fn a_gain_below_three_per_cent_is_not_taken() {
        let mostly_noise = |zeros: usize| [noise(40_000 - zeros), vec![0; zeros]].concat();
        assert_eq!(codec(&mostly_noise(800)), Codec::Raw);
        assert_eq!(codec(&mostly_noise(1600)), Codec::Zstd);
    }

    #[test]
    fn the_probe_sees_a_compressible_part_anywhere_in_a_chunk() {
        let mut compressor = Compressor::new(3).unwrap();
        for at in [0, 3 * PROBE_STRIDE_BYTES + 5, (1 << 20) - 2 * PROBE_STRIDE_BYTES] {
            let mut plain = noise(1 << 20);
            assert!(!compressor.probe_pays(&plain).unwrap());
            plain[at..at + 2 * PROBE_STRIDE_BYTES].fill(7);
            assert!(compressor.probe_pays(&plain).unwrap(), "{at}");
            assert_eq!(codec(&plain), Codec::Zstd);
        }
    }

    #[test]
    fn both_codecs_give_back_what_went_in_with_reused_contexts() {
        let (mut there, mut back) = (Compressor::new(3).unwrap(), Decompressor::new().unwrap());
        let mut room = Vec::new();
        for length in [0, 1, 70_000, 9, 300_000, limits::CHUNK_BYTES_MAX] {
            for plain in [noise(length), vec![b'x'; length]] {
                let (codec, payload) = there.compress(&plain).unwrap();
                assert!(payload.len() <= plain.len());
                let given = back.decompress(codec, payload, length, &mut room).unwrap();
                assert!(given == plain, "{length}");
            }
        }
    }

    #[test]
    fn a_damaged_payload_does_not_spoil_the_context() {
        let mut there = Compressor::new(3).unwrap();
        let mut back = Decompressor::new().unwrap();
        let plain = vec![b'x'; 9000];
        let good = there.compress(&plain).unwrap().1.to_vec();
        let mut room = Vec::new();
        for cut in 0..good.len() {
            let refused = back.decompress(Codec::Zstd, &good[..cut], 9000, &mut room).unwrap_err();
            assert_eq!(refused.code, Code::ChunkDamaged);
        }
        assert!(back.decompress(Codec::Zstd, &good, 9000, &mut room).unwrap() == plain);
    }

    #[test]
    fn levels_that_zstd_does_not_have_are_refused() {
        for bad in [23, i32::MAX, i32::MIN] {
            assert_eq!(Compressor::new(bad).err().unwrap().code, Code::UsageMalformed, "{bad}");
        }
        assert!(Compressor::new(1).is_ok() && Compressor::new(19).is_ok());
    }
}
