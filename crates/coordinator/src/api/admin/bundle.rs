//! The recovery bundle: everything that brings the vaults back without this cluster.

use crate::{house::House, secrets};
use holdfast_common::{Code, Error, Result};
use holdfast_keyring::{
    Argon, BundleContents, BundledVault, Custody, Enrolled, IdentityPublicKey, KeyObject, bundle,
};
use holdfast_ledger::row::VaultRow;

const PASSPHRASE_BYTES_MIN: usize = 8;

pub(super) fn export(house: &House, passphrase: &str) -> Result<Vec<u8>> {
    if passphrase.len() < PASSPHRASE_BYTES_MIN {
        return Err(Error::new(Code::UsageMalformed, "the passphrase is too short")
            .next(format!("use at least {PASSPHRASE_BYTES_MIN} characters")));
    }
    let query = house.ledger.query();
    let cluster = query.cluster()?;
    let kek = house.custodian.kek();
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
        keys: object.unwrap_coordinator(house.custodian.kek())?,
    })
}
