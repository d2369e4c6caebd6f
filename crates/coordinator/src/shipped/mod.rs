//! What lies in the locations so that the ledger outlives every coordinator (format §12).
//!
//! ```text
//!   cluster/key/…        opens the rest, for whoever has the KEK        `key`
//!   cluster/log/…        the applied log, in extents                    `extent`, `ship`
//!                        and whether the last one lies there still      `lasting`
//!   cluster/snapshot/…   the tables now and then, in parts              `snapshot`
//! ```
//!
//! The forms are here, read and written by one hand each. All is put once and never over something
//! else; nothing is removed.

pub(crate) mod extent;
pub(crate) mod key;
pub(crate) mod lasting;
pub(crate) mod ship;
pub(crate) mod snapshot;
