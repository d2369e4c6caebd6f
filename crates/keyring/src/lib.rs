//! Keys: who can open what. Format §5, and the sealing of footers of §8.
//!
//! ```text
//!   KEK ── wraps ──► key object: vault keys            passphrase ── seals ──► bundle
//!                        │
//!        ┌───────────────┼──────────────────┬────────────────────┐
//!     id-key        chunking key     coordinator key      vault pair · index pair
//!        │               │                  │                 │            │
//!   chunk ids        gear table       index segments      capsules      footers
//!                                                             │
//!                                           data key ──► chunk key, one per chunk
//! ```
//!
//! Every secret is wiped when dropped and printed by nobody. Chance and the environment are
//! injected; the only I/O is reading and making key files. What does not open is refused with
//! `key.unwrap_refused`: another key and a flipped bit look the same, as they should.

pub mod aead;
pub mod bundle;
pub mod chunk_key;
pub mod cluster;
pub mod cluster_key;
mod derive;
pub mod grant;
pub mod id_key;
pub mod identity;
pub mod kek;
pub mod key_object;
mod remains;
pub mod run_key;
mod secret_record;
mod succession;
mod suite;
pub mod vault;
pub mod vault_keys;

pub use bundle::{BundleContents, BundleHeader, BundledVault, Enrolled};
pub use chunk_key::{ChunkKey, DataKey};
pub use cluster::ClusterRecoveryKey;
pub use cluster_key::ClusterKeyObject;
pub use grant::{GrantReceiver, GrantSender, OneTimeKey};
pub use id_key::{ChunkingKey, IdKey, RootIdKey};
pub use identity::{IdentityKey, IdentityPublicKey};
pub use kek::{
    Argon, Derivation, Kek, KekBinding, KekId, KekSource, Provider, RemoteKek, SealedKek,
    SecretPlace,
};
pub use key_object::{Custody, KeyObject, OperatorsHalf};
pub use remains::KeyRemains;
pub use run_key::{RunKey, RunText};
pub use succession::Succession;
pub use vault::{
    Capsule, CoordinatorKey, IndexPrivateKey, IndexPublicKey, VaultPrivateKey, VaultPublicKey,
};
pub use vault_keys::VaultKeys;

#[cfg(test)]
mod seeded;
