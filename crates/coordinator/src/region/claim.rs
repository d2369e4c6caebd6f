//! `epochs/<20 digits>`: the object by which a region takes the next epoch (format §14).
//!
//! Written once, where the location was seen to refuse a second object under one name: of two that
//! claim one number, one wins and the other reads who did. Sealed under a key that only members of
//! the cluster derive, so that whoever holds a location cannot fence anybody.

use super::Epoch;
use holdfast_common::{ClusterId, Code, Entropy, Error, Name, Result, Secret, Timestamp, record};
use holdfast_keyring::aead;
use holdfast_ledger::row::Taken;
use minicbor::{Decode, Encode};

const MAGIC: &[u8; 8] = b"HFEP\x01\0\0\0";
const HEADER_BYTES: usize = 8 + 16 + 8;

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Claim {
    #[n(0)]
    pub(crate) epoch: Epoch,
    /// The last entry of the claimer's log: its term and its index.
    #[n(1)]
    pub(crate) base_term: u64,
    #[n(2)]
    pub(crate) base: u64,
    /// By the claimer's wall clock.
    #[n(3)]
    pub(crate) time: Timestamp,
    #[n(4)]
    pub(crate) operator: String,
    #[n(5)]
    pub(crate) reason: Option<String>,
    /// The name and the region of the claimer.
    #[n(6)]
    pub(crate) name: Name,
    #[n(7)]
    pub(crate) region: Name,
    /// Locations that follow, and in which it is claimed as in those that are required.
    #[n(8)]
    pub(crate) taken: Option<Vec<Taken>>,
}

impl Claim {
    pub(crate) fn seal(
        &self,
        cluster: &ClusterId,
        key: &Secret<32>,
        entropy: &dyn Entropy,
    ) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(cluster.as_bytes());
        header.extend_from_slice(&self.epoch.number.to_le_bytes());
        let field = aead::seal(key.expose(), &header, &record::to_bytes(self), entropy);
        [header, field].concat()
    }

    pub(crate) fn open(bytes: &[u8], cluster: &ClusterId, key: &Secret<32>) -> Result<Self> {
        let foreign = || Error::new(Code::RecordMalformed, "a claimed epoch cannot be read");
        let (header, field) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(foreign)?;
        if header[..8] != *MAGIC || header[8..24] != *cluster.as_bytes() {
            return Err(foreign());
        }
        let claim: Self = record::from_bytes("epoch", &aead::open(key.expose(), header, field)?)?;
        if header[24..] != claim.epoch.number.to_le_bytes() {
            return Err(foreign());
        }
        Ok(claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_keyring::ClusterRecoveryKey;

    const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, out: &mut [u8]) {
            (0..).zip(out).for_each(|(count, byte)| *byte = count);
        }
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn claim() -> Claim {
        let regions = vec!["dr".parse().unwrap()];
        Claim {
            epoch: Epoch { number: 2, regions, member: 4, applied: 98 },
            base_term: 3,
            base: 99,
            time: Timestamp::from_nanos(1_800_000_000_000_000_000),
            operator: "admin".to_owned(),
            reason: Some("eu burnt down".to_owned()),
            name: "four".parse().unwrap(),
            region: "dr".parse().unwrap(),
            taken: None,
        }
    }

    /// Format §14. Never edited: a form that changes gets a version and a file of its own.
    #[test]
    fn a_claim_of_the_first_version_is_written_and_read() {
        let golden = bytes_of(include_str!("../../tests/golden/epoch-claim.hex"));
        let secret = Secret::from_slice(&[9; 32]).unwrap();
        let key = ClusterRecoveryKey::from_secret(secret).epoch_key();
        let now = claim().seal(&CLUSTER, &key, &Counting);
        assert!(now == golden, "epoch-claim.hex would now be {now:02x?}");
        assert_eq!(Claim::open(&golden, &CLUSTER, &key).unwrap(), claim());
        for at in 0..golden.len() {
            let mut other = golden.clone();
            other[at] ^= 1;
            assert!(Claim::open(&other, &CLUSTER, &key).is_err(), "byte {at} is not bound");
            assert!(Claim::open(&golden[..at], &CLUSTER, &key).is_err());
        }
        let other = ClusterId::from_bytes([8; 16]);
        assert!(Claim::open(&golden, &other, &key).is_err());
    }

    #[test]
    fn what_is_taken_stands_in_the_claim() {
        let secret = Secret::from_slice(&[9; 32]).unwrap();
        let key = ClusterRecoveryKey::from_secret(secret).epoch_key();
        let vault = holdfast_common::VaultId::from_bytes([4; 16]);
        let taken = Some(vec![Taken { vault, location: "far".parse().unwrap() }]);
        let claim = Claim { taken, ..claim() };
        let sealed = claim.seal(&CLUSTER, &key, &Counting);
        assert_eq!(Claim::open(&sealed, &CLUSTER, &key).unwrap(), claim);
    }
}
