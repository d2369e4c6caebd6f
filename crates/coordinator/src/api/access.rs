//! The one table that says who may call what, and the gate in front of every service.
//!
//! A call that is not in the table is refused. A test compares the table with the protocol's own
//! descriptors, so that no call can be added without deciding about it here.

use super::calls::bounded;
use crate::house::House;
use holdfast_common::{AgentId, Code, Error, Name, Result};
use holdfast_ledger::{
    Actor, Role,
    row::{AgentState, MemberState},
};
use holdfast_runtime::{
    identity::{IdentityKind, PeerCertificate},
    tls::ConnectInfo,
};
use holdfast_wire::status::to_status;
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{
    body::Body,
    codegen::{BoxFuture, Service, http},
};

/// What a call asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: the call brings its own proof, or says nothing worth keeping.
    Anyone,
    /// A certificate of this role.
    Role(Role),
    /// A certificate of an agent or an operator; what each may do the ledger decides.
    Reader,
    /// The certificate of a coordinator of this cluster that was not removed.
    Member,
}

/// How much a call sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sends {
    /// One message with more than names and numbers in it.
    Large,
    Small,
    Stream,
}

/// Who calls, as far as the certificate and the ledger say.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Agent(AgentId),
    Operator(Name),
    /// Another coordinator, by its number.
    Member(u64),
    Unknown,
}

impl Caller {
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Agent(id) => Actor::Agent(*id),
            Self::Operator(name) => Actor::Operator(name.clone()),
            Self::Member(_) => Actor::System,
            Self::Unknown => Actor::Token,
        }
    }

    pub(crate) fn agent(&self) -> Result<AgentId> {
        match self {
            Self::Agent(id) => Ok(*id),
            _ => Err(Error::new(Code::AuthDenied, "only an agent may call this")),
        }
    }
}

const ADMIN: Access = Access::Role(Role::Admin);
const AGENT: Access = Access::Role(Role::Agent);

