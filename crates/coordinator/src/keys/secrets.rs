//! The cluster's own secrets, wrapped under the KEK: the authority's key and the recovery key.

use holdfast_common::{Code, Entropy, Error, Result, Secret};
use holdfast_keyring::{ClusterRecoveryKey, Kek};

const CA_KEY: &str = "ca key";
const RECOVERY_KEY: &str = holdfast_keyring::cluster_key::PURPOSE;

/// Secret bytes that are wiped when dropped.
pub(crate) use zeroize::Zeroizing;

pub(crate) fn seal_ca_key(kek: &Kek, pkcs8: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    kek.seal(CA_KEY, pkcs8, entropy)
}

pub(crate) fn open_ca_key(kek: &Kek, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    kek.open(CA_KEY, wrapped)
}

pub(crate) fn seal_recovery_key(
    kek: &Kek,
    key: &ClusterRecoveryKey,
    entropy: &dyn Entropy,
) -> Vec<u8> {
    kek.seal(RECOVERY_KEY, key.secret().expose(), entropy)
}

pub(crate) fn open_recovery_key(kek: &Kek, wrapped: &[u8]) -> Result<ClusterRecoveryKey> {
    let bytes = kek.open(RECOVERY_KEY, wrapped)?;
    Secret::from_slice(&bytes)
        .map(ClusterRecoveryKey::from_secret)
        .ok_or_else(|| Error::new(Code::RecordMalformed, "the recovery key has a wrong length"))
}
