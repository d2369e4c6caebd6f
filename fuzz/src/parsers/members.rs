//! What members keep for themselves and tell each other: epochs, intents, where the others are,
//! entries and votes.
//!
//! A claimed epoch lies in a location under a key that only members derive: nobody else makes one
//! that opens, and what a thief of that key could seal is parsed with as little trust. All the rest
//! is parsed to the same value again when it is written anew.

use super::ledger;
use crate::{
    Refused,
    examples::{CLUSTER, dice, secret, unhex},
};
use bytes::Bytes;
use holdfast_common::{ClusterId, Result as Held, Secret, record};
use holdfast_coordinator::door::{self, MemberMessage};
use holdfast_keyring::{ClusterRecoveryKey, aead};
use holdfast_ledger::row::ClusterRow;
use holdfast_wire::v1;
use minicbor::{Decode, Encode};
use prost::Message;
use std::collections::BTreeMap;

const CLAIM: &str = include_str!("../../../crates/coordinator/tests/golden/epoch-claim.hex");
const CLAIM_CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
const CLAIM_HEADER_BYTES: usize = 32;

pub fn epoch_claim(bytes: &[u8]) -> Result<(), Refused> {
    let opened = door::epoch_claim(bytes, &CLAIM_CLUSTER, &epoch_key())?;
    assert!(opened == claim(), "a forged claim opened");
    Ok(())
}

/// What a claim says after its number, sealed by somebody who has the key and means harm.
pub fn epoch_claim_inside(plaintext: &[u8]) -> Result<(), Refused> {
    let (number, record) = plaintext.split_at_checked(8).ok_or(Refused)?;
    let header = [b"HFEP\x01\0\0\0", &CLUSTER.as_bytes()[..], number].concat();
    let field = aead::seal(epoch_key().expose(), &header, record, &dice());
    let said = door::epoch_claim(&[header, field].concat(), &CLUSTER, &epoch_key())?;
    assert!(said.len() <= record.len(), "more came out than was said");
    Ok(())
}

/// The first byte says which message; its header is judged elsewhere.
pub fn member_message(bytes: &[u8]) -> Result<(), Refused> {
    let (which, bytes) = bytes.split_first().ok_or(Refused)?;
    match which {
        0 => a_message::<v1::AppendRequest>(bytes),
        1 => a_message::<v1::AppendResponse>(bytes),
        2 => a_message::<v1::VoteRequest>(bytes),
        3 => a_message::<v1::VoteResponse>(bytes),
        4 => a_message::<v1::TakeOverRequest>(bytes),
        5 => epoch(bytes),
        _ => Err(Refused),
    }
}

pub fn member_seed(bytes: &[u8]) -> Result<(), Refused> {
    settles(door::member_seed, bytes)
}

pub fn promotion(bytes: &[u8]) -> Result<(), Refused> {
    settles(door::promotion, bytes)
}

pub fn standing(bytes: &[u8]) -> Result<(), Refused> {
    settles(door::standing, bytes)
}

fn a_message<M>(bytes: &[u8]) -> Result<(), Refused>
where
    M: MemberMessage + Message + Default + Clone + PartialEq,
{
    let said = M::decode(bytes)?.said_anew()?;
    assert!(said.clone().said_anew().expect("it was just said") == said);
    Ok(())
}

fn epoch(bytes: &[u8]) -> Result<(), Refused> {
    // The first one is told by saying nothing.
    let Some(told) = door::epoch(&v1::EpochInForce::decode(bytes)?)? else { return Ok(()) };
    assert_eq!(door::epoch(&told).expect("it was just told"), Some(told));
    Ok(())
}

/// What is written anew is read as the same, and takes no more room.
fn settles(parse: fn(&[u8]) -> Held<Vec<u8>>, bytes: &[u8]) -> Result<(), Refused> {
    let again = parse(bytes)?;
    assert_eq!(parse(&again).expect("it was just written"), again);
    assert!(again.len() <= bytes.len(), "more came out than was said");
    Ok(())
}

