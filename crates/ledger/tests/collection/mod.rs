//! Collection in a world small enough to be looked at whole.

pub(crate) mod collector;
pub(crate) mod explorer;
pub(crate) mod repacking;
pub(crate) mod rules;
pub(crate) mod world;
