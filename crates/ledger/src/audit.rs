//! The audit chain: one row per command, each holding the hash of the one before.
//!
//! Whoever knows the newest hash can tell whether any earlier row was changed, removed or put in.
//! The chain begins with the first command of the cluster and has no gaps. Where somebody said how
//! long it is kept, its oldest rows go; the hash of the last that went stays, so that what is left
//! still hangs on it.

use crate::{
    Actor, Reply,
    tables::{Row, Table, Tables},
};
use holdfast_common::{Code, Error, Result, Timestamp, record};
use minicbor::{Decode, Encode};
use std::time::Duration;

const CONTEXT: &str = "holdfast 2026 audit chain v1";
const TEXT_CHARS_MAX: usize = 256;
pub(crate) const HEAD_KEY: &[u8] = b"audit-head";
pub(crate) const CUT_KEY: &[u8] = b"audit-cut";
pub(crate) const RULE_KEY: &[u8] = b"audit-rule";
const CUT_LABEL: &str = "audit.cut";
/// What a cut says of itself, before the number of the first row that stays.
pub(crate) const CUT_SUBJECT: &str = "before row ";

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct AuditRow {
    #[n(0)]
    pub number: u64,
    #[n(1)]
    pub time: Timestamp,
    #[n(2)]
    pub actor: Actor,
    #[n(3)]
    pub action: String,
    #[n(4)]
    pub subject: String,
    /// `ok`, or the code of the refusal.
    #[n(5)]
    pub result: String,
    #[cbor(n(6), with = "minicbor::bytes")]
    pub previous: [u8; 32],
}

impl Row for AuditRow {
    const TABLE: Table = Table::Audit;
    const WHAT: &'static str = "audit";

    fn key(&self) -> Vec<u8> {
        self.number.to_be_bytes().to_vec()
    }
}

impl AuditRow {
    pub fn hash(&self) -> [u8; 32] {
        blake3::derive_key(CONTEXT, &record::to_bytes(self))
    }

    /// The first row that was left, where this one says that others were cut off.
    fn cut_before(&self) -> Option<u64> {
        let is_cut = self.action == CUT_LABEL && self.result == "ok";
        self.subject.strip_prefix(CUT_SUBJECT).filter(|_| is_cut)?.parse().ok()
    }
}

/// Where the chain stands: how many rows, and the hash of the newest.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct AuditHead {
    #[n(0)]
    pub rows: u64,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

/// How long rows are kept, and since when that is said.
#[derive(Clone, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct AuditRule {
    /// None: for ever.
    #[n(0)]
    pub kept_secs: Option<u64>,
    #[n(1)]
    pub since: Timestamp,
    #[n(2)]
    pub by: Option<Actor>,
}

impl AuditRule {
    /// Whether a row goes by it. What was there when the time was doubtful, or the ledger was made
    /// again, grows old from then on: no clock makes years of a day.
    pub fn lets_go(&self, row: &AuditRow, upset: Timestamp, now: Timestamp) -> bool {
        let age = now.since(row.time.max(upset));
        self.kept_secs.is_some_and(|kept| age > Duration::from_secs(kept))
    }
}

pub fn head(tables: &Tables<'_>) -> Result<AuditHead> {
    meta(tables.raw(Table::Meta, HEAD_KEY)?)
}

/// Where the chain was cut: how many rows went, and the hash of the last one.
pub(crate) fn cut(tables: &Tables<'_>) -> Result<AuditHead> {
    meta(tables.raw(Table::Meta, CUT_KEY)?)
}

pub(crate) fn rule(tables: &Tables<'_>) -> Result<AuditRule> {
    meta(tables.raw(Table::Meta, RULE_KEY)?)
}

/// What is said of the chain in one place.
pub(crate) fn meta<T: Default + for<'b> Decode<'b, ()>>(bytes: Option<Vec<u8>>) -> Result<T> {
    bytes.map_or_else(|| Ok(T::default()), |bytes| record::from_bytes("audit", &bytes))
}

/// Adds a row to the end of the chain.
pub fn append(
    tables: &mut Tables<'_>,
    time: Timestamp,
    actor: &Actor,
    (action, subject): (&str, String),
    reply: &Reply,
) -> Result<()> {
    let head = head(tables)?;
    let result = match reply {
        Reply::Done(_) => "ok".to_owned(),
        Reply::Refused(refusal) => refusal.code.clone(),
    };
    let row = AuditRow {
        number: head.rows,
        time,
        actor: actor.clone(),
        action: action.to_owned(),
        subject: bounded(&subject),
        result,
        previous: head.hash,
    };
    tables.put(&row)?;
    let head = AuditHead { rows: head.rows + 1, hash: row.hash() };
    tables.put_raw(Table::Meta, HEAD_KEY, record::to_bytes(&head))
}

/// Texts of a row have a bound, whatever a command carried.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Checks a chain from where it was cut to its head; the error names the first row that does not
/// fit. That it was cut there, a row that is left must say.
pub fn verify(
    rows: impl Iterator<Item = Result<AuditRow>>,
    cut: &AuditHead,
    head: &AuditHead,
) -> Result<u64> {
    let (mut expected, mut said) = (*cut, 0);
    for row in rows {
        let row = row?;
        said = row.cut_before().map_or(said, |before| said.max(before));
        if row.number != expected.rows || row.previous != expected.hash {
            return Err(broken(expected.rows));
        }
        expected = AuditHead { rows: row.number + 1, hash: row.hash() };
    }
    if said < cut.rows {
        return Err(broken(cut.rows));
    }
    if expected == *head { Ok(expected.rows) } else { Err(broken(expected.rows)) }
}

fn broken(number: u64) -> Error {
    Error::new(Code::LogDamaged, format!("the audit chain is broken at row {number}"))
        .next("compare with the audit export of another member")
}
