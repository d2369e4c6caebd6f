//! Words for versions of keys and for KEKs.

use super::{ids, members, name, recovering, rewrap_keys, vault};
use holdfast_common::VaultId;
use holdfast_ledger::{Command, command::*, row::VaultRow};

pub(crate) const OLD_KEK: [u8; 16] = [11; 16];

/// Of every theme with a file of its own, in the order of the golden file.
pub(crate) fn samples_behind_others() -> Vec<(&'static str, Command)> {
    [members::samples(), recovering::samples(), samples()].concat()
}

fn samples() -> Vec<(&'static str, Command)> {
    vec![
        ("rotate_keys", rotate(1, 2).into()),
        ("change_kek", change_kek(&[1]).into()),
        ("put_vault_under_a_kek", put_further_vault(OLD_KEK).into()),
    ]
}

/// A further version of the one vault's keys.
pub(crate) fn rotate(before: u32, version: u32) -> RotateKeys {
    let key_object = vec![20, version as u8].into();
    RotateKeys { vault: ids::vault(), before, version, key_object, kek: OLD_KEK }
}

/// Another vault, with keys under this KEK.
pub(crate) fn put_further_vault(kek: [u8; 16]) -> PutVault {
    let id = VaultId::from_bytes([0xbb; 16]);
    PutVault { vault: VaultRow { id, name: name("further"), ..vault() }, kek: Some(kek) }
}

/// All keys under another KEK, with these versions of the one vault.
pub(crate) fn change_kek(versions: &[u32]) -> RewrapKeys {
    let wrapped = |version: &u32| RewrappedVault {
        vault: ids::vault(),
        version: *version,
        key_object: vec![21, *version as u8].into(),
    };
    let source = "file:/etc/holdfast/kek-2".to_owned();
    RewrapKeys {
        vaults: versions.iter().map(wrapped).collect(),
        change: Some(KekChange { before: OLD_KEK, source }),
        ..rewrap_keys(1)
    }
}
