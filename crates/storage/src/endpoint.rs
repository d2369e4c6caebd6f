//! Where an endpoint leads: whose server it is, and what may be sent to it.
//!
//! ```text
//!   endpoint ─┬─ the vendor's own, or none named ─→ what this host is known by, or a named key
//!             ├─ anybody else's, with TLS         ─→ only a key that the URL names
//!             └─ without TLS                      ─→ the same, and only within this host
//! ```
//!
//! Whoever may name an endpoint must not be given this host's identity by that: a bearer token is
//! good for whoever holds it. One server is known under each way to write its name.

use core::net::{Ipv4Addr, Ipv6Addr};
use holdfast_common::{Code, Error, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    text: String,
    has_tls: bool,
    /// In lower case, without a dot at its end.
    host: String,
    /// None is the usual one.
    port: Option<u16>,
}

/// Where Google's buckets are, if nothing else is said.
pub(crate) const GOOGLE: &str = "https://storage.googleapis.com";
/// Each is a cloud of its own: accounts of one name in two of them are two.
const AZURES: [(&str, &str); 4] = [
    (".blob.core.windows.net", "azure"),
    (".blob.storage.azure.net", "azure"),
    (".blob.core.usgovcloudapi.net", "azure-usgov"),
    (".blob.core.chinacloudapi.cn", "azure-china"),
];

impl Endpoint {
    pub(crate) fn of(text: &str) -> Self {
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let has_tls = !scheme.eq_ignore_ascii_case("http");
        let rest = rest.split('/').next().unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (rest, None),
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match inner.map(str::parse::<Ipv6Addr>) {
            Some(Ok(address)) => format!("[{address}]"),
            _ => host,
        };
        let usual = if has_tls { 443 } else { 80 };
        let port = port.filter(|port| *port != usual);
        Self { text: text.to_owned(), has_tls, host, port }
    }

    /// What its server is called, however it was written. The two usual ports are one server's.
    pub(crate) fn server(&self) -> String {
        match self.port {
            None => self.host.clone(),
            Some(port) => format!("{}:{port}", self.host),
        }
    }

    pub(crate) fn is_loopback(&self) -> bool {
        let inner = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match inner {
            Some(host) => host.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback()),
            None if self.host == "localhost" => true,
            None => self.host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback()),
        }
    }

    /// Google's name for its own server, if it is one.
    pub(crate) fn google(&self) -> Option<&'static str> {
        let is_google = self.port.is_none() && self.host.ends_with(".googleapis.com");
        is_google.then_some("gcs")
    }

    /// Which of Azure's clouds the server is in, if in one.
    pub(crate) fn azure(&self) -> Option<&'static str> {
        let of =
            |(suffix, cloud): &(&str, &'static str)| self.host.ends_with(suffix).then_some(*cloud);
        self.port.is_none().then(|| AZURES.iter().find_map(of)).flatten()
    }

    /// Which of Amazon's partitions the server is in, if it is S3: a bucket's name is one in each.
    /// Under the same domain lie servers of Amazon's customers.
    pub(crate) fn amazon(&self) -> Option<&'static str> {
        let host = self.host.strip_suffix(".cn").unwrap_or(&self.host);
        let names: Vec<&str> = host.strip_suffix(".amazonaws.com")?.split('.').collect();
        let region = match names.as_slice() {
            ["s3" | "s3-accelerate" | "s3-fips"] => "",
            ["s3-accelerate", "dualstack"] => "",
            ["s3" | "s3-fips", region] | ["s3" | "s3-fips", "dualstack", region] => region,
            [one] => one.strip_prefix("s3-")?,
            [.., "s3", region, "vpce"] => region,
            _ => return None,
        };
        let is_region = region.is_empty() || is_region(region);
        (self.port.is_none() && is_region).then(|| partition(region))
    }

    /// Without TLS nothing that proves who we are leaves this host.
    pub(crate) fn insist_on_tls(&self) -> Result<()> {
        if self.has_tls || self.is_loopback() {
            return Ok(());
        }
        let message = format!("{} has no TLS: whoever is on the line would get the key", self.text);
        Err(Error::new(Code::LocationCredentialsRefused, message)
            .next("name an endpoint that begins with https://"))
    }

    /// Whether a secret on its way there can be read by others.
    pub(crate) fn is_overheard(&self) -> bool {
        !self.has_tls && !self.is_loopback()
    }

    /// The refusal of what this host has and the URL does not name.
    pub(crate) fn not_for(&self, vendor: &str, option: &str) -> Error {
        let message = format!(
            "{} is not {vendor}'s own: what identifies this host is not sent there",
            self.text
        );
        Error::new(Code::LocationCredentialsMissing, message)
            .next(format!("name in the location's URL what may be: {option}"))
    }
}

