//! Who can be believed about a newer epoch that is told from member to member.
//!
//! ```text
//!   member with data ─→ epoch + voucher, by a key of the cluster ─→ checked by others with data
//!                            └─→ witness: cannot check it, tells it on as it came
//! ```
//!
//! One message fences a member for good, so it must not be enough to hold a witness's certificate.
//! A witness believes members with data, a few epochs ahead and of regions that it knows; never
//! another witness. Whoever holds the key of a member with data may say anything.

use super::Epoch;
use crate::house::House;
use holdfast_common::{ClusterId, Code, Error, Name, Result, Secret, limits, record};
use holdfast_ledger::{
    level::VOUCHED,
    row::{Duty, MemberRow},
};

/// What a member with data adds to an epoch that it tells of.
pub(crate) fn vouch(key: &Secret<32>, cluster: &ClusterId, epoch: &Epoch) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    hasher.update(cluster.as_bytes());
    hasher.update(&record::to_bytes(epoch));
    *hasher.finalize().as_bytes()
}

impl House {
    /// A newer epoch is believed when somebody with data vouches for it.
    pub(super) fn insist_on_voucher(&self, from: u64, told: &Epoch, voucher: &[u8]) -> Result<()> {
        let query = self.ledger.query();
        let Ok(keys) = self.keys() else {
            let own = self.ledger.peers().standing().epoch;
            return insist_on_likely(&own, from, told, &query.members()?);
        };
        // Those that know no vouchers are there until the ledger is at this level.
        if voucher.is_empty() && query.level()? < VOUCHED {
            return Ok(());
        }
        let meant = vouch(&keys.recovery.voucher_key(), &self.cluster, told);
        // Compared in constant time.
        if <[u8; 32]>::try_from(voucher).is_ok_and(|told| blake3::Hash::from(told) == meant) {
            return Ok(());
        }
        Err(unproven(from, told))
    }
}

/// What whoever has no key can make sure of.
fn insist_on_likely(own: &Epoch, from: u64, told: &Epoch, members: &[MemberRow]) -> Result<()> {
    let teller = members.iter().find(|row| row.id == from);
    let may_tell = teller.is_none_or(|row| row.duty == Duty::Data);
    let is_near = told.number <= own.number.saturating_add(limits::EPOCHS_MISSED_MAX);
    let is_known = |region: &Name| members.iter().any(|row| row.region == *region);
    // One that was brought nothing yet knows nobody.
    if may_tell && is_near && (members.is_empty() || told.regions.iter().all(is_known)) {
        return Ok(());
    }
    Err(unproven(from, told))
}

fn unproven(from: u64, told: &Epoch) -> Error {
    let message =
        format!("member {from} told of epoch {}, for which no member vouches", told.number);
    Error::new(Code::EpochUnproven, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::Timestamp;
    use holdfast_ledger::row::{MemberRole, MemberState};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn member(id: u64, region: &str, duty: Duty) -> MemberRow {
        MemberRow {
            id,
            name: name(&format!("m-{id}")),
            region: name(region),
            address: "a:1".to_owned(),
            duty,
            role: MemberRole::Voter,
            state: MemberState::Joined,
            joined: Timestamp::ZERO,
            identity_public: [0; 32],
            keeps_key: None,
        }
    }

    fn of(number: u64, region: &str) -> Epoch {
        Epoch { number, regions: vec![name(region)], member: 2, applied: 7 }
    }

    #[test]
    fn a_voucher_is_of_one_epoch_of_one_cluster() {
        let (key, other) = (Secret::from_slice(&[1; 32]).unwrap(), [2; 32]);
        let cluster = ClusterId::from_bytes([3; 16]);
        let voucher = vouch(&key, &cluster, &of(2, "dr"));
        assert_eq!(voucher, vouch(&key, &cluster, &of(2, "dr")));
        for other in [of(3, "dr"), of(2, "eu"), Epoch { member: 3, ..of(2, "dr") }] {
            assert_ne!(voucher, vouch(&key, &cluster, &other), "{other:?}");
        }
        assert_ne!(voucher, vouch(&key, &ClusterId::from_bytes([4; 16]), &of(2, "dr")));
        let other = Secret::from_slice(&other).unwrap();
        assert_ne!(voucher, vouch(&other, &cluster, &of(2, "dr")));
    }

    #[test]
    fn a_witness_believes_members_with_data_about_what_may_be() {
        let members = [
            member(1, "eu", Duty::Data),
            member(2, "dr", Duty::Data),
            member(3, "x", Duty::Witness),
        ];
        let told = |from, epoch| {
            let told = insist_on_likely(&Epoch::first(), from, &epoch, &members);
            told.map_err(|error| error.code)
        };
        let unproven = Err(Code::EpochUnproven);
        assert_eq!(told(2, of(2, "dr")), Ok(()));
        assert_eq!(told(9, of(2, "dr")), Ok(()), "one that joined a moment ago");
        assert_eq!(told(3, of(2, "dr")), unproven, "another witness");
        assert_eq!(told(2, of(2, "nowhere")), unproven);
        let far = 1 + limits::EPOCHS_MISSED_MAX;
        assert_eq!(told(2, of(far, "dr")), Ok(()));
        assert_eq!(told(2, of(far + 1, "dr")), unproven);
        assert!(insist_on_likely(&Epoch::first(), 2, &of(2, "dr"), &[]).is_ok());
    }
}
