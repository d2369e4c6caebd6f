//! Holds a point or a policy: nothing of it is forgotten until the hold ends.
//!
//! Holds that ended long ago are cleared here, so that their number stays bounded.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{AgentRow, Held, HoldRow, PolicyRow},
    tables::{Row, Table},
};
use holdfast_common::{AgentId, Code, Error, Name, Result, limits};
use minicbor::{Decode, Encode};
use std::time::Duration;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct AddHold {
    /// Who holds it and since when the ledger stamps.
    #[n(0)]
    pub hold: HoldRow,
}

impl AddHold {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let hold = &self.hold;
        if hold.reason.is_empty() {
            let message = "a hold says in a few words what it is for";
            return Err(Error::new(Code::UsageMalformed, message));
        }
        check_reason(&hold.reason)?;
        if !hold.is_in_force(apply.time) {
            return Err(Error::new(Code::UsageMalformed, "this hold would have ended already"));
        }
        if apply.tables.raw(Table::Hold, hold.id.as_bytes())?.is_some() {
            return Err(conflict(format!("there is a hold {} already", hold.id)));
        }
        match &hold.what {
            Held::Agent(agent) => insist_on_agent(apply, agent)?,
            Held::Point(point) => drop(apply.point(point)?),
            Held::Policy(policy) => insist_on_policy(apply, policy)?,
        }
        let is_counted = !matches!(hold.what, Held::Agent(_));
        if clear_ended(apply)? >= limits::HOLDS_MAX && is_counted {
            let message = "there are as many holds as may be, with those that ended lately";
            return Err(Error::new(Code::LimitExceeded, message)
                .next("hold a policy instead of its points"));
        }
        let (by, since) = (apply.actor.clone(), apply.time);
        apply.tables.put(&HoldRow { by, since, released: None, ..hold.clone() })?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        format!("{} on {}: {}", self.hold.id, self.hold.what, self.hold.reason)
    }
}

/// The audit log has it whole.
pub(super) fn check_reason(reason: &str) -> Result<()> {
    let max = limits::HOLD_REASON_BYTES_MAX;
    if reason.len() <= max {
        return Ok(());
    }
    let message = format!("a reason of {} bytes is too long for the audit log", reason.len());
    Err(Error::new(Code::UsageMalformed, message).next(format!("say it in {max} bytes")))
}

fn insist_on_agent(apply: &Apply<'_, '_>, agent: &AgentId) -> Result<()> {
    match apply.tables.row::<AgentRow>(agent.as_bytes())? {
        Some(_) => Ok(()),
        None => Err(Error::new(Code::AgentMissing, format!("there is no agent {agent}"))),
    }
}

fn insist_on_policy(apply: &Apply<'_, '_>, policy: &Name) -> Result<()> {
    match apply.tables.row::<PolicyRow>(policy.as_str().as_bytes())? {
        Some(_) => Ok(()),
        None => Err(Error::new(Code::PolicyMissing, format!("there is no policy `{policy}`"))),
    }
}

/// How many of points and policies are left.
fn clear_ended(apply: &mut Apply<'_, '_>) -> Result<usize> {
    let (mut ended, mut left, now) = (Vec::new(), 0, apply.time);
    let known = Duration::from_secs(limits::HOLD_ENDED_KEPT_SECS);
    apply.tables.look::<HoldRow>(&[], |hold| match hold.keeps(now, known) {
        true => left += usize::from(!matches!(hold.what, Held::Agent(_))),
        false => ended.push(hold.key()),
    })?;
    for key in ended {
        apply.tables.remove(Table::Hold, &key);
    }
    Ok(left)
}
