//! Which keys sign for which endpoint.
//!
//! ```text
//!   keys of their own (a file, the environment)   for any endpoint: a signature tells no secret
//!   keys of a session (an instance's, a role's)   for Amazon's own, or where the URL names them
//!                                                 by `profile`; never without TLS past this host
//! ```
//!
//! With the keys of a session a token goes out, as it is, in the head of each request. It opens
//! nothing without its secret; but it is what this host was given to be known by, and servers of
//! others have no business to hold it.

use super::options::Options;
use crate::endpoint::Endpoint;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};

/// The keys that are found, unless they must not go where they would.
#[derive(Debug)]
pub(super) struct Discreet {
    found: SharedCredentialsProvider,
    /// Why keys of a session are not sent.
    no_session: Option<String>,
}

impl Discreet {
    pub(super) fn new(found: SharedCredentialsProvider, options: &Options) -> Self {
        Self { found, no_session: no_session(options) }
    }

    async fn provide(&self) -> Result<Credentials, CredentialsError> {
        let keys = self.found.provide_credentials().await?;
        match &self.no_session {
            Some(why) if keys.session_token().is_some_and(|token| !token.is_empty()) => {
                Err(CredentialsError::invalid_configuration(why.clone()))
            }
            _ => Ok(keys),
        }
    }
}

impl ProvideCredentials for Discreet {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

fn no_session(options: &Options) -> Option<String> {
    let text = options.endpoint.as_deref()?;
    let there = Endpoint::of(text);
    if there.is_overheard() {
        return Some(format!("{text} has no TLS: the token of a session is not sent there"));
    }
    let is_meant = there.amazon().is_some() || options.profile.is_some();
    let why = "is not Amazon's own: the token of this host's session is not sent there. Use keys \
               of its own, or name them by ?profile=";
    (!is_meant).then(|| format!("{text} {why}"))
}
