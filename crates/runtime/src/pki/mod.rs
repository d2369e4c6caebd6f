//! The cluster's own authority: a request goes in, a certificate comes out.
//!
//! ```text
//! IdentityKey --request--> bytes --ProvenKey::from_request--> ProvenKey --+
//!                                       Identity, Validity, serial --+--> CertificateAuthority
//! ```
//!
//! The whole house uses Ed25519: one algorithm for certificates, requests and points. A request
//! proves possession of a key and nothing else: every name in a certificate is chosen by whoever
//! issues it, none is copied from the request. Time, chance and serial numbers are the caller's.

mod authority;
mod fingerprint;
mod join_token;
mod key;
mod operator_request;
mod request;

pub use authority::{CertificateAuthority, Validity};
pub use fingerprint::Fingerprint;
pub use join_token::pin_of;
pub use key::{IdentityKey, key_pem};
pub use operator_request::OperatorRequest;
pub use request::ProvenKey;

/// The one name that clients check, whatever address they dialled.
pub const COORDINATOR_NAME: &str = "coordinator.holdfast";

/// Certificates as PEM text, in the order given.
pub fn certificates_pem<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    certificates
        .into_iter()
        .map(|der| pem::encode_config(&pem::Pem::new("CERTIFICATE", der), config))
        .collect()
}
