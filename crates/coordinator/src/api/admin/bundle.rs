//! The recovery bundle: everything that brings the vaults back without this cluster.
//!
//! In operator custody a coordinator cannot make one that opens anything: the operator adds the
//! private halves and says which bundle came of it. What is handed out is remembered with the keys
//! that it opens as it is, whatever becomes of it. To seal one takes seconds: if a version of the
//! keys is destroyed meanwhile, it goes to nobody.

use crate::{
    house::House,
    keys::{custody::all_keys, secrets},
};
use bytes::Bytes;
use holdfast_common::{Result, Timestamp, VaultId, limits};
use holdfast_keyring::{
    Argon, BundleContents, BundledVault, Custody, Enrolled, IdentityPublicKey, KeyObject, bundle,
};
use holdfast_ledger::{
    Actor, Query,
    command::{ExportBundle, Note, NoteKind},
    level::BUNDLES_READ,
    row::{self, AgentRow, BundleRow, BundledKey, VaultRow},
};
use holdfast_runtime::tasks::Tasks;
use holdfast_wire::{parse, v1};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// As many names as a line of `status` takes.
const NAMED_MAX: usize = 8;

/// Seals a bundle, and has the ledger remember what it opens.
pub(super) async fn hand_out(
    house: &Arc<House>,
    tasks: &Tasks,
    actor: Actor,
    passphrase: String,
) -> Result<v1::ExportBundleResponse> {
    let note = Note { kind: NoteKind::BundleExported, subject: house.cluster.to_string() };
    house.ledger.propose(actor.clone(), note).await?;
    // Before any of the keys is read.
    let read_at = house.ledger.applied_in_tables()?;
    let vaults = house.ledger.query().vaults()?;
    let (keys, key_objects) = (opened_as_it_is(&vaults), operators_objects(house, &vaults)?);
    let sealing = house.clone();
    let sealed = tasks.run_blocking("export bundle", move || export(&sealing, &passphrase)).await?;
    if keys.is_empty() {
        house.ledger.catch_up().await?;
        insist_on_what_is_left(&house.ledger.query(), read_at)?;
    } else {
        let bundle = *blake3::hash(&sealed).as_bytes();
        remember(house, actor, ExportBundle { bundle, keys, read_at: Some(read_at) }).await?;
    }
    Ok(v1::ExportBundleResponse { bundle: sealed.into(), key_objects, read_at })
}

async fn remember(house: &House, actor: Actor, export: ExportBundle) -> Result<()> {
    // Where some member knows nothing of it, nothing can be destroyed either.
    let knows_it = house.ledger.query().level()? >= BUNDLES_READ;
    let read_at = export.read_at.filter(|_| knows_it);
    house.ledger.propose(actor, ExportBundle { read_at, ..export }).await.map(drop)
}

/// Refuses what opens a version that was destroyed since.
fn insist_on_what_is_left(query: &Query<'_>, read_at: u64) -> Result<()> {
    for vault in query.vaults()? {
        let mut gone = query.destroyed_keys(&vault.id)?;
        gone.retain(|gone| gone.at > read_at);
        if let Some(gone) = gone.first() {
            return Err(gone.overtakes_bundle(&vault.name));
        }
    }
    Ok(())
}

/// Has the ledger remember the bundle that an operator made of one that was handed out.
pub(super) async fn complete(
    house: &House,
    actor: Actor,
    request: &v1::CompleteBundleRequest,
) -> Result<()> {
    let bundle = parse::array("the bundle's hash", &request.bundle_hash)?;
    let key = |key: &v1::BundledKey| {
        let vault = VaultId::from_slice(&key.vault_id)?;
        Ok(BundledKey { vault, version: key.version })
    };
    let keys = request.keys.iter().map(key).collect::<Result<_>>()?;
    remember(house, actor, ExportBundle { bundle, keys, read_at: request.read_at }).await
}

fn operators_objects(house: &House, vaults: &[VaultRow]) -> Result<Vec<Bytes>> {
    let mut objects = Vec::new();
    for row in vaults.iter().filter(|row| row.custody == row::Custody::Operator) {
        let older = house.ledger.query().key_versions(&row.id)?;
        objects.extend(older.into_iter().map(|row| Vec::from(row.key_object).into()));
        objects.push(Vec::from(row.key_object.clone()).into());
    }
    Ok(objects)
}

/// Of vaults in coordinator custody it has the private halves, whatever an operator adds.
fn opened_as_it_is(vaults: &[VaultRow]) -> Vec<BundledKey> {
    newest_of(vaults.iter().filter(|row| row.custody == row::Custody::Coordinator))
}

