//! `holdfast cluster recover`: all coordinators are lost, a location and a key are there.
//!
//! It says exactly how far it reaches before anybody relies on it: the last entry and its time, the
//! audit chain there, what is missing, which objects were damaged, and which points were found that
//! the ledger never heard to be committed.

use crate::{
    command::keys,
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    output::figures::{self, json_time},
    passphrase::PassphraseArguments,
};
use holdfast_common::{Name, Result};
use holdfast_coordinator::{RecoverOptions, Recovered};
use holdfast_keyring::KekSource;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("opens").required(true).multiple(true)
    .args(["kek", "bundle"]))]
pub struct Recover {
    /// A location that the oldest vault requires, as local:PATH; what one lacks a further one may
    /// have
    #[arg(long, value_name = "URL", required = true)]
    from: Vec<String>,
    /// Where the new coordinator keeps its files; made if absent
    #[arg(long)]
    dir: PathBuf,
    /// The name of the new member
    #[arg(long)]
    name: Name,
    /// The failure domain that it stands in
    #[arg(long)]
    region: Name,
    /// Where it accepts calls
    #[arg(long, value_name = "ADDR")]
    listen: String,
    /// Where others reach it, when that is not where it listens
    #[arg(long, value_name = "ADDR")]
    advertise: Option<String>,
    /// The cluster's KEK: file:PATH, env:NAME, passphrase-file:PATH, pkcs11:…, aws-kms:… or
    /// transit:…, as it was; beside --bundle a new one
    /// [default with --bundle: file:kek in the directory, made]
    #[arg(long, value_name = "SOURCE")]
    kek: Option<KekSource>,
    /// A recovery bundle, when the KEK is lost
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// In operator custody, beside a bundle: the operator's key
    #[arg(long, value_name = "SOURCE", requires = "bundle")]
    operator_kek: Option<KekSource>,
    /// A location that is found elsewhere now, as NAME=URL; may be repeated
    #[arg(long = "location", value_name = "NAME=URL", value_parser = super::location)]
    locations: Vec<(Name, String)>,
    /// Go on without entries that are in no location, and write down why
    #[arg(long, value_name = "REASON")]
    up_to_gap: Option<String>,
    /// This host's clock is right, though it is behind the newest entry or a day ahead of it
    #[arg(long)]
    confirm_clock: bool,
    #[command(flatten)]
    passphrase: PassphraseArguments,
}

pub async fn recover(recover: Recover, demand: &Demand<'_>) -> Result<Ending> {
    if recover.up_to_gap.is_some() {
        confirm(demand, "give up what the missing entries say, if any are missing")?;
    }
    let bundle = match &recover.bundle {
        Some(file) => Some(keys::open(file, &recover.passphrase)?),
        None => None,
    };
    let made = KekSource::File(recover.dir.join("kek"));
    let recovered = holdfast_coordinator::recover(RecoverOptions {
        dir: recover.dir,
        name: recover.name,
        region: recover.region,
        listen: recover.listen,
        advertise: recover.advertise,
        from: recover.from,
        kek: recover.kek.unwrap_or(made),
        bundle,
        operator: recover.operator_kek,
        moved: recover.locations,
        up_to_gap: recover.up_to_gap,
        clock_confirmed: recover.confirm_clock,
    })
    .await?;
    for damage in &recovered.damaged {
        let (object, location) = (&damage.object, &damage.location);
        demand.output.remark(&format!("damaged: {object} in {location}: {}", damage.problem));
    }
    for left in &recovered.left {
        demand.output.remark(&format!("not taken in: points/{}: {}", left.point, left.why));
    }
    demand.output.answer(|| fields(&recovered), || text(&recovered))?;
    Ok(Ending::Done)
}

fn fields(recovered: &Recovered) -> Value {
    let reached = &recovered.reached;
    let names = |names: &[Name]| names.iter().map(Name::to_string).collect::<Vec<_>>();
    let missing = recovered.missing.map(|(from, to)| json!({ "from": from, "to": to }));
    let damaged = recovered.damaged.iter().map(
        |one| json!({ "object": one.object, "location": one.location, "problem": one.problem }),
    );
    let left =
        recovered.left.iter().map(|one| json!({ "point": one.point.to_string(), "why": one.why }));
    json!({
        "config": recovered.config,
        "context": recovered.context,
        "cluster": recovered.cluster.to_string(),
        "id": recovered.node_id.to_string(),
        "epoch": reached.epoch,
        "index": reached.index,
        "term": recovered.term,
        "time": json_time(Some(reached.time.as_nanos())),
        "audit": { "rows": reached.audit.rows, "hash": hex::encode(reached.audit.hash) },
        "base": recovered.base,
        "snapshot": recovered.snapshot,
        "entries": recovered.entries,
        "missing": missing,
        "damaged": damaged.collect::<Vec<_>>(),
        "members_removed": names(&recovered.removed),
        "points": recovered.points,
        "imported": recovered.imported.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "left": left.collect::<Vec<_>>(),
        "rewrapped": recovered.rewrapped,
    })
}

fn text(recovered: &Recovered) -> String {
    let reached = &recovered.reached;
    let hash = hex::encode(reached.audit.hash);
    let mut lines = vec![
        format!("cluster   {}", recovered.cluster),
        format!(
            "reaches   epoch {} index {} of {}",
            reached.epoch,
            reached.index,
            figures::time(reached.time)
        ),
        format!("audit     {} rows, {hash}", reached.audit.rows),
        format!("points    {}", recovered.points),
    ];
    if let Some((from, to)) = recovered.missing {
        lines.push(format!("missing   entries {from} to {to}, and whatever came after them"));
    }
    if !recovered.imported.is_empty() {
        let count = recovered.imported.len();
        lines.push(format!("imported  {count} points that were never reported committed"));
    }
    if !recovered.removed.is_empty() {
        let names: Vec<_> = recovered.removed.iter().map(Name::as_str).collect();
        lines.push(format!("removed   {}", names.join(", ")));
    }
    lines.push(format!("holdfast coordinator --config {}", recovered.config.display()));
    lines.push(format!("export HOLDFAST_CONTEXT={}", recovered.context.display()));
    lines.join("\n")
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast cluster recover --from local:/mnt/vault --dir /etc/holdfast --name four --region eu \\
      --listen 10.0.0.4:7400 --kek file:/root/kek
  holdfast cluster recover --from local:/mnt/a --from local:/mnt/b --dir C --name four \\
      --region eu --listen 10.0.0.4:7400 --bundle bundle.hfbd --passphrase-file secret.txt
  holdfast cluster recover … --location main=local:/mnt/vault
  holdfast cluster recover … --up-to-gap \"both copies of an extent are lost\" --yes";
