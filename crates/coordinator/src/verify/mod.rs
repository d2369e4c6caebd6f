//! Reading objects back and comparing them with what was committed. Needs no data key.
//!
//! `structure` looks at what a restore walks over first: the points' records and reach, and that
//! every pack is there with its length. `storage` reads every byte of every object in every
//! location that must have it: required ones have everything, and those that follow what the
//! points need that are said to lie there. What one location lost or damaged is healed from another
//! that has it whole. One that is away, or is being filled anew, is for its copier to see to.

mod check;
mod choice;
mod collected;
mod heal;
mod lost;
mod remember;
mod suspects;
mod walk;

pub(crate) use check::{Expected, Fate, hash_of, look_at, look_everywhere, problem_of};
pub(crate) use lost::{find_again, judge, lose_home};

use crate::{house::House, places::show};
use choice::Choice;
use holdfast_common::{Code, Error, Name, Result};
use holdfast_ledger::row::{CopyRow, CopyState, VaultRow};
use holdfast_wire::{status::to_status, v1};
use remember::Remembered;
use tokio::sync::mpsc;
use tonic::Status;
use walk::Walk;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Structure,
    Storage,
}

/// Where a vault's objects are looked at.
pub(crate) struct Looked {
    /// The vault as if it required only what is looked at.
    required: VaultRow,
    following: Vec<Name>,
}

impl Looked {
    async fn at(house: &House, vault: &VaultRow) -> Result<Self> {
        let (query, used) = (house.ledger.query(), house.places.in_use(vault)?);
        let mut required = Vec::with_capacity(used.required.len());
        for name in &used.required {
            let name = name.clone();
            if query.copies_in(&vault.id, &name)?.is_none_or(|row| row.confirms()) {
                required.push(name);
            }
        }
        if required.is_empty() {
            // Nowhere is it known to be whole: what is nowhere has to be found out all the same.
            required = used.required;
        }
        let mut following = Vec::new();
        for name in vault.following() {
            let row = query.copies_in(&vault.id, name)?;
            let is_there = |row: CopyRow| row.state != CopyState::Away && row.confirms();
            if row.is_some_and(is_there) && shows(house, vault, name).await {
                following.push(name.clone());
            }
        }
        Ok(Self { required: VaultRow { required, ..vault.clone() }, following })
    }

    /// All of them, what is required first.
    fn all(&self) -> impl Iterator<Item = &Name> {
        self.required.required.iter().chain(&self.following)
    }

    /// Those that follow, of some.
    fn following_of(&self, names: &[Name]) -> Vec<Name> {
        self.following.iter().filter(|name| names.contains(name)).cloned().collect()
    }
}

/// Whether a location that follows is there, and the vault's.
async fn shows(house: &House, vault: &VaultRow, name: &Name) -> bool {
    let Ok(store) = house.places.location(name).await else { return false };
    show(vault, &(name.clone(), store)).await.is_ok()
}

pub(crate) struct Request {
    choice: Choice,
    level: Level,
}

impl Request {
    pub(crate) fn parse(house: &House, request: v1::VerifyObjectsRequest) -> Result<Self> {
        let level = match request.level.as_str() {
            "structure" => Level::Structure,
            "storage" => Level::Storage,
            other => {
                return Err(Error::new(Code::UsageMalformed, format!("`{other}` is no level")));
            }
        };
        Ok(Self { choice: Choice::parse(house.ledger.query(), &request)?, level })
    }
}

impl Request {
    /// Every byte of everything that is kept.
    fn is_everything(&self) -> bool {
        self.level == Level::Storage && self.choice.is_everything()
    }
}

type Events = mpsc::Sender<Result<v1::VerifyEvent, Status>>;

pub(crate) async fn verify(house: &House, request: Request, events: Events) {
    let mut tally = v1::VerifyEvent::default();
    let result = Box::pin(run(house, &request, &mut tally, &events)).await;
    tally.done = true;
    let last = result.map(|()| tally).map_err(|error| to_status(&error));
    // The caller may have gone; the findings are logged where they were made.
    let _ = events.send(last).await;
}

async fn run(
    house: &House,
    request: &Request,
    tally: &mut v1::VerifyEvent,
    events: &Events,
) -> Result<()> {
    for row in house.ledger.query().vaults()? {
        let mut points = request.choice.points(house.ledger.query(), row.id).peekable();
        if points.peek().is_none() {
            continue;
        }
        let vault = house.vault(&row.id)?;
        let looked = Looked::at(house, &vault.row).await?;
        // Of a disk that is not mounted nothing is missing, and nothing is healed into its place.
        house.places.show_all(&looked.required).await?;
        let from = tally.damaged.len();
        let mut remembered =
            Remembered::begin(house, &vault, &looked, request.is_everything()).await?;
        tally.before.extend(remembered.before(house, &vault)?);
        let all: Vec<Name> = looked.all().cloned().collect();
        let tallies = (&mut *tally, &mut remembered);
        let mut walk = Walk::begin(house, (&vault, looked), request, (tallies, events));
        for point in points {
            if events.is_closed() {
                return Ok(());
            }
            walk.point(&point?).await?;
        }
        walk.packs().await?;
        walk.collected().await?;
        walk.segments().await?;
        if request.is_everything() {
            walk.own(&all).await?;
        }
        walk.name_points().await?;
        let is_everything = request.is_everything() && !events.is_closed();
        let found = (&tally.damaged[from..], is_everything);
        remembered.tell(house, &vault, found).await?;
    }
    Ok(())
}
