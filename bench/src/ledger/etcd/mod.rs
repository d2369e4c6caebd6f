//! etcd, as Debian packages it: three members on loopback, every write synced to disk (etcd's
//! default), TLS with client certificates between members and to clients.
//!
//! It runs with its own timeouts (heartbeat 100 ms, election 1000 ms) and with ones as near as it
//! allows to what Holdfast uses: it refuses an election timeout below five heartbeats, hence 500.
//! Nothing else is tuned. A command is a `Put` of the payload under a new key of 16 bytes.

mod client;
mod messages;

use super::{
    certificates::Certificates,
    cluster::{Belief, Cluster, Contender, MEMBERS, Pending, Target, agreed},
    process::{Process, free_ports},
};
use crate::tool::CommandLine;
use client::{Client, Connection};
use core::sync::atomic::{AtomicU64, Ordering};
use holdfast_common::Result;
use messages::StatusResponse;
use std::path::Path;

pub struct Etcd {
    timing: Option<Timing>,
}

#[derive(Clone, Copy)]
pub struct Timing {
    pub heartbeat_ms: u32,
    pub election_ms: u32,
}

impl Etcd {
    /// With etcd's own timeouts unless others are given.
    pub fn new(timing: Option<Timing>) -> Self {
        Self { timing }
    }

    fn flags(&self) -> Vec<String> {
        let Some(timing) = self.timing else { return Vec::new() };
        vec![
            format!("--heartbeat-interval={}", timing.heartbeat_ms),
            format!("--election-timeout={}", timing.election_ms),
        ]
    }
}

impl Contender for Etcd {
    fn name(&self) -> String {
        match self.timing {
            None => "etcd, default timeouts".to_owned(),
            Some(timing) => {
                format!(
                    "etcd, heartbeat {} election {} ms",
                    timing.heartbeat_ms, timing.election_ms
                )
            }
        }
    }

    fn version(&self) -> Result<String> {
        let said = CommandLine::new(Path::new(PROGRAM), "--version", &[]).output();
        let said = said.map_err(|error| error.next("install it with `bench/setup etcd`"))?;
        Ok(said.lines().next().unwrap_or("unknown").to_lowercase())
    }

    fn shown(&self) -> String {
        let names = ["authority.pem", "member.pem", "member-key.pem"];
        let fixed = arguments(0, Path::new("D"), &ports_shown(), names.map(Path::new));
        format!("{PROGRAM} {}", [fixed, self.flags()].concat().join(" "))
    }

    fn start<'a>(&'a self, dir: &'a Path) -> Pending<'a, Box<dyn Cluster>> {
        Box::pin(async move {
            let members: Box<dyn Cluster> = Box::new(Members::start(dir, &self.flags())?);
            Ok(members)
        })
    }
}

struct Members {
    processes: Vec<Process>,
    endpoints: Vec<String>,
    certificates: Certificates,
    /// For questions, not for commands.
    clients: Vec<Client>,
    connections: AtomicU64,
}

impl Members {
    fn start(dir: &Path, flags: &[String]) -> Result<Self> {
        let certificates = Certificates::make(&dir.join("certificates"))?;
        let ports = free_ports(2 * MEMBERS)?;
        let shown: Vec<String> = ports.iter().map(u16::to_string).collect();
        let pem = [&certificates.authority, &certificates.member, &certificates.member_key];
        let mut processes = Vec::new();
        for member in 0..MEMBERS {
            let mut line = arguments(member, dir, &shown, pem.map(|file| file.as_path()));
            line.extend_from_slice(flags);
            let log = dir.join(format!("member-{member}.log"));
            processes.push(Process::start(Path::new(PROGRAM), line, &log)?);
        }
        let endpoints: Vec<String> =
            ports[..MEMBERS].iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let clients = endpoints.iter().map(|endpoint| Client::new(endpoint, &certificates.client));
        let clients = clients.collect::<Result<_>>()?;
        Ok(Self { processes, endpoints, certificates, clients, connections: AtomicU64::new(0) })
    }
}