pub(crate) const TABLE: &[(&str, Access)] = &[
    ("/grpc.health.v1.Health/Check", Access::Anyone),
    ("/grpc.health.v1.Health/List", Access::Anyone),
    ("/grpc.health.v1.Health/Watch", Access::Anyone),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ADMIN),
    ("/holdfast.v1.Admin/AddHold", ADMIN),
    ("/holdfast.v1.Admin/AddLocation", ADMIN),
    ("/holdfast.v1.Admin/Apply", ADMIN),
    ("/holdfast.v1.Admin/AskDestroy", ADMIN),
    ("/holdfast.v1.Admin/CancelRun", ADMIN),
    ("/holdfast.v1.Admin/Collect", ADMIN),
    ("/holdfast.v1.Admin/CompleteBundle", ADMIN),
    ("/holdfast.v1.Admin/ConfirmClock", ADMIN),
    ("/holdfast.v1.Admin/CreateToken", ADMIN),
    ("/holdfast.v1.Admin/Delete", ADMIN),
    ("/holdfast.v1.Admin/DestroyKeys", ADMIN),
    ("/holdfast.v1.Admin/DisableLocation", ADMIN),
    ("/holdfast.v1.Admin/EnableLocation", ADMIN),
    ("/holdfast.v1.Admin/ExportBundle", ADMIN),
    ("/holdfast.v1.Admin/FailbackRegion", ADMIN),
    ("/holdfast.v1.Admin/FenceRegion", ADMIN),
    ("/holdfast.v1.Admin/FollowRun", ADMIN),
    ("/holdfast.v1.Admin/ForgetPoints", ADMIN),
    ("/holdfast.v1.Admin/ForgetRegion", ADMIN),
    ("/holdfast.v1.Admin/List", ADMIN),
    ("/holdfast.v1.Admin/ListAgents", ADMIN),
    ("/holdfast.v1.Admin/ListAudit", ADMIN),
    ("/holdfast.v1.Admin/ListCollections", ADMIN),
    ("/holdfast.v1.Admin/ListHolds", ADMIN),
    ("/holdfast.v1.Admin/ListKeys", ADMIN),
    ("/holdfast.v1.Admin/ListLocations", ADMIN),
    ("/holdfast.v1.Admin/ListPoints", ADMIN),
    ("/holdfast.v1.Admin/ListRuns", ADMIN),
    ("/holdfast.v1.Admin/PlaceMember", ADMIN),
    ("/holdfast.v1.Admin/PlanCollection", ADMIN),
    ("/holdfast.v1.Admin/PlanKeys", ADMIN),
    ("/holdfast.v1.Admin/PlanRetention", ADMIN),
    ("/holdfast.v1.Admin/PromoteRegion", ADMIN),
    ("/holdfast.v1.Admin/RebuildLocation", ADMIN),
    ("/holdfast.v1.Admin/Regions", ADMIN),
    ("/holdfast.v1.Admin/ReleaseHold", ADMIN),
    ("/holdfast.v1.Admin/RemoveMember", ADMIN),
    ("/holdfast.v1.Admin/ReplaceLocation", ADMIN),
    ("/holdfast.v1.Admin/RevokeAgent", ADMIN),
    ("/holdfast.v1.Admin/RewrapKeys", ADMIN),
    ("/holdfast.v1.Admin/RotateKeys", ADMIN),
    ("/holdfast.v1.Admin/SettleRegion", ADMIN),
    ("/holdfast.v1.Admin/StartBackup", ADMIN),
    ("/holdfast.v1.Admin/StartRestore", ADMIN),
    ("/holdfast.v1.Admin/Status", ADMIN),
    ("/holdfast.v1.Admin/TestLocation", ADMIN),
    ("/holdfast.v1.Admin/TransferLeader", ADMIN),
    ("/holdfast.v1.Admin/VerifyAudit", ADMIN),
    ("/holdfast.v1.Admin/VerifyBundle", ADMIN),
    ("/holdfast.v1.Admin/VerifyObjects", ADMIN),
    ("/holdfast.v1.Admin/WithdrawDestroy", ADMIN),
    ("/holdfast.v1.AgentControl/Attach", AGENT),
    ("/holdfast.v1.Enroll/Join", Access::Anyone),
    ("/holdfast.v1.Enroll/JoinMember", Access::Anyone),
    ("/holdfast.v1.Enroll/Renew", AGENT),
    ("/holdfast.v1.Enroll/RenewMember", Access::Anyone),
    ("/holdfast.v1.Enroll/Return", Access::Anyone),
    ("/holdfast.v1.Ingest/Begin", AGENT),
    ("/holdfast.v1.Ingest/Checkpoint", AGENT),
    ("/holdfast.v1.Ingest/Finish", AGENT),
    ("/holdfast.v1.Ingest/Offer", AGENT),
    ("/holdfast.v1.Ingest/Put", AGENT),
    ("/holdfast.v1.Ingest/Renew", AGENT),
    ("/holdfast.v1.Raft/Append", Access::Member),
    ("/holdfast.v1.Raft/AwaitShipped", Access::Member),
    ("/holdfast.v1.Raft/HasKek", Access::Member),
    ("/holdfast.v1.Raft/Hello", Access::Member),
    ("/holdfast.v1.Raft/Overview", Access::Member),
    ("/holdfast.v1.Raft/PreVote", Access::Member),
    ("/holdfast.v1.Raft/Progress", Access::Member),
    ("/holdfast.v1.Raft/Propose", Access::Member),
    ("/holdfast.v1.Raft/ReadIndex", Access::Member),
    ("/holdfast.v1.Raft/Remnant", Access::Member),
    ("/holdfast.v1.Raft/Rivals", Access::Member),
    ("/holdfast.v1.Raft/SendSnapshot", Access::Member),
    ("/holdfast.v1.Raft/SnapshotOffset", Access::Member),
    ("/holdfast.v1.Raft/TakeOver", Access::Member),
    ("/holdfast.v1.Raft/Transfer", Access::Member),
    ("/holdfast.v1.Raft/Vote", Access::Member),
    ("/holdfast.v1.Restore/Close", Access::Reader),
    ("/holdfast.v1.Restore/End", ADMIN),
    ("/holdfast.v1.Restore/Fetch", Access::Reader),
    ("/holdfast.v1.Restore/Keep", Access::Reader),
    ("/holdfast.v1.Restore/Open", Access::Reader),
];

