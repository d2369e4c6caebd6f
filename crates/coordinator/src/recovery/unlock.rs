//! What opens a location on the worst day: the KEK, or a recovery bundle.

use super::source::{Sources, objects};
use crate::options::environment;
use holdfast_common::{ClusterId, Code, Error, Result, limits};
use holdfast_kek::Asking;
use holdfast_keyring::{BundleContents, ClusterKeyObject, ClusterRecoveryKey, Kek, KekSource};
use holdfast_repository::layout::{Object, ObjectName};
use std::sync::Arc;

/// What a recovery has of the cluster before it has the ledger.
pub(crate) struct Opening {
    pub(crate) cluster: ClusterId,
    pub(crate) recovery: ClusterRecoveryKey,
    /// Absent where only a bundle opened it.
    pub(crate) kek: Option<Arc<Kek>>,
}

/// By the bundle where there is one.
pub(crate) async fn unlock(
    sources: &Sources,
    kek: &KekSource,
    bundle: Option<&BundleContents>,
) -> Result<Opening> {
    let Some(bundle) = bundle else { return by_kek(sources, kek).await };
    // Beside a bundle the KEK may be the old one, which saves making new keys, or be made.
    let kek = match kek {
        KekSource::File(path) if !path.exists() => None,
        _ => by_kek(sources, kek).await.ok().and_then(|opening| opening.kek),
    };
    let recovery = ClusterRecoveryKey::from_secret(holdfast_common::Secret::take(
        &mut bundle.recovery.secret().expose().to_owned(),
    ));
    Ok(Opening { cluster: bundle.cluster, recovery, kek })
}

async fn by_kek(sources: &Sources, source: &KekSource) -> Result<Opening> {
    let mut refusal = None;
    let mut asking = Asking::new(source, environment);
    for object in objects(&sources.list("cluster/key/").await?) {
        let Object::ClusterKey(kek) = object else { continue };
        let name = ObjectName::cluster_key(&kek);
        for place in sources.iter() {
            let read = async {
                let bytes = place.get(&name, limits::KEY_OBJECT_BYTES_MAX).await?;
                let object = ClusterKeyObject::from_bytes(&bytes)?;
                let derivation = object.derivation()?;
                let kek = asking.load(derivation.as_ref()).await?;
                object.insist_on(&kek)?;
                let recovery = object.open(&kek)?;
                Ok(Opening { cluster: object.cluster, recovery, kek: Some(kek) })
            };
            match read.await {
                Ok(opening) => return Ok(opening),
                Err(error) => {
                    if refusal.as_ref().is_none_or(|before: &Error| says(before) <= says(&error)) {
                        refusal = Some(error);
                    }
                }
            }
        }
    }
    Err(refusal.unwrap_or_else(|| {
        Error::new(Code::HistoryMissing, "no location that was named holds the ledger's key")
            .next("name a location that the oldest vault requires, or open it with --bundle FILE")
    }))
}

/// Of all refusals the one that a person can do something about.
fn says(error: &Error) -> u8 {
    match error.code {
        Code::KekDenied | Code::KekGone | Code::KekUnreachable | Code::LimitExceeded => 2,
        Code::KeyWrong => 1,
        _ => 0,
    }
}
