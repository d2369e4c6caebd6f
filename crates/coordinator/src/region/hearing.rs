//! Whether every other region was heard of just now, and has claimed no epoch: asked before
//! anything is deleted.
//!
//! ```text
//!   another region ─→ one of its locations shows itself, its vault and no newer claim?  ─→ heard
//!                     (where vaults require none there: each of those that follow)
//!                  ─→ else all of its members with data answer, of the same epoch?      ─→ heard
//!                  ─→ else it is silent: it may have been promoted, and nobody knows
//! ```
//!
//! A side that is cut off finds no claim in its own locations: whoever took the lead wrote it into
//! theirs. So what cannot be asked is not taken for a no.

use super::watch::{LOCATION_PATIENCE, insist_current, newest_claim};
use crate::{
    house::House,
    places::{Place, show},
};
use futures::future::{BoxFuture, join_all};
use holdfast_common::{Code, Error, Name, Result};
use holdfast_ledger::row::{Duty, LocationRow, MemberRow, VaultRow};
use std::collections::BTreeMap;

/// Refuses while a region other than this member's is silent, or is of a newer epoch.
pub(crate) async fn insist_heard(house: &House) -> Result<()> {
    let query = house.ledger.query();
    let voices = voices(&house.region, &query.members()?, &query.locations()?, &query.vaults()?);
    let ask = |voice: Voice| -> BoxFuture<'_, Result<Heard>> {
        Box::pin(async move { ask(house, voice).await })
    };
    for (region, voices) in &voices {
        hear(region, voices, &ask).await?;
    }
    Ok(())
}

/// The newest claim of this very location is none after the epoch, whichever numbers lie between.
pub(crate) async fn insist_none_newer(house: &House, place: &Place, epoch: u64) -> Result<()> {
    if let Some(claim) = newest_claim(house, place).await? {
        house.meet_claim(&claim)?;
    }
    insist_current(house, epoch)
}

/// By whom a region speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Voice {
    Location(Box<VaultRow>, Name),
    Member(u64),
}

/// What one of them says: nothing newer, or nothing at all.
enum Heard {
    Nothing(Error),
    SameEpoch,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Voices {
    locations: Vec<Voice>,
    /// They follow: whoever takes the lead claims it in one of them alone.
    follow: bool,
    members: Vec<Voice>,
}

/// A region claims in what vaults require there. Where they require nothing, it claims in what
/// follows, and so does whoever recovers a cluster.
fn voices(
    own: &Name,
    members: &[MemberRow],
    locations: &[LocationRow],
    vaults: &[VaultRow],
) -> BTreeMap<Name, Voices> {
    let mut regions = BTreeMap::<Name, Voices>::new();
    for row in members.iter().filter(|row| row.is_live() && row.duty == Duty::Data) {
        let region = regions.entry(row.region.clone()).or_default();
        region.members.push(Voice::Member(row.id));
    }
    let of_role = |regions: &mut BTreeMap<Name, Voices>, is_required: bool| {
        for row in locations {
            let has = |vault: &&VaultRow| match is_required {
                true => vault.required.contains(&row.name),
                false => vault.holding().any(|name| *name == row.name),
            };
            let Some(vault) = vaults.iter().find(has) else { continue };
            let region = regions.entry(row.region.clone()).or_default();
            region.locations.push(Voice::Location(Box::new(vault.clone()), row.name.clone()));
        }
    };
    of_role(&mut regions, true);
    let mut following = BTreeMap::new();
    of_role(&mut following, false);
    for (name, voices) in following {
        let region = regions.entry(name).or_default();
        if region.locations.is_empty() {
            region.locations = voices.locations;
            region.follow = true;
        }
    }
    regions.remove(own);
    regions
}

/// Any location that is required says it for its region. Of those that follow, and of members, all
/// have to, since each may know what the others do not.
async fn hear<'a>(
    region: &Name,
    voices: &Voices,
    ask: &(dyn Fn(Voice) -> BoxFuture<'a, Result<Heard>> + Sync + 'a),
) -> Result<()> {
    let (mut why, mut left) = (None, voices.locations.len());
    for voice in &voices.locations {
        match ask(voice.clone()).await? {
            Heard::SameEpoch => left -= 1,
            Heard::Nothing(error) => why = Some(error),
        }
        let is_said = left < voices.locations.len() && (!voices.follow || left == 0);
        if is_said {
            return Ok(());
        }
    }
    let mut is_heard = !voices.members.is_empty();
    for heard in join_all(voices.members.iter().cloned().map(ask)).await {
        if let Heard::Nothing(error) = heard? {
            (is_heard, why) = (false, Some(error));
        }
    }
    if is_heard {
        return Ok(());
    }
    let message = format!("nothing is heard of the region `{region}`: it may have been promoted");
    let error = Error::new(Code::RegionSilent, message)
        .next("mend the line to it, or to one of its locations; see `holdfast region status`");
    Err(match why {
        Some(why) => error.cause(why),
        None => error,
    })
}

