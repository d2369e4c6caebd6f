//! A point, opened for reading: out of the cluster, or out of a location with no cluster.
//!
//! Both ways end in the same reader over a source of sealed chunks, so that listing, comparing and
//! restoring do not know which it was. Opening checks the signature first. Everything on an
//! [`Opened`] blocks and belongs on a thread.

use crate::{
    client::{
        Client,
        select::{self, Filter},
    },
    demand::Demand,
    offline::{OfflineArguments, Unlocked, points::Proof},
    walk,
};
use holdfast_agent::restore::{self, PointReader, Progress};
use holdfast_common::{Code, Name, PointId, Result, RunId};
use holdfast_runtime::Tasks;
use holdfast_seal::manifest::{ManifestReader, entry::Entry};
use holdfast_wire::v1;

#[derive(Debug, clap::Args)]
pub struct PointArguments {
    /// A point's id, its first 8 or more characters, or `latest`
    point: String,
    /// What `latest` means
    #[arg(long)]
    policy: Option<Name>,
    #[command(flatten)]
    offline: OfflineArguments,
}

impl PointArguments {
    /// Finds and opens the point; `purpose` is audited.
    pub async fn open(&self, purpose: &'static str, demand: &Demand<'_>) -> Result<Opened> {
        let shelf = Shelf::of(&self.offline, demand).await?;
        let point = shelf.point(&self.point, self.policy.as_ref()).await?;
        shelf.open(point, purpose, demand).await
    }

    /// Whether no cluster is to be asked.
    pub fn is_offline(&self) -> bool {
        self.offline.are_named()
    }

    pub async fn find(&self, client: &Client) -> Result<v1::Point> {
        select::point(client, &self.point, self.policy.as_ref().map(Name::as_str)).await
    }
}

/// Where points are read, for whoever reads several: asked of the cluster, or in a location.
pub enum Shelf {
    Cluster(Box<Client>),
    Location(Box<Unlocked>),
}

impl Shelf {
    pub async fn of(offline: &OfflineArguments, demand: &Demand<'_>) -> Result<Self> {
        match offline.choice()? {
            Some(choice) => Ok(Self::Location(Box::new(Unlocked::of(&choice, demand).await?))),
            None => Ok(Self::Cluster(Box::new(demand.client().await?))),
        }
    }

    pub async fn point(&self, text: &str, policy: Option<&Name>) -> Result<v1::Point> {
        let policy = policy.map(Name::as_str);
        match self {
            Self::Cluster(client) => select::point(client, text, policy).await,
            Self::Location(location) => location.point(text, policy),
        }
    }

    /// Newest first.
    pub async fn points(&self, filter: &Filter) -> Result<Vec<v1::Point>> {
        match self {
            Self::Cluster(client) => select::list(client, filter).await,
            Self::Location(location) => Ok(filter.apply(location.offline().points())),
        }
    }

    pub async fn open(
        &self,
        point: v1::Point,
        purpose: &'static str,
        demand: &Demand<'_>,
    ) -> Result<Opened> {
        match self {
            Self::Cluster(client) => open_online(client, point, purpose).await,
            Self::Location(location) => {
                let (reader, proof) = location.open(&point, demand).await?;
                Ok(Opened { point, proof: Some(proof), reader })
            }
        }
    }
}

pub struct Opened {
    point: v1::Point,
    /// How far it is proven to be its agent's work; a cluster answers for that itself.
    pub proof: Option<Proof>,
    pub reader: PointReader,
}

impl Opened {
    pub fn id(&self) -> String {
        hex::encode(&self.point.id)
    }

    pub fn manifest(&self) -> ManifestReader<'_> {
        self.reader.manifest()
    }

    pub fn read(&self, entry: &Entry, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        restore::read_content(&self.reader, entry, out)
    }

    /// Opens everything; gives the paths that cannot be restored, and why. Answers with the bytes
    /// that were opened.
    pub fn verify(&self, rows: &mut walk::Rows<(Vec<u8>, Code)>) -> Result<u64> {
        let report = restore::verify(&self.reader, &Progress::default())?;
        report.damaged.into_iter().try_for_each(|row| rows.push(row))?;
        Ok(report.bytes)
    }
}

pub async fn open_online(
    client: &Client,
    point: v1::Point,
    purpose: &'static str,
) -> Result<Opened> {
    open_in_run(client, point, purpose, None).await
}

/// The same under a run that grants it, for as long as that run lasts.
pub async fn open_in_run(
    client: &Client,
    point: v1::Point,
    purpose: &'static str,
    run: Option<RunId>,
) -> Result<Opened> {
    let id = PointId::from_slice(&point.id)?;
    let opening = client.open_point(id, purpose, run);
    let reader = Tasks::new("open").run_blocking("open a point", opening).await?;
    Ok(Opened { point, proof: None, reader })
}
