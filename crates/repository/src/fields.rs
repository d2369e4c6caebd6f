//! Reading fixed-width fields off the front of hostile bytes, one after another.
//!
//! Every read is bounds-checked and running out of bytes is [`Defect::Truncated`], never a panic.
//! Nothing here allocates. Integers are little-endian, as everywhere in the format but in CBOR.

use crate::defect::Defect;

pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    consumed: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, consumed: 0 }
    }

    pub(crate) fn consumed(&self) -> usize {
        self.consumed
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Defect> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Defect::Truncated)?;
        self.rest = rest;
        self.consumed += length;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Defect> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Defect::Truncated)?;
        self.rest = rest;
        self.consumed += N;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Defect> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Defect> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Defect> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Defect> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The opening that segments, reach and points share: magic, version 1, three zero bytes.
    pub(crate) fn opening(&mut self, magic: &[u8; 4]) -> Result<(), Defect> {
        self.magic_and_version(magic)?;
        match self.array::<3>()? {
            [0, 0, 0] => Ok(()),
            _ => Err(Defect::malformed("bytes that must be zero are not")),
        }
    }

    pub(crate) fn magic_and_version(&mut self, magic: &[u8; 4]) -> Result<(), Defect> {
        if self.array::<4>()? != *magic {
            return Err(Defect::malformed("the magic bytes are wrong"));
        }
        match self.u8()? {
            1 => Ok(()),
            version => Err(Defect::VersionUnknown(u64::from(version))),
        }
    }
}

/// A length or count from the format as an index. The format's integers are 32 bits and so are the
/// smallest machines we run on.
pub(crate) fn index(value: u32) -> usize {
    const { assert!(usize::BITS >= u32::BITS) };
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order_and_running_out_is_truncation() {
        let mut fields = Fields::new(&[1, 2, 0, 3, 0, 0, 0, 9]);
        assert_eq!(fields.u8().unwrap(), 1);
        assert_eq!(fields.u16().unwrap(), 2);
        assert_eq!(fields.u32().unwrap(), 3);
        assert_eq!((fields.consumed(), fields.rest()), (7, &[9][..]));
        assert!(matches!(fields.u64(), Err(Defect::Truncated)));
        assert!(matches!(fields.take(usize::MAX), Err(Defect::Truncated)));
        assert_eq!(fields.take(1).unwrap(), &[9]);
    }

    #[test]
    fn an_opening_is_refused_for_what_is_wrong_with_it() {
        let opening = |bytes: &[u8]| Fields::new(bytes).opening(b"HFXX");
        assert!(opening(b"HFXX\x01\0\0\0").is_ok());
        assert!(matches!(opening(b"HFXY\x01\0\0\0"), Err(Defect::Malformed(_))));
        assert!(matches!(opening(b"HFXX\x02\0\0\0"), Err(Defect::VersionUnknown(2))));
        assert!(matches!(opening(b"HFXX\x01\0\0\x01"), Err(Defect::Malformed(_))));
        assert!(matches!(opening(b"HFXX\x01\0\0"), Err(Defect::Truncated)));
    }
}
