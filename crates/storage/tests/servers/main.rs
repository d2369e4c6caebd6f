//! Locations on real servers, each started once: what every store promises, and what each server
//! is known to get wrong.

#![expect(clippy::unwrap_used, reason = "the scenery of tests may fail loudly")]

mod azure;
mod credentials;
mod double;
mod faults;
mod gcs;
mod identity;
mod leftovers;
mod liar;
mod listing;
mod locks;
mod region;
mod s3;
