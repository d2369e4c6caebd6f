//! AWS KMS: a symmetric key, whose encryption context names what it seals.
//!
//! Credentials are found as every AWS tool finds them. A version is a key of its own: a new one is
//! made beside the old one and the alias moved to it, and destroying one schedules its deletion.

use crate::{
    keeper::{Destruction, SealedBy},
    tries::{ANSWER_MAX, CONNECT_MAX, away, denied, foreign, gone},
};
use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use core::time::Duration;
use holdfast_common::{Error, Result};
use holdfast_keyring::{Kek, KekBinding, SealedKek, kek::AwsKmsKey};
use std::collections::HashMap;
use zeroize::Zeroizing;

pub(crate) struct AwsKms {
    key: AwsKmsKey,
    client: Client,
}

impl AwsKms {
    pub(crate) async fn connect(key: &AwsKmsKey) -> Result<Self> {
        let tls = Provider::Rustls(CryptoMode::AwsLc);
        let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
        let patience = TimeoutConfig::builder()
            .connect_timeout(CONNECT_MAX)
            .operation_timeout(ANSWER_MAX)
            .build();
        let mut chain = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(patience);
        if let Some(region) = key.region.as_deref().or_else(|| region_of(&key.key)) {
            chain = chain.region(Region::new(region.to_owned()));
        }
        if let Some(profile) = &key.profile {
            chain = chain.profile_name(profile);
        }
        if let Some(endpoint) = &key.endpoint {
            chain = chain.endpoint_url(endpoint);
        }
        // Where neither text nor environment names a region, an instance is asked for its own.
        let found = tokio::time::timeout(ANSWER_MAX, chain.load()).await;
        let found = found.map_err(|_| away("the instance does not say its region"))?;
        Ok(Self { key: key.clone(), client: Client::new(&found) })
    }

    pub(crate) async fn seal(&self, kek: &Kek, binding: &KekBinding) -> Result<SealedBy> {
        let plaintext = Blob::new(kek.expose_to_provider().expose().to_vec());
        let request = self.client.encrypt().key_id(&self.key.key).plaintext(plaintext);
        let request = request.set_encryption_context(Some(context(binding)));
        let answer = request.send().await.map_err(|error| self.judge(&self.key.key, &error))?;
        let sealed = answer.ciphertext_blob.ok_or_else(|| unheard("no ciphertext"))?.into_inner();
        let version = answer.key_id.ok_or_else(|| unheard("no key id"))?;
        Ok(SealedBy { key: self.key.key.clone(), version, sealed })
    }

    pub(crate) async fn open(&self, sealed: &SealedKek) -> Result<Zeroizing<Vec<u8>>> {
        let request = self.client.decrypt().key_id(opener(&self.key.key, &sealed.version)?);
        let request = request.ciphertext_blob(Blob::new(sealed.sealed.clone()));
        let request = request.set_encryption_context(Some(context(&sealed.binding())));
        let answer = request.send().await.map_err(|error| self.judge(&sealed.version, &error))?;
        let plaintext = answer.plaintext.ok_or_else(|| unheard("no plaintext"))?;
        Ok(Zeroizing::new(plaintext.into_inner()))
    }

    pub(crate) async fn newest(&self) -> Result<String> {
        let answer = self.client.describe_key().key_id(&self.key.key).send().await;
        let answer = answer.map_err(|error| self.judge(&self.key.key, &error))?;
        let about = answer.key_metadata.ok_or_else(|| unheard("no description"))?;
        about.arn.ok_or_else(|| unheard("no ARN"))
    }

