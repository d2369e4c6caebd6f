//! Words for versions of keys and for KEKs.

use super::{
    agent, commit, ids, intend, members, name,
    recovering::{self, import},
    rewrap_keys, vault,
};
use holdfast_common::VaultId;
use holdfast_ledger::{
    Command,
    command::*,
    row::{PackHome, PointState, VaultRow},
};

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
        ("intend_sealed_packs", intend_sealed(1, &[(3, &[1, 2])]).into()),
        ("commit_with_open_keys", commit_compared(1, 3, Some(8)).into()),
        ("import_with_open_keys", ImportPoint { keys_at: Some(8), ..import(1, 3, 9) }.into()),
        ("note_sealed", note_sealed(&[(3, &[1]), (4, &[1, 300])], false).into()),
        ("close_keys", close(1).into()),
    ]
}

/// Announces packs, each with the versions that it is sealed to.
pub(crate) fn intend_sealed(session: u8, packs: &[(u8, &[u32])]) -> IntendPacks {
    let numbers: Vec<u8> = packs.iter().map(|(pack, _)| *pack).collect();
    let mut intend = intend(session, &numbers, PackHome::Object);
    for (pack, (_, versions)) in intend.packs.iter_mut().zip(packs) {
        pack.sealed_to = Some(versions.to_vec());
    }
    intend
}

/// A point of agent 1 whose reach was compared with what closed versions open.
pub(crate) fn commit_compared(session: u8, point: u8, keys_at: Option<u64>) -> CommitPoint {
    CommitPoint { keys_at, ..commit(session, point, agent(1), PointState::Complete) }
}

pub(crate) fn note_sealed(packs: &[(u8, &[u32])], whole: bool) -> NoteSealed {
    let pack = |(pack, versions): &(u8, &[u32])| SealedPack {
        id: ids::pack(*pack),
        versions: versions.to_vec(),
    };
    NoteSealed { vault: ids::vault(), packs: packs.iter().map(pack).collect(), whole }
}

pub(crate) fn close(version: u32) -> CloseKeys {
    CloseKeys { vault: ids::vault(), version }
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
