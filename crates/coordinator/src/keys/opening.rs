//! How a coordinator that starts comes to its KEK.
//!
//! ```text
//!   where its file says ─────────▶ opens the authority's key ─▶ taken
//!        │ not there, another one, refused, away
//!   where the ledger says it is ─▶ opens the authority's key ─▶ taken, and written down
//!        │ a provider is away: again, until it is back or the start is to end
//!   neither: it does not start, and the way that is left is told
//! ```
//!
//! The ledger knows better when the KEK was changed while this member was down. Whoever refuses is
//! believed at once, and only a provider that is away is waited for: the member's own too, since
//! who is away has refused nothing.

use super::{follow, kek, lost, secrets};
use crate::{options::Options, raft::Ledger};
use core::time::Duration;
use holdfast_common::{Code, Error, Result};
use holdfast_keyring::{Kek, KekSource};
use holdfast_ledger::row::ClusterRow;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_secs(2);
const TOLD_EVERY: u32 = 100;

/// The KEK, and what shows that it is this cluster's.
pub(crate) struct Opened {
    pub(crate) kek: Kek,
    pub(crate) source: KekSource,
    pub(crate) authority_key: secrets::Zeroizing<Vec<u8>>,
}

/// Nothing when the start is to end before a provider that is away is back.
pub(crate) async fn open(
    config: &Options,
    source: &KekSource,
    (cluster, ledger): (&ClusterRow, &Ledger),
    shutdown: &CancellationToken,
) -> Result<Option<Opened>> {
    let mut tried = 0_u32;
    loop {
        let opened = tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            opened = look(config, source, (cluster, ledger)) => opened,
        };
        match opened {
            Err(error) if error.code == Code::KekUnreachable => {
                tried = tried.saturating_add(1);
                // Of one that is away for days it is told now and then.
                if tried.is_power_of_two() || tried.is_multiple_of(TOLD_EVERY) {
                    tracing::warn!(%source, %error, "the start waits for the KEK's provider");
                }
            }
            Err(error) => return Err(lost::without_kek(error, config)),
            Ok(opened) => return Ok(Some(opened)),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = sleep(PAUSE) => {}
        }
    }
}

async fn look(
    config: &Options,
    source: &KekSource,
    (cluster, ledger): (&ClusterRow, &Ledger),
) -> Result<Opened> {
    let own = match open_with(source.clone(), cluster).await {
        Err(error) => error,
        opened => return opened,
    };
    let Some(told) = told(ledger).filter(|told| told != source) else { return Err(own) };
    if let Err(unlisted) = kek::insist_on_listed(&config.file, &told) {
        return Err(telling(own, unlisted));
    }
    match open_with(told, cluster).await {
        Ok(opened) => {
            tracing::info!(source = %opened.source, "the KEK was changed while this was down");
            Ok(opened)
        }
        Err(theirs) => Err(telling(own, theirs)),
    }
}

async fn open_with(source: KekSource, cluster: &ClusterRow) -> Result<Opened> {
    let kek = kek::load(&source, cluster).await?;
    let authority_key = secrets::open_ca_key(&kek, &cluster.ca_key_wrapped)?;
    Ok(Opened { kek, source, authority_key })
}

/// Where the ledger says that the KEK in use is.
fn told(ledger: &Ledger) -> Option<KekSource> {
    follow::in_use(&ledger.query()).ok()??.source?.parse().ok()
}

/// Of two refusals the one that a person, or time, can do something about: the member's own where
/// its provider is away, then a provider's, and of two the one of the KEK in use.
fn telling(own: Error, theirs: Error) -> Error {
    if own.code == Code::KekUnreachable {
        let cause = own.cause.clone().unwrap_or_default();
        return own.cause(format!("{cause}; where the ledger says that it is: {theirs}"));
    }
    let is_providers = |error: &Error| {
        matches!(
            error.code,
            Code::KekDenied | Code::KekGone | Code::KekUnlisted | Code::KekUnreachable
        )
    };
    if is_providers(&theirs) { theirs } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(own: Code, theirs: Code) -> Error {
        telling(Error::new(own, "own").cause("why"), Error::new(theirs, "theirs"))
    }

    #[test]
    fn an_own_provider_that_is_away_is_waited_for_whatever_the_other_says() {
        for theirs in [
            Code::KekDenied,
            Code::KekGone,
            Code::KekUnavailable,
            Code::KekUnlisted,
            Code::KekUnreachable,
            Code::KeyWrong,
        ] {
            let error = told(Code::KekUnreachable, theirs);
            assert_eq!((error.code, &*error.message), (Code::KekUnreachable, "own"));
            let cause = error.cause.unwrap();
            assert!(cause.starts_with("why; ") && cause.contains("theirs"), "{cause}");
        }
    }

    #[test]
    fn else_a_providers_word_counts_and_of_two_the_one_of_the_kek_in_use() {
        for (own, theirs, first) in [
            (Code::KekUnavailable, Code::KekUnreachable, "theirs"),
            (Code::KeyWrong, Code::KekUnlisted, "theirs"),
            (Code::KekDenied, Code::KekGone, "theirs"),
            (Code::KekDenied, Code::KekUnavailable, "own"),
            (Code::KeyWrong, Code::KeyWrong, "own"),
        ] {
            assert_eq!(told(own, theirs).message, first, "{own:?} {theirs:?}");
        }
    }
}
