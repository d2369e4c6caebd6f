//! What would come of a promotion: who leads, who votes, what may be missing, what stands against
//! it. Changes nothing.

use super::{
    Claim, Epoch,
    taking::{Choice, Taking, choose},
    watch::claims,
};
use crate::{house::House, places::Place, raft::SILENCE_MAX};
use futures::future::join_all;
use holdfast_common::{Code, Error, Name, Result, Timestamp};
use holdfast_ledger::{
    level::TAKEN,
    row::{EpochRow, LocationRow, MemberRow, PointRow, VaultRow},
};
use holdfast_wire::v1::HelloResponse;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A leader that cannot make sure of itself in this time leads nobody.
const LEAD_PATIENCE: Duration = Duration::from_secs(2);

/// A way in which a promotion would be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) error: Error,
    /// An operator who knows better may go on with a reason.
    pub(crate) forcible: bool,
    /// It is only one while the leading region is alive, which a rehearsal does not mind.
    pub(crate) is_life: bool,
}

pub(crate) struct Plan {
    pub(crate) member: MemberRow,
    pub(crate) epoch: Epoch,
    /// The others of the region that answer, and how.
    pub(crate) siblings: Vec<(MemberRow, HelloResponse)>,
    pub(crate) obstacles: Vec<Obstacle>,
    /// Term and index of the log's end.
    pub(crate) end: (u64, u64),
    pub(crate) newest_time: Option<Timestamp>,
    pub(crate) contact: Option<Duration>,
    pub(crate) newest: Vec<PointRow>,
    pub(crate) lost_members: Vec<Name>,
    pub(crate) lost_locations: Vec<Name>,
    /// Locations that follow, for vaults that require nothing in the region.
    pub(crate) taken: Vec<Taking>,
    pub(super) places: Vec<Place>,
    /// A claim of this very member that it did not come to carry out.
    pub(super) own_claim: Option<Claim>,
    /// Why what the lost side had shipped may not all be here, where it was done without.
    pub(crate) unheard: Option<Error>,
}

impl Plan {
    /// Who votes in the end: an odd number, this member among them.
    pub(crate) fn voters(&self) -> Vec<Name> {
        let others = self.siblings.len() / 2 * 2;
        let names = self.siblings.iter().take(others).map(|(row, _)| row.name.clone());
        std::iter::once(self.member.name.clone()).chain(names).collect()
    }

    /// Where the epoch is claimed.
    pub(crate) fn location_names(&self) -> impl Iterator<Item = &Name> {
        self.places.iter().map(|(name, _)| name)
    }

    /// What there is now, and what may be missing.
    pub(super) async fn take_stock(&mut self, house: &House) -> Result<()> {
        self.end = house.ledger.end_of_log().await?;
        self.newest_time = house.ledger.query().audit_newest_time()?;
        self.newest = house.ledger.query().newest_points().collect::<Result<_>>()?;
        for taking in &mut self.taken {
            taking.count_again(house).await?;
        }
        Ok(())
    }

    /// Which locations it takes, as the ledger says by now. What stood against the rest was looked
    /// at, and told.
    pub(super) async fn choose_again(&mut self, house: &House, region: &Name) -> Result<()> {
        self.obstacles.clear();
        self.places.clear();
        self.taken.clear();
        look_at_locations(house, self, region).await
    }

    fn against(&mut self, error: Error) {
        self.obstacles.push(Obstacle { error, forcible: false, is_life: false });
    }

    fn claim_in(&mut self, place: Place) {
        if self.places.iter().all(|(known, _)| *known != place.0) {
            self.places.push(place);
        }
    }

    fn unless_forced(&mut self, error: Error) {
        self.obstacles.push(Obstacle { error, forcible: true, is_life: false });
    }
}

