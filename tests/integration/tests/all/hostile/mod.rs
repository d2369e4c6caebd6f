//! What a hostile or unlucky agent can do to a real coordinator: nothing that counts.
//!
//! A [`Rogue`] is enrolled like any agent and then speaks the protocol by hand, so that it may say
//! what no agent of ours would. The coordinator is a real process, the line is mutual TLS.
//!
//! ```text
//!   scene    a cluster, its operator, its authority's key     rogue   an agent by hand
//!   doors    who may call what          certificates  coming back, being revoked
//!   runs     whose run and session      packs         bytes that are not what they say
//!   points   records that lie           trust         junk under another's name
//!   memory   streams that never end        floods        many connections, handshakes, calls
//!   greedy   shares that are not used     reading       what a restore grants
//!   verifying  what a verifier may say of what it was given
//!   shared   junk in a vault whose members trust each other
//!   members  a stolen certificate of a witness, a number that is of another
//! ```

mod certificates;
mod doors;
mod floods;
mod greedy;
mod members;
mod memory;
mod packs;
mod points;
mod reading;
mod rogue;
mod runs;
mod scene;
mod shared;
mod trust;
mod verifying;

use rogue::{Rogue, Writing};
use scene::{Scene, refused};
