//! A PKCS#11 token: an AES key that is made in it, never leaves it, and seals with AES-GCM.
//!
//! Versions of the key have one label and different ids; the highest id seals. Every call loads the
//! module anew, opens a session and logs in, so that a session or token that was lost is opened
//! anew by the next one. Tokens lock after a few wrong PINs: one that was refused is not tried
//! again until it is another one or was written anew (`pins.rs`), and nobody's last try is ever
//! used up.
//!
//! A module is somebody else's code and may hang. It runs on a thread that nobody waits for longer
//! than the time of `tries`, and there is never more than one of them.

use crate::{
    keeper::{Destruction, Environment, SealedBy},
    pins::{RefusedPins, Written},
    tries::{away, denied, foreign, gone},
};
use core::time::Duration;
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11 as Module},
    error::{Error as Refusal, RvError},
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use holdfast_common::{Code, Error, Result};
use holdfast_keyring::{Kek, KekBinding, SealedKek, kek::Pkcs11Key};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
};
use tokio::time::timeout;
use zeroize::Zeroizing;

#[derive(Clone)]
pub(crate) struct Pkcs11 {
    key: Pkcs11Key,
    environment: Environment,
}

/// What a session is for: a token that is write-protected still opens.
#[derive(Clone, Copy)]
enum Reach {
    Uses,
    Changes,
}

/// A version of the key in the token.
struct Version {
    id: Vec<u8>,
    handle: ObjectHandle,
}

impl Version {
    fn name(&self) -> String {
        hex::encode(&self.id)
    }

    /// Ids are numbers: of two the higher one is newer.
    fn number(&self) -> Option<u64> {
        let significant = self.id.iter().position(|byte| *byte != 0).unwrap_or(self.id.len());
        let digits = &self.id[significant..];
        (digits.len() < 8).then(|| digits.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }
}

impl Pkcs11 {
    pub(crate) fn new(key: &Pkcs11Key, environment: Environment) -> Self {
        Self { key: key.clone(), environment }
    }

    /// A key that is not there is made, in the token.
    pub(crate) async fn seal(&self, kek: &Kek, binding: &KekBinding) -> Result<SealedBy> {
        let (secret, aad) = (kek.expose_to_provider().duplicate(), binding.to_bytes());
        self.within(Reach::Changes, move |token, session| {
            let newest = match newest(token.versions(session)?)? {
                Some(version) => version,
                None => token.generate(session, FIRST)?,
            };
            let mut iv = [0; IV_BYTES];
            session.generate_random_slice(&mut iv).map_err(|error| token.judge(error))?;
            let params = GcmParams::new(&mut iv, &aad, TAG_BITS.into());
            let mechanism = Mechanism::AesGcm(params.map_err(|error| token.judge(error))?);
            let sealed = session.encrypt(&mechanism, newest.handle, secret.expose());
            let sealed = sealed.map_err(|error| token.judge(error))?;
            let (key, version) = (token.key.object.clone(), newest.name());
            Ok(SealedBy { key, version, sealed: [&iv, &sealed[..]].concat() })
        })
        .await
    }

    pub(crate) async fn open(&self, sealed: &SealedKek) -> Result<Zeroizing<Vec<u8>>> {
        let (wanted, aad) = (sealed.version.clone(), sealed.binding().to_bytes());
        let field = sealed.sealed.clone();
        self.within(Reach::Uses, move |token, session| {
            let version = token.version(session, &wanted)?;
            let (iv, field) =
                field.split_at_checked(IV_BYTES).ok_or_else(|| foreign("too short"))?;
            let mut iv = iv.to_vec();
            let params = GcmParams::new(&mut iv, &aad, TAG_BITS.into());
            let mechanism = Mechanism::AesGcm(params.map_err(|error| token.judge(error))?);
            let opened = session.decrypt(&mechanism, version.handle, field);
            opened.map(Zeroizing::new).map_err(|error| token.judge(error))
        })
        .await
    }

    pub(crate) async fn newest(&self) -> Result<String> {
        self.within(Reach::Uses, |token, session| {
            let newest = newest(token.versions(session)?)?;
            newest.map(|version| version.name()).ok_or_else(|| token.missing("no key"))
        })
        .await
    }

    pub(crate) async fn renew(&self) -> Result<String> {
        self.within(Reach::Changes, |token, session| {
            let newest = newest(token.versions(session)?)?;
            let number = newest.as_ref().and_then(Version::number).map_or(FIRST, |last| last + 1);
            token.generate(session, number).map(|version| version.name())
        })
        .await
    }

