//! Messages of the wire, and what the doors make of their fields.
//!
//! The first byte says which message; a message that is decoded says the same when it is encoded
//! again. Declared resources go on to what the ledger would hold, and that is a fixed point.

use crate::Refused;
use bytes::Bytes;
use core::fmt::Debug;
use holdfast_common::{ChunkId, Error, limits};
use holdfast_coordinator::door;
use holdfast_wire::{
    parse,
    v1::{self, resource::Spec, source_spec::Source},
};
use prost::Message;

type Body = fn(&[u8]) -> Result<(), Refused>;

/// What strangers, agents and members may send, and what agents and people are answered. Only ever
/// longer: the corpus names a message by its place.
const MESSAGES: &[Body] = &[
    same_again::<v1::JoinRequest>,
    same_again::<v1::JoinResponse>,
    same_again::<v1::RenewRequest>,
    same_again::<v1::ReturnRequest>,
    same_again::<v1::AgentReport>,
    same_again::<v1::AgentOrder>,
    same_again::<v1::BeginRequest>,
    same_again::<v1::BeginResponse>,
    same_again::<v1::OfferRequest>,
    same_again::<v1::OfferResponse>,
    same_again::<v1::PutRequest>,
    same_again::<v1::PutResponse>,
    same_again::<v1::FinishRequest>,
    same_again::<v1::FinishResponse>,
    same_again::<v1::OpenPointRequest>,
    same_again::<v1::OpenPointResponse>,
    same_again::<v1::FetchRequest>,
    same_again::<v1::FetchResponse>,
    same_again::<v1::ApplyRequest>,
    same_again::<v1::StartBackupRequest>,
    same_again::<v1::RunEvent>,
    same_again::<v1::StatusResponse>,
    same_again::<v1::ListPointsResponse>,
    same_again::<v1::VerifyEvent>,
    same_again::<v1::ListAuditResponse>,
    same_again::<v1::HelloRequest>,
    same_again::<v1::HelloResponse>,
    same_again::<v1::JoinMemberRequest>,
    same_again::<v1::JoinMemberResponse>,
    same_again::<v1::OverviewResponse>,
    same_again::<v1::ProposeRequest>,
    same_again::<v1::ProposeResponse>,
    same_again::<v1::RegionsResponse>,
    same_again::<v1::SnapshotPart>,
    same_again::<v1::Told>,
];

pub fn message(bytes: &[u8]) -> Result<(), Refused> {
    let (which, bytes) = bytes.split_first().ok_or(Refused)?;
    MESSAGES.get(usize::from(*which)).ok_or(Refused)?(bytes)
}

fn same_again<M: Message + Default + Debug + PartialEq>(bytes: &[u8]) -> Result<(), Refused> {
    let message = M::decode(bytes)?;
    let again = M::decode(&message.encode_to_vec()[..]).expect("it was just written");
    assert_eq!(again, message);
    Ok(())
}

pub fn resource(bytes: &[u8]) -> Result<(), Refused> {
    let held = door::resource(&v1::Resource::decode(bytes)?)?;
    assert_eq!(door::resource(&held).expect("what is held can be declared"), held);
    Ok(())
}

pub fn error_detail(bytes: &[u8]) -> Result<(), Refused> {
    let error: Error = v1::ErrorDetail::decode(bytes)?.into();
    let again: Error = v1::ErrorDetail::from(&error).into();
    assert_eq!(again.to_string(), error.to_string());
    Ok(())
}

/// The fields of messages, each as its door takes it.
pub fn fields(bytes: &[u8]) -> Result<(), Refused> {
    let array = parse::array::<32>("a field", bytes).map(drop);
    assert_eq!(parse::agent_id(bytes).is_ok(), bytes.len() == 16);
    assert_eq!(parse::pack_id(bytes).is_ok(), array.is_ok());
    let ids = parse::chunk_ids(&Bytes::copy_from_slice(bytes), limits::OFFER_CHUNKS_MAX)?;
    assert_eq!(ids.len() * ChunkId::LEN, bytes.len());
    Ok(())
}

fn numbered<M: Message>(body: Body, message: &M) -> Vec<u8> {
    let at = MESSAGES.iter().position(|known| core::ptr::fn_addr_eq(*known, body));
    [&[at.expect("it is in the table") as u8], &message.encode_to_vec()[..]].concat()
}

fn policy() -> v1::Resource {
    let files = v1::FilesSource {
        paths: vec![Bytes::from_static(b"/srv")],
        exclude: vec!["*.tmp".into()],
        one_file_system: true,
        include: vec!["*.dcm".into()],
    };
    let spec = v1::PolicySpec {
        agent: "host-1".into(),
        vault: "main".into(),
        source: Some(v1::SourceSpec { source: Some(Source::Files(files)) }),
        required: vec!["main".into()],
        backup: Some(v1::BackupSettings { level: 3, bytes_per_second_max: 1 << 20 }),
        retention: Some(v1::RetentionSpec { last: Some(7), ..Default::default() }),
        class: "gold".into(),
    };
    v1::Resource { name: "nightly".into(), revision: 0, spec: Some(Spec::Policy(spec)) }
}

pub fn messages() -> Vec<Vec<u8>> {
    let id = |byte, length| Bytes::from(vec![byte; length]);
    let offer = v1::OfferRequest { session_id: id(1, 16), kind: 1, ids: id(2, 64) };
    let apply = v1::ApplyRequest { resource: Some(policy()), dry_run: true };
    let begin = v1::BeginRequest { run_id: id(3, 16) };
    vec![
        numbered(same_again::<v1::OfferRequest>, &offer),
        numbered(same_again::<v1::ApplyRequest>, &apply),
        numbered(same_again::<v1::BeginRequest>, &begin),
    ]
}

pub fn resources() -> Vec<Vec<u8>> {
    let vault = v1::VaultSpec { sharing: "agent".into(), ..Default::default() };
    let location = v1::LocationSpec { url: "local:/srv/v".into(), region: "eu".into() };
    let named =
        |name: &str, spec| v1::Resource { name: name.into(), revision: 2, spec: Some(spec) };
    [policy(), named("main", Spec::Vault(vault)), named("near", Spec::Location(location))]
        .map(|resource| resource.encode_to_vec())
        .to_vec()
}

pub fn error_details() -> Vec<Vec<u8>> {
    let error = Error::new(holdfast_common::Code::VaultMissing, "there is none").next("make one");
    vec![v1::ErrorDetail::from(&error).encode_to_vec()]
}

pub fn field_bytes() -> Vec<Vec<u8>> {
    vec![vec![7; 64], vec![7; 32]]
}
