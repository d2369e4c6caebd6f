//! What a member does when another one, or a claim, tells it of an epoch.
//!
//! What was claimed counts, whoever tells of it. What a person said at some member, by hand, counts
//! there; another one takes it over only when nobody leads it while it hears of that first. A side
//! with a quorum knows by itself that it leads, and one word at a member that is cut off must not
//! end it, then or later.

use super::{
    Claim, Epoch, Standing,
    epoch::{Verdict, is_hearsay, judge},
};
use crate::{cluster::seed, house::House};
use holdfast_common::{Code, Error, Result};
use holdfast_wire::v1;

impl House {
    /// Whoever speaks is of the epoch that is in force, or is told that it is not. A newer epoch is
    /// written down before anybody is answered.
    pub(crate) async fn meet(&self, from: u64, told: Option<&v1::EpochInForce>) -> Result<()> {
        let (epoch, own) = (Epoch::from_wire(told)?, self.ledger.peers().standing().epoch);
        if is_hearsay(&own, &self.region, &epoch) {
            let voucher = told.map(|told| told.voucher.clone()).unwrap_or_default();
            self.insist_on_voucher(from, &epoch, &voucher)?;
            if self.refuses(&epoch).await? {
                return Err(epoch.unclaimed(from));
            }
        }
        self.meet_now(from, told)
    }

    /// Whether a word that was said elsewhere is not taken: somebody leads this member, or did when
    /// it heard that first. By one word alone a region must not end when it has no quorum later.
    async fn refuses(&self, said: &Epoch) -> Result<bool> {
        let peers = self.ledger.peers();
        if peers.standing().has_refused(said) {
            return Ok(true);
        }
        if !self.ledger.is_led().await {
            return Ok(false);
        }
        let _turn = peers.turn();
        let standing = peers.standing();
        if !standing.has_refused(said) {
            let standing = standing.refusing(said.clone());
            standing.save(&self.data)?;
            peers.stand_at(standing);
        }
        Ok(true)
    }

    fn meet_now(&self, from: u64, told: Option<&v1::EpochInForce>) -> Result<()> {
        let voucher = told.map(|told| told.voucher.clone()).unwrap_or_default();
        let told = &Epoch::from_wire(told)?;
        let peers = self.ledger.peers();
        let _turn = peers.turn();
        let verdict = judge(&peers.standing().epoch, &self.region, told);
        if matches!(verdict, Verdict::Adopt | Verdict::Fence) {
            self.insist_on_voucher(from, told, &voucher)?;
        }
        match verdict {
            Verdict::Same => {
                peers.keep_voucher(told, &voucher);
                peers.insist_on_epoch()
            }
            Verdict::Refuse => Err(peers.standing().epoch.supersedes()),
            Verdict::Adopt => self.adopt(told, None),
            Verdict::Fence => {
                self.fence(told)?;
                Err(told.supersedes())
            }
        }
    }

    /// A claim that was found in a location.
    pub(super) fn meet_claim(&self, claim: &Claim) -> Result<()> {
        let _turn = self.ledger.peers().turn();
        let standing = self.ledger.peers().standing();
        if claim.epoch.member == self.node_id && claim.epoch.number > standing.epoch.number {
            let message = format!("epoch {} is claimed, and not begun", claim.epoch.number);
            return Err(Error::new(Code::ClusterBusy, message)
                .next(format!("holdfast region promote {}", claim.region)));
        }
        match judge(&standing.epoch, &self.region, &claim.epoch) {
            Verdict::Same | Verdict::Refuse => Ok(()),
            Verdict::Adopt => self.adopt(&claim.epoch, Some(claim)),
            Verdict::Fence => self.fence(&claim.epoch),
        }
    }

    /// This member is of the new epoch, whose regions may have grown. A ledger that may have what
    /// the epoch never had is put aside and brought anew.
    pub(super) fn adopt(&self, epoch: &Epoch, claim: Option<&Claim>) -> Result<()> {
        let known = self.ledger.peers().standing();
        let aside = epoch.member != self.node_id && self.may_differ(&known, epoch);
        let kept = known.claim.filter(|claim| claim.epoch.is_claim_of(epoch));
        let standing =
            Standing { claim: kept, aside, anew: known.anew, ..Standing::of(epoch.clone(), true) };
        if aside {
            self.remember_members()?;
        }
        standing.save(&self.data)?;
        let restarts = aside || !known.belongs;
        if restarts {
            // Before anybody is told that it belongs: what this log took now would be acknowledged,
            // and put aside with it.
            self.ledger.peers().close_log(true);
        }
        self.ledger.peers().stand_at(standing);
        tracing::warn!(
            epoch = epoch.number,
            regions = epoch.holders(),
            operator = claim.map(|claim| claim.operator.as_str()),
            aside,
            "a new epoch"
        );
        if restarts {
            self.start_anew();
            return Err(Error::new(Code::ClusterBusy, "this member starts its ledger anew"));
        }
        Ok(())
    }

    /// Whom to tell where this member is, when its own ledger knows nobody.
    fn remember_members(&self) -> Result<()> {
        let query = self.ledger.query();
        // One that was put aside before, and brought nothing yet, has what was remembered then.
        let Ok(cluster) = query.cluster() else { return Ok(()) };
        let others = query.members()?.into_iter();
        let others = others.filter(|row| row.id != self.node_id);
        let peers = others.map(|row| (row.id, row.address)).collect();
        seed::save(&self.data, &cluster, &peers)
    }

    /// Whether this ledger may have what the epoch never had: what was applied beyond the claimer's
    /// own log, under an epoch that was missed, or on a side that was superseded.
    fn may_differ(&self, known: &Standing, epoch: &Epoch) -> bool {
        if known.epoch.is_claim_of(epoch) {
            return !known.belongs;
        }
        !epoch.follows(&known.epoch) || self.ledger.state().applied > epoch.applied
    }

    /// This member is of an epoch that is over. It starts anew, so that nothing that was under way
    /// goes on.
    pub(crate) fn fence(&self, epoch: &Epoch) -> Result<()> {
        let belonged = self.ledger.peers().standing().belongs;
        let anew = self.ledger.peers().standing().anew;
        let standing = Standing { anew, ..Standing::of(epoch.clone(), false) };
        standing.save(&self.data)?;
        self.ledger.peers().stand_at(standing);
        tracing::error!(epoch = epoch.number, regions = epoch.holders(), "superseded: fenced");
        if belonged {
            self.start_anew();
        }
        Ok(())
    }

    /// Nothing that waits for the ledger keeps the process from closing it.
    pub(super) fn start_anew(&self) {
        self.ledger.peers().close_log(true);
        self.again.cancel();
    }
}
