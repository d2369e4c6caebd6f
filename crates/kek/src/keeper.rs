//! Who keeps a key that it never shows: what is asked of it, whoever it is.
//!
//! A key has versions; the newest seals, and each opens what it sealed until it is destroyed.

use crate::{
    aws_kms::AwsKms,
    pkcs11::Pkcs11,
    transit::Transit,
    tries::{insisting, on_thread, once},
};
use core::time::Duration;
use holdfast_common::{ClusterId, Code, Entropy, Error, Result};
use holdfast_keyring::{Argon, Derivation, Kek, KekBinding, KekSource, RemoteKek, SealedKek};
use std::sync::{Arc, LazyLock};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// How the process's environment is asked.
pub type Environment = fn(&str) -> Option<String>;

/// What a provider made of a KEK.
pub(crate) struct SealedBy {
    pub(crate) key: String,
    pub(crate) version: String,
    pub(crate) sealed: Vec<u8>,
}

/// When a version that was destroyed is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destruction {
    Done,
    /// Until then whoever may can still take it back.
    After(Duration),
}

/// The KEK of a source: read, derived, or opened by its provider.
pub async fn load(
    source: &KekSource,
    environment: Environment,
    derivation: Option<&Derivation>,
) -> Result<Kek> {
    let KekSource::Remote(remote) = source else {
        return match derivation {
            Some(Derivation::Sealed(sealed)) => Err(another(sealed, source)),
            _ => load_here(source, environment, derivation).await,
        };
    };
    let Some(Derivation::Sealed(sealed)) = derivation else {
        return Err(Error::new(Code::KeyWrong, format!("`{source}` did not seal this KEK"))
            .next("name the KEK that this was made with: a file, a variable or a passphrase"));
    };
    if sealed.provider != remote.provider() {
        return Err(another(sealed, source));
    }
    // A conversation is large, and callers are many.
    let opened = async { Keeper::of(remote, environment).await?.open(sealed).await };
    sealed.admit(&Box::pin(opened).await?)
}

/// A KEK of this host. To derive one takes long, and much memory: it is done one at a time, and to
/// its end even if whoever asked has gone.
async fn load_here(
    source: &KekSource,
    environment: Environment,
    derivation: Option<&Derivation>,
) -> Result<Kek> {
    static DERIVING: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Default::default);
    let turn = match source.is_passphrase() {
        true => Some(DERIVING.clone().lock_owned().await),
        false => None,
    };
    let (source, derivation) = (source.clone(), derivation.cloned());
    let load = move || {
        let _turn = turn;
        source.load(&environment, derivation.as_ref())
    };
    let failed = |error| Error::new(Code::InternalBug, "a KEK was not read").cause(error);
    tokio::task::spawn_blocking(load).await.map_err(failed)?
}

/// The KEK that a new cluster, or an old one from now on, is to have. A key file that is not there
/// is made, and so is a KEK that a provider seals; everything else must exist.
pub async fn make(
    source: &KekSource,
    environment: Environment,
    cluster: ClusterId,
    entropy: &dyn Entropy,
) -> Result<Kek> {
    let remote = match source {
        KekSource::File(path) if !path.exists() => return source.create(entropy),
        KekSource::Remote(remote) => remote,
        _ => {
            let derivation = Derivation::Passphrase(Argon::generate(entropy));
            return load_here(source, environment, Some(&derivation)).await;
        }
    };
    Box::pin(make_sealed(remote, environment, cluster, entropy)).await
}

async fn make_sealed(
    remote: &RemoteKek,
    environment: Environment,
    cluster: ClusterId,
    entropy: &dyn Entropy,
) -> Result<Kek> {
    let keeper = Keeper::of(remote, environment).await?;
    let kek = Kek::generate(entropy);
    let binding = KekBinding { cluster, kek: kek.id };
    let SealedBy { key, version, sealed } = keeper.seal(&kek, &binding).await?;
    let provider = remote.provider();
    let sealed = SealedKek { provider, key, version, cluster, kek: kek.id, sealed };
    sealed.check()?;
    // Before anything is wrapped under it, it is seen to open: who may seal need not be let open.
    sealed.admit(&keeper.open(&sealed).await?)
}

