//! Where a member stands, on its disk: which epoch it knows, whether it belongs to it, and what is
//! to be done before its ledger is opened again.
//!
//! `data/epoch` is written before anybody is told. `data/promotion` is the intent of the one member
//! that takes the lead; it goes when the epoch is written. Each step may be cut short and is done
//! again by [`prepare`], to the same end.

use super::{Claim, Epoch};
use crate::{options::Options, raft};
use holdfast_common::{Error, Name, Result, limits, record};
use holdfast_runtime::files;
use minicbor::{Decode, Encode};
use std::path::{Path, PathBuf};

/// So many words that were refused are known.
const WORDS_MAX: usize = limits::EPOCHS_MISSED_MAX as usize;

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Standing {
    #[n(0)]
    pub(crate) epoch: Epoch,
    /// Whether this member is of that epoch; one that is not was superseded by it.
    #[n(1)]
    pub(crate) belongs: bool,
    /// What the claim said, at the member that made it.
    #[n(2)]
    pub(crate) claim: Option<Claim>,
    /// Its ledger has what the epoch never had: it is to be put aside, and brought anew.
    #[n(3)]
    pub(crate) aside: bool,
    /// Its ledger was put aside, and what it was brought since does not reach into the epoch yet:
    /// by what such a ledger knows, members may lead that do not any more.
    #[n(4)]
    pub(crate) anew: Option<bool>,
    /// Words that were said elsewhere and not taken, since somebody led this member.
    #[n(5)]
    pub(crate) refused: Option<Vec<Epoch>>,
}

/// To lead a new epoch alone, from the end of the own log.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Intent {
    #[n(0)]
    pub(crate) claim: Claim,
    /// No election of the region had a higher one.
    #[n(1)]
    pub(crate) term: u64,
    /// This member, and those of its region that follow it: name, region and address.
    #[n(2)]
    pub(crate) nodes: Vec<IntendedNode>,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct IntendedNode {
    #[n(0)]
    pub(crate) id: u64,
    #[n(1)]
    pub(crate) name: Name,
    #[n(2)]
    pub(crate) region: Name,
    #[n(3)]
    pub(crate) address: String,
}

impl Standing {
    pub(crate) fn first() -> Self {
        Self::of(Epoch::first(), true)
    }

    pub(crate) fn of(epoch: Epoch, belongs: bool) -> Self {
        Self { epoch, belongs, claim: None, aside: false, anew: None, refused: None }
    }

    pub(crate) fn is_anew(&self) -> bool {
        self.anew == Some(true)
    }

    /// Whether this word was refused before: then it stays refused, whoever leads by now.
    pub(super) fn has_refused(&self, said: &Epoch) -> bool {
        self.refused.iter().flatten().any(|refused| refused.is_word_of(said))
    }

    /// The same, with one more; the oldest goes where there are too many.
    pub(super) fn refusing(self, said: Epoch) -> Self {
        let mut refused = self.refused.unwrap_or_default();
        if refused.len() >= WORDS_MAX {
            refused.remove(0);
        }
        refused.push(said);
        Self { refused: Some(refused), ..self }
    }

    pub(crate) fn load(data: &Path) -> Result<Self> {
        Ok(read("epoch", &epoch_file(data))?.unwrap_or_else(Self::first))
    }

    pub(crate) fn save(&self, data: &Path) -> Result<()> {
        files::write_private(&epoch_file(data), &record::to_bytes(self))
    }
}

impl Intent {
    pub(super) fn save(&self, data: &Path) -> Result<()> {
        files::write_private(&intent_file(data), &record::to_bytes(self))
    }
}

/// Does what is to be done while the ledger is closed.
pub(crate) async fn prepare(config: &Options) -> Result<()> {
    let (data, ledger) = (&config.data, config.data.join("ledger"));
    if let Some(intent) = read::<Intent>("promotion", &intent_file(data))? {
        raft::lead_alone(&ledger, config.node_id, &intent).await?;
        let claim = Some(intent.claim.clone());
        Standing { claim, ..Standing::of(intent.claim.epoch, true) }.save(data)?;
        remove(&intent_file(data))?;
        tracing::info!("this member takes the lead for its region");
    }
    let standing = Standing::load(data)?;
    if standing.aside {
        let number = standing.epoch.number;
        for name in ["ledger", "index"] {
            let (from, to) = (data.join(name), data.join(format!("{name}.before-epoch-{number}")));
            if from.exists() && !to.exists() {
                std::fs::rename(&from, &to)
                    .map_err(|error| Error::io("the old ledger cannot be put aside", &error))?;
            }
        }
        remove(&data.join("shipped"))?;
        Standing { aside: false, anew: Some(true), ..standing }.save(data)?;
        tracing::warn!(epoch = number, "the ledger was put aside, and is brought anew");
    }
    Ok(())
}

fn read<T: for<'b> Decode<'b, ()>>(what: &'static str, path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    record::from_bytes(what, &files::read_private(path)?).map(Some)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("cannot remove {}", path.display()), &error))
        }
        _ => Ok(()),
    }
}

fn epoch_file(data: &Path) -> PathBuf {
    data.join("epoch")
}

fn intent_file(data: &Path) -> PathBuf {
    data.join("promotion")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(number: u64, region: &str) -> Epoch {
        Epoch { number, regions: vec![region.parse().unwrap()], member: 0, applied: 0 }
    }

    #[test]
    fn a_word_that_was_refused_stays_refused_after_a_restart_and_no_other_one_does() {
        let dir = tempfile::tempdir().unwrap();
        let first = Standing::first();
        first.save(dir.path()).unwrap();
        assert!(!first.has_refused(&said(2, "dr")));
        Standing::load(dir.path()).unwrap().refusing(said(2, "dr")).save(dir.path()).unwrap();
        let known = Standing::load(dir.path()).unwrap();
        assert!(known.has_refused(&said(2, "dr")));
        assert!(known.has_refused(&Epoch { applied: 9, ..said(2, "dr") }), "it is the same word");
        assert!(!known.has_refused(&said(3, "dr")) && !known.has_refused(&said(2, "us")));
        assert_eq!(Standing { refused: None, ..known.clone() }, first, "it changes nothing else");
        let all = 0..2 * WORDS_MAX as u64;
        let many = all.fold(known, |known, at| known.refusing(said(at, "eu")));
        assert_eq!(many.refused.unwrap().len(), WORDS_MAX);
    }
}
