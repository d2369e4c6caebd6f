//! What stores behind a network do alike: they try whether a server keeps its word, and look at
//! what it holds where that is the only proof.

use crate::{
    place::Place,
    refusal::{check_same, conflict},
    store::{ObjectStore, Pending, Receipt},
};
use bytes::Bytes;
use futures::future::join_all;
use holdfast_common::{Code, Entropy, Error, Result, SystemEntropy};

const RACE_ROUNDS: usize = 4;
const RACE_WRITERS: usize = 8;

/// What is tried on a server, past the names that objects can have.
pub(crate) trait Trial: Sync {
    /// Whether the key was free, and is now these bytes.
    fn create<'a>(&'a self, key: &'a str, bytes: Bytes) -> Pending<'a, bool>;

    fn forget<'a>(&'a self, key: &'a str) -> Pending<'a, ()>;
}

/// What is tried lies below `tmp/`, where no object can be.
pub(crate) const TRIED_BELOW: &str = "tmp/probe-";

/// A key for what is tried.
pub(crate) fn scratch(place: &Place) -> String {
    let random: [u8; 8] = (&SystemEntropy as &dyn Entropy).array();
    place.key(&format!("{TRIED_BELOW}{}", hex::encode(random)))
}

/// What an answer says of an object that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    No,
    /// It is not there, or nothing of the location is: a listing tells.
    Perhaps,
    Sure,
}

/// Whether of several writers of a key one wins, and nobody after it. Who failed for another reason
/// proves nothing; so at least one round must have had a winner and a loser.
pub(crate) async fn writes_once(trial: &dyn Trial, place: &Place) -> Result<bool> {
    let (mut is_seen, mut doubt) = (false, None);
    for _ in 0..RACE_ROUNDS {
        let key = scratch(place);
        let write = |writer: usize| trial.create(&key, Bytes::from(format!("writer {writer}")));
        let mut outcomes = join_all((0..RACE_WRITERS).map(write)).await;
        let late = write(RACE_WRITERS).await;
        let is_late_answered = late.is_ok();
        outcomes.push(late);
        let won = outcomes.iter().filter(|outcome| matches!(outcome, Ok(true))).count();
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Ok(false))).count();
        let error = outcomes.into_iter().find_map(Result::err);
        let forgotten = trial.forget(&key).await;
        if let (0, 0, Some(error)) = (won, lost, error.clone()) {
            return Err(error);
        }
        forgotten?;
        if won > 1 {
            return Ok(false);
        }
        is_seen |= won == 1 && lost > 0 && is_late_answered;
        doubt = error.or(doubt);
    }
    match doubt {
        Some(error) if !is_seen => Err(error),
        _ => Ok(is_seen),
    }
}

/// An object is read back, and must be what was put.
pub(crate) async fn confirm(store: &dyn ObjectStore, receipt: &Receipt) -> Result<()> {
    let length = usize::try_from(receipt.length).unwrap_or(usize::MAX);
    let found = match store.get(&receipt.name, length).await {
        Ok(found) => found,
        Err(error) if error.code == Code::LimitExceeded => return Err(changed(receipt)),
        Err(error) => return Err(error),
    };
    if found.len() == length && blake3::hash(&found) == receipt.blake3 {
        return Ok(());
    }
    Err(changed(receipt))
}

pub(crate) fn changed(receipt: &Receipt) -> Error {
    let message = format!("object {} was stored and reads as other bytes", receipt.name);
    Error::new(Code::ObjectDamaged, message)
}

/// The name was taken: by an earlier try of the same call, or by somebody else.
pub(crate) async fn compare(store: &dyn ObjectStore, receipt: Receipt) -> Result<Receipt> {
    let length = usize::try_from(receipt.length).unwrap_or(usize::MAX);
    match store.get(&receipt.name, length).await {
        Ok(held) => {
            check_same(&receipt, held.len() as u64, &blake3::hash(&held))?;
            Ok(receipt.existed())
        }
        Err(error) if error.code == Code::LimitExceeded => Err(conflict(&receipt.name)),
        Err(error) if error.code == Code::ObjectMissing => {
            let message = format!("object {} came and went while it was written", receipt.name);
            Err(Error::new(Code::LocationIoFailed, message))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Says what it was told to, by round and writer.
    struct Script {
        told: fn(usize, usize) -> Result<bool>,
        calls: AtomicUsize,
    }

    impl Trial for Script {
        fn create<'a>(&'a self, _key: &'a str, _bytes: Bytes) -> Pending<'a, bool> {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            let told = (self.told)(call / (RACE_WRITERS + 1), call % (RACE_WRITERS + 1));
            Box::pin(async move { told })
        }

        fn forget<'a>(&'a self, _key: &'a str) -> Pending<'a, ()> {
            Box::pin(async { Ok(()) })
        }
    }

    fn failed() -> Result<bool> {
        Err(Error::new(Code::LocationIoFailed, "writing"))
    }

    #[tokio::test]
    async fn a_race_proves_something_when_somebody_won_and_somebody_lost() {
        type Told = fn(usize, usize) -> Result<bool>;
        let scripts: [(&str, Told, Result<bool, Code>); 9] = [
            ("one wins each", |_, writer| Ok(writer == 3), Ok(true)),
            ("all win", |_, _| Ok(true), Ok(false)),
            ("two win once", |round, writer| Ok(writer < 1 + usize::from(round == 2)), Ok(false)),
            ("who is late wins too", |_, writer| Ok(writer % RACE_WRITERS == 0), Ok(false)),
            ("nobody wins", |_, _| Ok(false), Ok(false)),
            ("nobody is answered", |_, _| failed(), Err(Code::LocationIoFailed)),
            (
                "one wins and no other is answered",
                |_, writer| if writer == 0 { Ok(true) } else { failed() },
                Err(Code::LocationIoFailed),
            ),
            (
                "who is late is not answered",
                |_, writer| if writer == RACE_WRITERS { failed() } else { Ok(writer == 0) },
                Err(Code::LocationIoFailed),
            ),
            (
                "some are not answered",
                |_, writer| if writer < 4 { failed() } else { Ok(writer == 5) },
                Ok(true),
            ),
        ];
        for (name, told, due) in scripts {
            let script = Script { told, calls: AtomicUsize::new(0) };
            let place = Place::parse("bucket", 1, &[]).unwrap();
            let found = writes_once(&script, &place).await.map_err(|error| error.code);
            assert_eq!(found, due, "{name}");
        }
    }
}
