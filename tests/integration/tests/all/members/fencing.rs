//! A member that is cut off, and somebody there who was shut out: what he may still say at it ends
//! that member at most, and nothing of the side that leads.

use super::{
    regions::Regions,
    returning::EU,
    scene::{PATIENCE, number},
};
use crate::{
    harness::{Flow, wait_until},
    operators::{as_whom, at, issued},
};
use std::path::PathBuf;

const FENCE: [&str; 6] = ["region", "fence", "eu", "--by", "dr", "--yes"];

/// `eu` without one of its members, behind whose back an operator was shut out.
struct Parted {
    regions: Regions,
    alone: &'static str,
    /// What the operator who was shut out has for that member.
    ben: PathBuf,
}

impl Parted {
    fn start(seed: u64, has_locations: bool) -> Self {
        let regions = Regions::that_can_be_cut(seed);
        // What can be cut off is there.
        regions.backup();
        let members = &regions.members;
        let ben = issued(&members.scratch.join("c/operator.toml"), &members.scratch, "ben", &[]);
        members.wait_for_one_chain();
        let leader = members.leader();
        let alone = ["two", "three"].into_iter().find(|name| *name != leader).unwrap();
        members.lines().part(number(alone), Flow::Still);
        if !has_locations {
            regions.cut_from_locations(alone, true);
        }
        members.run_at(&leader, &["operator", "revoke", "ben", "--yes"]).ok();
        let ben = at(&ben, &members.running[alone]);
        Self { regions, alone, ben }
    }

    fn others(&self) -> impl Iterator<Item = &'static str> {
        let alone = self.alone;
        EU.into_iter().filter(move |name| *name != alone)
    }

    fn epoch(&self, name: &str) -> serde_json::Value {
        self.regions.members.run_at(name, &["cluster", "status"]).ok().object()["epoch"].clone()
    }
}

#[test]
fn what_is_said_by_hand_at_a_member_that_is_cut_off_ends_nobody_who_has_a_quorum() {
    let parted = Parted::start(72, false);
    let (regions, alone) = (&parted.regions, parted.alone);
    as_whom(&parted.ben, &FENCE).ok();
    regions.assert_fenced(alone);
    regions.cut_from_locations(alone, false);
    regions.members.lines().clear();
    // It tells everybody, and is heard.
    let heard = || {
        let told = regions.members.run_at(parted.others().next()?, &["region", "status"]).object();
        told.to_string().contains("superseded").then_some(())
    };
    wait_until("the others hear of it", PATIENCE, heard);
    for _ in 0..3 {
        regions.backup();
    }
    // Nor later, when they cannot agree for a while: both hear it still.
    let [cut, last] = parted.others().collect::<Vec<_>>().try_into().unwrap();
    regions.members.lines().part(number(cut), Flow::Still);
    for _ in 0..3 {
        regions.members.run_at(last, &["agent", "token"]).fails(5, "cluster.leader_unknown");
    }
    regions.members.lines().clear();
    regions.backup();
    for name in parted.others() {
        assert_eq!(parted.epoch(name), 1, "{name}");
    }
    assert_eq!(regions.points().len(), 5);
}

#[test]
fn what_shut_somebody_out_is_heard_from_the_location_before_he_fences_a_member() {
    let parted = Parted::start(73, true);
    // What he is refused for ends his connection as well: he may not hear why.
    assert_ne!(as_whom(&parted.ben, &FENCE).code, 0);
    as_whom(&parted.ben, &["operator", "list"]).fails(4, "operator.identity_revoked");
    parted.regions.members.lines().clear();
    let belongs = || (parted.epoch(parted.alone) == 1).then_some(());
    wait_until("it is one of them", PATIENCE, belongs);
    parted.regions.backup();
}
