//! A whole segment in memory: made by the builder or opened from its object.

use super::{FORM, SegmentHeader, SegmentRows};
use crate::{defect::Defect, fields::Fields};
use core::fmt;
use holdfast_common::{Code, Error, Result, SegmentId, VaultId};

/// Seals a segment's plaintext under the key of that segment, bound to `aad`.
pub trait SegmentSealer {
    /// One AEAD field: `nonce ‖ ciphertext ‖ tag`.
    fn seal_segment(&self, segment: &SegmentId, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>>;
}

/// Opens what a [`SegmentSealer`] sealed.
pub trait SegmentOpener {
    fn open_segment(&self, segment: &SegmentId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>>;
}

impl<F: Fn(&SegmentId, &[u8], &[u8]) -> Result<Vec<u8>>> SegmentSealer for F {
    fn seal_segment(&self, segment: &SegmentId, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        self(segment, aad, plaintext)
    }
}

impl<F: Fn(&SegmentId, &[u8], &[u8]) -> Result<Vec<u8>>> SegmentOpener for F {
    fn open_segment(&self, segment: &SegmentId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        self(segment, aad, sealed)
    }
}

/// Checked: its tables are sorted and nothing in them points outside.
#[derive(Clone, PartialEq, Eq)]
pub struct SegmentTable {
    header: SegmentHeader,
    plaintext: Vec<u8>,
}

impl SegmentTable {
    /// Opens the object of a segment. What the opener refuses is passed on as it tells it.
    pub fn parse(
        vault: &VaultId,
        segment: &SegmentId,
        bytes: &[u8],
        opener: &dyn SegmentOpener,
    ) -> Result<Self> {
        Self::parse_bytes(vault, segment, bytes, opener).map_err(|defect| defect.told_of(&FORM))
    }

    pub(crate) fn parse_bytes(
        vault: &VaultId,
        segment: &SegmentId,
        bytes: &[u8],
        opener: &dyn SegmentOpener,
    ) -> Result<Self, Defect> {
        let (header, sealed) = check_outside(vault, segment, bytes)?;
        let aad = header.to_bytes();
        let plaintext = opener.open_segment(segment, &aad, sealed).map_err(Defect::Refused)?;
        SegmentRows::split(&header, &plaintext)?.check_tables()?;
        Ok(Self { header, plaintext })
    }

    pub(super) fn of_sorted(header: SegmentHeader, plaintext: Vec<u8>) -> Self {
        Self { header, plaintext }
    }

    /// The bytes of the object `index/<segment id>`.
    pub fn to_object(&self, sealer: &dyn SegmentSealer) -> Result<Vec<u8>> {
        let aad = self.header.to_bytes();
        let sealed = sealer.seal_segment(&self.header.segment, &aad, &self.plaintext)?;
        if sealed.len() != self.plaintext.len() + AEAD_BYTES {
            let message = format!("a segment was sealed to {} bytes", sealed.len());
            return Err(Error::new(Code::InternalBug, message));
        }
        let mut object = Vec::with_capacity(aad.len() + sealed.len());
        object.extend_from_slice(&aad);
        object.extend_from_slice(&sealed);
        Ok(object)
    }

    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// What a coordinator may lay into a file of its own, after the header, to be mapped.
    pub fn plaintext(&self) -> &[u8] {
        &self.plaintext
    }

    pub fn rows(&self) -> SegmentRows<'_> {
        match SegmentRows::split(&self.header, &self.plaintext) {
            Ok(rows) => rows,
            Err(_) => unreachable!("the length was checked when the table was made"),
        }
    }
}

impl fmt::Debug for SegmentTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentTable({:?})", self.header)
    }
}

/// What can be checked without the key: the header, and that the sealed part has its length.
pub(crate) fn check_outside<'a>(
    vault: &VaultId,
    segment: &SegmentId,
    bytes: &'a [u8],
) -> Result<(SegmentHeader, &'a [u8]), Defect> {
    let mut fields = Fields::new(bytes);
    let header = SegmentHeader::parse_fields(vault, &mut fields)?;
    if header.segment != *segment {
        let found = header.segment;
        return Err(Defect::malformed(format!("it holds the segment {found}")));
    }
    let sealed = fields.take(header.plain_bytes() + AEAD_BYTES)?;
    match fields.rest() {
        [] => Ok((header, sealed)),
        _ => Err(Defect::malformed("bytes follow its sealed part")),
    }
}

/// Nonce and tag.
const AEAD_BYTES: usize = 12 + 16;