/// The version of the provider's key that seals now.
pub async fn version_in_use(remote: &RemoteKek, environment: Environment) -> Result<String> {
    Keeper::of(remote, environment).await?.newest().await
}

/// Makes a new version of the provider's key, and says which. What older ones sealed still opens.
pub async fn renew(remote: &RemoteKek, environment: Environment) -> Result<String> {
    Keeper::of(remote, environment).await?.renew().await
}

/// Destroys the version that sealed `old`: then nobody opens what is wrapped under that KEK. It is
/// refused while `kept` would go with it.
pub async fn destroy(
    remote: &RemoteKek,
    environment: Environment,
    old: &SealedKek,
    kept: &SealedKek,
) -> Result<Destruction> {
    if old.provider != remote.provider() {
        return Err(another(old, &KekSource::Remote(remote.clone())));
    }
    // Alike by their names is enough: that they are on one server is not known here.
    if old.is_of_one_version_with(kept) {
        let message = format!(
            "version {} of the provider's key seals the KEK that is in use too",
            kept.version
        );
        return Err(Error::new(Code::KekDenied, message)
            .next("make a new version, wrap the keys anew under it, and then destroy this one"));
    }
    Keeper::of(remote, environment).await?.destroy(old, kept).await
}

fn another(sealed: &SealedKek, source: &KekSource) -> Error {
    let message = format!("the KEK was sealed by {}, not by `{source}`", sealed.provider.name());
    Error::new(Code::KeyWrong, message).next("name the KEK that this was made with")
}

enum Keeper {
    AwsKms(AwsKms),
    Pkcs11(Pkcs11),
    Transit(Transit),
}

impl Keeper {
    async fn of(remote: &RemoteKek, environment: Environment) -> Result<Self> {
        Ok(match remote {
            RemoteKek::AwsKms(key) => Self::AwsKms(AwsKms::connect(key).await?),
            RemoteKek::Pkcs11(key) => Self::Pkcs11(Pkcs11::new(key, environment)),
            RemoteKek::Transit(key) => {
                let key = key.clone();
                let connect = on_thread(move || Transit::connect(key, environment));
                Self::Transit(once(connect).await?)
            }
        })
    }

    /// Seals under the newest version, bound to what the KEK is.
    async fn seal(&self, kek: &Kek, binding: &KekBinding) -> Result<SealedBy> {
        match self {
            Self::AwsKms(kms) => insisting(|| kms.seal(kek, binding)).await,
            Self::Pkcs11(token) => insisting(|| token.seal(kek, binding)).await,
            Self::Transit(transit) => insisting(|| transit.seal(kek, binding)).await,
        }
    }

    async fn open(&self, sealed: &SealedKek) -> Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::AwsKms(kms) => insisting(|| kms.open(sealed)).await,
            Self::Pkcs11(token) => insisting(|| token.open(sealed)).await,
            Self::Transit(transit) => insisting(|| transit.open(sealed)).await,
        }
    }

    async fn newest(&self) -> Result<String> {
        match self {
            Self::AwsKms(kms) => insisting(|| kms.newest()).await,
            Self::Pkcs11(token) => insisting(|| token.newest()).await,
            Self::Transit(transit) => insisting(|| transit.newest()).await,
        }
    }

    /// Asked once: an answer that was lost would make two.
    async fn renew(&self) -> Result<String> {
        match self {
            Self::AwsKms(kms) => once(kms.renew()).await,
            Self::Pkcs11(token) => once(token.renew()).await,
            Self::Transit(transit) => once(transit.renew()).await,
        }
    }

    async fn destroy(&self, old: &SealedKek, kept: &SealedKek) -> Result<Destruction> {
        match self {
            Self::AwsKms(kms) => insisting(|| kms.destroy(old)).await,
            Self::Pkcs11(token) => insisting(|| token.destroy(old)).await,
            Self::Transit(transit) => insisting(|| transit.destroy(old, kept)).await,
        }
    }
}