    pub(crate) async fn destroy(&self, old: &SealedKek) -> Result<Destruction> {
        let wanted = old.version.clone();
        self.within(Reach::Changes, move |token, session| {
            let version = token.version(session, &wanted)?;
            session.destroy_object(version.handle).map_err(|error| token.judge(error))?;
            Ok(Destruction::Done)
        })
        .await
    }

    /// Does something in a session of its own, on a thread of its own.
    async fn within<T: Send + 'static>(
        &self,
        reach: Reach,
        work: impl FnOnce(&Self, &Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // What hangs in there holds this for ever; whoever comes after must not hang too.
        let turn = timeout(TURN_MAX, TURN.clone().lock_owned()).await;
        let turn = turn.map_err(|_| away("an earlier call to the token has not come back"))?;
        let token = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            token.in_session(reach, work)
        });
        done.await.unwrap_or_else(|_| Err(away("the module of the token failed")))
    }

    fn in_session<T>(
        &self,
        reach: Reach,
        work: impl FnOnce(&Self, &Session) -> Result<T>,
    ) -> Result<T> {
        // Looked at first: what is written between the two is another writing.
        let written = Written::of(&self.key.pin);
        let pin = self.key.pin.read(&self.environment)?;
        let module = module(&self.key.module)?;
        let flags = CInitializeFlags::OS_LOCKING_OK;
        match module.initialize(CInitializeArgs::new(flags)) {
            Ok(()) | Err(Refusal::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(self.judge(error)),
        }
        let done =
            self.log_in(&module, (&pin, written), reach).and_then(|session| work(self, &session));
        // What is over needs no answer; the next call begins anew in any case.
        let _ended = module.finalize();
        done
    }

    fn log_in(
        &self,
        module: &Module,
        (pin, written): (&str, Option<Written>),
        reach: Reach,
    ) -> Result<Session> {
        let slot = self.slot(module)?;
        let info = module.get_token_info(slot).map_err(|error| self.judge(error))?;
        let named = format!("the token `{}`", self.key.token);
        if info.user_pin_locked() {
            return Err(denied(format!("{named} is locked"), "too many wrong PINs")
                .next("have its security officer set the PIN anew"));
        }
        if info.user_pin_final_try() {
            return Err(denied(format!("{named} would lock at one more wrong PIN"), "not tried")
                .next("log in to it once by hand with the right PIN"));
        }
        if !REFUSED.may_try(&self.key.token, pin, written) {
            return Err(wrong_pin(&named, "it was refused before, and is not tried again").next(
                "put the right PIN where `pin-source` says; if the token takes this one by now, \
                 write its file anew, or start again",
            ));
        }
        let session = match reach {
            Reach::Uses => module.open_ro_session(slot),
            Reach::Changes => module.open_rw_session(slot),
        };
        let session = session.map_err(|error| self.judge(error))?;
        match session.login(UserType::User, Some(&AuthPin::from(pin.to_owned()))) {
            Ok(()) => {
                REFUSED.note_taken(&self.key.token, pin);
                Ok(session)
            }
            Err(Refusal::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(Refusal::Pkcs11(RvError::PinIncorrect, _)) => {
                REFUSED.note_refused(&self.key.token, pin, written);
                Err(wrong_pin(&named, "CKR_PIN_INCORRECT"))
            }
            Err(error) => Err(self.judge(error)),
        }
    }

    fn slot(&self, module: &Module) -> Result<Slot> {
        let slots = module.get_slots_with_token().map_err(|error| self.judge(error))?;
        let mut found = slots.into_iter().filter(|slot| {
            module.get_token_info(*slot).is_ok_and(|info| info.label() == self.key.token)
        });
        match (found.next(), found.next()) {
            (Some(slot), None) => Ok(slot),
            (None, _) => Err(away(&format!("no token `{}` is present", self.key.token))),
            (Some(_), Some(_)) => {
                Err(denied(format!("two tokens are called `{}`", self.key.token), "not tried"))
            }
        }
    }

    fn versions(&self, session: &Session) -> Result<Vec<Version>> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(self.key.object.clone().into_bytes()),
        ];
        let found = session.find_objects(&template).map_err(|error| self.judge(error))?;
        found
            .into_iter()
            .map(|handle| {
                let read = session.get_attributes(handle, &[AttributeType::Id]);
                let read = read.map_err(|error| self.judge(error))?;
                let id = read.into_iter().find_map(|attribute| match attribute {
                    Attribute::Id(id) => Some(id),
                    _ => None,
                });
                Ok(Version { id: id.unwrap_or_default(), handle })
            })
            .collect()
    }

    fn version(&self, session: &Session, name: &str) -> Result<Version> {
        let mut found = self.versions(session)?.into_iter().filter(|one| one.name() == name);
        match (found.next(), found.next()) {
            (Some(version), None) => Ok(version),
            (None, _) => Err(self.missing(&format!("no key with id {name}"))),
            (Some(_), Some(_)) => {
                Err(denied(format!("two keys of the token have id {name}"), "not tried"))
            }
        }
    }

    /// Made in the token, and made so that it cannot be read from it.
    fn generate(&self, session: &Session, number: u64) -> Result<Version> {
        let bytes = number.to_be_bytes();
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
        let id = bytes[first..].to_vec();
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::ValueLen(KEY_BYTES.into()),
            Attribute::Label(self.key.object.clone().into_bytes()),
            Attribute::Id(id.clone()),
        ];
        let made = session.generate_key(&Mechanism::AesKeyGen, &template);
        let handle = made.map_err(|error| self.judge(error))?;
        tracing::info!(
            token = self.key.token,
            key = self.key.object,
            "a key was made in the token"
        );
        Ok(Version { id, handle })
    }

    fn missing(&self, what: &str) -> Error {
        let Pkcs11Key { token, object, .. } = &self.key;
        gone(format!("the token `{token}` does not hold the key `{object}`"), what)
    }

    /// Who is to blame.
    fn judge(&self, error: Refusal) -> Error {
        use RvError as Rv;
        let words = error.to_string();
        match error {
            Refusal::Pkcs11(
                Rv::EncryptedDataInvalid
                | Rv::EncryptedDataLenRange
                | Rv::DataInvalid
                // SoftHSM has no other word for a tag that is wrong.
                | Rv::GeneralError,
                Function::Decrypt,
            ) => foreign(&words),
            Refusal::Pkcs11(
                Rv::ActionProhibited
                | Rv::KeyFunctionNotPermitted
                | Rv::KeyTypeInconsistent
                | Rv::MechanismInvalid
                | Rv::MechanismParamInvalid
                | Rv::PinExpired
                | Rv::PinInvalid
                | Rv::PinLenRange
                | Rv::PinLocked
                | Rv::SessionReadOnly
                | Rv::TemplateInconsistent
                | Rv::TokenWriteProtected
                | Rv::UserPinNotInitialized
                | Rv::UserTypeInvalid,
                _,
            ) => denied(format!("the token `{}` refused", self.key.token), &words),
            _ => away(&words),
        }
    }
}

