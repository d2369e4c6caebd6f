//! A point, opened for reading: out of the cluster, or out of a location with no cluster.
//!
//! Both ways end in the same reader over a source of sealed chunks, so that listing, comparing and
//! restoring do not know which it was. Opening checks the signature first. Everything on an
//! [`Opened`] blocks and belongs on a thread.

use crate::{
    client::{Client, select},
    demand::Demand,
    offline::{
        self, Choice, OfflineArguments,
        gather::{gather, is_unread},
        points::Proof,
        source::Location,
    },
    walk,
};
use holdfast_agent::restore::{self, PointKeys, PointReader, Progress};
use holdfast_common::{Code, Error, Name, PointId, Result, RunId};
use holdfast_keyring::VaultKeys;
use holdfast_repository::IdKeyScope;
use holdfast_runtime::Tasks;
use holdfast_seal::manifest::{ManifestReader, entry::Entry};
use holdfast_wire::v1;
use std::sync::Arc;

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
        let policy = self.policy.as_ref().map(Name::as_str);
        if let Some(choice) = self.offline.choice()? {
            return open_offline(&choice, &self.point, policy, demand).await;
        }
        let client = demand.client().await?;
        let point = self.find(&client).await?;
        open_online(&client, point, purpose).await
    }

    /// Whether no cluster is to be asked.
    pub fn is_offline(&self) -> bool {
        self.offline.are_named()
    }

    pub async fn find(&self, client: &Client) -> Result<v1::Point> {
        select::point(client, &self.point, self.policy.as_ref().map(Name::as_str)).await
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

    /// Opens everything; gives the paths that cannot be restored.
    pub fn verify(&self, rows: &mut walk::Rows<Vec<u8>>) -> Result<()> {
        let report = restore::verify(&self.reader, &Progress::default())?;
        report.damaged.into_iter().try_for_each(|(path, _)| rows.push(path))
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

/// Without the private halves nothing is damaged, but nothing opens either.
fn insist_on_private(keys: &VaultKeys) -> Result<()> {
    keys.versions().try_for_each(|version| keys.private(version).map(drop)).map_err(|error| {
        let message = "by itself the bundle opens nothing: the vault is in operator custody";
        Error::new(Code::KeyCustodyRefused, message)
            .cause(error.message)
            .next("name the operator's key too: --bundle FILE --kek file:operator.kek")
    })
}

async fn open_offline(
    choice: &Choice,
    text: &str,
    policy: Option<&str>,
    demand: &Demand<'_>,
) -> Result<Opened> {
    let offline = offline::open(choice, demand).await?;
    insist_on_private(&offline.keys)?;
    let chosen = offline.select(text, policy)?;
    let (record, record_bytes) = (chosen.record.clone(), chosen.record_bytes.clone());
    let (signature, told) = (chosen.signature, offline.told(chosen));
    let ids = || match record.id_key_scope {
        IdKeyScope::Agent => offline.keys.id().for_agent(&record.agent),
        IdKeyScope::Vault => offline.keys.id().shared(),
    };
    let (for_reader, for_source) = (ids(), ids());
    let proof = chosen.proof;
    let identity = (proof == Proof::Checked).then(|| {
        let enrolled = offline.enrolment.iter().flatten().find(|one| one.agent == record.agent);
        enrolled.map(|one| one.identity).ok_or_else(|| {
            Error::new(Code::PointSignatureWrong, "the point's agent was never enrolled")
        })
    });
    let gathered = gather(&offline).await?;
    for (name, error) in &gathered.damage {
        let word = if is_unread(error.code) { "unreadable" } else { "damaged" };
        demand.output.remark(&format!("{word}: {name}: {error}"));
    }
    let source = Arc::new(Location::new(offline, gathered, for_source));
    let reader = match identity.transpose()? {
        Some(identity) => {
            let keys = PointKeys { identity, ids: for_reader };
            PointReader::open(source, record.point, &record_bytes, &signature, keys)?
        }
        None => PointReader::open_unproven(source, record.point, &record_bytes, for_reader)?,
    };
    Ok(Opened { point: told, proof: Some(proof), reader })
}
