//! Before a member trusts a person it hears from whoever leads what was agreed: it may be behind.
//!
//! ```text
//!   an operator's call ─→ counted ─→ asked for the index ─→ answered ─→ applied ─→ looked at
//!                                            │                   └─ late ─→ sent on
//!                                            └─ nobody answers ─→ by what is known here
//! ```
//!
//! One that can ask nobody goes by what it knows, as for all else; it agrees to nothing alone. It
//! finds that out once, and not with every call: until it hears of something, or for a few seconds.
//! Whoever was shut out with the very key that he shows is refused without asking, since no key
//! comes back.

use crate::house::House;
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::row::OperatorRow;
use holdfast_runtime::{
    identity::{IdentityKind, PeerCertificate},
    tls::ConnectInfo,
};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How long whoever leads may take to say what was agreed, and this member to apply it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long nobody is asked again after nobody answered.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// Calls of operators before which nobody is asked whether they stand still: one of many for what
/// was begun, which asked; or what says nothing worth keeping.
pub(crate) const UNASKED: &[&str] = &[
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health/Watch",
    "/holdfast.v1.Restore/Fetch",
    "/holdfast.v1.Restore/Keep",
];

/// Whether somebody is to be asked before this call is let in.
pub(super) fn is_asked_first(house: &House, path: &str, info: Option<&ConnectInfo>) -> bool {
    let Some(peer) = info.and_then(|info| info.peer.as_ref()) else { return false };
    let is_operator = matches!(peer.identity.kind, IdentityKind::Operator(_));
    let is_known_here = peer.identity.cluster == house.cluster;
    let can_ask = !house.ledger.is_alone() && house.ledger.current_leader().is_some();
    is_operator
        && is_known_here
        && can_ask
        && !UNASKED.contains(&path)
        && peer.is_valid_at(house.clock.now())
        && !is_gone(house, peer)
}

/// Whoever was shut out with this very key.
fn is_gone(house: &House, peer: &PeerCertificate) -> bool {
    let IdentityKind::Operator(name) = &peer.identity.kind else { return false };
    let row = house.ledger.query().operator(name).ok().flatten();
    row.is_some_and(|row| was_shut_out(&row, &peer.public_key))
}

fn was_shut_out(row: &OperatorRow, key: &[u8; 32]) -> bool {
    row.revoked && row.public_key == Some(*key)
}

/// Waits until this member knows what was agreed before the call.
pub(super) async fn heed(house: &House, path: &str) -> Result<()> {
    let ledger = &house.ledger;
    let known = || Known { applied: ledger.state().applied, leader: ledger.current_leader() };
    let apply = |index| ledger.applied_at_least(index);
    house.silence.heed(known, ledger.heard_index(), apply).await.inspect_err(|error| {
        tracing::info!(%error, path, "an operator is sent on");
    })
}

/// Since when nobody answers who could be asked.
#[derive(Default)]
pub(crate) struct Silence(Mutex<Option<(Instant, Known)>>);

/// What this member had heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    applied: u64,
    leader: Option<u64>,
}

impl Silence {
    async fn heed<A: Future<Output = Result<()>>>(
        &self,
        known: impl Fn() -> Known,
        ask: impl Future<Output = Option<u64>>,
        apply: impl FnOnce(u64) -> A,
    ) -> Result<()> {
        if self.lasts(known()) {
            return Ok(());
        }
        let Ok(Some(index)) = timeout(PATIENCE, ask).await else {
            tracing::debug!("operators are trusted by what is known here: nobody answers");
            *self.lock() = Some((Instant::now(), known()));
            return Ok(());
        };
        match timeout(PATIENCE, apply(index)).await {
            Ok(Ok(())) => Ok(()),
            // Somebody leads, so nothing is urgent enough to be done by what was.
            _ => Err(Error::new(Code::ClusterLeaderless, "this member is behind")
                .next("ask another coordinator, or again in a moment")),
        }
    }

    fn lasts(&self, known: Known) -> bool {
        let since = *self.lock();
        since.is_some_and(|(since, then)| since.elapsed() < SILENT_FOR && then == known)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Known)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, future::pending};

    const KNOWN: Known = Known { applied: 7, leader: Some(1) };

    #[test]
    fn who_was_shut_out_with_this_key_is_asked_about_nobody() {
        let stands = OperatorRow {
            public_key: Some([7; 32]),
            ..OperatorRow::founding("ben".parse().unwrap(), 1, Default::default())
        };
        let revoked = OperatorRow { revoked: true, ..stands.clone() };
        assert!(was_shut_out(&revoked, &[7; 32]));
        assert!(!was_shut_out(&stands, &[7; 32]));
        assert!(!was_shut_out(&revoked, &[8; 32]), "the name may be somebody else's by now");
        let of_before = OperatorRow { public_key: None, ..revoked };
        assert!(!was_shut_out(&of_before, &[7; 32]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_is_answered_and_behind_lets_nobody_in_by_what_it_knew() {
        let silence = Silence::default();
        let heed = async |apply: Result<()>| {
            silence.heed(|| KNOWN, async { Some(9) }, |_| async { apply }).await
        };
        assert_eq!(heed(Ok(())).await, Ok(()));
        let stopped = Error::new(Code::ClusterLeaderless, "it has stopped");
        assert_eq!(heed(Err(stopped)).await.unwrap_err().code, Code::ClusterLeaderless);
        let late = silence.heed(|| KNOWN, async { Some(9) }, |_| pending()).await;
        assert_eq!(late.unwrap_err().code, Code::ClusterLeaderless);
        assert!(!silence.lasts(KNOWN), "somebody answered");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_answers_it_is_waited_for_once_until_something_is_heard() {
        let (silence, asked, now) = (Silence::default(), Cell::new(0), Cell::new(KNOWN));
        let call = async || {
            let ask = async {
                asked.set(asked.get() + 1);
                pending().await
            };
            let begun = Instant::now();
            silence.heed(|| now.get(), ask, |_| async { Ok(()) }).await.unwrap();
            begun.elapsed()
        };
        assert_eq!(call().await, PATIENCE);
        assert_eq!((call().await, call().await), (Duration::ZERO, Duration::ZERO));
        assert_eq!(asked.get(), 1);
        for heard in [Known { applied: 8, ..KNOWN }, Known { leader: Some(2), ..KNOWN }] {
            now.set(heard);
            assert_eq!(call().await, PATIENCE);
        }
        tokio::time::advance(SILENT_FOR).await;
        assert_eq!(call().await, PATIENCE);
        assert_eq!(asked.get(), 4);
    }
}
