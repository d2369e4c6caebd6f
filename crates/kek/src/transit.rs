//! OpenBao's and Vault's transit engine: a key of type `aes256-gcm96`, sealed with additional data.
//!
//! The token is read anew for every call, so that whoever renews it (the server's agent and its
//! sink file) need not tell. No redirect is followed: a token goes to the host that was named.

use crate::{
    exchange::Exchange,
    keeper::{Destruction, Environment, SealedBy},
    tries::{denied, foreign, gone, on_thread},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use holdfast_common::{Code, Error, Result};
use holdfast_keyring::{Kek, KekBinding, SealedKek, kek::TransitKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub(crate) struct Transit {
    key: TransitKey,
    exchange: Exchange,
    environment: Environment,
}

/// What the server says of its key.
struct Described {
    newest: u64,
    derived: bool,
}

impl Transit {
    pub(crate) fn connect(key: TransitKey, environment: Environment) -> Result<Self> {
        let exchange = Exchange::new(&key.address, key.ca.as_deref())?;
        Ok(Self { key, exchange, environment })
    }

    pub(crate) async fn seal(&self, kek: &Kek, binding: &KekBinding) -> Result<SealedBy> {
        let Described { newest, derived } = self.describe().await?;
        let plaintext = Zeroizing::new(STANDARD.encode(kek.expose_to_provider().expose()));
        let mut question = bound(binding, derived);
        question["plaintext"] = json!(*plaintext);
        question["key_version"] = json!(newest);
        let answer = self.post("encrypt", question).await?;
        let sealed = text(&answer, "ciphertext")?;
        let version = version_of(&sealed).ok_or_else(|| unheard("a ciphertext of no version"))?;
        Ok(SealedBy { key: self.name(), version, sealed: sealed.into_bytes() })
    }

    pub(crate) async fn open(&self, sealed: &SealedKek) -> Result<Zeroizing<Vec<u8>>> {
        let ciphertext = str::from_utf8(&sealed.sealed).map_err(|_| foreign("it is no text"))?;
        // A derived key wants its context, any other takes no notice of it.
        let mut question = bound(&sealed.binding(), true);
        question["ciphertext"] = json!(ciphertext);
        let mut answer = self.post("decrypt", question).await?;
        let Value::String(plaintext) = answer["data"]["plaintext"].take() else {
            return Err(unheard("an answer without `plaintext`"));
        };
        let plaintext = Zeroizing::new(plaintext);
        let opened = STANDARD.decode(plaintext.as_bytes());
        opened.map(Zeroizing::new).map_err(|_| unheard("a plaintext that is not base64"))
    }

    pub(crate) async fn newest(&self) -> Result<String> {
        Ok(self.describe().await?.newest.to_string())
    }

    pub(crate) async fn renew(&self) -> Result<String> {
        self.post(&self.of_key("/rotate"), json!({})).await?;
        self.newest().await
    }

    /// The server destroys from the oldest version on: whatever came before goes too.
    pub(crate) async fn destroy(&self, old: &SealedKek, kept: &SealedKek) -> Result<Destruction> {
        let number = |sealed: &SealedKek| {
            let version = sealed.version.parse::<u64>();
            version.map_err(|_| unheard("a version that is no number"))
        };
        let first = number(old)? + 1;
        let of_kept = if kept.key == self.name() { number(kept)? } else { u64::MAX };
        if of_kept < first {
            let message = "an older version of the transit key seals the KEK that is in use";
            return Err(Error::new(Code::KekDenied, message)
                .next("wrap the keys anew under the newest version first"));
        }
        if self.describe().await?.newest < first {
            let message = "the newest version of a transit key cannot be destroyed";
            return Err(Error::new(Code::KekDenied, message).next("make a new version first"));
        }
        let least = json!({ "min_decryption_version": first, "min_encryption_version": first });
        self.post(&self.of_key("/config"), least).await?;
        let trim = json!({ "min_available_version": first });
        self.post(&self.of_key("/trim"), trim).await?;
        Ok(Destruction::Done)
    }

    async fn describe(&self) -> Result<Described> {
        let path = self.path(&format!("keys/{}", self.key.key));
        let answer = self.exchange.get(&path, &self.who().await?).await?;
        let answer = self.judge(answer)?;
        let kind = text(&answer, "type")?;
        if !KINDS.contains(&kind.as_str()) {
            let message = format!("the transit key `{}` is of type {kind}", self.name());
            return Err(Error::new(Code::KekDenied, message)
                .next("make one that binds what it seals: type aes256-gcm96"));
        }
        let newest = answer["data"]["latest_version"].as_u64();
        Ok(Described {
            newest: newest.ok_or_else(|| unheard("a key without a version"))?,
            derived: answer["data"]["derived"].as_bool().unwrap_or(false),
        })
    }

    /// `verb` is `encrypt`, `decrypt`, or what follows the key's own path.
    async fn post(&self, verb: &str, mut question: Value) -> Result<Value> {
        let path = match verb.starts_with("keys/") {
            true => self.path(verb),
            false => self.path(&format!("{verb}/{}", self.key.key)),
        };
        let text = Zeroizing::new(question.to_string().into_bytes());
        drop(wiped(question["plaintext"].take()));
        let answer = self.exchange.post(&path, &self.who().await?, text).await?;
        self.judge(answer)
    }

    fn judge(&self, (status, said): (u16, Value)) -> Result<Value> {
        if (200..300).contains(&status) {
            return Ok(said);
        }
        Err(refusal(&self.name(), status, &said))
    }

    async fn who(&self) -> Result<Vec<(&'static str, Zeroizing<String>)>> {
        let (place, environment) = (self.key.token.clone(), self.environment);
        let token = on_thread(move || place.read(&environment)).await?;
        let mut headers = vec![("x-vault-token", token)];
        let namespace = self.key.namespace.clone().map(Zeroizing::new);
        headers.extend(namespace.map(|name| ("x-vault-namespace", name)));
        Ok(headers)
    }

    fn name(&self) -> String {
        format!("{}/{}", self.key.mount, self.key.key)
    }

    fn path(&self, of_mount: &str) -> String {
        format!("/v1/{}/{of_mount}", self.key.mount)
    }

    fn of_key(&self, below: &str) -> String {
        format!("keys/{}{below}", self.key.key)
    }
}

/// Types that take additional data.
const KINDS: [&str; 4] =
    ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];

fn bound(binding: &KekBinding, derived: bool) -> Value {
    let bytes = STANDARD.encode(binding.to_bytes());
    match derived {
        true => json!({ "associated_data": bytes, "context": bytes }),
        false => json!({ "associated_data": bytes }),
    }
}

/// Who is to blame, by what the server answers; its words are all that tells some of them apart.
fn refusal(key: &str, status: u16, said: &Value) -> Error {
    let Some(errors) = said["errors"].as_array() else {
        // Somebody on the way said it, a load balancer or a proxy, and knows nothing of keys.
        return crate::tries::away(&format!("HTTP {status}, in other words than the server's"));
    };
    let errors = errors.iter().filter_map(Value::as_str);
    let words = errors.collect::<Vec<_>>().join("; ");
    let has = |part: &str| words.contains(part);
    match status {
        403 => denied(
            format!("the token may not use the transit key `{key}`"),
            &format!("HTTP 403 {words}"),
        ),
        404 => gone(format!("there is no transit key `{key}`"), &format!("HTTP 404 {words}")),
        400 if has("key not found") => gone(format!("there is no transit key `{key}`"), &words),
        400 if has("too old") || has("version is disallowed") || has("no such key version") => {
            gone(format!("the version of transit key `{key}` that sealed the KEK is gone"), &words)
        }
        400 if has("authentication failed")
            || has("invalid ciphertext")
            || has("could not decode") =>
        {
            foreign(&words)
        }
        400..500 if !matches!(status, 408 | 429 | 472 | 473) => denied(
            format!("the server refused the transit key `{key}`"),
            &format!("HTTP {status} {words}"),
        ),
        _ => crate::tries::away(&format!("HTTP {status} {words}")),
    }
}

/// The text itself, which is wiped when it is dropped.
fn wiped(value: Value) -> Zeroizing<String> {
    match value {
        Value::String(text) => Zeroizing::new(text),
        _ => Zeroizing::default(),
    }
}

fn text(answer: &Value, field: &str) -> Result<String> {
    let text = answer["data"][field].as_str();
    text.map(str::to_owned).ok_or_else(|| unheard(&format!("an answer without `{field}`")))
}

/// Of `vault:v3:…`.
fn version_of(ciphertext: &str) -> Option<String> {
    let version = ciphertext.split(':').nth(1)?.strip_prefix('v')?;
    version.parse::<u64>().ok().map(|version| version.to_string())
}

fn unheard(what: &str) -> Error {
    crate::tries::away(&format!("it sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_a_ciphertext() {
        assert_eq!(version_of("vault:v12:abc").as_deref(), Some("12"));
        for bad in ["", "vault", "vault:12:abc", "vault:v:abc", "vault:vx:abc"] {
            assert_eq!(version_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn refusals_say_who_is_to_blame() {
        let code = |status, words: &str| {
            let error = refusal("m/k", status, &json!({ "errors": [words] }));
            assert!(error.cause.as_ref().is_some_and(|cause| cause.contains(words)), "{error}");
            error.code
        };
        assert_eq!(code(403, "permission denied"), Code::KekDenied);
        assert_eq!(code(400, "encryption key not found"), Code::KekGone);
        assert_eq!(code(404, "no handler for route"), Code::KekGone);
        assert_eq!(code(503, "Vault is sealed"), Code::KekUnreachable);
        assert_eq!(code(429, "slow down"), Code::KekUnreachable);
        assert_eq!(code(307, "elsewhere"), Code::KekUnreachable);
        assert_eq!(code(400, "something else"), Code::KekDenied);
        assert_eq!(code(400, "cipher: message authentication failed"), Code::KeyWrong);
    }

    #[test]
    fn what_others_than_the_server_say_is_no_refusal() {
        for status in [400, 401, 403, 404, 500, 502] {
            for said in [Value::Null, json!({}), json!({ "message": "no such route" })] {
                assert_eq!(refusal("m/k", status, &said).code, Code::KekUnreachable, "{status}");
            }
        }
        assert_eq!(refusal("m/k", 404, &json!({ "errors": [] })).code, Code::KekGone);
    }
}
