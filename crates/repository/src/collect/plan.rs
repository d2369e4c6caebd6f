//! A verdict on every pack, and what they come to.
//!
//! Bytes of live slots are told from their share of the pack: only a footer knows lengths, and the
//! plan reads none.

use super::{Mark, PackSpan, Place};
use holdfast_common::limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nobody needs it.
    Condemn,
    Keep,
    /// Mostly dead, or all that keeps a forgotten point's object: what lives is to be copied.
    Repack,
    /// Live, and so small that it should be merged with others, when there are enough of them.
    Small,
}

/// From where on it pays to write a pack anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// With less than this part of its slots alive a pack is mostly dead.
    pub live_percent_min: u32,
    /// Packs shorter than this are small.
    pub length_min: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            live_percent_min: limits::COLLECT_LIVE_PERCENT_MIN,
            length_min: limits::COLLECT_PACK_BYTES_MIN,
        }
    }
}

/// Packs of one verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub packs: u64,
    pub bytes: u64,
    /// The part of the bytes that is needed.
    pub live_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub condemn: Amount,
    pub keep: Amount,
    pub repack: Amount,
    pub small: Amount,
}

#[derive(Clone, Debug)]
pub struct Plan {
    mark: Mark,
    thresholds: Thresholds,
    tally: Tally,
}

impl Plan {
    pub fn new(mark: Mark, thresholds: Thresholds) -> Self {
        Self { mark, thresholds, tally: Tally::default() }
    }

    pub fn judge(&mut self, pack: &PackSpan<'_>) -> Verdict {
        let (verdict, of) = self.weigh(pack);
        let amount = match verdict {
            Verdict::Condemn => &mut self.tally.condemn,
            Verdict::Keep => &mut self.tally.keep,
            Verdict::Repack => &mut self.tally.repack,
            Verdict::Small => &mut self.tally.small,
        };
        amount.packs += 1;
        amount.bytes += of.bytes;
        amount.live_bytes += of.live_bytes;
        verdict
    }

    /// The same without counting it, and how much it is.
    pub fn weigh(&self, pack: &PackSpan<'_>) -> (Verdict, Amount) {
        let live = pack.live_slots(&self.mark);
        let (bytes, live_bytes) = (u64::from(pack.length), live_bytes(pack, live));
        (self.verdict(pack, live), Amount { packs: 1, bytes, live_bytes })
    }

    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn verdict(&self, pack: &PackSpan<'_>, live: u32) -> Verdict {
        let Thresholds { live_percent_min, length_min } = self.thresholds;
        let is_sparse = u64::from(live) * 100 < u64::from(pack.slots) * u64::from(live_percent_min);
        match pack.place {
            _ if live == 0 => Verdict::Condemn,
            Place::Nowhere | Place::Point => Verdict::Keep,
            // What lives lies too scattered for one pack to take it over.
            _ if pack.live_runs(&self.mark) > limits::TAKEN_RUNS_MAX => Verdict::Keep,
            Place::ForgottenPoint => Verdict::Repack,
            Place::Object if is_sparse => Verdict::Repack,
            Place::Object if pack.length < length_min => Verdict::Small,
            Place::Object => Verdict::Keep,
        }
    }
}

impl Tally {
    /// What is free when all was done that the verdicts ask for.
    pub fn freed_bytes(&self) -> u64 {
        self.condemn.bytes + (self.repack.bytes - self.repack.live_bytes)
    }
}

fn live_bytes(pack: &PackSpan<'_>, live: u32) -> u64 {
    let bytes = u64::from(pack.length) * u64::from(live);
    bytes.checked_div(u64::from(pack.slots)).unwrap_or(0)
}
