//! Tokens and certificates: how somebody becomes an agent of this cluster, and stays one.
//!
//! A token is `hf1-<secret>-<pin>`: the secret is kept only as a hash, the pin is the fingerprint
//! of our authority, so that a host knows whom it talks to before it says anything.

use crate::house::House;
use holdfast_common::{AgentId, Code, Error, Name, Result, Timestamp, limits};
use holdfast_keyring::IdentityPublicKey;
use holdfast_ledger::{
    Actor,
    command::{CertifyMember, CreateToken, EnrolAgent, RenewAgent},
    row::{AgentDuty, AgentRow, AgentState, Duty, MemberRow, TokenKind, TokenRow},
};
use holdfast_runtime::{
    identity::Identity,
    pki::{ProvenKey, Validity},
};
use std::{collections::BTreeMap, time::Duration};

const TOKEN_PREFIX: &str = "hf1";
const TOKEN_SECRET_BYTES: usize = 24;
const TOKEN_CONTEXT: &str = "holdfast 2026 join token v1";
const RETURN_CONTEXT: &str = "holdfast return v1";
/// How far an agent's clock may be from ours when it proves its key.
const RETURN_SKEW: Duration = Duration::from_secs(24 * 3600);
/// How long a member that did not hear the answer may ask again: what it is told holds the KEK.
const JOINED_AGAIN_WITHIN: Duration = Duration::from_secs(3600);
const TOKEN_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

pub(crate) struct Enrolled {
    pub(crate) agent: AgentId,
    pub(crate) name: Name,
    pub(crate) certificate: Vec<u8>,
}

