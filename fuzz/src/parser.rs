//! One parser as the fuzzer sees it, and the memory that its body may take.
//!
//! A claimed length must cost nothing before it was compared with what is there. So every body is
//! measured: at its peak it may hold a multiple of its input, a megabyte, and what its row of the
//! registry allows on top.

use peak_alloc::PeakAlloc;
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// One body at a time, so that what is measured is its own.
static MEASURED: Mutex<()> = Mutex::new(());

#[derive(Clone, Copy, Debug)]
pub struct Parser {
    /// The name of its corpus, too.
    pub name: &'static str,
    pub body: fn(&[u8]) -> Result<(), Refused>,
    /// Bytes that it accepts: where mutation begins.
    pub examples: fn() -> Vec<Vec<u8>>,
    /// Bytes that it may hold whatever the input is.
    pub bytes_held_max: usize,
}

/// The input was not accepted, which is as good as any other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

macro_rules! refusals {
    ($($error:ty)*) => {$(
        impl From<$error> for Refused {
            fn from(_: $error) -> Self {
                Self
            }
        }
    )*};
}

refusals! {
    core::str::Utf8Error
    holdfast_common::Error
    prost::DecodeError
    std::string::FromUtf8Error
    String
}

impl Parser {
    /// Runs the body, and insists on its bound.
    pub fn run(&self, bytes: &[u8]) -> Result<(), Refused> {
        let measured = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
        ALLOCATED.reset_peak_usage();
        let before = ALLOCATED.current_usage();
        let seen = (self.body)(bytes);
        let held = ALLOCATED.peak_usage().saturating_sub(before);
        drop(measured);
        let bound = self.bytes_held_max + bytes.len() * BYTES_HELD_PER_BYTE_MAX;
        assert!(held <= bound, "{} took {held} bytes for {} of input", self.name, bytes.len());
        seen
    }
}

/// A byte of CBOR can become an empty row of some hundred bytes, and the bodies keep copies.
const BYTES_HELD_PER_BYTE_MAX: usize = 1024;
