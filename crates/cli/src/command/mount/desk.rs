//! Between a mount's threads, which block, and the command's own task, which asks the cluster or
//! reads the location: a short queue of questions, each with a place for its answer.
//!
//! When the command ends, whoever still asks is told that nobody answers any more.

use crate::{
    client::select::{self, Filter},
    demand::Demand,
    opening::Shelf,
    output::{Output, fault, path},
};
use futures::{StreamExt, stream::FuturesUnordered};
use holdfast_agent::restore::{self, PointReader};
use holdfast_common::{ChunkId, Code, Error, PointId, Result, Timestamp};
use holdfast_mount::{Library, Listed, Listing, Point, Unreadable};
use holdfast_seal::manifest::{ManifestReader, entry::ChunkRef};
use holdfast_wire::v1;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot,
};

pub struct Desk(Sender<Ask>);

pub enum Ask {
    List(oneshot::Sender<Result<Listing>>),
    Open(PointId, oneshot::Sender<Result<Arc<dyn Point>>>),
    Tell(Unreadable),
    FallSilent,
}

/// Which points are shown, where all are.
pub struct Wanted {
    pub filter: Filter,
    pub vault: Option<String>,
}

impl Desk {
    pub fn new() -> (Self, Receiver<Ask>) {
        let (asks, asked) = channel(ASKS_MAX);
        (Self(asks), asked)
    }

    fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<Result<T>>) -> Ask) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.0.blocking_send(question(answer)).map_err(|_| closed())?;
        answered.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }
}

impl Library for Desk {
    fn list(&self) -> Result<Listing> {
        self.ask(Ask::List)
    }

    fn open(&self, point: &PointId) -> Result<Arc<dyn Point>> {
        self.ask(|answer| Ask::Open(*point, answer))
    }

    fn tell(&self, what: &Unreadable) {
        let _nobody_listens = self.0.blocking_send(Ask::Tell(what.clone()));
    }

    fn fall_silent(&self) {
        let _nobody_listens = self.0.blocking_send(Ask::FallSilent);
    }
}

/// Answers for as long as it is polled. That nobody can ask any more is for others to explain.
pub async fn serve(shelf: &Shelf, wanted: &Wanted, demand: &Demand<'_>, mut asks: Receiver<Ask>) {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            ask = asks.recv() => match ask {
                Some(ask) => open.push(answer(shelf, wanted, demand, ask)),
                None => return core::future::pending().await,
            },
            Some(()) = open.next(), if !open.is_empty() => {}
        }
    }
}

async fn answer(shelf: &Shelf, wanted: &Wanted, demand: &Demand<'_>, ask: Ask) {
    match ask {
        Ask::List(answer) => {
            let _gone = answer.send(list(shelf, wanted).await);
        }
        Ask::Open(point, answer) => {
            let _gone = answer.send(open(shelf, &point, demand).await);
        }
        Ask::Tell(what) => tell(demand.output, &what),
        Ask::FallSilent => demand.output.remark(SILENCE),
    }
}

async fn list(shelf: &Shelf, wanted: &Wanted) -> Result<Listing> {
    let Wanted { filter, vault } = wanted;
    let mut points = shelf.points(filter).await?;
    points.retain(|point| vault.as_ref().is_none_or(|vault| point.vault == *vault));
    let listed = points.iter().map(listed).collect::<Result<_>>()?;
    let latest = select::among(points, "latest", filter.policy.as_deref());
    let latest = latest.ok().and_then(|point| PointId::from_slice(&point.id).ok());
    Ok(Listing { points: listed, latest })
}

fn listed(point: &v1::Point) -> Result<Listed> {
    let is_backup = matches!(&*point.state, "complete" | "partial");
    Ok(Listed {
        point: PointId::from_slice(&point.id)?,
        time: Timestamp::from_nanos(point.time_ns),
        policy: point.policy.clone().filter(|_| is_backup),
    })
}

async fn open(shelf: &Shelf, point: &PointId, demand: &Demand<'_>) -> Result<Arc<dyn Point>> {
    let found = shelf.point(&point.to_string(), None).await?;
    let opened = shelf.open(found, "mount", demand).await?;
    Ok(Arc::new(Reading(opened.reader)))
}

/// A point as `cat` reads it.
struct Reading(PointReader);

impl Point for Reading {
    fn manifest(&self) -> ManifestReader<'_> {
        self.0.manifest()
    }

    fn open(
        &self,
        chunks: &[ChunkRef],
        each: &mut dyn FnMut(usize, Result<Vec<u8>>),
    ) -> Result<()> {
        let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
        restore::open_chunks(&self.0, &ids, &mut |at, plain| {
            each(at, plain);
            Ok(())
        })
    }

    fn keep(&self) -> Result<()> {
        self.0.keep()
    }
}

fn tell(output: &Output, what: &Unreadable) {
    let point = what.point.map(|point| point.to_string());
    if output.is_json() {
        let mut fields = path::json(&what.path);
        fields.insert("point".into(), point.into());
        fields.insert("error".into(), fault::fields(&what.error));
        return output.remark(&json!({ "unreadable": fields }).to_string());
    }
    let subject = match point {
        Some(point) => format!("`{}` of point {point} cannot be read", path::text(&what.path)),
        None => "the points cannot be listed, and are shown as they were".to_owned(),
    };
    output.remark(&format!("{subject}: {}\n  next: {}", what.error, what.error.advice()));
}

fn closed() -> Error {
    Error::new(Code::RunCancelled, "the mount is being taken away")
}

const SILENCE: &str = "note: more cannot be read; what else it is will be told within the hour";
const ASKS_MAX: usize = 16;
