//! The cluster's KEK: had once, at the start, and looked at from time to time.
//!
//! What runs has it in memory and needs nobody. But a provider that is away, or that does not let
//! this member in any more, keeps the next start from coming up: so a member asks it every few
//! minutes, and soon after somebody wants to know how things are, and `status` says what it heard.

use crate::{
    house::House,
    options::{Options, environment},
};
use core::time::Duration;
use holdfast_common::{Code, Error, Result, Timestamp, limits, record};
use holdfast_keyring::{Derivation, Kek, KekSource};
use holdfast_ledger::row::ClusterRow;
use holdfast_wire::v1;
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

/// The KEK under which the cluster's own secrets are.
pub(crate) async fn load(source: &KekSource, cluster: &ClusterRow) -> Result<Kek> {
    let derivation = cluster.kek_derivation.as_ref().map_or(&[][..], |bytes| &bytes[..]);
    load_by(source, derivation).await
}

/// The KEK of a source, by what is kept of it beside what it wraps: in its stored form, empty where
/// there is none.
pub(super) async fn load_by(source: &KekSource, derivation: &[u8]) -> Result<Kek> {
    let derivation: Option<Derivation> = match derivation.is_empty() {
        true => None,
        false => Some(record::from_bytes("derivation", derivation)?),
    };
    holdfast_kek::load(source, environment, derivation.as_ref()).await
}

/// Refuses a provider that the member's configuration does not name: one that is asked is sent a
/// token, or runs as a library in this process, and whoever may change the KEK could name any.
/// The file is read anew, so that whoever adds to it need not restart anything.
pub(super) fn insist_on_listed(file: &Path, source: &KekSource) -> Result<()> {
    if !matches!(source, KekSource::Remote(_)) {
        return Ok(());
    }
    let config = Options::load(file)?;
    let own: Option<KekSource> = config.kek.as_ref().and_then(|own| own.parse().ok());
    if own.as_ref() == Some(source) || config.kek_allowed.contains(source) {
        return Ok(());
    }
    let message = format!("`{source}` is not named in {}", file.display());
    Err(Error::new(Code::KekUnlisted, message).next(unlisted(source)))
}

/// What makes it a KEK that may be named.
pub(super) fn unlisted(source: &KekSource) -> String {
    format!("write into every coordinator's coordinator.toml: kek_allowed = [\"{source}\"]")
}

/// A source that is named in a member's configuration.
pub(crate) fn source(config: &Options) -> Result<Option<KekSource>> {
    let Some(source) = &config.kek else { return Ok(None) };
    let source: KekSource = source.parse()?;
    if source.is_readable_by_others().unwrap_or(false) {
        tracing::warn!("the KEK, or the PIN or token for it, can be read by others than its owner");
    }
    Ok(Some(source))
}

/// What a member heard of its KEK's provider last.
#[derive(Debug, Default)]
pub(crate) struct KekWatch {
    trouble: Mutex<Option<(Timestamp, Error)>>,
    /// Somebody wants to know.
    asked: Notify,
}

impl KekWatch {
    pub(crate) fn alarm(&self, house: &House) -> Option<v1::Alarm> {
        self.asked.notify_one();
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map(|(since, error)| v1::Alarm {
            code: error.code.name().to_owned(),
            subject: format!("{}: {}", house.name, error.message),
            since_ns: Some(since.as_nanos()),
            next: format!("before {} is started again: {}", house.name, error.advice()),
        })
    }

    fn heard(&self, house: &House, answer: Result<()>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (answer, &*trouble) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                tracing::info!("the KEK's provider opens the KEK again");
                *trouble = None;
            }
            (Err(error), Some((since, before))) => {
                if error.code != before.code {
                    tracing::warn!(%error, "the KEK's provider would not open the KEK");
                }
                *trouble = Some((*since, error));
            }
            (Err(error), None) => {
                tracing::warn!(%error, "the KEK's provider would not open the KEK");
                *trouble = Some((house.ledger.now(), error));
            }
        }
    }
}

/// Asks the provider whether the next start would have the KEK; of one that nobody else keeps
/// nothing is asked.
pub(crate) async fn watch(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let custodian = &house.keys()?.custodian;
    loop {
        let look = async {
            sleep(Duration::from_secs(limits::KEK_LOOK_SECS_MIN)).await;
            let rest = limits::KEK_LOOK_SECS - limits::KEK_LOOK_SECS_MIN;
            let asked = house.kek_watch.asked.notified();
            drop(tokio::time::timeout(Duration::from_secs(rest), asked).await);
            let (kek, source) = custodian.hand();
            let answer = match &source {
                KekSource::Remote(_) => {
                    let derivation = kek.derivation.as_ref();
                    holdfast_kek::load(&source, environment, derivation).await.map(drop)
                }
                _ => Ok(()),
            };
            (kek.id, answer)
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            // Of one that was left behind meanwhile it does not matter.
            (kek, answer) = look => if kek == custodian.kek().id {
                house.kek_watch.heard(&house, answer);
            },
        }
    }
}
