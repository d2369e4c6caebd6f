//! One at a time asks a location that may never answer.
//!
//! A call to a mount that hangs holds its thread until the mount comes back. Whoever has entered
//! takes the pass along with the call, to the end of it; the others wait without a thread, for as
//! long as they like. So a location that hangs costs one, however often it is asked for.

use holdfast_common::Name;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OwnedMutexGuard;

type Gate = Arc<tokio::sync::Mutex<()>>;

/// By name and URL.
#[derive(Default)]
pub(super) struct Gates(Mutex<HashMap<(Name, String), Gate>>);

/// Others wait until it is dropped.
pub(super) type Pass = OwnedMutexGuard<()>;

impl Gates {
    pub(super) async fn enter(&self, place: &(Name, String)) -> Pass {
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            gates.entry(place.clone()).or_default().clone()
        };
        gate.lock_owned().await
    }
}
