//! A cluster of several members: real processes that join, lose each other and come back.

mod checking;
mod claiming;
mod clocks;
mod copying;
mod crew;
mod crowd;
mod destroying;
mod disks;
mod doubling;
mod failing_back;
mod fencing;
mod joining;
mod levels;
mod losing;
mod parting;
mod parting_regions;
mod placing;
mod recovering;
mod regions;
mod returning;
pub(crate) mod scene;
mod settling;
mod silence;
mod standing_in;
mod storm;
mod three_regions;
mod witness;
