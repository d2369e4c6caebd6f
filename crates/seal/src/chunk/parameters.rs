//! The chunk sizes of a vault: field 3 of the `vault` object, fixed for its life.
//!
//! Whoever holds a [`ChunkParameters`] holds sizes that FastCDC and every reader can work with; a
//! record with other sizes or another algorithm does not decode.

use fastcdc::v2020;
use holdfast_common::{Code, Error, Result, limits};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// FastCDC, normalisation 1, with the vault's gear table.
const ALGORITHM: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkParameters {
    min: usize,
    average: usize,
    max: usize,
    fixed: usize,
}

impl ChunkParameters {
    /// Sizes in bytes. FastCDC looks at bytes in pairs and its masks are made for powers of two.
    pub fn new(min: usize, average: usize, max: usize, fixed: usize) -> Result<Self> {
        let cdc = (v2020::MINIMUM_MIN..=v2020::MINIMUM_MAX).contains(&min)
            && (v2020::AVERAGE_MIN..=v2020::AVERAGE_MAX).contains(&average)
            && (v2020::MAXIMUM_MIN..=limits::CHUNK_BYTES_MAX).contains(&max)
            && min.is_multiple_of(2)
            && max.is_multiple_of(2)
            && average.is_power_of_two()
            && min < average
            && average < max;
        let pages = fixed > 0 && fixed.is_multiple_of(4096) && fixed <= limits::CHUNK_BYTES_MAX;
        if cdc && pages {
            return Ok(Self { min, average, max, fixed });
        }
        Err(Error::new(
            Code::RecordMalformed,
            format!("chunks of {min}, {average}, {max} and {fixed} bytes cannot be cut"),
        ))
    }

    pub fn min(&self) -> usize {
        self.min
    }

    pub fn average(&self) -> usize {
        self.average
    }

    pub fn max(&self) -> usize {
        self.max
    }

    pub fn fixed(&self) -> usize {
        self.fixed
    }
}

impl Default for ChunkParameters {
    /// What a new vault gets.
    fn default() -> Self {
        Self {
            min: limits::CDC_BYTES_MIN,
            average: limits::CDC_BYTES_AVG,
            max: limits::CDC_BYTES_MAX,
            fixed: limits::FIXED_CHUNK_BYTES,
        }
    }
}

/// The stored form, before anybody trusts it.
#[derive(Decode, Encode)]
#[cbor(map)]
struct Record {
    #[n(0)]
    min: usize,
    #[n(1)]
    average: usize,
    #[n(2)]
    max: usize,
    #[n(3)]
    fixed: usize,
    #[n(4)]
    algorithm: u8,
}

impl<C> Encode<C> for ChunkParameters {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let Self { min, average, max, fixed } = *self;
        Record { min, average, max, fixed, algorithm: ALGORITHM }.encode(e, context)
    }
}

impl<'b, C> Decode<'b, C> for ChunkParameters {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        let record = Record::decode(d, context)?;
        if record.algorithm != ALGORITHM {
            return Err(decode::Error::message("an unknown way of cutting chunks"));
        }
        Self::new(record.min, record.average, record.max, record.fixed)
            .map_err(|error| decode::Error::message(error.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::record::{from_bytes, to_bytes};

    const KIB: usize = limits::KIB;

    #[test]
    fn the_default_is_valid_and_survives_its_record() {
        let default = ChunkParameters::default();
        let same =
            ChunkParameters::new(default.min, default.average, default.max, default.fixed).unwrap();
        assert_eq!(same, default);
        assert_eq!(from_bytes::<ChunkParameters>("test", &to_bytes(&default)).unwrap(), default);
    }

    #[test]
    fn sizes_that_cannot_be_cut_are_refused() {
        for (min, average, max, fixed) in [
            (0, 1024 * KIB, 4096 * KIB, 128 * KIB),
            (257, 1024 * KIB, 4096 * KIB, 128 * KIB),
            (1024 * KIB, 1024 * KIB, 4096 * KIB, 128 * KIB),
            (256 * KIB, 1000 * KIB, 4096 * KIB, 128 * KIB),
            (256 * KIB, 1024 * KIB, 1024 * KIB, 128 * KIB),
            (256 * KIB, 1024 * KIB, 4097 * KIB, 128 * KIB),
            (256 * KIB, 1024 * KIB, 4096 * KIB, 0),
            (256 * KIB, 1024 * KIB, 4096 * KIB, 8193 * KIB),
            (256 * KIB, 1024 * KIB, 4096 * KIB, 1000),
        ] {
            let refused = ChunkParameters::new(min, average, max, fixed);
            assert_eq!(refused.unwrap_err().code, Code::RecordMalformed, "{min} {average} {max}");
        }
    }

    #[test]
    fn a_record_with_another_algorithm_or_bad_sizes_is_refused() {
        let mut record = Record {
            min: 256 * KIB,
            average: 1024 * KIB,
            max: 4096 * KIB,
            fixed: 128 * KIB,
            algorithm: 2,
        };
        assert!(from_bytes::<ChunkParameters>("test", &to_bytes(&record)).is_err());
        record.algorithm = ALGORITHM;
        assert!(from_bytes::<ChunkParameters>("test", &to_bytes(&record)).is_ok());
        record.max = usize::MAX;
        assert!(from_bytes::<ChunkParameters>("test", &to_bytes(&record)).is_err());
    }
}
