//! Which public key belongs to which vault, as this host knows it.
//!
//! A coordinator says to which key a run is sealed. One that turned hostile could name its own, and
//! read what an operator's custody keeps from it. So the first key of each vault is written down
//! beside the agent's identity, and another one is believed only when the one that is written down
//! vouches for it, by itself or through versions in between: then it is written down instead. A
//! version that was left behind is never sealed to again, whoever asks for it: the reason to rotate
//! may have been that its private half is known. What is written is believed or the run fails: a
//! file that cannot be read never means "no key yet". A new vault is taken on first sight and said
//! in the log.

use crate::flow::lock;
use holdfast_common::{Code, Error, Result, VaultId};
use holdfast_keyring::{Succession, VaultPublicKey};
use holdfast_runtime::files;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The keys of vaults that this host has sealed to.
pub struct VaultPins {
    file: PathBuf,
    /// One run at a time reads and writes the file.
    turn: Mutex<()>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    vault: Vec<Pin>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    id: String,
    version: u32,
    public: String,
}

impl VaultPins {
    /// In the directory of the agent's identity.
    pub fn beside(identity: &Path) -> Self {
        Self { file: identity.with_file_name(PINS_FILE), turn: Mutex::default() }
    }

    /// Whether this is the vault's key as far as this host knows; remembers the first one, and one
    /// that it vouches for.
    pub(super) fn insist(
        &self,
        key: &VaultPublicKey,
        successions: &[(Succession, VaultPublicKey)],
    ) -> Result<()> {
        let _turn = lock(&self.turn);
        let mut written = self.read()?;
        let id = key.vault.to_string();
        if let Some(pin) = written.vault.iter_mut().find(|pin| pin.id == id) {
            let pinned = self.key_of(pin, key.vault)?;
            if pinned == *key {
                return Ok(());
            }
            if !is_vouched_for(&pinned, key, successions) {
                return Err(self.changed(&pinned, key.version));
            }
            let (from, to) = (pinned.version, key.version);
            tracing::info!(vault = %id, from, to, "the vault's key was rotated");
            (pin.version, pin.public) = (key.version, hex(&key.key));
            return self.write(&written);
        }
        tracing::info!(vault = %id, "the vault's key is pinned");
        if written.vault.len() >= PINS_MAX {
            let message = format!("{} has {PINS_MAX} keys already", self.file.display());
            return Err(Error::new(Code::LimitExceeded, message)
                .next("remove the rows of vaults that are gone from the file"));
        }
        written.vault.push(Pin { id, version: key.version, public: hex(&key.key) });
        self.write(&written)
    }

    fn key_of(&self, pin: &Pin, vault: VaultId) -> Result<VaultPublicKey> {
        let mut key = [0; 32];
        let bytes = pin.public.as_bytes().chunks_exact(2).map(|pair| {
            let text = core::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        let bytes = bytes.filter(|bytes| pin.public.len() == 64 && bytes.len() == key.len());
        key.copy_from_slice(&bytes.ok_or_else(|| self.unusable("understood"))?);
        Ok(VaultPublicKey { vault, version: pin.version, key })
    }

    fn write(&self, written: &Written) -> Result<()> {
        let text = toml::to_string(written).map_err(|error| self.unusable("written").cause(error));
        files::write_private(&self.file, text?.as_bytes())
    }

    fn read(&self) -> Result<Written> {
        let text = match files::read_text(&self.file) {
            Ok(text) => text,
            Err(error) if error.code == Code::FileMissing => return Ok(Written::default()),
            Err(error) => return Err(error),
        };
        toml::from_str(&text).map_err(|error| self.unusable("understood").cause(error))
    }

    fn changed(&self, pinned: &VaultPublicKey, version: u32) -> Error {
        let VaultPublicKey { vault, version: known, .. } = pinned;
        let message = match version < *known {
            true => {
                format!("version {version} of the key of vault {vault} was followed by {known}")
            }
            false => format!(
                "version {version} of the key of vault {vault} is not known here, and version \
                 {known} does not vouch for it"
            ),
        };
        Error::new(Code::KeyVaultChanged, message).next(format!(
            "ask whoever holds the vault's key; if it was replaced on purpose, remove the \
             vault's rows from {} on this host",
            self.file.display()
        ))
    }

    fn unusable(&self, done: &str) -> Error {
        let message = format!("{} cannot be {done}", self.file.display());
        Error::new(Code::ConfigMalformed, message)
            .next("bring the file back; without it, any key a coordinator names is believed")
    }
}

/// Whether the way from the key that is known leads to this one, each vouching for the next.
fn is_vouched_for(
    pinned: &VaultPublicKey,
    wanted: &VaultPublicKey,
    successions: &[(Succession, VaultPublicKey)],
) -> bool {
    let mut known = *pinned;
    // Versions only go up, so this ends.
    while known.version < wanted.version {
        let next = successions
            .iter()
            .find(|(made, next)| made.before == known.version && made.verify(&known, next).is_ok());
        let Some((_, next)) = next else { return false };
        known = *next;
    }
    known == *wanted
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const PINS_FILE: &str = "vaults.toml";
/// Far more than the vaults of a cluster; the file stays within what is read of one.
const PINS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::Secret;
    use holdfast_keyring::VaultPrivateKey;

    fn key(vault: u8, version: u32, key: u8) -> VaultPublicKey {
        VaultPublicKey { vault: VaultId::from_bytes([vault; 16]), version, key: [key; 32] }
    }

    fn pins(folder: &Path) -> VaultPins {
        VaultPins::beside(&folder.join("agent.key"))
    }

    #[test]
    fn the_first_key_of_a_version_is_the_only_one_even_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        pins(folder.path()).insist(&key(1, 1, 1), &[]).unwrap();
        pins(folder.path()).insist(&key(1, 1, 1), &[]).unwrap();
        for _ in 0..2 {
            let refused = pins(folder.path()).insist(&key(1, 1, 2), &[]).unwrap_err();
            assert_eq!(refused.code, Code::KeyVaultChanged);
        }
        pins(folder.path()).insist(&key(1, 1, 1), &[]).unwrap();
    }

    #[test]
    fn another_vault_has_a_key_of_its_own_and_another_version_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let pins = pins(folder.path());
        for (vault, version, public) in [(1, 1, 1), (2, 7, 3)] {
            pins.insist(&key(vault, version, public), &[]).unwrap();
            for other in [key(vault, version, 9), key(vault, version + 1, 9), key(vault, 0, 9)] {
                let refused = pins.insist(&other, &[]).unwrap_err();
                assert_eq!(refused.code, Code::KeyVaultChanged, "{vault} {}", other.version);
            }
            // The same bytes as another version are another key: what is opened names the version.
            assert!(pins.insist(&key(vault, version + 1, public), &[]).is_err());
        }
        pins.insist(&key(1, 1, 1), &[]).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_no_permission_to_believe_any_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(PINS_FILE);
        for damaged in ["", "[[vault]]\nid = 1", "garbage", "\u{fffd}"] {
            pins(folder.path()).insist(&key(1, 1, 1), &[]).unwrap();
            let whole = std::fs::read(&file).unwrap();
            std::fs::write(&file, damaged).unwrap();
            let told = pins(folder.path()).insist(&key(1, 1, 2), &[]);
            assert_eq!(told.err().map(|error| error.code), Some(Code::ConfigMalformed));
            std::fs::write(&file, whole).unwrap();
        }
    }