/// An error says that this epoch is over.
async fn ask(house: &House, voice: Voice) -> Result<Heard> {
    let epoch = house.ledger.epoch()?;
    let asked = async {
        match voice {
            Voice::Location(vault, name) => {
                let place = (name.clone(), house.places.location(&name).await?);
                show(&vault, &place).await?;
                insist_none_newer(house, &place, epoch).await
            }
            Voice::Member(member) => {
                let answer = house.ledger.peers().hello(member, "").await?;
                house.meet(member, answer.epoch.as_ref()).await
            }
        }
    };
    let asked = tokio::time::timeout(LOCATION_PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(Error::new(Code::LocationIoFailed, "there was no answer in time")));
    insist_current(house, epoch)?;
    Ok(match asked {
        Ok(()) => Heard::SameEpoch,
        Err(error) => Heard::Nothing(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{self, name};
    use holdfast_common::Timestamp;
    use holdfast_ledger::row::{Beside, MemberRole, MemberState};

    fn member(id: u64, region: &str) -> MemberRow {
        MemberRow {
            id,
            name: name(&format!("m-{id}")),
            region: name(region),
            address: "a:1".to_owned(),
            duty: Duty::Data,
            role: MemberRole::Voter,
            state: MemberState::Joined,
            joined: Timestamp::ZERO,
            identity_public: [0; 32],
            keeps_key: None,
        }
    }

    fn location(called: &str, region: &str) -> LocationRow {
        let url = format!("local:{called}");
        LocationRow { name: name(called), url, region: name(region), revision: 1, disabled: None }
    }

    fn vault(required: &[&str], following: &[&str]) -> VaultRow {
        let names = |all: &[&str]| all.iter().map(|text| name(text)).collect::<Vec<_>>();
        let beside = Beside { following: names(following), ..Default::default() };
        VaultRow { required: names(required), beside: Some(beside), ..crowd::vault() }
    }

    /// What is asked, in this world: these answer, and those know of a newer epoch.
    async fn heard(voices: &Voices, answer: &[&str], newer: &[&str]) -> Result<(), Code> {
        let ask = |voice: Voice| -> BoxFuture<'_, Result<Heard>> {
            let who = match voice {
                Voice::Location(_, name) => name.to_string(),
                Voice::Member(id) => format!("m-{id}"),
            };
            let heard = if newer.contains(&&*who) {
                Err(Error::new(Code::EpochSuperseded, "it is over"))
            } else if answer.contains(&&*who) {
                Ok(Heard::SameEpoch)
            } else {
                Ok(Heard::Nothing(Error::new(Code::LocationIoFailed, "it is away")))
            };
            Box::pin(async { heard })
        };
        hear(&name("dr"), voices, &ask).await.map_err(|error| error.code)
    }

    #[tokio::test]
    async fn a_region_that_nobody_hears_of_is_not_taken_for_one_that_claimed_nothing() {
        let members = [member(1, "eu"), member(4, "dr"), member(5, "dr")];
        let locations = [location("main", "eu"), location("far", "dr"), location("off", "dr")];
        let vaults = [vault(&["main", "far"], &["off"])];
        let mut all = voices(&name("eu"), &members, &locations, &vaults);
        let dr = all.remove(&name("dr")).unwrap();
        assert!(all.is_empty(), "its own locations and members say nothing of others");
        assert_eq!((dr.locations.len(), dr.members.len()), (1, 2), "it claims in what is required");
        let silent = Err(Code::RegionSilent);
        assert_eq!(heard(&dr, &[], &[]).await, silent);
        assert_eq!(heard(&dr, &["far"], &[]).await, Ok(()));
        assert_eq!(heard(&dr, &["m-4"], &[]).await, silent, "the other one may have been promoted");
        assert_eq!(heard(&dr, &["m-4", "m-5"], &[]).await, Ok(()));
        let over = Err(Code::EpochSuperseded);
        assert_eq!(heard(&dr, &["m-4", "m-5"], &["far"]).await, over);
        assert_eq!(heard(&dr, &["m-4"], &["m-5"]).await, over);
    }

    #[tokio::test]
    async fn where_nothing_is_required_whatever_follows_speaks_for_a_region() {
        let locations = [location("main", "eu"), location("off", "us")];
        let vaults = [vault(&["main"], &["off"])];
        let all = voices(&name("eu"), &[member(1, "eu")], &locations, &vaults);
        let us = &all[&name("us")];
        assert_eq!((us.locations.len(), us.members.len()), (1, 0));
        assert_eq!(heard(us, &["off"], &[]).await, Ok(()));
        assert_eq!(heard(us, &[], &[]).await, Err(Code::RegionSilent));
        let locations = [location("main", "eu"), location("off", "us"), location("on", "us")];
        let vaults = [vault(&["main"], &["off", "on"])];
        let all = voices(&name("eu"), &[member(1, "eu"), member(2, "us")], &locations, &vaults);
        let us = &all[&name("us")];
        let silent = Err(Code::RegionSilent);
        assert_eq!(heard(us, &["on"], &[]).await, silent, "it may be claimed in the other one");
        assert_eq!(heard(us, &["off", "on"], &[]).await, Ok(()));
        assert_eq!(heard(us, &["on", "m-2"], &[]).await, Ok(()));
        assert_eq!(heard(us, &["off"], &["on"]).await, Err(Code::EpochSuperseded));
        let none = voices(&name("eu"), &[member(1, "eu")], &locations[..1], &vaults);
        assert!(none.is_empty(), "one region waits for nobody");
    }
}
