//! The services, each a thin shell: parse at the door, call the house, render the answer.

pub(crate) mod access;
mod admin;
mod agent;
pub(crate) mod calls;
mod enroll;
pub(crate) mod heeding;
mod ingest;
mod raft;
mod render;
mod restore;

pub(crate) use admin::{AdminService, next_leader, overview, own_alarms, preview, transfer};
pub(crate) use agent::{AgentService, welcome};
pub(crate) use enroll::EnrollService;
pub(crate) use ingest::IngestService;
pub(crate) use raft::RaftService;
pub(crate) use restore::RestoreService;

use access::Caller;
use holdfast_common::Error;
use holdfast_wire::status::to_status;
use tonic::{Request, Status};

/// Who calls; the gate put it there.
fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Unknown)
}

/// Renders an error for the wire. A fault of ours is logged here, where it stops being ours.
fn refuse(error: Error) -> Status {
    if error.code == holdfast_common::Code::InternalBug {
        tracing::error!(%error, "a call failed");
    }
    to_status(&error)
}
