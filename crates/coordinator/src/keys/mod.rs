//! The keys that a coordinator holds, under the KEK on its disk and open in its memory.

pub(crate) mod custody;
pub(crate) mod kek;
pub(crate) mod rewrap;
pub(crate) mod secrets;