fn newest_keys(house: &House) -> Result<Vec<BundledKey>> {
    Ok(newest_of(house.ledger.query().vaults()?.iter()))
}

fn newest_of<'a>(vaults: impl Iterator<Item = &'a VaultRow>) -> Vec<BundledKey> {
    vaults.map(|row| BundledKey { vault: row.id, version: row.key_version }).collect()
}

/// The newest bundle that opens everything; one that was proved comes before those that were not.
pub(super) fn newest(house: &House) -> Result<Option<BundleRow>> {
    let needed = newest_keys(house)?;
    let mut known = house.ledger.query().bundles()?;
    known.retain(|row| needed.iter().all(|key| row.keys.contains(key)));
    Ok(known.into_iter().max_by_key(|row| (row.verified, row.exported)))
}

/// What is wrong as long as no bundle with the newest keys was proved to open, and lately. A trial
/// cluster, whose KEK lies beside its data, is told the same as a note.
pub(super) fn alarm(house: &House) -> Result<Option<v1::Alarm>> {
    let query = house.ledger.query();
    let (needed, known) = (newest_keys(house)?, query.bundles()?);
    let standing = Standing::of(&needed, &known, house.ledger.now());
    let (code, since, next) = match standing {
        Standing::Good => return Ok(None),
        Standing::Absent => (
            "bundle.export_absent",
            query.cluster()?.created,
            "holdfast keys export --to FILE, then holdfast keys verify FILE",
        ),
        Standing::Unproved(since) => {
            ("bundle.verification_absent", since, "holdfast keys verify FILE")
        }
        Standing::Overdue(since) => {
            ("bundle.verification_overdue", since, "holdfast keys verify FILE")
        }
    };
    Ok(Some(v1::Alarm {
        code: code.to_owned(),
        subject: query.cluster()?.name.to_string(),
        since_ns: Some(since.as_nanos()),
        next: next.to_owned(),
    }))
}

/// What the newest bundle that was proved to open does not know: whoever restores from it alone can
/// not check that these agents made their points.
pub(super) fn newcomers(house: &House) -> Result<Option<v1::Alarm>> {
    let query = house.ledger.query();
    let (agents, bundles) = (query.agents()?, query.bundles()?);
    let unknown = unknown_to_newest(&agents, &bundles);
    let Some(since) = unknown.iter().map(|agent| agent.enrolled).min() else { return Ok(None) };
    let names: BTreeSet<_> = unknown.iter().map(|agent| agent.name.as_str()).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let mut subject = names.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        subject.push_str(&format!(" and {more} more"));
    }
    Ok(Some(v1::Alarm {
        code: "bundle.agents_behind".to_owned(),
        subject,
        since_ns: Some(since.as_nanos()),
        next: "holdfast keys export --to FILE, then holdfast keys verify FILE".to_owned(),
    }))
}

/// Nobody as long as no bundle was proved: that is said otherwise, and says more.
fn unknown_to_newest<'a>(agents: &'a [AgentRow], bundles: &[BundleRow]) -> Vec<&'a AgentRow> {
    let proved = bundles.iter().filter(|bundle| bundle.verified.is_some());
    let Some(exported) = proved.map(|bundle| bundle.exported).max() else { return Vec::new() };
    agents.iter().filter(|agent| agent.enrolled > exported).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// None was handed out since the newest key was made.
    Absent,
    Good,
    /// Proved to open, but longer ago than is safe.
    Overdue(Timestamp),
    Unproved(Timestamp),
}

impl Standing {
    fn of(needed: &[BundledKey], known: &[BundleRow], now: Timestamp) -> Self {
        let covers = |row: &&BundleRow| needed.iter().all(|key| row.keys.contains(key));
        let newest = known.iter().filter(covers).map(|row| row.exported).max();
        let proved = known.iter().filter(covers).filter_map(|row| row.verified).max();
        let age_max = Duration::from_secs(limits::BUNDLE_AGE_SECS);
        match (newest, proved) {
            (_, Some(proved)) if now.since(proved) <= age_max => Self::Good,
            (_, Some(proved)) => Self::Overdue(proved.plus(age_max)),
            (Some(newest), None) => Self::Unproved(newest),
            (None, None) => Self::Absent,
        }
    }
}

