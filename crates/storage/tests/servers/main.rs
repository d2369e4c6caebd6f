//! Locations on real servers, each started once: what every store promises, and what each server
//! is known to get wrong.

mod faults;
mod s3;
