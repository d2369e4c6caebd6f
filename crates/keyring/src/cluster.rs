//! The cluster recovery key: opens the ledger's log that lies in the catalog locations (§12).

use crate::derive::derive;
use holdfast_common::{Entropy, Secret};

#[derive(Debug)]
pub struct ClusterRecoveryKey(Secret<32>);

impl ClusterRecoveryKey {
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(Secret::random(entropy))
    }

    pub fn from_secret(secret: Secret<32>) -> Self {
        Self(secret)
    }

    pub fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// The key of `cluster/log/…` objects.
    pub fn log_key(&self) -> Secret<32> {
        derive("holdfast 2026 log key v1", &[self.0.expose()])
    }

    /// The key of `epochs/…` objects.
    pub fn epoch_key(&self) -> Secret<32> {
        derive("holdfast 2026 epoch key v1", &[self.0.expose()])
    }

    /// The key by which members with data vouch for an epoch that they tell of.
    pub fn voucher_key(&self) -> Secret<32> {
        derive("holdfast 2026 epoch voucher v1", &[self.0.expose()])
    }

    /// The key of `cluster/snapshot/…` objects.
    pub fn snapshot_key(&self) -> Secret<32> {
        derive("holdfast 2026 snapshot key v1", &[self.0.expose()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_key_is_derived_and_is_not_the_recovery_key() {
        let key = ClusterRecoveryKey::from_secret(Secret::take(&mut [3; 32]));
        let expected = blake3::derive_key("holdfast 2026 log key v1", &[3; 32]);
        assert_eq!(key.log_key().expose(), &expected);
        assert_ne!(key.log_key().expose(), key.secret().expose());
        assert_ne!(key.epoch_key().expose(), key.log_key().expose());
        let expected = blake3::derive_key("holdfast 2026 snapshot key v1", &[3; 32]);
        assert_eq!(key.snapshot_key().expose(), &expected);
        assert_eq!(format!("{key:?}"), "ClusterRecoveryKey(Secret<32>(…))");
    }
}