    /// A key like the one that the alias names, with its policy; then the alias names it.
    pub(crate) async fn renew(&self) -> Result<String> {
        let alias = self.key.key.rsplit(':').next().filter(|name| name.starts_with("alias/"));
        let Some(alias) = alias else {
            return Err(denied("the KMS key is named by its id", "it has one version for ever")
                .next("name it by an alias: aws-kms:alias/NAME"));
        };
        let old = self.newest().await?;
        let judged = |error: &dyn Said| self.judge_said(&old, error);
        let policy = self.client.get_key_policy().key_id(&old).policy_name("default").send().await;
        let policy = policy.map_err(|error| judged(&error))?.policy;
        let made = self.client.create_key().set_policy(policy).description("Holdfast KEK");
        let made = made.send().await.map_err(|error| judged(&error))?.key_metadata;
        let made = made.and_then(|about| about.arn).ok_or_else(|| unheard("no ARN"))?;
        let moved = self.client.update_alias().alias_name(alias).target_key_id(&made).send().await;
        moved.map_err(|error| judged(&error))?;
        Ok(made)
    }

    pub(crate) async fn destroy(&self, old: &SealedKek) -> Result<Destruction> {
        let request = self.client.schedule_key_deletion();
        let request = request.key_id(opener(&self.key.key, &old.version)?);
        let request = request.pending_window_in_days(DELETION_DAYS);
        request.send().await.map_err(|error| self.judge(&old.version, &error))?;
        Ok(Destruction::After(DELETION))
    }

    fn judge<E>(&self, key: &str, error: &SdkError<E>) -> Error
    where
        SdkError<E>: Said,
    {
        self.judge_said(key, error)
    }

    /// Who is to blame: KMS has a name for everything, the way to it none.
    fn judge_said(&self, key: &str, error: &dyn Said) -> Error {
        let (code, words) = (error.code_said(), error.words());
        match code.as_deref() {
            Some("NotFoundException") => gone(format!("there is no KMS key `{key}`"), &words),
            Some("DisabledException") => gone(format!("the KMS key `{key}` is disabled"), &words),
            Some("KMSInvalidStateException") => {
                gone(format!("the KMS key `{key}` cannot be used"), &words)
            }
            Some("InvalidCiphertextException" | "IncorrectKeyException") => foreign(&words),
            Some(
                "DependencyTimeoutException"
                | "KMSInternalException"
                | "KeyUnavailableException"
                | "RequestTimeout"
                | "ServiceUnavailable"
                | "ServiceUnavailableException"
                | "InternalFailure"
                | "Throttling"
                | "ThrottlingException",
            ) => away(&words),
            Some(_) => denied(format!("KMS refused the key `{key}`"), &words),
            None if error.is_ours() => denied(
                "KMS was not asked: there are no credentials or no region",
                &words,
            )
            .next("give the coordinator credentials in its environment, a profile or its instance"),
            None if matches!(error.status(), Some(401 | 403)) => {
                denied(format!("KMS refused the key `{key}`"), &words)
            }
            None => away(&words),
        }
    }
}

/// What an error of any call says.
trait Said {
    fn code_said(&self) -> Option<String>;
    fn words(&self) -> String;
    /// Of an answer in words of its own.
    fn status(&self) -> Option<u16>;
    /// Nothing was sent, and time will not mend it.
    fn is_ours(&self) -> bool;
}

impl<E: ProvideErrorMetadata + std::error::Error + 'static> Said for SdkError<E> {
    fn code_said(&self) -> Option<String> {
        self.code().map(str::to_owned)
    }

    fn words(&self) -> String {
        if let (Some(code), message) = (self.code(), self.message()) {
            return format!("{code}: {}", message.unwrap_or("no reason was given"));
        }
        links(self).map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    fn status(&self) -> Option<u16> {
        self.raw_response().map(|answer| answer.status().as_u16())
    }

    fn is_ours(&self) -> bool {
        match self {
            Self::ConstructionFailure(_) => true,
            Self::DispatchFailure(failure) => {
                !failure.is_timeout() && !failure.is_io() && !is_outage(self)
            }
            _ => false,
        }
    }
}

/// Whether whoever gives credentials is away; one who was never named is not.
fn is_outage(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_credentials = links(error).find_map(|link| link.downcast_ref::<CredentialsError>());
    of_credentials.is_some_and(|error| {
        !matches!(
            error,
            CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)
        )
    })
}