impl Cluster for Members {
    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn connect(&self, member: usize) -> Pending<'_, Box<dyn Target>> {
        Box::pin(async move {
            let client = Client::new(&self.endpoints[member], &self.certificates.client)?;
            client.status().await?;
            let number = self.connections.fetch_add(1, Ordering::Relaxed);
            let target: Box<dyn Target> = Box::new(Connection::new(client, number));
            Ok(target)
        })
    }

    fn leader(&mut self) -> Pending<'_, Option<usize>> {
        Box::pin(async move {
            self.processes.iter_mut().try_for_each(Process::refuse_ended)?;
            let asked = futures::future::join_all(self.clients.iter().map(Client::status)).await;
            let answers: Vec<_> = asked.into_iter().map(|asked| asked.ok().map(belief)).collect();
            Ok(agreed(&answers))
        })
    }

    fn kill(&mut self, member: usize) -> Result<()> {
        self.processes[member].kill()
    }

    fn restart(&mut self, member: usize) -> Result<()> {
        self.processes[member].restart()
    }
}

fn belief(answer: StatusResponse) -> Belief {
    let own = answer.header.map_or(0, |header| header.member_id);
    Belief { own, leader: answer.leader }
}

/// `ports`: those for clients, then those for members. `pem`: authority, certificate, key.
fn arguments(member: usize, dir: &Path, ports: &[String], pem: [&Path; 3]) -> Vec<String> {
    let url = |port: &String| format!("https://127.0.0.1:{port}");
    let (client, peer) = (url(&ports[member]), url(&ports[MEMBERS + member]));
    let all: Vec<String> =
        (0..MEMBERS).map(|other| format!("m{other}={}", url(&ports[MEMBERS + other]))).collect();
    let [authority, certificate, key] = pem.map(|file| file.display().to_string());
    vec![
        format!("--name=m{member}"),
        format!("--data-dir={}", dir.join(format!("member-{member}")).display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster={}", all.join(",")),
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={authority}"),
        format!("--cert-file={certificate}"),
        format!("--key-file={key}"),
        "--peer-client-cert-auth".to_owned(),
        format!("--peer-trusted-ca-file={authority}"),
        format!("--peer-cert-file={certificate}"),
        format!("--peer-key-file={key}"),
    ]
}

fn ports_shown() -> Vec<String> {
    ["C0", "C1", "C2", "P0", "P1", "P2"].map(str::to_owned).to_vec()
}

const PROGRAM: &str = "/usr/bin/etcd";

#[cfg(test)]
mod tests {
    use super::messages::ResponseHeader;
    use super::*;

    #[test]
    fn a_member_believes_what_its_status_says_and_without_a_header_is_nobody() {
        let header = Some(ResponseHeader { member_id: 7, ..ResponseHeader::default() });
        let answer = StatusResponse { header, leader: 9, ..StatusResponse::default() };
        let (own, leader) = (belief(answer.clone()).own, belief(answer).leader);
        assert_eq!((own, leader), (7, 9));
        assert_eq!(belief(StatusResponse { leader: 9, ..StatusResponse::default() }).own, 0);
    }

    #[test]
    fn the_shown_command_line_has_certificates_both_ways_and_only_given_timeouts() {
        let plain = Etcd::new(None).shown();
        for word in ["--client-cert-auth", "--peer-client-cert-auth", "m2=https://127.0.0.1:P2"] {
            assert!(plain.contains(word), "{plain}");
        }
        assert!(!plain.contains("timeout"), "{plain}");
        let timing = Timing { heartbeat_ms: 100, election_ms: 500 };
        let equal = Etcd::new(Some(timing)).shown();
        assert!(equal.ends_with("--heartbeat-interval=100 --election-timeout=500"), "{equal}");
    }
}