/// By which members hear of each other's epoch.
const HELLO: &str = "/holdfast.v1.Raft/Hello";

/// Marks every answer of a side that was superseded: what it says may be old.
const SUPERSEDED: http::HeaderName = http::HeaderName::from_static("holdfast-superseded");
const MARK: http::HeaderValue = http::HeaderValue::from_static("yes");

/// Calls with a large message: a point, many resources, paths and patterns. Few at a time.
const LARGE: &[&str] = &[
    "/holdfast.v1.Admin/Apply",
    "/holdfast.v1.Admin/RewrapKeys",
    "/holdfast.v1.Admin/StartBackup",
    "/holdfast.v1.Admin/StartRestore",
    "/holdfast.v1.Admin/VerifyObjects",
    "/holdfast.v1.Ingest/Checkpoint",
    "/holdfast.v1.Ingest/Finish",
    "/holdfast.v1.Raft/Append",
    "/holdfast.v1.Raft/Propose",
];

/// Calls of people and newcomers that change something. What they were answered shall outlive all
/// coordinators, so the answer waits a moment for the locations. What runs do waits for itself.
const LASTING: &[&str] = &[
    "/holdfast.v1.Admin/AddHold",
    "/holdfast.v1.Admin/AddLocation",
    "/holdfast.v1.Admin/Apply",
    "/holdfast.v1.Admin/AskDestroy",
    "/holdfast.v1.Admin/Collect",
    "/holdfast.v1.Admin/CompleteBundle",
    "/holdfast.v1.Admin/CreateToken",
    "/holdfast.v1.Admin/Delete",
    "/holdfast.v1.Admin/DestroyKeys",
    "/holdfast.v1.Admin/DisableLocation",
    "/holdfast.v1.Admin/EnableLocation",
    "/holdfast.v1.Admin/ForgetPoints",
    "/holdfast.v1.Admin/ForgetRegion",
    "/holdfast.v1.Admin/PlaceMember",
    "/holdfast.v1.Admin/ReleaseHold",
    "/holdfast.v1.Admin/RemoveMember",
    "/holdfast.v1.Admin/RebuildLocation",
    "/holdfast.v1.Admin/ReplaceLocation",
    "/holdfast.v1.Admin/RevokeAgent",
    "/holdfast.v1.Admin/RewrapKeys",
    "/holdfast.v1.Admin/RotateKeys",
    "/holdfast.v1.Admin/SettleRegion",
    "/holdfast.v1.Admin/VerifyBundle",
    "/holdfast.v1.Admin/WithdrawDestroy",
    "/holdfast.v1.Enroll/Join",
    "/holdfast.v1.Enroll/JoinMember",
];

/// Calls that send for as long as they like; each message has a bound.
const STREAMS: &[&str] = &[
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/holdfast.v1.AgentControl/Attach",
    "/holdfast.v1.Ingest/Put",
    "/holdfast.v1.Raft/SendSnapshot",
];

fn sends(path: &str) -> Sends {
    if STREAMS.contains(&path) {
        Sends::Stream
    } else if LARGE.contains(&path) {
        Sends::Large
    } else {
        Sends::Small
    }
}

/// What a witness answers; everything else is for members with data.
fn is_for_witness(path: &str) -> bool {
    let services = ["/grpc.health.v1.Health/", "/holdfast.v1.Raft/"];
    services.iter().any(|service| path.starts_with(service)) || path == "/holdfast.v1.Admin/Status"
}

