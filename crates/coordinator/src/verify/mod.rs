//! Reading objects back and comparing them with what was committed. Needs no data key.
//!
//! `structure` looks at what a restore walks over first: the points' records and reach, and that
//! every pack is there with its length. `storage` reads every byte of every object in every
//! required location. What one location lost or damaged is healed from another that has it whole.

mod check;
mod choice;
mod heal;
mod walk;

pub(crate) use check::{hash_of, problem_of};

use crate::house::House;
use choice::Choice;
use holdfast_common::{Code, Error, Result};
use holdfast_wire::{status::to_status, v1};
use tokio::sync::mpsc;
use tonic::Status;
use walk::Walk;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Structure,
    Storage,
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
        // Of a disk that is not mounted nothing is missing, and nothing is healed into its place.
        house.places.show_all(&house.places.in_use(&vault.row)?).await?;
        let mut walk = Walk::begin(house, &vault, request, (&mut *tally, events));
        for point in points {
            if events.is_closed() {
                return Ok(());
            }
            walk.point(&point?).await?;
        }
        walk.packs().await?;
        walk.segments().await?;
        walk.name_points().await?;
    }
    Ok(())
}
