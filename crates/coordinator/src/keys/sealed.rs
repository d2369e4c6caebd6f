//! To which versions of a vault's keys a pack is sealed: those of its capsules, and that of its
//! footer. Without one of them some of the pack does not open any more.

use bytes::Bytes;
use holdfast_common::{Code, Error, Result};
use holdfast_keyring::{Capsule, VaultKeys};
use holdfast_repository::pack::PackView;
use std::collections::BTreeSet;

/// Ascending. A capsule that is none opens with no key, so it needs none.
pub(crate) fn sealed_to(capsules: &[Bytes], footer: u32) -> Result<Vec<u32>> {
    let mut versions = BTreeSet::from([footer]);
    for bytes in capsules {
        match Capsule::from_bytes(bytes) {
            Ok(capsule) => drop(versions.insert(capsule.vault_key_version())),
            // Of a form that is to come: it opens with something.
            Err(error) if error.code == Code::VersionUnknown => return Err(error),
            Err(_) => {}
        }
    }
    Ok(versions.into_iter().collect())
}

pub(crate) fn sealed_to_of(view: &PackView) -> Result<Vec<u32>> {
    sealed_to(view.capsules(), view.footer_version()?)
}

/// What an agent sends is sealed to versions that there are.
pub(crate) fn insist_on_capsules(view: &PackView, keys: &VaultKeys) -> Result<Vec<u32>> {
    let refused = |message: String| Error::new(Code::PackRefused, message);
    for bytes in view.capsules() {
        Capsule::from_bytes(bytes).map_err(|error| {
            refused("a pack has a capsule that no key opens".to_owned()).cause(error)
        })?;
    }
    let versions = sealed_to_of(view)?;
    let is_known = |version: &&u32| keys.versions().any(|known| known == **version);
    match versions.iter().find(|version| !is_known(version)) {
        Some(version) => Err(refused(format!("there is no version {version} of the vault's keys"))),
        None => Ok(versions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::VAULT;
    use holdfast_common::{ChunkId, ChunkKind, SystemEntropy};
    use holdfast_repository::PackBuilder;

    fn capsule(keys: &VaultKeys, version: u32) -> Vec<u8> {
        keys.public(version).unwrap().encapsulate(&SystemEntropy).unwrap().1.to_bytes()
    }

    fn view(capsules: &[Vec<u8>], footer: u32) -> PackView {
        let mut builder = PackBuilder::new(VAULT, ChunkKind::Data);
        for capsule in capsules {
            builder.add_capsule(capsule).unwrap();
        }
        builder.push(ChunkId::from_bytes([1; 32]), 0, &[0xf1; 40]).unwrap();
        let seal = |_: &[u8; 32], plain: &[u8]| Ok((footer, [&[0; 48][..], plain].concat()));
        PackView::parse(&VAULT, builder.finish(&seal).unwrap().bytes).unwrap()
    }

    #[test]
    fn a_pack_is_sealed_to_the_versions_of_its_capsules_and_of_its_footer() {
        let mut keys = VaultKeys::generate(VAULT, &SystemEntropy);
        keys.rotate(5, &SystemEntropy).unwrap();
        let [old, new] = [1, 5].map(|version| capsule(&keys, version));
        let further = capsule(&keys, 1);
        let of = |capsules: &[&Vec<u8>], footer| {
            let capsules: Vec<_> = capsules.iter().map(|capsule| (*capsule).clone()).collect();
            view(&capsules, footer)
        };
        assert_eq!(sealed_to_of(&of(&[&old, &further], 1)).unwrap(), [1]);
        assert_eq!(sealed_to_of(&of(&[&old], 5)).unwrap(), [1, 5]);
        assert_eq!(sealed_to_of(&of(&[&new, &old], 5)).unwrap(), [1, 5]);
        let junk = vec![7; 40];
        assert_eq!(sealed_to_of(&of(&[&new, &junk], 5)).unwrap(), [5], "nothing opens junk");
        assert_eq!(insist_on_capsules(&of(&[&new, &old], 5), &keys).unwrap(), [1, 5]);
        for refused in [of(&[&new, &junk], 5), of(&[&new], 4)] {
            let error = insist_on_capsules(&refused, &keys).unwrap_err();
            assert_eq!(error.code, Code::PackRefused);
        }
    }
}
