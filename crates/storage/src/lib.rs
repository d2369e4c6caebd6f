//! Where objects lie: one trait, its locations and its layers.
//!
//! ```text
//!   placement::put_required      all required locations, or an error that names the missing ones
//!        │
//!   Retry → Meter → Throttle → Unreliable (tests)      layers: stores around a store
//!        │
//!   LocalStore · S3Store · CloudStore · MemoryStore     locations; `url` opens one from its text
//! ```
//!
//! A store keeps immutable objects under names. It promises three things: what was acknowledged is
//! durable, a name is written once, and a read gives the object's bytes or an error. It never
//! interprets what it keeps, never deletes on its own, and holds no key.

mod blocking;
mod clouds;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod endpoint;
mod ground;
pub mod layers;
pub mod local;
pub mod memory;
pub mod name;
mod place;
pub mod placement;
mod refusal;
mod remote;
mod s3;
pub mod store;
pub mod url;

pub use clouds::CloudStore;
pub use ground::Ground;
pub use layers::{Meter, Retry, Throttle, Unreliable};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use name::{ObjectName, ObjectPrefix};
pub use placement::put_required;
pub use s3::S3Store;
pub use store::{Keeps, Locking, ObjectMeta, ObjectStore, Pending, Probe, Receipt};
pub use url::LocationUrl;
