//! What a run says in names, sealed to whoever may read its point.
//!
//! Wanted paths and skipped ones are names of what was backed up. They travel through coordinators
//! and lie in the ledger, so they are sealed under a key that follows from the id-key of the point
//! and from the run: the asker and the restoring agent both get that id-key with the point they
//! open, and nobody gets it without. What one run sealed opens in no other.

use crate::{aead, derive::derive, id_key::IdKey};
use holdfast_common::{Entropy, Result, RunId, Secret};

/// Format §12: derivation and additional data.
const CONTEXT: &str = "holdfast 2026 run key v1";

#[derive(Debug)]
pub struct RunKey(Secret<32>);

/// What is sealed: one cannot be passed off as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunText {
    Report,
    WantedPaths,
}

impl RunKey {
    pub fn of(ids: &IdKey, run: &RunId) -> Self {
        Self(derive(CONTEXT, &[ids.secret().expose(), run.as_bytes()]))
    }

    pub fn seal(&self, text: RunText, plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        aead::seal(self.0.expose(), text.name(), plain, entropy)
    }

    pub fn open(&self, text: RunText, sealed: &[u8]) -> Result<Vec<u8>> {
        aead::open(self.0.expose(), text.name(), sealed)
    }
}

impl RunText {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Report => b"report",
            Self::WantedPaths => b"wanted paths",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;
    use holdfast_common::Code;

    fn key(ids: u8, run: u8) -> RunKey {
        let ids = IdKey::from_secret(Secret::take(&mut [ids; 32]));
        RunKey::of(&ids, &RunId::from_bytes([run; 16]))
    }

    #[test]
    fn a_text_opens_for_its_run_its_id_key_and_its_purpose_only() {
        let sealed = key(1, 2).seal(RunText::WantedPaths, b"/srv/a", &Seeded::new(1));
        assert_eq!(key(1, 2).open(RunText::WantedPaths, &sealed).unwrap(), b"/srv/a");
        let wrong = [
            key(1, 3).open(RunText::WantedPaths, &sealed),
            key(2, 2).open(RunText::WantedPaths, &sealed),
            key(1, 2).open(RunText::Report, &sealed),
        ];
        for opened in wrong {
            assert_eq!(opened.unwrap_err().code, Code::KeyWrong);
        }
        assert!(!sealed.windows(4).any(|bytes| bytes == b"/srv"));
    }

    #[test]
    fn the_key_of_a_run_is_frozen() {
        assert_eq!(
            hex::encode(key(1, 2).0.expose()),
            "e4788b28925e697489d85d71ba0a647c5e218b11538010bb361b35bbfc9e893f"
        );
    }
}