fn export(house: &House, passphrase: &str) -> Result<Vec<u8>> {
    let query = house.ledger.query();
    let cluster = query.cluster()?;
    let kek = &house.keys()?.custodian.kek();
    let contents = BundleContents {
        created: house.ledger.now(),
        cluster: cluster.id,
        vaults: query.vaults()?.iter().map(|row| bundled(house, row)).collect::<Result<_>>()?,
        ca_key: secrets::open_ca_key(kek, &cluster.ca_key_wrapped)?,
        ca_certificate: cluster.ca_certificate.to_vec(),
        enrolment: query
            .agents()?
            .into_iter()
            .map(|agent| Enrolled {
                agent: agent.id,
                name: agent.name,
                identity: IdentityPublicKey::from_bytes(agent.identity_public),
            })
            .collect(),
        recovery: secrets::open_recovery_key(kek, &cluster.recovery_key_wrapped)?,
    };
    let entropy = house.entropy.as_ref();
    bundle::seal(&contents, passphrase.as_bytes(), &Argon::generate(entropy), entropy)
}

fn bundled(house: &House, row: &VaultRow) -> Result<BundledVault> {
    let object = KeyObject::from_bytes(&row.key_object)?;
    Ok(BundledVault {
        name: row.name.clone(),
        custody: match object.custody() {
            Custody::Coordinator => Custody::Coordinator,
            Custody::Operator => Custody::Operator,
        },
        keys: all_keys(&house.ledger.query(), row, &house.keys()?.custodian.kek())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::vault;
    use holdfast_common::AgentId;
    use holdfast_ledger::row::AgentState;
    use std::collections::BTreeMap;

    const DAY: Duration = Duration::from_secs(86_400);

    fn key(version: u32) -> BundledKey {
        BundledKey { vault: VaultId::from_bytes([1; 16]), version }
    }

    #[test]
    fn a_bundle_opens_what_coordinators_keep_whatever_an_operator_adds_to_it() {
        let row = |number: u8, custody| VaultRow {
            id: VaultId::from_bytes([number; 16]),
            key_version: u32::from(number),
            custody,
            ..vault()
        };
        let vaults = [row(1, row::Custody::Coordinator), row(2, row::Custody::Operator)];
        assert_eq!(opened_as_it_is(&vaults), [key(1)]);
        assert_eq!(opened_as_it_is(&vaults[1..]), []);
    }

    #[test]
    fn only_a_bundle_of_the_newest_key_that_was_proved_lately_is_good() {
        let now = Timestamp::ZERO.plus(400 * DAY);
        let row = |version, exported, verified| BundleRow {
            hash: [0; 32],
            exported,
            verified,
            keys: vec![key(version)],
        };
        let standing = |rows: &[BundleRow]| Standing::of(&[key(2)], rows, now);
        let ago = |days| now.minus(days * DAY);
        assert_eq!(standing(&[]), Standing::Absent);
        assert_eq!(standing(&[row(1, ago(1), Some(ago(1)))]), Standing::Absent);
        assert_eq!(standing(&[row(2, ago(1), None)]), Standing::Unproved(ago(1)));
        assert_eq!(standing(&[row(2, ago(100), Some(ago(89)))]), Standing::Good);
        assert_eq!(standing(&[row(2, ago(100), Some(ago(91)))]), Standing::Overdue(ago(1)));
        let both = [row(2, ago(100), Some(ago(91))), row(2, ago(80), Some(ago(80)))];
        assert_eq!(standing(&both), Standing::Good);
    }

    #[test]
    fn agents_that_joined_after_the_newest_proved_bundle_are_told() {
        let at = |day| Timestamp::ZERO.plus(day * DAY);
        let row = |exported, verified| BundleRow {
            hash: [0; 32],
            exported: at(exported),
            verified,
            keys: Vec::new(),
        };
        let agent = |number: u8, day| AgentRow {
            id: AgentId::from_bytes([number; 16]),
            name: "files".parse().unwrap(),
            labels: BTreeMap::new(),
            identity_public: [0; 32],
            state: AgentState::Enrolled,
            serial: 0,
            not_after: at(900),
            enrolled: at(day),
            returns: 0,
            duty: None,
        };
        let agents = [agent(1, 1), agent(2, 3)];
        let told = |bundles: &[BundleRow]| {
            let unknown = unknown_to_newest(&agents, bundles);
            unknown.iter().map(|agent| agent.id.as_bytes()[0]).collect::<Vec<_>>()
        };
        assert_eq!(told(&[row(2, Some(at(4)))]), [2]);
        assert_eq!(told(&[row(2, Some(at(4))), row(5, None)]), [2], "nobody proved the newer one");
        assert_eq!(told(&[row(2, Some(at(4))), row(5, Some(at(5)))]), [0_u8; 0]);
        assert_eq!(told(&[row(0, Some(at(4)))]), [1, 2]);
        assert_eq!(told(&[row(0, None)]), [0_u8; 0], "that no bundle was proved is said already");
    }
}