fn epoch_key() -> Secret<32> {
    ClusterRecoveryKey::from_secret(secret(9)).epoch_key()
}

/// The frozen one, opened.
fn claim() -> Vec<u8> {
    let golden = unhex(CLAIM);
    let (header, field) = golden.split_at(CLAIM_HEADER_BYTES);
    aead::open(epoch_key().expose(), header, field).expect("the frozen claim opens")
}

/// As `data/cluster` has it.
#[derive(Decode, Encode)]
#[cbor(map)]
struct Seed {
    #[n(0)]
    cluster: ClusterRow,
    #[n(1)]
    peers: BTreeMap<u64, String>,
}

/// `epoch, belongs, claim, aside`, as `data/epoch` has them; the claim is a record of its own.
pub fn standings() -> Vec<Vec<u8>> {
    let (claim, epoch) = (claim(), claim()[EPOCH_IN_CLAIM].to_vec());
    let with = [&b"\xa4\x00"[..], &epoch, b"\x01\xf5\x02", &claim, b"\x03\xf4"].concat();
    let without = [&b"\xa3\x00"[..], &epoch, b"\x01\xf4\x03\xf5"].concat();
    vec![with, without]
}

/// `claim, term, nodes`, as `data/promotion` has them.
pub fn promotions() -> Vec<Vec<u8>> {
    let node = b"\xa4\x00\x04\x01\x64four\x02\x62dr\x03\x6b127.0.0.1:1";
    vec![[&b"\xa3\x00"[..], &claim(), b"\x01\x05\x02\x81", node].concat()]
}

pub fn member_seeds() -> Vec<Vec<u8>> {
    let rows = ledger::rows();
    let cluster = rows.iter().find_map(|row| record::from_bytes("cluster", row).ok());
    let cluster = cluster.expect("the frozen commands found a cluster");
    let peers = BTreeMap::from([(1, "127.0.0.1:1".to_owned()), (2, "two:7000".to_owned())]);
    vec![record::to_bytes(&Seed { cluster, peers })]
}

pub fn epoch_claims() -> Vec<Vec<u8>> {
    vec![unhex(CLAIM)]
}

pub fn epoch_claims_inside() -> Vec<Vec<u8>> {
    vec![[&2u64.to_le_bytes()[..], &claim()].concat()]
}

pub fn member_messages() -> Vec<Vec<u8>> {
    let vote = Some(v1::Ballot { term: 4, node: 1, committed: true });
    let last = Some(v1::LogPosition { term: 3, node: 2, index: 7 });
    let entries = super::coordinator::log_entries().into_iter().map(Bytes::from).collect();
    let outcome = v1::append_response::Outcome::HigherVote.into();
    let regions = vec!["dr".to_owned(), "eu".to_owned()];
    let append = v1::AppendRequest { header: None, vote, previous: last, entries, committed: last };
    let ask = v1::VoteRequest { header: None, vote, last, handed_over: true };
    let hand = v1::TakeOverRequest { header: None, from_leader: vote, to_node: 2, last };
    let epoch =
        v1::EpochInForce { number: 2, regions, member: 4, applied: 98, voucher: Bytes::new() };
    let messages = [
        append.encode_to_vec(),
        v1::AppendResponse { outcome, taken: last, vote }.encode_to_vec(),
        ask.encode_to_vec(),
        v1::VoteResponse { vote, granted: true, last }.encode_to_vec(),
        hand.encode_to_vec(),
        epoch.encode_to_vec(),
    ];
    (0u8..).zip(messages).map(|(which, message)| [&[which], &message[..]].concat()).collect()
}

/// After `{ 0:` comes the epoch: `{ 0: 2, 1: ["dr"], 2: 4, 3: 98 }`.
const EPOCH_IN_CLAIM: core::ops::Range<usize> = 2..15;
