//! Where the ledger's tables lie on disk.

pub(crate) mod sled_kv;

pub(crate) use sled_kv::SledKv;
