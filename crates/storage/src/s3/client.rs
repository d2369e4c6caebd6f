//! A client for one location: its endpoint, its credentials, its patience.
//!
//! Every call is tried once here; whoever wants more wraps the store in `Retry`, which counts and
//! waits in one place for all kinds of locations.

use super::{identity::Discreet, options::Options};
use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::{
    Client,
    config::{
        RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
    },
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use core::time::Duration;

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Until the first byte of an answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Of a whole call, with the largest object on a slow line.
const CALL_MAX: Duration = Duration::from_secs(900);
/// Without a byte for so long a stream has stalled.
const STALL_MAX: Duration = Duration::from_secs(30);

pub(super) async fn connect(options: &Options) -> Client {
    let tls = Provider::Rustls(CryptoMode::AwsLc);
    let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
    let patience = TimeoutConfig::builder()
        .connect_timeout(CONNECT_MAX)
        .read_timeout(ANSWER_MAX)
        .operation_attempt_timeout(CALL_MAX)
        .build();
    let stalls = StalledStreamProtectionConfig::enabled().grace_period(STALL_MAX).build();
    let mut chain = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(stalls)
        .timeout_config(patience);
    if let Some(region) = &options.region {
        chain = chain.region(Region::new(region.clone()));
    }
    if let Some(profile) = &options.profile {
        chain = chain.profile_name(profile);
    }
    if let Some(keys) = &options.keys {
        chain = chain.credentials_provider(keys.clone());
    }
    let mut found = chain.load().await;
    if let Some(keys) = found.credentials_provider() {
        let keys = SharedCredentialsProvider::new(Discreet::new(keys, options));
        found = found.into_builder().credentials_provider(keys).build();
    }
    // The signature holds the hash of what is sent; and whoever reads checks by itself.
    let mut config = aws_sdk_s3::config::Builder::from(&found)
        .force_path_style(options.path_style)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    // The URL alone says where the bucket is, whatever the environment names.
    config.set_endpoint_url(options.endpoint.clone());
    Client::from_conf(config.build())
}
