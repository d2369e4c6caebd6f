//! Who is who: tokens and certificates for others, and the coordinator's own.

pub(crate) mod certificates;
pub(crate) mod pki;