/// What a token lets in.
pub(crate) struct Purpose {
    pub(crate) kind: TokenKind,
    pub(crate) duty: Option<AgentDuty>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Makes a token and keeps its hash.
pub(crate) async fn create_token(
    house: &House,
    actor: Actor,
    Purpose { kind, duty, labels }: Purpose,
    ttl: Duration,
) -> Result<(String, Timestamp)> {
    if ttl.is_zero() || ttl > TOKEN_TTL_MAX {
        return Err(Error::new(Code::UsageMalformed, "a token lives from 1 ms to 30 days"));
    }
    let secret = hex(&house.entropy.array::<TOKEN_SECRET_BYTES>());
    let expires = house.ledger.now().plus(ttl);
    let token = TokenRow {
        hash: token_hash(&secret),
        labels,
        expires,
        used_by: None,
        kind: (kind != TokenKind::Agent).then_some(kind),
        used_by_member: None,
        duty,
        made_by: None,
    };
    house.ledger.propose(actor, CreateToken { token }).await?;
    let pin = house.keys()?.authority.fingerprint();
    Ok((format!("{TOKEN_PREFIX}-{secret}-{}", hex(pin.as_bytes())), expires))
}

fn token_hash(secret: &str) -> [u8; 32] {
    blake3::derive_key(TOKEN_CONTEXT, secret.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a token is good for, to whoever holds a key.
pub(crate) enum Spending {
    /// It may be spent; its hash.
    Now([u8; 32]),
    /// It was spent with this very key: whoever did not hear the answer asks again.
    Before(Holder),
}

/// Whom a token let in.
pub(crate) enum Holder {
    Agent(AgentRow),
    Member(MemberRow),
}

/// Whether a token may be spent for this. Looked up before anything is agreed: strangers must not
/// be able to fill the ledger.
pub(crate) async fn spending(
    house: &House,
    token: &str,
    kind: TokenKind,
    key: &ProvenKey,
) -> Result<Spending> {
    look_up(house, token, kind, key).await.map_err(|error| another(error, kind))
}

/// Says how to make a token of the kind that is needed here.
pub(crate) fn another(error: Error, kind: TokenKind) -> Error {
    let wants = match kind {
        TokenKind::Agent => "holdfast agent token",
        TokenKind::Coordinator => "holdfast cluster token",
        TokenKind::Witness => "holdfast cluster token --witness",
    };
    match error.code {
        Code::TokenExpired | Code::TokenRefused | Code::TokenUsed if error.next.is_none() => {
            error.next(format!("make one with `{wants}`"))
        }
        _ => error,
    }
}

async fn look_up(house: &House, token: &str, kind: TokenKind, key: &ProvenKey) -> Result<Spending> {
    let secret = token
        .strip_prefix(TOKEN_PREFIX)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.split('-').next())
        .filter(|secret| secret.len() == 2 * TOKEN_SECRET_BYTES)
        .ok_or_else(|| Error::new(Code::TokenRefused, "this is not a join token"))?;
    let hash = token_hash(secret);
    // It may have been made, or spent, through another member a moment ago.
    house.ledger.catch_up().await?;
    match house.ledger.query().row::<TokenRow>(&hash)? {
        None => Err(Error::new(Code::TokenRefused, "this token is not known")),
        Some(token) if token.used_by.is_some() || token.used_by_member.is_some() => {
            let holder = holder(house, &token, key)?;
            let is_again = holder.filter(|_| token.kind() == kind && !is_over(house, &token));
            is_again.map(Spending::Before).ok_or_else(used)
        }
        Some(token) if is_over(house, &token) => {
            let message = format!("this token expired at {}", token.expires);
            Err(Error::new(Code::TokenExpired, message))
        }
        Some(token) if token.kind() != kind => {
            let message = match token.kind() {
                TokenKind::Agent => "this token is for an agent",
                TokenKind::Coordinator => "this token is for a coordinator",
                TokenKind::Witness => "this token is for a witness, which joins with --witness",
            };
            Err(Error::new(Code::TokenRefused, message))
        }
        Some(_) => Ok(Spending::Now(hash)),
    }
}

fn is_over(house: &House, token: &TokenRow) -> bool {
    token.expires < house.ledger.now()
}

pub(crate) fn used() -> Error {
    Error::new(Code::TokenUsed, "this token was used before")
}

/// Whom a spent token let in, where that is whoever holds this key.
fn holder(house: &House, token: &TokenRow, key: &ProvenKey) -> Result<Option<Holder>> {
    let ledger = house.ledger.query();
    if let Some(agent) = &token.used_by {
        let row = ledger.agent(agent)?;
        return Ok((row.identity_public == *key.as_bytes()).then_some(Holder::Agent(row)));
    }
    let Some(member) = token.used_by_member else { return Ok(None) };
    let row = ledger.member(member)?;
    let is_new = house.ledger.now().since(row.joined) < JOINED_AGAIN_WITHIN;
    let is_same = is_new && row.is_live() && row.identity_public == *key.as_bytes();
    Ok(is_same.then_some(Holder::Member(row)))
}

/// Spends a token.
pub(crate) async fn enrol(
    house: &House,
    token: &str,
    name: Option<Name>,
    key: &ProvenKey,
) -> Result<Enrolled> {
    let token_hash = match spending(house, token, TokenKind::Agent, key).await? {
        Spending::Now(hash) => hash,
        Spending::Before(Holder::Agent(row)) => {
            let certificate = renew(house, row.id, key, false).await?;
            return Ok(Enrolled { agent: row.id, name: row.name, certificate });
        }
        Spending::Before(Holder::Member(_)) => return Err(used()),
    };
    let agent = AgentId::random(house.entropy.as_ref());
    let name = match name {
        Some(name) => name,
        None => format!("agent-{}", &agent.to_string()[..8]).parse()?,
    };
    let identity = Identity::agent(house.cluster, agent);
    let (certificate, serial, not_after) = certify(house, &identity, key)?;
    let command = EnrolAgent {
        token_hash,
        agent,
        name: name.clone(),
        identity_public: *key.as_bytes(),
        serial,
        not_after,
    };
    let agreed = house.ledger.propose(Actor::Token, command).await;
    agreed.map_err(|error| another(error, TokenKind::Agent))?;
    tracing::info!(agent = %name, "enrolled");
    Ok(Enrolled { agent, name, certificate })
}

/// A new certificate for the enrolled key; another key is refused.
pub(crate) async fn renew(
    house: &House,
    agent: AgentId,
    key: &ProvenKey,
    returned: bool,
) -> Result<Vec<u8>> {
    let row = house.ledger.query().agent(&agent)?;
    if row.identity_public != *key.as_bytes() {
        return Err(Error::new(Code::AuthDenied, "the request is not for the enrolled key"));
    }
    let identity = Identity::agent(house.cluster, agent);
    let (certificate, serial, not_after) = certify(house, &identity, key)?;
    let command = RenewAgent { agent, serial, not_after, returned };
    house.ledger.propose(Actor::Agent(agent), command).await?;
    Ok(certificate)
}

/// Checks that whoever returns holds the enrolled key, now.
pub(crate) fn check_return(
    house: &House,
    agent: AgentId,
    time_ns: i64,
    csr: &[u8],
    proof: &[u8; 64],
) -> Result<()> {
    let row = house.ledger.query().agent(&agent)?;
    if row.state == AgentState::Revoked {
        return Err(Error::new(Code::AgentRevoked, format!("`{}` was revoked", row.name)));
    }
    let (now, said) = (house.clock.now(), Timestamp::from_nanos(time_ns));
    if now.since(said).max(said.since(now)) > RETURN_SKEW {
        return Err(Error::new(Code::AuthDenied, "the proof was made at another time")
            .next("set the clock of the host and try again"));
    }
    let message =
        [house.cluster.as_bytes().as_slice(), agent.as_bytes(), &time_ns.to_le_bytes(), csr]
            .concat();
    IdentityPublicKey::from_bytes(row.identity_public)
        .verify(RETURN_CONTEXT, &message, proof)
        .map_err(|_| Error::new(Code::AuthDenied, "the proof is not by the enrolled key"))
}

/// A certificate for a member that has just been admitted as a witness.
pub(crate) fn certify_witness(house: &House, member: u64, key: &ProvenKey) -> Result<Vec<u8>> {
    let identity = Identity::coordinator(house.cluster, member);
    certify(house, &identity, key).map(|(certificate, ..)| certificate)
}

/// A new certificate for a witness. Whoever signs with the enrolled key is that witness, and the
/// certificate is good for nobody else: nothing more has to be proved.
pub(crate) async fn renew_member(house: &House, member: u64, key: &ProvenKey) -> Result<Vec<u8>> {
    let row = house.ledger.query().member(member)?;
    if !row.is_live() {
        return Err(Error::new(Code::MemberRemoved, format!("`{}` was removed", row.name)));
    }
    if row.duty != Duty::Witness || row.identity_public != *key.as_bytes() {
        return Err(Error::new(Code::AuthDenied, "the request is not for the enrolled key"));
    }
    let identity = Identity::coordinator(house.cluster, member);
    let (certificate, serial, not_after) = certify(house, &identity, key)?;
    let command = CertifyMember { member, serial, not_after };
    house.ledger.propose(Actor::System, command).await?;
    tracing::info!(member = %row.name, until = %not_after, "a witness was given a certificate");
    Ok(certificate)
}

fn certify(
    house: &House,
    identity: &Identity,
    key: &ProvenKey,
) -> Result<(Vec<u8>, u64, Timestamp)> {
    let serial = new_serial(house.entropy.as_ref());
    let ttl = Duration::from_secs(limits::CERT_TTL_SECS);
    let validity = Validity::starting(house.clock.now(), ttl);
    let certificate = house.keys()?.authority.issue(key, identity, validity, serial)?;
    Ok((certificate.to_vec(), serial, validity.not_after))
}

/// A serial number that nobody can guess; its top bits keep it positive and of full length.
pub(crate) fn new_serial(entropy: &dyn holdfast_common::Entropy) -> u64 {
    (u64::from_be_bytes(entropy.array()) >> 1) | (1 << 62)
}
