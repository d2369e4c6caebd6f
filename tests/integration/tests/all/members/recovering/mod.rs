//! All coordinators are lost, and the cluster comes back from a location and a key.

mod closing;
mod damage;
mod destroying;
mod keys;
mod kills;
mod operators;
mod scene;
mod told;
mod whole;
