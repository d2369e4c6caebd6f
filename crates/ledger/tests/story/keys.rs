//! Words for versions of keys and for KEKs.

use super::{ids, members, recovering, rewrap_keys};
use holdfast_ledger::{Command, command::*};

pub(crate) const OLD_KEK: [u8; 16] = [11; 16];

/// Of every theme with a file of its own, in the order of the golden file.
pub(crate) fn samples_behind_others() -> Vec<(&'static str, Command)> {
    [members::samples(), recovering::samples(), samples()].concat()
}

fn samples() -> Vec<(&'static str, Command)> {
    vec![("rotate_keys", rotate(1, 2).into()), ("change_kek", change_kek(&[1]).into())]
}

/// A further version of the one vault's keys.
pub(crate) fn rotate(before: u32, version: u32) -> RotateKeys {
    let key_object = vec![20, version as u8].into();
    RotateKeys { vault: ids::vault(), before, version, key_object, kek: OLD_KEK }
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