/// Decides about one call.
pub(crate) fn admit(house: &House, path: &str, info: Option<&ConnectInfo>) -> Result<Caller> {
    let caller = admit_caller(house, path, info)?;
    if house.is_witness() && !is_for_witness(path) {
        return Err(house.is_only_a_witness());
    }
    Ok(caller)
}

fn admit_caller(house: &House, path: &str, info: Option<&ConnectInfo>) -> Result<Caller> {
    let Some((_, access)) = TABLE.iter().find(|(known, _)| *known == path) else {
        return Err(Error::new(Code::AuthDenied, "there is no such call"));
    };
    let caller = match info.and_then(|info| info.peer.as_ref()) {
        Some(peer) if peer.identity.cluster != house.cluster => {
            return Err(Error::new(Code::AuthDenied, "the certificate is of another cluster"));
        }
        Some(peer) if !peer.is_valid_at(house.clock.now()) => Caller::Unknown,
        Some(peer) => standing(house, peer, path)?,
        None => Caller::Unknown,
    };
    match (access, &caller) {
        (Access::Anyone, _)
        | (Access::Role(Role::Admin), Caller::Operator(_))
        | (Access::Role(Role::Agent), Caller::Agent(_))
        | (Access::Member, Caller::Member(_))
        | (Access::Reader, Caller::Agent(_) | Caller::Operator(_)) => Ok(caller),
        (Access::Role(_) | Access::Reader | Access::Member, Caller::Unknown) => {
            Err(Error::new(Code::AuthMissing, "this call needs a valid client certificate"))
        }
        (Access::Role(_) | Access::Reader | Access::Member, _) => {
            Err(Error::new(Code::AuthDenied, "this identity may not make this call"))
        }
    }
}

/// What the ledger says of an identity now: a live connection does not outlive a revocation. Who is
/// not in a ledger that is still to come may be in it then.
fn standing(house: &House, peer: &PeerCertificate, path: &str) -> Result<Caller> {
    let known = known(house, peer, path);
    let is_unknown = |error: &Error| matches!(error.code, Code::AgentMissing | Code::AuthDenied);
    match known {
        Err(error) if is_unknown(&error) && !has_ledger(house) => {
            let message = "this member does not have the ledger yet";
            Err(Error::new(Code::ClusterLeaderless, message).next("ask again in a moment"))
        }
        known => known,
    }
}

/// One that is new, or whose ledger was put aside, is brought it by whoever leads.
fn has_ledger(house: &House) -> bool {
    !house.ledger.peers().standing().is_anew() && house.ledger.query().cluster().is_ok()
}

fn known(house: &House, peer: &PeerCertificate, path: &str) -> Result<Caller> {
    match &peer.identity.kind {
        IdentityKind::Agent(id) => {
            let agent = house.ledger.query().agent(id)?;
            if agent.state == AgentState::Revoked {
                let message = format!("the agent `{}` was revoked", agent.name);
                return Err(Error::new(Code::AgentRevoked, message));
            }
            Ok(Caller::Agent(*id))
        }
        IdentityKind::Operator(name) => match house.ledger.query().operator(name)? {
            Some(operator) if !operator.revoked => Ok(Caller::Operator(name.clone())),
            _ => Err(Error::new(Code::AuthDenied, format!("`{name}` is no operator here"))),
        },
        // One that is not in the tables is newer than they are. One that was removed hears there
        // what became of it.
        IdentityKind::Coordinator(id) => match house.ledger.query().member(*id) {
            Ok(member) if member.state == MemberState::Removed && path != HELLO => {
                let message = format!("the member `{}` was removed", member.name);
                Err(Error::new(Code::MemberRemoved, message))
            }
            // A side that was superseded does not say whose a number is.
            Ok(member) if is_ours(house) && !member.may_have(&peer.public_key) => {
                let message =
                    format!("here the number {id} is of another member, `{}`", member.name);
                Err(Error::new(Code::MemberForeign, message))
            }
            _ => Ok(Caller::Member(*id)),
        },
    }
}

