//! A pack while its frames come, and the memory it lies in.
//!
//! Packs come by the hundred and each takes the memory of a large file for a moment. Given back to
//! the system it would be taken from it again page by page, at the price of another copy; so a few
//! pieces wait on a shelf for the next packs. How many packs there are at once is the budget's
//! matter, not the shelf's.

use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits};
use std::sync::{Arc, Mutex, PoisonError};

/// Memory of packs that are done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf(Arc<Mutex<Vec<Vec<u8>>>>);

/// Puts the frames of a streamed pack together, within what its header promised.
pub(crate) struct Assembly {
    bytes: Vec<u8>,
    length: usize,
    shelf: Shelf,
}

/// The bytes of a whole pack; the last who holds them puts their memory back.
struct Lent {
    bytes: Vec<u8>,
    shelf: Shelf,
}

impl Assembly {
    pub(crate) fn new(length: u32, shelf: &Shelf) -> Result<Self> {
        let length = length as usize;
        if length == 0 || length > limits::PACK_BYTES_MAX {
            let message = format!("a pack of {length} bytes is not possible");
            return Err(Error::new(Code::LimitExceeded, message));
        }
        Ok(Self { bytes: Vec::new(), length, shelf: shelf.clone() })
    }

    pub(crate) fn push(&mut self, data: &[u8]) -> Result<()> {
        if self.bytes.len() + data.len() > self.length {
            return Err(Error::new(Code::PackRefused, "more bytes came than were announced"));
        }
        if self.bytes.capacity() == 0 {
            // Only now: whoever announces and sends nothing takes no memory.
            self.bytes = self.shelf.take();
            self.bytes.reserve_exact(self.length);
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Bytes> {
        if self.bytes.len() < self.length {
            return Err(Error::new(Code::PackRefused, "fewer bytes came than were announced"));
        }
        Ok(Bytes::from_owner(Lent { bytes: self.bytes, shelf: self.shelf }))
    }
}

impl Shelf {
    fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
    }

    fn put(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut waiting = self.lock();
        if waiting.len() < limits::PACKS_IN_FLIGHT_MAX {
            waiting.push(bytes);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.shelf.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(shelf: &Shelf, length: u32, byte: u8) -> Bytes {
        let mut assembly = Assembly::new(length, shelf).unwrap();
        assembly.push(&vec![byte; length as usize]).unwrap();
        assembly.finish().unwrap()
    }

    #[test]
    fn memory_is_used_again_and_brings_nothing_of_the_last_pack() {
        let shelf = Shelf::default();
        let first = pack(&shelf, 9000, 1);
        let (place, part) = (first.as_ptr(), first.slice(10..20));
        drop(first);
        let second = pack(&shelf, 9000, 2);
        assert_ne!(second.as_ptr(), place, "somebody still reads a part of the first");
        assert!(part.iter().all(|byte| *byte == 1));
        drop(part);
        let third = pack(&shelf, 5000, 3);
        assert_eq!((third.as_ptr(), third.len()), (place, 5000));
        assert!(third.iter().all(|byte| *byte == 3));
    }

    #[test]
    fn few_pieces_wait() {
        let shelf = Shelf::default();
        let packs: Vec<Bytes> =
            (0..limits::PACKS_IN_FLIGHT_MAX + 3).map(|_| pack(&shelf, 5, 1)).collect();
        drop(packs);
        assert_eq!(shelf.lock().len(), limits::PACKS_IN_FLIGHT_MAX);
    }

    #[test]
    fn a_pack_has_the_length_that_was_announced() {
        let shelf = Shelf::default();
        let refused = |length: u32, data: &[u8]| {
            let mut assembly = Assembly::new(length, &shelf)?;
            assembly.push(data)?;
            assembly.finish()
        };
        assert_eq!(refused(3, b"four").unwrap_err().code, Code::PackRefused);
        assert_eq!(refused(5, b"four").unwrap_err().code, Code::PackRefused);
        assert_eq!(refused(0, b"").unwrap_err().code, Code::LimitExceeded);
        let beyond = u32::try_from(limits::PACK_BYTES_MAX).unwrap() + 1;
        assert_eq!(refused(beyond, b"").unwrap_err().code, Code::LimitExceeded);
        assert_eq!(refused(4, b"four").unwrap(), Bytes::from_static(b"four"));
    }
}
