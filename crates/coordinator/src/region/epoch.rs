//! An epoch as members tell each other of it, and what follows for whoever hears of one. Pure.
//!
//! Epochs are ordered by their number, and by the member that claimed it: two sides that were cut
//! apart may both take the same number in their own locations, and then all agree which one counts.
//! A term of an election never decides between epochs. Within an epoch regions only come back to
//! it: who names more of them has the newer word.

use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_ledger::row::epoch::FIRST_EPOCH;
use holdfast_wire::v1;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Epoch {
    #[n(0)]
    pub(crate) number: u64,
    /// The regions that hold it; none means all of them.
    #[n(1)]
    pub(crate) regions: Vec<Name>,
    /// The member that claimed it; zero in the first epoch, and where a person said it.
    #[n(2)]
    pub(crate) member: u64,
    /// How far that member had applied the log: who is further has what this epoch never had.
    #[n(3)]
    pub(crate) applied: u64,
}

impl Epoch {
    pub(crate) fn first() -> Self {
        Self { number: FIRST_EPOCH, regions: Vec::new(), member: 0, applied: 0 }
    }

    pub(crate) fn is_of(&self, region: &Name) -> bool {
        self.regions.is_empty() || self.regions.contains(region)
    }

    fn rank(&self) -> (u64, u64) {
        (self.number, self.member)
    }

    /// Whether both are one claim, whichever regions have come back to it.
    pub(super) fn is_claim_of(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }

    /// Whether both are what a person said, and say the same.
    pub(super) fn is_word_of(&self, other: &Self) -> bool {
        let is_said = self.member == 0 && other.member == 0;
        is_said && (self.number, &self.regions) == (other.number, &other.regions)
    }

    /// Whether nobody has claimed an epoch between them.
    pub(super) fn follows(&self, other: &Self) -> bool {
        self.number == other.number + 1
    }

    /// The regions in words.
    pub(crate) fn holders(&self) -> String {
        match self.regions.as_slice() {
            [] => "all regions".to_owned(),
            regions => regions.iter().map(Name::as_str).collect::<Vec<_>>().join(", "),
        }
    }

    /// What a side that this epoch superseded says to everybody.
    pub(crate) fn supersedes(&self) -> Error {
        let message = format!("superseded: epoch {} is held by {}", self.number, self.holders());
        Error::new(Code::EpochSuperseded, message)
            .next(format!("ask a coordinator of {}; see `holdfast region status`", self.holders()))
    }

    /// What a side that can agree says to a member that was told of it by hand.
    pub(super) fn unclaimed(&self, member: u64) -> Error {
        let message = format!("epoch {} is not claimed: member {member} was told so", self.number);
        Error::new(Code::EpochUnproven, message)
            .next("if that was wrong, remove the member and join it anew")
    }

    pub(crate) fn to_wire(&self) -> Option<v1::EpochInForce> {
        (*self != Self::first()).then(|| v1::EpochInForce {
            number: self.number,
            regions: self.regions.iter().map(Name::to_string).collect(),
            member: self.member,
            applied: self.applied,
            voucher: Default::default(),
        })
    }

    pub(crate) fn from_wire(told: Option<&v1::EpochInForce>) -> Result<Self> {
        let Some(told) = told else { return Ok(Self::first()) };
        if told.number > limits::EPOCH_MAX || told.regions.len() > limits::MEMBERS_MAX {
            return Err(Error::new(Code::UsageMalformed, "there can be no such epoch"));
        }
        let regions = told.regions.iter().map(|name| name.parse()).collect::<Result<_>>()?;
        let (number, member) = (told.number.max(FIRST_EPOCH), told.member);
        Ok(Self { number, regions, member, applied: told.applied })
    }
}

/// What a member does about an epoch that it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is newer, and of the member's own region.
    Adopt,
    /// It is newer, and not of the member's region.
    Fence,
    /// It is over: whoever says so is told, and gets nothing.
    Refuse,
    Same,
}

pub(super) fn judge(own: &Epoch, region: &Name, told: &Epoch) -> Verdict {
    match told.rank().cmp(&own.rank()) {
        core::cmp::Ordering::Less => Verdict::Refuse,
        core::cmp::Ordering::Equal if told.regions.len() <= own.regions.len() => Verdict::Same,
        // A region came back: its members belong again.
        core::cmp::Ordering::Equal if told.is_of(region) => Verdict::Adopt,
        core::cmp::Ordering::Equal => Verdict::Fence,
        // A person said so of another region: nobody has taken the lead yet.
        core::cmp::Ordering::Greater if told.is_of(region) && told.member == 0 => Verdict::Refuse,
        core::cmp::Ordering::Greater if told.is_of(region) => Verdict::Adopt,
        core::cmp::Ordering::Greater => Verdict::Fence,
    }
}