pub(crate) async fn plan(house: &House, region: &Name) -> Result<Plan> {
    let query = house.ledger.query();
    let live: Vec<MemberRow> = query.members()?.into_iter().filter(MemberRow::is_live).collect();
    if !live.iter().any(|row| row.region == *region) {
        let message = format!("no member is in the region `{region}`");
        return Err(Error::new(Code::RegionMissing, message));
    }
    if house.region != *region {
        let message = format!("this member is in `{}`, not in `{region}`", house.region);
        return Err(Error::new(Code::RegionElsewhere, message));
    }
    let (ours, others): (Vec<_>, Vec<_>) = live.into_iter().partition(|row| row.region == *region);
    let member = ours.iter().find(|row| row.id == house.node_id).cloned();
    let mut plan = Plan {
        member: member.ok_or_else(|| house.ledger.peers().standing().epoch.supersedes())?,
        epoch: house.ledger.peers().standing().epoch,
        siblings: answers(house, ours)
            .await
            .into_iter()
            .filter(|(_, told)| is_with_us(told))
            .collect(),
        obstacles: Vec::new(),
        end: house.ledger.end_of_log().await?,
        newest_time: query.audit_newest_time()?,
        contact: house.ledger.peers().since_contact(),
        newest: query.newest_points().collect::<Result<_>>()?,
        lost_members: others.iter().map(|row| row.name.clone()).collect(),
        lost_locations: Vec::new(),
        taken: Vec::new(),
        places: Vec::new(),
        own_claim: None,
        unheard: None,
    };
    if others.is_empty() {
        let message = format!("`{region}` holds epoch {} alone", plan.epoch.number);
        plan.against(Error::new(Code::RegionLeads, message));
    }
    look_at_life(house, &mut plan, region, others).await?;
    look_at_logs(&mut plan);
    let taken = look_at_claims(house, &mut plan).await;
    look_at_locations(house, &mut plan, region).await?;
    plan.obstacles.extend(taken);
    Ok(plan)
}

/// Whether it goes by no epoch that is over: it leads, or follows.
fn is_with_us(told: &HelloResponse) -> bool {
    !told.superseded
}

async fn answers(house: &House, rows: Vec<MemberRow>) -> Vec<(MemberRow, HelloResponse)> {
    let ask = |row: MemberRow| async move {
        let answer = house.ledger.peers().hello(row.id, "").await.ok()?;
        Some((row, answer))
    };
    let asked = rows.into_iter().filter(|row| row.id != house.node_id).map(ask);
    join_all(asked).await.into_iter().flatten().collect()
}

/// Whether the side that leads may be alive: it answers, or it spoke a moment ago.
async fn look_at_life(
    house: &House,
    plan: &mut Plan,
    region: &Name,
    others: Vec<MemberRow>,
) -> Result<()> {
    if !house.ledger.peers().standing().belongs {
        // It was superseded: whoever takes the lead back says why.
        let error = plan.epoch.supersedes();
        plan.obstacles.push(Obstacle { error, forcible: true, is_life: true });
    }
    if let Some(leader) = house.ledger.current_leader()
        && house.ledger.query().member(leader).is_ok_and(|row| row.region == *region)
        && tokio::time::timeout(LEAD_PATIENCE, house.ledger.catch_up())
            .await
            .is_ok_and(|led| led.is_ok())
    {
        let message = format!("member {leader}, in `{region}`, leads already");
        plan.against(Error::new(Code::RegionLeads, message));
        return Ok(());
    }
    let alive = answers(house, others).await;
    for (row, _) in alive.into_iter().filter(|(_, told)| is_with_us(told)) {
        let message = format!("`{}` in `{}` answers", row.name, row.region);
        let error = Error::new(Code::RegionPrimaryAlive, message);
        plan.obstacles.push(Obstacle { error, forcible: true, is_life: true });
    }
    if let Some(since) = plan.contact.filter(|since| *since < SILENCE_MAX) {
        let message = format!("a leader spoke to this member {} ms ago", since.as_millis());
        let error = Error::new(Code::RegionPrimaryAlive, message)
            .next("type it again when it is down; if it is only cut off: --force --reason TEXT");
        plan.obstacles.push(Obstacle { error, forcible: true, is_life: true });
    }
    Ok(())
}

/// Nobody of the region who answers has more of the log.
fn look_at_logs(plan: &mut Plan) {
    let further = plan.siblings.iter().filter(|(_, told)| (told.last_term, told.last) > plan.end);
    let furthest = further.max_by_key(|(_, told)| (told.last_term, told.last));
    if let Some((row, told)) = furthest {
        let message = format!(
            "`{}` has the log up to entry {}, this one up to {}",
            row.name, told.last, plan.end.1
        );
        let error = Error::new(Code::RegionBehind, message)
            .next(format!("ask `{}` at {}", row.name, row.address));
        plan.against(error);
    }
}

