//! KEKs that somebody else keeps: PKCS#11 tokens, AWS KMS, OpenBao and Vault transit.
//!
//! ```text
//!   make:  32 random bytes ──▶ provider seals them under its key ──▶ sealed KEK, kept beside
//!                                                                    all that the KEK wraps
//!   load:  sealed KEK ──▶ provider opens it ──▶ the id is compared ──▶ KEK, in memory
//! ```
//!
//! A provider's key never leaves it, and it is asked once per start: what runs goes on while the
//! provider is away. Every call is bounded in time and tried anew while the provider is away;
//! who refuses is asked once. Errors say which it is: away, refused, or the key gone. Nothing that
//! is secret stands in them. Coordinators, commands and tests call this; `keyring` stays pure.

mod asking;
mod aws_kms;
mod exchange;
mod keeper;
mod pins;
mod pkcs11;
mod transit;
mod tries;

pub use asking::Asking;
pub use keeper::{Destruction, Environment, destroy, load, make, renew, version_in_use};
