//! In which epoch this member stands, beside the lines that say so, and who spoke last.
//!
//! Whatever has an effect outside of the ledger asks here right before: a member that was
//! superseded a moment ago does nothing more.

use super::Peers;
use crate::region::{Epoch, Standing, vouch};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, Secret};
use holdfast_wire::v1;
use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

pub(super) struct Stand {
    standing: Standing,
    /// It starts anew in another epoch: nothing of the old one changes its log any more.
    closed: bool,
    contact: Option<Instant>,
    /// What a member with data said for this epoch, as a witness tells it on.
    heard: Option<(Epoch, Bytes)>,
}

impl Stand {
    pub(super) fn at(standing: Standing) -> Self {
        Self { standing, closed: false, contact: None, heard: None }
    }
}

impl Peers {
    pub(crate) fn standing(&self) -> Standing {
        self.stand().standing.clone()
    }

    /// Whoever changes the standing, here and on disk, does it alone.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stand_at(&self, standing: Standing) {
        self.stand().standing = standing;
    }

    /// This member has the key to vouch with.
    pub(crate) fn vouch_with(&self, key: Secret<32>) {
        drop(self.0.voucher_key.set(key));
    }

    /// The epoch that this member knows, as it tells others of it.
    pub(crate) fn tell_epoch(&self) -> Option<v1::EpochInForce> {
        let stand = self.stand();
        let epoch = &stand.standing.epoch;
        let told = epoch.to_wire()?;
        let voucher = match (self.0.voucher_key.get(), &stand.heard) {
            (Some(key), _) => Bytes::copy_from_slice(&vouch(key, &self.0.cluster, epoch)),
            (None, Some((heard, voucher))) if heard == epoch => voucher.clone(),
            _ => Bytes::new(),
        };
        Some(v1::EpochInForce { voucher, ..told })
    }

    /// Somebody vouched for an epoch.
    pub(crate) fn keep_voucher(&self, epoch: &Epoch, voucher: &Bytes) {
        let mut stand = self.stand();
        if !voucher.is_empty() && stand.standing.epoch == *epoch {
            stand.heard = Some((epoch.clone(), voucher.clone()));
        }
    }

    /// This member belongs to the epoch that is in force, as far as it knows.
    pub(crate) fn insist_on_epoch(&self) -> Result<()> {
        let stand = self.stand();
        if stand.standing.belongs { Ok(()) } else { Err(stand.standing.epoch.supersedes()) }
    }

    /// From here on nothing that others send changes the log; or they may again.
    pub(crate) fn close_log(&self, closed: bool) {
        self.stand().closed = closed;
    }

    pub(crate) fn insist_on_open_log(&self) -> Result<()> {
        if self.stand().closed {
            return Err(Error::new(Code::ClusterBusy, "this member starts anew in another epoch"));
        }
        Ok(())
    }

    /// A leader has just spoken.
    pub(in crate::raft) fn contacted(&self) {
        self.stand().contact = Some(Instant::now());
    }

    /// Since a leader last spoke to this member; none when it never did since the start.
    pub(crate) fn since_contact(&self) -> Option<Duration> {
        self.stand().contact.map(|at| at.elapsed())
    }

    fn stand(&self) -> MutexGuard<'_, Stand> {
        self.0.stand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
