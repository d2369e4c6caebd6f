//! What stores refuse, said the same way by every one of them.
//!
//! The bounds of a call are checked here before a store does anything, and an errno of the
//! operating system becomes a code here and nowhere else.

use crate::{ObjectName, Receipt};
use core::ops::Range;
use holdfast_common::{Code, Error, Result, limits};
use rustix::io::Errno;

pub(crate) fn missing(name: &ObjectName) -> Error {
    Error::new(Code::ObjectMissing, format!("object {name} is missing"))
}

pub(crate) fn conflict(name: &ObjectName) -> Error {
    Error::new(Code::ObjectConflict, format!("object {name} exists and holds other bytes"))
}

pub(crate) fn check_object(name: &ObjectName, length: usize) -> Result<()> {
    if length <= limits::OBJECT_BYTES_MAX {
        return Ok(());
    }
    Err(too_long(name, length as u64, limits::OBJECT_BYTES_MAX))
}

/// The length as a size in memory, if the caller wanted that much.
pub(crate) fn check_whole(name: &ObjectName, length: u64, bytes_max: usize) -> Result<usize> {
    match usize::try_from(length) {
        Ok(length) if length <= bytes_max => Ok(length),
        _ => Err(too_long(name, length, bytes_max)),
    }
}

/// The range's size in memory, if an object of this length has it.
pub(crate) fn check_range(name: &ObjectName, range: &Range<u64>, length: u64) -> Result<usize> {
    let Range { start, end } = *range;
    let Some(wanted) = end.checked_sub(start) else {
        let message =
            format!("a range of object {name} ends at {end}, before it starts at {start}");
        return Err(Error::new(Code::InternalBug, message));
    };
    if wanted > limits::PACK_BYTES_MAX as u64 {
        return Err(too_long(name, wanted, limits::PACK_BYTES_MAX));
    }
    if end > length {
        let message = format!("object {name} ends at {length}, but bytes {start}..{end} are due");
        return Err(Error::new(Code::ObjectDamaged, message));
    }
    check_whole(name, wanted, limits::PACK_BYTES_MAX)
}

/// The same length and hash, or a conflict.
pub(crate) fn check_same(receipt: &Receipt, length: u64, hash: &blake3::Hash) -> Result<()> {
    if receipt.length == length && receipt.blake3 == *hash {
        return Ok(());
    }
    Err(conflict(&receipt.name))
}

/// What the operating system said of something in a location.
pub(crate) fn errno(what: impl Into<String>, errno: Errno) -> Error {
    let code = match errno {
        Errno::NOSPC | Errno::DQUOT => Code::LocationFull,
        Errno::ROFS | Errno::ACCESS | Errno::PERM => Code::LocationRefused,
        _ => Code::LocationIoFailed,
    };
    Error::new(code, what).cause(errno)
}

pub(crate) fn io(what: impl Into<String>, error: &std::io::Error) -> Error {
    match Errno::from_io_error(error) {
        Some(code) => errno(what, code),
        None => Error::new(Code::LocationIoFailed, what).cause(error),
    }
}

fn too_long(name: &ObjectName, length: u64, max: usize) -> Error {
    let message = format!("{length} bytes of object {name} exceed the bound of {max}");
    Error::new(Code::LimitExceeded, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_forbidden_are_told_from_broken() {
        for (number, code) in [
            (Errno::NOSPC, Code::LocationFull),
            (Errno::DQUOT, Code::LocationFull),
            (Errno::ROFS, Code::LocationRefused),
            (Errno::ACCESS, Code::LocationRefused),
            (Errno::IO, Code::LocationIoFailed),
            (Errno::STALE, Code::LocationIoFailed),
        ] {
            let raw = std::io::Error::from_raw_os_error(number.raw_os_error());
            assert_eq!(io("writing", &raw).code, code, "{number}");
        }
    }

    #[test]
    fn objects_have_a_largest_size() {
        let name: ObjectName = "vault".parse().unwrap();
        assert!(check_object(&name, limits::OBJECT_BYTES_MAX).is_ok());
        let refusal = check_object(&name, limits::OBJECT_BYTES_MAX + 1).unwrap_err();
        assert_eq!(refusal.code, Code::LimitExceeded);
    }
}