/// Whether it is only somebody's word that a newer epoch is of other regions: nobody claimed it.
pub(super) fn is_hearsay(own: &Epoch, region: &Name, told: &Epoch) -> bool {
    told.member == 0 && judge(own, region, told) == Verdict::Fence
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn of(number: u64, member: u64, regions: &[&str]) -> Epoch {
        let regions = regions.iter().map(|text| name(text)).collect();
        Epoch { number, regions, member, applied: 7 }
    }

    #[test]
    fn a_newer_epoch_is_adopted_by_its_regions_and_fences_all_others() {
        let (first, second) = (Epoch::first(), of(2, 4, &["dr"]));
        assert_eq!(judge(&first, &name("dr"), &second), Verdict::Adopt);
        assert_eq!(judge(&first, &name("eu"), &second), Verdict::Fence);
        assert_eq!(judge(&second, &name("eu"), &first), Verdict::Refuse);
        assert_eq!(judge(&second, &name("dr"), &first), Verdict::Refuse);
        assert_eq!(judge(&second, &name("eu"), &of(3, 1, &["eu"])), Verdict::Adopt);
        assert_eq!(judge(&first, &name("any"), &Epoch::first()), Verdict::Same);
    }

    #[test]
    fn what_a_person_said_fences_a_region_and_gives_the_lead_to_nobody() {
        let (first, said) = (Epoch::first(), of(2, 0, &["dr"]));
        assert_eq!(judge(&first, &name("eu"), &said), Verdict::Fence);
        assert_eq!(judge(&first, &name("dr"), &said), Verdict::Refuse);
        assert_eq!(judge(&said, &name("eu"), &of(2, 4, &["dr"])), Verdict::Fence);
        assert_eq!(judge(&said, &name("eu"), &of(3, 1, &["eu"])), Verdict::Adopt);
        assert!(is_hearsay(&first, &name("eu"), &said), "who has a quorum knows better");
        assert!(!is_hearsay(&first, &name("dr"), &said), "that gives nobody the lead");
        assert!(!is_hearsay(&said, &name("eu"), &said) && !is_hearsay(&said, &name("eu"), &first));
        let claimed = of(2, 4, &["dr"]);
        assert!(!is_hearsay(&first, &name("eu"), &claimed), "a claim is for good");
    }

    #[test]
    fn a_region_that_comes_back_belongs_to_the_epoch_and_older_news_changes_nothing() {
        let (alone, both) = (of(2, 4, &["dr"]), of(2, 4, &["dr", "eu"]));
        for region in ["dr", "eu"].map(name) {
            assert_eq!(judge(&alone, &region, &both), Verdict::Adopt);
            assert_eq!(judge(&both, &region, &alone), Verdict::Same, "it is not over");
            assert_eq!(judge(&both, &region, &both), Verdict::Same);
        }
        assert_eq!(judge(&alone, &name("us"), &both), Verdict::Fence, "it knows who leads");
        assert_eq!(judge(&both, &name("eu"), &of(3, 4, &["dr"])), Verdict::Fence, "lost again");
        assert_eq!(judge(&of(3, 4, &["dr"]), &name("eu"), &both), Verdict::Refuse);
        assert!(both.is_claim_of(&alone) && !both.follows(&alone));
        assert!(of(3, 4, &["dr"]).follows(&both) && !of(4, 4, &["dr"]).follows(&both));
    }

    #[test]
    fn an_epoch_survives_the_wire_and_the_first_one_is_not_told() {
        let second = of(2, 4, &["dr", "us"]);
        assert_eq!(Epoch::from_wire(second.to_wire().as_ref()).unwrap(), second);
        assert_eq!(Epoch::first().to_wire(), None);
        assert_eq!(Epoch::from_wire(None).unwrap(), Epoch::first());
        let bad = v1::EpochInForce { regions: vec!["a b".to_owned()], ..Default::default() };
        assert!(Epoch::from_wire(Some(&bad)).is_err());
        let last = v1::EpochInForce { number: limits::EPOCH_MAX, ..Default::default() };
        assert!(Epoch::from_wire(Some(&last)).is_ok());
        for number in [limits::EPOCH_MAX + 1, u64::MAX] {
            assert!(Epoch::from_wire(Some(&v1::EpochInForce { number, ..last.clone() })).is_err());
        }
    }

    /// A claim is made for the region of whoever makes it.
    fn any_epoch() -> impl Strategy<Value = Epoch> {
        let regions = ["dr", "eu", "us"];
        (2u64..5, 1u64..4)
            .prop_map(move |(number, member)| of(number, member, &[regions[member as usize - 1]]))
    }

    proptest! {
        /// However news of claims travels, all members end with the same one, and only those of
        /// its regions are not fenced.
        #[test]
        fn all_who_hear_everything_agree_on_who_leads(
            claims in prop::collection::vec(any_epoch(), 1..6),
            orders in prop::collection::vec(any::<prop::sample::Index>(), 30),
        ) {
            let regions = ["dr", "eu", "us"].map(name);
            let mut known = vec![Epoch::first(); 3];
            let hear = |own: &mut Epoch, region: &Name, told: &Epoch| {
                if matches!(judge(own, region, told), Verdict::Adopt | Verdict::Fence) {
                    *own = told.clone();
                }
            };
            for (turn, order) in orders.iter().enumerate() {
                hear(&mut known[turn % 3], &regions[turn % 3], order.get(&claims));
            }
            for _ in 0..3 {
                for (from, to) in [(0, 1), (1, 2), (2, 0)] {
                    let told = known[from].clone();
                    hear(&mut known[to], &regions[to], &told);
                }
            }
            prop_assert_eq!(known[0].rank(), known[1].rank());
            prop_assert_eq!(known[1].rank(), known[2].rank());
            let leading = known.iter().zip(&regions).filter(|(own, region)| own.is_of(region));
            let is_first = known[0] == Epoch::first();
            prop_assert_eq!(leading.count(), if is_first { 3 } else { 1 });
        }

        /// No order of news makes a member go back to an epoch that was over for it.
        #[test]
        fn nobody_goes_back(told in prop::collection::vec(any_epoch(), 1..20)) {
            let region = name("eu");
            let mut own = Epoch::first();
            for told in told {
                let before = own.rank();
                if matches!(judge(&own, &region, &told), Verdict::Adopt | Verdict::Fence) {
                    own = told;
                }
                prop_assert!(own.rank() >= before);
            }
        }
    }
}
