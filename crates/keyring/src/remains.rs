//! What is kept of a version of a vault's keys that was destroyed: nothing that opens anything.
//!
//! An agent that pinned an older version follows signatures to the newest, one by one; a version
//! that is gone stays a link of that chain. So its public half stays, and the signature by which
//! the version before vouched for it.

use crate::{KeyObject, Succession, VaultPublicKey, vault_keys::version_fits};
use holdfast_common::{Code, Error, Result, VaultId, limits, record};
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct KeyRemains {
    #[n(0)]
    vault: VaultId,
    #[n(1)]
    version: u32,
    #[cbor(n(2), with = "minicbor::bytes")]
    vault_public: [u8; 32],
    #[n(3)]
    succession: Option<Succession>,
}

impl KeyRemains {
    pub fn of(object: &KeyObject) -> Self {
        let VaultPublicKey { vault, version, key: vault_public } = object.public();
        Self { vault, version, vault_public, succession: object.succession() }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        record::to_bytes(self)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > limits::KEY_REMAINS_BYTES_MAX {
            let message = format!("{} bytes are not what is left of a key", bytes.len());
            return Err(Error::new(Code::LimitExceeded, message));
        }
        let remains: Self = record::from_bytes("remains of a key", bytes)?;
        version_fits(remains.version)?;
        Ok(remains)
    }

    pub fn public(&self) -> VaultPublicKey {
        VaultPublicKey { vault: self.vault, version: self.version, key: self.vault_public }
    }

    pub fn succession(&self) -> Option<Succession> {
        self.succession
    }
}