/// Where the buckets of a region have their names.
pub(crate) fn partition(region: &str) -> &'static str {
    match region.split_once('-') {
        Some(("cn", _)) => "s3-cn",
        Some(("us", rest)) if rest.starts_with("gov-") => "s3-us-gov",
        _ => "s3",
    }
}

/// As Amazon's regions are called: `eu-central-1`.
fn is_region(name: &str) -> bool {
    let mut parts = name.split('-');
    let number = parts.next_back().unwrap_or_default();
    let is_word = |part: &str| part.len() >= 2 && part.bytes().all(|b| b.is_ascii_lowercase());
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    is_number && parts.clone().count() >= 2 && parts.all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_known_under_each_way_to_write_it() {
        for (server, texts) in [
            (
                "s3.example",
                &["https://s3.example", "https://S3.Example.", "https://s3.example:443"][..],
            ),
            ("s3.example:9000", &["https://s3.example:9000", "http://S3.EXAMPLE.:9000"]),
            ("[::1]:9000", &["http://[::1]:9000", "http://[0:0:0:0:0:0:0:1]:9000"]),
            ("[::1]", &["http://[::1]", "http://[::1]:80"]),
            ("s3.example:443", &["http://s3.example:443"]),
        ] {
            for text in texts {
                assert_eq!(Endpoint::of(text).server(), server, "{text}");
            }
        }
    }

    #[test]
    fn a_vendors_own_is_told_from_what_looks_like_it() {
        let of = |host: &str| {
            let there = Endpoint::of(&format!("https://{host}"));
            there.google().or(there.azure()).or(there.amazon())
        };
        for (host, due) in [
            ("storage.googleapis.com", "gcs"),
            ("Storage.GoogleAPIs.com.:443", "gcs"),
            ("storage.europe-west3.rep.googleapis.com", "gcs"),
            ("clinic.blob.core.windows.net", "azure"),
            ("clinic.z12.blob.storage.azure.net", "azure"),
            ("clinic.blob.core.chinacloudapi.cn", "azure-china"),
            ("s3.amazonaws.com", "s3"),
            ("s3.eu-central-1.amazonaws.com", "s3"),
            ("s3-eu-west-1.amazonaws.com", "s3"),
            ("s3-fips.dualstack.us-gov-west-1.amazonaws.com", "s3-us-gov"),
            ("s3.cn-north-1.amazonaws.com.cn", "s3-cn"),
            ("bucket.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com", "s3"),
        ] {
            assert_eq!(of(host), Some(due), "{host}");
        }
        for host in [
            "googleapis.com.evil.example",
            "evilgoogleapis.com",
            "storage.googleapis.com:8443",
            "clinic.blob.core.windows.net.evil.example",
            "blob.core.windows.net.evil",
            "clinic.web.core.windows.net",
            "amazonaws.com",
            "s3.amazonaws.com.evil.example",
            "ec2-1-2-3-4.compute-1.amazonaws.com",
            "s3-123456.us-east-1.elb.amazonaws.com",
            "s3-evil.amazonaws.com",
            "abc.execute-api.eu-west-1.amazonaws.com",
            "vpce-1.vpce-svc-2.eu-west-1.vpce.amazonaws.com",
            "127.0.0.1:9000",
        ] {
            assert_eq!(of(host), None, "{host}");
        }
    }

    #[test]
    fn without_tls_only_this_host_is_near_enough() {
        for near in ["http://127.0.0.1:9", "http://localhost.:9", "http://[::1]", "https://far"] {
            assert!(Endpoint::of(near).insist_on_tls().is_ok(), "{near}");
        }
        for far in ["http://far", "http://127.0.0.1.far:9", "http://10.0.0.1", "http://[::2]:9"] {
            let error = Endpoint::of(far).insist_on_tls().unwrap_err();
            assert_eq!(error.code, Code::LocationCredentialsRefused, "{far}");
            assert!(Endpoint::of(far).is_overheard());
        }
    }
}