fn is_ours(house: &House) -> bool {
    house.ledger.peers().standing().belongs
}

/// The gate: every service stands behind one.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    pub(crate) inner: S,
    pub(crate) house: Arc<House>,
}

impl<S> Service<http::Request<Body>> for Gate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let info = request.extensions().get::<ConnectInfo>().cloned();
        let path = request.uri().path();
        let sends = sends(path);
        let admitted = admit(&self.house, path, info.as_ref()).and_then(|caller| {
            let remote = info.map(|info| info.remote.ip());
            Ok((self.house.calls.open(&caller, remote, sends)?, caller))
        });
        match admitted {
            Ok((counted, caller)) => {
                request.extensions_mut().insert(caller);
                let lasts = LASTING.contains(&request.uri().path()).then(|| self.house.clone());
                let answer = self.inner.call(request.map(|body| bounded(body, sends)));
                let house = self.house.clone();
                Box::pin(async move {
                    let answer = answer.await?;
                    if let Some(house) = lasts
                        && let Err(error) = house.outlast().await
                    {
                        return Ok(to_status(&error).into_http());
                    }
                    let mut answer = answer.map(|body| counted.until_sent(body));
                    if house.ledger.peers().insist_on_epoch().is_err() {
                        answer.headers_mut().insert(SUPERSEDED, MARK);
                    }
                    Ok(answer)
                })
            }
            Err(error) => {
                tracing::debug!(%error, path = request.uri().path(), "call refused");
                let response = to_status(&error).into_http();
                Box::pin(async move { Ok(response) })
            }
        }
    }
}

/// Puts the gate in front of whatever is served.
#[derive(Clone)]
pub(crate) struct GateLayer(pub(crate) Arc<House>);

impl<S> tower::Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, house: self.0.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn every_call_of_the_protocol_is_in_the_table_and_no_other() {
        let set = prost_types::FileDescriptorSet::decode(holdfast_wire::DESCRIPTORS).unwrap();
        let mut calls: Vec<String> = Vec::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let path = (file.package(), service.name(), method.name());
                    calls.push(format!("/{}.{}/{}", path.0, path.1, path.2));
                }
            }
        }
        calls.sort();
        let ours: Vec<&str> =
            TABLE.iter().map(|row| row.0).filter(|path| !path.starts_with("/grpc.")).collect();
        assert_eq!(ours, calls);
        assert!(TABLE.is_sorted_by_key(|row| row.0));
    }

    #[test]
    fn what_a_call_sends_is_known_of_every_call() {
        let set = prost_types::FileDescriptorSet::decode(holdfast_wire::DESCRIPTORS).unwrap();
        for service in set.file.iter().flat_map(|file| &file.service) {
            for method in &service.method {
                let path = format!("/holdfast.v1.{}/{}", service.name(), method.name());
                assert_eq!(sends(&path) == Sends::Stream, method.client_streaming(), "{path}");
            }
        }
        for path in LARGE.iter().chain(STREAMS).chain(LASTING) {
            assert!(TABLE.iter().any(|row| row.0 == *path), "{path}");
        }
        assert!(!LARGE.iter().any(|path| STREAMS.contains(path)));
    }

    #[test]
    fn only_calls_that_bring_their_own_proof_are_open() {
        let open: Vec<&str> =
            TABLE.iter().filter(|row| row.1 == Access::Anyone).map(|row| row.0).collect();
        assert_eq!(
            open,
            [
                "/grpc.health.v1.Health/Check",
                "/grpc.health.v1.Health/List",
                "/grpc.health.v1.Health/Watch",
                "/holdfast.v1.Enroll/Join",
                "/holdfast.v1.Enroll/JoinMember",
                "/holdfast.v1.Enroll/RenewMember",
                "/holdfast.v1.Enroll/Return",
            ]
        );
    }
}