fn newest(versions: Vec<Version>) -> Result<Option<Version>> {
    if versions.iter().any(|version| version.number().is_none()) {
        return Err(denied("an id of the token's keys is too long for a number", "not tried"));
    }
    Ok(versions.into_iter().max_by_key(Version::number))
}

fn wrong_pin(named: &str, cause: &str) -> Error {
    denied(format!("{named} refuses the PIN"), cause)
        .next("put the right PIN where `pin-source` says; it is read anew at each try")
}

/// Stays loaded: some modules do not survive being unloaded. One process uses one.
fn module(path: &Path) -> Result<Module> {
    let unusable = |error: Refusal| {
        let message = format!("the PKCS#11 module {} cannot be loaded", path.display());
        Error::new(Code::KekUnavailable, message)
            .cause(error)
            .next("name the library of the token's maker: module-path=PATH")
    };
    let mut held =
        MODULES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, module)) = held.iter().find(|(known, _)| known == path) {
        return Ok(module.clone());
    }
    let module = Module::new(path).map_err(unusable)?;
    held.push((path.to_owned(), module.clone()));
    Ok(module)
}

/// Shorter than the time of `tries`, so that it is told what is waited for.
const TURN_MAX: Duration = Duration::from_secs(8);
static TURN: LazyLock<Arc<tokio::sync::Mutex<()>>> = LazyLock::new(Default::default);
static MODULES: OnceLock<Mutex<Vec<(PathBuf, Module)>>> = OnceLock::new();
static REFUSED: LazyLock<RefusedPins> = LazyLock::new(Default::default);

const FIRST: u64 = 1;
const IV_BYTES: usize = 12;
const KEY_BYTES: u64 = 32;
const TAG_BITS: u64 = 128;
