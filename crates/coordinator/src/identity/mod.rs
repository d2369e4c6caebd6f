//! Who is who: tokens and certificates for others, and the coordinator's own.

pub(crate) mod beside;
pub(crate) mod certificates;
pub(crate) mod people;
pub(crate) mod pki;
