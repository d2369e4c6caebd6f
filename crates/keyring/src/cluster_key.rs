//! The cluster recovery key as it lies in a location, wrapped under the coordinators' KEK (§12).
//!
//! A ledger holds it too, but the ledger is what is gone on the day that it is needed. So whoever
//! has the KEK and a location can open the ledger's log there, and nobody else.

use crate::{ClusterRecoveryKey, Derivation, Kek, KekId};
use holdfast_common::{ClusterId, Code, Error, Result, Secret, record};
use minicbor::{Decode, Encode, bytes::ByteVec};

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct ClusterKeyObject {
    #[n(0)]
    format: FormatOne,
    #[n(1)]
    pub cluster: ClusterId,
    #[n(2)]
    pub kek: KekId,
    /// As the ledger has it.
    #[n(3)]
    wrapped: ByteVec,
    /// What it takes beside its provider to have the KEK, where there is such a thing.
    #[n(4)]
    derivation: Option<ByteVec>,
}

/// Format version 1, as a field that can hold nothing else.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(index_only)]
enum FormatOne {
    #[default]
    #[n(1)]
    One,
}

/// What a KEK seals the recovery key for.
pub const PURPOSE: &str = "cluster recovery key";

impl ClusterKeyObject {
    pub fn new(cluster: ClusterId, kek: KekId, wrapped: &[u8], derivation: Option<&[u8]>) -> Self {
        Self {
            format: FormatOne::One,
            cluster,
            kek,
            wrapped: wrapped.to_vec().into(),
            derivation: derivation.map(|bytes| bytes.to_vec().into()),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        record::to_bytes(self)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        record::from_bytes("cluster key", bytes)
    }

    /// What its KEK's source is asked with.
    pub fn derivation(&self) -> Result<Option<Derivation>> {
        let bytes = self.derivation.as_ref();
        bytes.map(|bytes| record::from_bytes("derivation", bytes)).transpose()
    }

    /// Refuses another KEK than this object's, from a source that was asked with its derivation.
    pub fn insist_on(&self, kek: &Kek) -> Result<()> {
        if kek.id == self.kek {
            return Ok(());
        }
        let message =
            format!("the location was written under the KEK {}, not {}", self.kek, kek.id);
        Err(Error::new(Code::KeyWrong, message)
            .next("name the KEK of this cluster with --kek, or open it with --bundle FILE"))
    }

    /// As it lies here: whoever goes on with it makes no second one.
    pub fn wrapped(&self) -> &[u8] {
        &self.wrapped
    }

    /// Refuses one that is not of this cluster, or that this KEK opens to another key.
    pub fn insist_on_key(
        &self,
        cluster: ClusterId,
        kek: &Kek,
        key: &ClusterRecoveryKey,
    ) -> Result<()> {
        let is_same = self.cluster == cluster
            && self.kek == kek.id
            && self.derivation()? == kek.derivation
            && self.open(kek)?.secret().expose() == key.secret().expose();
        match is_same {
            true => Ok(()),
            false => Err(Error::new(
                Code::KeyWrong,
                format!("what lies under the KEK {} is not this cluster's recovery key", kek.id),
            )),
        }
    }

    pub fn open(&self, kek: &Kek) -> Result<ClusterRecoveryKey> {
        let bytes = kek.open(PURPOSE, &self.wrapped)?;
        Secret::from_slice(&bytes)
            .map(ClusterRecoveryKey::from_secret)
            .ok_or_else(|| Error::new(Code::RecordMalformed, "the recovery key has a wrong length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
    /// Never edited: a form that changes gets a version and a line of its own.
    const GOLDEN: &str = include_str!("../tests/golden/cluster-key.hex");

    fn kek(byte: u8) -> Kek {
        Kek::from_secret(Secret::take(&mut [byte; 32]))
    }

    fn object() -> ClusterKeyObject {
        let wrapped = kek(1).seal(PURPOSE, &[9; 32], &Seeded::new(5));
        ClusterKeyObject::new(CLUSTER, kek(1).id, &wrapped, None)
    }

    #[test]
    fn an_object_of_the_first_version_is_written_and_read() {
        let golden: String = GOLDEN.split_whitespace().collect();
        assert_eq!(hex::encode(object().to_bytes()), golden);
        let read = ClusterKeyObject::from_bytes(&hex::decode(golden).unwrap()).unwrap();
        assert_eq!(read, object());
        assert_eq!(read.open(&kek(1)).unwrap().secret().expose(), &[9; 32]);
    }

    #[test]
    fn another_seal_of_the_same_key_is_as_good_and_another_key_is_not() {
        let key = |byte: u8| ClusterRecoveryKey::from_secret(Secret::take(&mut [byte; 32]));
        let again = kek(1).seal(PURPOSE, &[9; 32], &Seeded::new(6));
        let again = ClusterKeyObject::new(CLUSTER, kek(1).id, &again, None);
        assert_ne!(again, object());
        for one in [&again, &object()] {
            one.insist_on_key(CLUSTER, &kek(1), &key(9)).unwrap();
        }
        let other = ClusterId::from_bytes([8; 16]);
        for (cluster, kek, key) in
            [(other, kek(1), key(9)), (CLUSTER, kek(2), key(9)), (CLUSTER, kek(1), key(8))]
        {
            let refused = again.insist_on_key(cluster, &kek, &key).unwrap_err();
            assert_eq!(refused.code, Code::KeyWrong);
        }
        let wrapped = kek(1).seal(PURPOSE, &[9; 32], &Seeded::new(6));
        let odd = ClusterKeyObject::new(CLUSTER, kek(1).id, &wrapped, Some(&[0]));
        assert!(odd.insist_on_key(CLUSTER, &kek(1), &key(9)).is_err());
    }

    #[test]
    fn another_kek_and_flipped_bytes_do_not_open_it() {
        assert_eq!(object().open(&kek(2)).unwrap_err().code, Code::KeyWrong);
        let mut other = object();
        other.wrapped[20] ^= 1;
        assert_eq!(other.open(&kek(1)).unwrap_err().code, Code::KeyWrong);
        let bytes = object().to_bytes();
        for length in 0..bytes.len() {
            assert!(ClusterKeyObject::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
    }
}
