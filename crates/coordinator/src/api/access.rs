//! The one table that says who may call what, and the gate in front of every service.
//!
//! A call that is not in the table is refused. A test compares the table with the protocol's own
//! descriptors, so that no call can be added without deciding about it here.

use super::{
    calls::{Counted, bounded},
    heeding::{heed, is_asked_first},
};
use crate::house::House;
use holdfast_common::{AgentId, Code, Error, Name, Result};
use holdfast_ledger::{
    Actor, Role,
    row::{AgentState, MemberState, OperatorRow},
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
    ("/holdfast.v1.Admin/CloseKeys", ADMIN),
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
    ("/holdfast.v1.Admin/IssueOperator", ADMIN),
    ("/holdfast.v1.Admin/KeepAudit", ADMIN),
    ("/holdfast.v1.Admin/List", ADMIN),
    ("/holdfast.v1.Admin/ListAgents", ADMIN),
    ("/holdfast.v1.Admin/ListAudit", ADMIN),
    ("/holdfast.v1.Admin/ListCollections", ADMIN),
    ("/holdfast.v1.Admin/ListHolds", ADMIN),
    ("/holdfast.v1.Admin/ListKeys", ADMIN),
    ("/holdfast.v1.Admin/ListLocations", ADMIN),
    ("/holdfast.v1.Admin/ListOperators", ADMIN),
    ("/holdfast.v1.Admin/ListPoints", ADMIN),
    ("/holdfast.v1.Admin/ListRuns", ADMIN),
    ("/holdfast.v1.Admin/PlaceMember", ADMIN),
    ("/holdfast.v1.Admin/PlanCollection", ADMIN),
    ("/holdfast.v1.Admin/PlanKeyDestruction", ADMIN),
    ("/holdfast.v1.Admin/PlanKeys", ADMIN),
    ("/holdfast.v1.Admin/PlanRetention", ADMIN),
    ("/holdfast.v1.Admin/PromoteRegion", ADMIN),
    ("/holdfast.v1.Admin/RebuildLocation", ADMIN),
    ("/holdfast.v1.Admin/Regions", ADMIN),
    ("/holdfast.v1.Admin/ReleaseHold", ADMIN),
    ("/holdfast.v1.Admin/RemoveMember", ADMIN),
    ("/holdfast.v1.Admin/RenewOperator", ADMIN),
    ("/holdfast.v1.Admin/ReplaceLocation", ADMIN),
    ("/holdfast.v1.Admin/RevokeAgent", ADMIN),
    ("/holdfast.v1.Admin/RevokeOperator", ADMIN),
    ("/holdfast.v1.Admin/RewrapKeys", ADMIN),
    ("/holdfast.v1.Admin/RotateKeys", ADMIN),
    ("/holdfast.v1.Admin/SettleRegion", ADMIN),
    ("/holdfast.v1.Admin/StartBackup", ADMIN),
    ("/holdfast.v1.Admin/StartRestore", ADMIN),
    ("/holdfast.v1.Admin/StartVerify", ADMIN),
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
    ("/holdfast.v1.Restore/Conclude", AGENT),
    ("/holdfast.v1.Restore/End", ADMIN),
    ("/holdfast.v1.Restore/Fetch", Access::Reader),
    ("/holdfast.v1.Restore/Keep", Access::Reader),
    ("/holdfast.v1.Restore/Open", Access::Reader),
    ("/holdfast.v1.Restore/Unread", AGENT),
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
    "/holdfast.v1.Admin/CloseKeys",
    "/holdfast.v1.Admin/CompleteBundle",
    "/holdfast.v1.Admin/CreateToken",
    "/holdfast.v1.Admin/Delete",
    "/holdfast.v1.Admin/DestroyKeys",
    "/holdfast.v1.Admin/DisableLocation",
    "/holdfast.v1.Admin/EnableLocation",
    "/holdfast.v1.Admin/ForgetPoints",
    "/holdfast.v1.Admin/ForgetRegion",
    "/holdfast.v1.Admin/IssueOperator",
    "/holdfast.v1.Admin/PlaceMember",
    "/holdfast.v1.Admin/ReleaseHold",
    "/holdfast.v1.Admin/RemoveMember",
    "/holdfast.v1.Admin/RebuildLocation",
    "/holdfast.v1.Admin/ReplaceLocation",
    "/holdfast.v1.Admin/RenewOperator",
    "/holdfast.v1.Admin/RevokeAgent",
    "/holdfast.v1.Admin/RevokeOperator",
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

/// Whoever revokes himself is to hear that it was done.
const REVOKE: &str = "/holdfast.v1.Admin/RevokeOperator";

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
        IdentityKind::Operator(name) => {
            let row = house.ledger.query().operator(name)?;
            insist_on_operator(name, row, peer).map(|()| Caller::Operator(name.clone()))
        }
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

/// Whoever has the name now, with a certificate that is his.
fn insist_on_operator(name: &Name, row: Option<OperatorRow>, peer: &PeerCertificate) -> Result<()> {
    let denied = |message: String| Err(Error::new(Code::AuthDenied, message));
    match row {
        Some(row) if row.revoked => {
            Err(Error::new(Code::OperatorRevoked, format!("the operator `{name}` was revoked")))
        }
        Some(row) if !row.is_shown(peer.serial, &peer.public_key, peer.not_after) => {
            denied(format!("this certificate of `{name}` was replaced"))
        }
        Some(row) if row.role == Role::Admin => Ok(()),
        _ => denied(format!("`{name}` is no operator here")),
    }
}

/// Whether an operator who is connected may call nothing any more. One that is not known here may
/// be newer than what is: he is answered, and no more.
pub(crate) fn is_shut_out(house: &House, peer: &PeerCertificate) -> bool {
    let IdentityKind::Operator(name) = &peer.identity.kind else { return false };
    let is_named = || matches!(house.ledger.query().operator(name), Ok(Some(_)));
    !peer.is_valid_at(house.clock.now())
        || has_ledger(house)
            && is_named()
            && known(house, peer, "")
                .is_err_and(|error| matches!(error.code, Code::AuthDenied | Code::OperatorRevoked))
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
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
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
        let house = self.house.clone();
        // The one that was found ready is the one that is called.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            let info = request.extensions().get::<ConnectInfo>().cloned();
            let path = request.uri().path().to_owned();
            let (caller, counted) = match let_in(&house, &path, info.as_ref()).await {
                Ok(admitted) => admitted,
                Err(error) => {
                    tracing::debug!(%error, path, "call refused");
                    return Ok(to_status(&error).into_http());
                }
            };
            request.extensions_mut().insert(caller);
            let sends = sends(&path);
            let answer = inner.call(request.map(|body| bounded(body, sends))).await?;
            if LASTING.contains(&&*path)
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
}

/// Who calls, where he may, and the place that the call takes. To ask about somebody takes one too,
/// as whoever he is by what is known here.
async fn let_in(
    house: &House,
    path: &str,
    info: Option<&ConnectInfo>,
) -> Result<(Caller, Counted)> {
    let remote = info.map(|info| info.remote);
    let open =
        |caller: &Caller| house.calls.open(caller, remote.map(|remote| remote.ip()), sends(path));
    let mut caller = admit(house, path, info);
    let mut counted = None;
    if is_asked_first(house, path, info) {
        let before = caller.ok();
        counted = Some(open(before.as_ref().unwrap_or(&Caller::Unknown))?);
        heed(house, path).await?;
        caller = admit(house, path, info);
        counted = counted.filter(|_| before.is_some());
    }
    let caller = caller?;
    let counted = counted.map_or_else(|| open(&caller), Ok)?;
    let spared = remote.filter(|_| path == REVOKE).map(|remote| house.parting.spare(remote));
    Ok((caller, counted.sparing(spared)))
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
    use crate::api::heeding::UNASKED;
    use holdfast_common::{ClusterId, Timestamp};
    use holdfast_runtime::{identity::Identity, pki::Fingerprint};
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
        let asked = LARGE.iter().chain(STREAMS).chain(LASTING).chain(UNASKED).chain([&REVOKE]);
        for path in asked {
            assert!(TABLE.iter().any(|row| row.0 == *path), "{path}");
        }
        assert!(!LARGE.iter().any(|path| STREAMS.contains(path)));
    }

    #[test]
    fn a_certificate_is_believed_of_whoever_has_the_name_now() {
        let name: Name = "ben".parse().unwrap();
        let (mine, other) = ([7; 32], [8; 32]);
        let row = OperatorRow {
            since: Some(Timestamp::ZERO),
            public_key: Some(mine),
            serial_before: Some(4),
            ..OperatorRow::founding(name.clone(), 5, Timestamp::ZERO)
        };
        let until = |row: Option<&OperatorRow>, serial, public_key, not_after| {
            let peer = PeerCertificate {
                identity: Identity::operator(ClusterId::from_bytes([1; 16]), name.clone()),
                serial,
                not_before: Timestamp::ZERO,
                not_after,
                public_key,
                fingerprint: Fingerprint::of(b"ben"),
            };
            let said = insist_on_operator(&name, row.cloned(), &peer);
            said.map_err(|error| error.code)
        };
        let say = |row, serial, key| until(row, serial, key, Timestamp::ZERO);
        assert_eq!(say(Some(&row), 5, mine), Ok(()));
        assert_eq!(say(Some(&row), 4, mine), Ok(()), "the new one may not have reached him");
        for (serial, key) in [(3, mine), (5, other), (4, other)] {
            assert_eq!(say(Some(&row), serial, key), Err(Code::AuthDenied), "{serial}");
        }
        assert_eq!(say(None, 5, mine), Err(Code::AuthDenied));
        let revoked = OperatorRow { revoked: true, ..row.clone() };
        assert_eq!(say(Some(&revoked), 5, mine), Err(Code::OperatorRevoked));
        // Renewed where this member heard nothing of it.
        let later = Timestamp::from_nanos(1);
        assert_eq!(until(Some(&row), 6, mine, later), Ok(()));
        assert_eq!(until(Some(&row), 6, other, later), Err(Code::AuthDenied));
        assert_eq!(until(Some(&revoked), 6, mine, later), Err(Code::OperatorRevoked));
        let of_before = OperatorRow { public_key: None, ..row.clone() };
        assert_eq!(until(Some(&of_before), 6, mine, later), Err(Code::AuthDenied));
        let agent = OperatorRow { role: Role::Agent, ..row.clone() };
        assert_eq!(say(Some(&agent), 5, mine), Err(Code::AuthDenied));
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