/// An error with what it stems from.
fn links<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |one| one.source())
}

/// Seen in the provider's own log, and in its policies.
fn context(binding: &KekBinding) -> HashMap<String, String> {
    let entry = |name: &str, value: String| (format!("holdfast-{name}"), value);
    HashMap::from([
        entry("purpose", "kek".to_owned()),
        entry("cluster", binding.cluster.to_string()),
        entry("kek", binding.kek.to_string()),
    ])
}

/// The key that sealed, looked for in the account and region of the one that is named: nobody
/// vouches for the record, and a key of somebody else's account would open what he sealed himself.
/// A key of several regions has the same id in each, and opens in each what any of them sealed.
fn opener(named: &str, sealed_by: &str) -> Result<String> {
    let id = sealed_by.rsplit('/').next().unwrap_or(sealed_by);
    let (account, name) = match named.rsplit_once(':') {
        Some((account, name)) => (Some(account), name),
        None => (None, named),
    };
    let is_named = name.starts_with("alias/") || name.strip_prefix("key/").unwrap_or(name) == id;
    if !is_named || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(foreign("another key is named than the one that sealed it"));
    }
    Ok(account.map_or_else(|| id.to_owned(), |account| format!("{account}:key/{id}")))
}

fn region_of(key: &str) -> Option<&str> {
    let mut parts = key.strip_prefix("arn:")?.split(':');
    parts.nth(2).filter(|region| !region.is_empty())
}

fn unheard(what: &str) -> Error {
    away(&format!("its answer holds {what}"))
}

const DELETION_DAYS: i32 = 30;
const DELETION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_credentials_and_is_away_refuses_nothing() {
        for away in [
            CredentialsError::provider_error("503 from STS"),
            CredentialsError::provider_timed_out(ANSWER_MAX),
            CredentialsError::unhandled("half an answer"),
        ] {
            assert!(is_outage(&away), "{away:?}");
        }
        for refused in [
            CredentialsError::not_loaded("nobody was named"),
            CredentialsError::invalid_configuration("a loop"),
        ] {
            assert!(!is_outage(&refused), "{refused:?}");
        }
        assert!(!is_outage(&std::io::Error::other("something else")));
    }

    #[test]
    fn an_arn_names_its_region() {
        assert_eq!(region_of("arn:aws:kms:eu-central-1:1:key/x"), Some("eu-central-1"));
        assert_eq!((region_of("alias/x"), region_of("arn:aws:kms::1:key/x")), (None, None));
    }

    #[test]
    fn a_key_of_several_regions_opens_in_each() {
        let sealed_by = "arn:aws:kms:us-east-1:1:key/mrk-12";
        assert_eq!(opener("mrk-12", sealed_by).unwrap(), "mrk-12");
        let here = "arn:aws:kms:eu-central-1:1:key/mrk-12";
        assert_eq!(opener(here, sealed_by).unwrap(), here);
    }

    #[test]
    fn a_record_does_not_lead_to_a_key_of_another_account() {
        let theirs = "arn:aws:kms:eu-central-1:666:key/12";
        for (named, asked) in [
            ("alias/x", "12"),
            ("arn:aws:kms:eu-central-1:1:alias/x", "arn:aws:kms:eu-central-1:1:key/12"),
            ("arn:aws:kms:eu-central-1:1:key/12", "arn:aws:kms:eu-central-1:1:key/12"),
            ("12", "12"),
        ] {
            assert_eq!(opener(named, theirs).unwrap(), asked, "{named}");
        }
        let odd = "arn:aws:kms:eu-central-1:666:12";
        for (named, sealed_by) in [
            ("13", theirs),
            ("arn:aws:kms:eu-central-1:666:key/13", theirs),
            ("alias/x", odd),
            (odd, odd),
        ] {
            let code = opener(named, sealed_by).unwrap_err().code;
            assert_eq!(code, holdfast_common::Code::KeyWrong, "{named}");
        }
    }
}
