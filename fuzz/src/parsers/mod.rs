//! The bodies, a file per family. Each begins with its bodies and ends with their examples.

pub mod agent;
pub mod coordinator;
pub mod identity;
pub mod keys;
pub mod ledger;
pub mod manifest;
pub mod members;
pub mod messages;
pub mod pack;
pub mod point;
pub mod seal;
pub mod segment;
pub mod words;
