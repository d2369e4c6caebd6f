//! The messages between processes, and the door they come through.
//!
//! [`v1`] holds what the protocol compiler made of `proto/holdfast/v1`; those types stop at the
//! edge that received them. [`parse`] turns their bytes into ids and names or refuses them;
//! [`status`] carries a [`holdfast_common::Error`] across a call and back, whole.

pub mod parse;
pub mod status;

/// Generated from `proto/holdfast/v1`.
#[allow(
    clippy::all,
    clippy::restriction,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "generated code is not ours to style"
)]
pub mod v1 {
    tonic::include_proto!("holdfast.v1");
}

/// The compiled descriptors, for reflection and for the wire-compatibility test.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/holdfast.fds"));