    #[test]
    fn as_many_keys_as_there_may_be_are_read_again_and_one_more_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pins = pins(folder.path());
        (0..PINS_MAX).for_each(|vault| pins.insist(&key(vault as u8, 1, 1), &[]).unwrap());
        let mut id = [1; 16];
        id[0] = 0;
        let one_more = VaultPublicKey { vault: VaultId::from_bytes(id), ..key(0, 1, 1) };
        assert_eq!(pins.insist(&one_more, &[]).unwrap_err().code, Code::LimitExceeded);
        assert_eq!(pins.insist(&key(7, 1, 2), &[]).unwrap_err().code, Code::KeyVaultChanged);
        pins.insist(&key(255, 1, 1), &[]).unwrap();
    }

    fn private(version: u32, seed: u8) -> VaultPrivateKey {
        let vault = VaultId::from_bytes([1; 16]);
        VaultPrivateKey::from_secret(vault, version, Secret::take(&mut [seed; 32]))
    }

    /// As a coordinator tells it: the newer key, for which the older one vouches.
    fn follows(old: &VaultPrivateKey, new: &VaultPrivateKey) -> (Succession, VaultPublicKey) {
        (Succession::sign(old, &new.public()).unwrap(), new.public())
    }

    #[test]
    fn a_key_that_the_known_one_vouches_for_takes_its_place_and_there_is_no_way_back() {
        let folder = tempfile::tempdir().unwrap();
        let pins = pins(folder.path());
        let keys = [private(1, 1), private(2, 2), private(5, 3)];
        let way = [follows(&keys[0], &keys[1]), follows(&keys[1], &keys[2])];
        pins.insist(&keys[0].public(), &[]).unwrap();
        // A host that slept through a version goes the whole way.
        pins.insist(&keys[2].public(), &way).unwrap();
        pins.insist(&keys[2].public(), &[]).unwrap();
        for old in &keys[..2] {
            let refused = pins.insist(&old.public(), &way).unwrap_err();
            assert_eq!(refused.code, Code::KeyVaultChanged);
        }
    }

    #[test]
    fn a_key_that_only_a_stranger_or_an_older_one_vouches_for_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let pins = pins(folder.path());
        let (first, second, third) = (private(1, 1), private(2, 2), private(3, 3));
        pins.insist(&first.public(), &[]).unwrap();
        let stranger = private(1, 9);
        let forged = [
            vec![],
            vec![follows(&stranger, &second)],
            vec![(follows(&first, &third).0, second.public())],
            vec![follows(&second, &third)],
        ];
        for told in forged {
            let refused = pins.insist(&second.public(), &told).unwrap_err();
            assert_eq!(refused.code, Code::KeyVaultChanged, "{told:?}");
        }
        pins.insist(&second.public(), &[follows(&first, &second)]).unwrap();
        // Whoever found out the first key makes nobody's version after it.
        let told = [follows(&first, &third)];
        assert!(pins.insist(&third.public(), &told).is_err());
    }
}