/// The epoch is claimed in every location of the region that a vault requires, and in the one that
/// follows there of a vault that requires none.
async fn look_at_locations(house: &House, plan: &mut Plan, region: &Name) -> Result<()> {
    let rows = house.ledger.query().locations()?;
    let rows: BTreeMap<&Name, &LocationRow> = rows.iter().map(|row| (&row.name, row)).collect();
    let epoch = house.ledger.query().epoch()?;
    let is_here = |name: &&Name| rows.get(*name).is_some_and(|row| row.region == *region);
    let mut lost = BTreeSet::new();
    for vault in house.ledger.query().vaults()? {
        let here: Vec<Name> = vault.required.iter().filter(is_here).cloned().collect();
        if here.is_empty() {
            if look_at_following(house, plan, region, &vault).await? {
                lost.extend(vault.required.iter().cloned());
            }
            continue;
        }
        lost.extend(vault.required.iter().filter(|name| !here.contains(name)).cloned());
        for name in here {
            // One that was about to come back, and is not filled.
            let is_suspended =
                |epoch: &EpochRow| epoch.suspended_of(&vault.id).any(|at| *at == name);
            let may_lack = house.ledger.query().copies_in(&vault.id, &name)?.is_some()
                || epoch.as_ref().is_some_and(is_suspended);
            if may_lack {
                let message = format!("`{name}` may lack what the vault `{}` holds", vault.name);
                plan.unless_forced(Error::new(Code::RegionLocationUnproven, message));
            }
            match usable(house, &vault, &name).await {
                Ok(place) => plan.claim_in(place),
                Err(error) => {
                    let message = format!("the location `{name}` cannot be used");
                    plan.against(Error::new(Code::RegionLocationUnproven, message).cause(error));
                }
            }
        }
    }
    // Whoever else claims at this moment meets us at the first of them.
    plan.places.sort_by(|(a, _), (b, _)| a.cmp(b));
    plan.lost_locations = lost.into_iter().collect();
    if plan.places.is_empty() {
        let message = format!("there is no location in `{region}` to claim the epoch in");
        let error = Error::new(Code::RegionLocationUnproven, message);
        match plan.own_claim {
            // It is claimed already: whoever begins it without a location knows what he does.
            Some(_) => plan.unless_forced(error),
            None => plan.against(error),
        }
    }
    Ok(())
}

/// A location that is the vault's, writes a name once and has room.
pub(super) async fn usable(house: &House, vault: &VaultRow, name: &Name) -> Result<Place> {
    house.places.prove(vault, name).await?;
    let store = house.places.location(name).await?;
    match store.probe().await?.refusal() {
        None => Ok((name.clone(), store)),
        Some(refused) => Err(refused),
    }
}

/// Whether a location that follows is taken for a vault that requires nothing in the region.
async fn look_at_following(
    house: &House,
    plan: &mut Plan,
    region: &Name,
    vault: &VaultRow,
) -> Result<bool> {
    let message = format!("the vault `{}` has no location in `{region}`", vault.name);
    let none = Error::new(Code::RegionLocationUnproven, message);
    if house.ledger.query().level()? < TAKEN {
        plan.unless_forced(none);
        return Ok(false);
    }
    let Choice { chosen, mut refused } =
        choose(house, vault, region, plan.own_claim.as_ref()).await?;
    if let Some((taking, place)) = chosen {
        for (better, error) in refused {
            let message = format!(
                "`{better}` lacks less of `{}` than `{}`, and cannot be used",
                vault.name, taking.location
            );
            let error = Error::new(Code::RegionLocationUnproven, message).cause(error);
            plan.unless_forced(error.next(format!(
                "mend `{better}`; to go on with `{}`: --force --reason TEXT",
                taking.location
            )));
        }
        plan.claim_in(place);
        plan.taken.push(taking);
        return Ok(true);
    }
    match refused.pop() {
        None => plan.unless_forced(none),
        Some((_, error)) => {
            let name = &vault.name;
            let message = format!("no location in `{region}` that follows `{name}` can be used");
            plan.unless_forced(Error::new(Code::RegionLocationUnproven, message).cause(error));
        }
    }
    Ok(false)
}

/// The next number, and whoever has claimed it.
async fn look_at_claims(house: &House, plan: &mut Plan) -> Option<Obstacle> {
    let known = plan.epoch.number;
    let newest = claims(house).await.into_iter().max_by_key(|claim| claim.epoch.number);
    let Some(claim) = newest.filter(|claim| claim.epoch.number > known) else {
        plan.epoch = Epoch { number: known + 1, ..plan.epoch.clone() };
        return None;
    };
    plan.epoch = Epoch { number: claim.epoch.number + 1, ..plan.epoch.clone() };
    if claim.epoch.member == house.node_id {
        plan.epoch.number = claim.epoch.number;
        plan.own_claim = Some(claim);
        return None;
    }
    Some(Obstacle { error: taken(&claim), forcible: true, is_life: false })
}

/// Who claimed it, and when.
pub(super) fn taken(claim: &Claim) -> Error {
    let message = format!(
        "epoch {} was claimed by `{}` of `{}` at {}, for {}",
        claim.epoch.number, claim.name, claim.region, claim.time, claim.operator
    );
    Error::new(Code::EpochTaken, message)
        .next(format!("start `{}` if it is down: it goes on by itself", claim.name))
}
