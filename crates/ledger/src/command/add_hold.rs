//! Holds a point or a policy: nothing of it is forgotten until the hold ends.
//!
//! Holds that have ended are cleared here, so that their number stays bounded.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{AgentRow, Held, HoldRow, PolicyRow},
    tables::{Row, Table},
};
use holdfast_common::{AgentId, Code, Error, Name, Result, limits};
use minicbor::{Decode, Encode};

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
        if hold.reason.is_empty() || hold.reason.len() > limits::HOLD_REASON_BYTES_MAX {
            let message = "a hold says in a few words what it is for";
            return Err(Error::new(Code::UsageMalformed, message));
        }
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
        if clear_ended(apply)? >= limits::HOLDS_MAX {
            let message = "there are as many holds as may be";
            return Err(Error::new(Code::LimitExceeded, message)
                .next("release some, or hold a policy instead of its points"));
        }
        let (by, since) = (apply.actor.clone(), apply.time);
        apply.tables.put(&HoldRow { by, since, ..hold.clone() })?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        let what = match &self.hold.what {
            Held::Agent(agent) => format!("agent {agent}"),
            Held::Point(point) => format!("point {point}"),
            Held::Policy(policy) => format!("policy {policy}"),
        };
        format!("{what} by {}: {}", self.hold.id, self.hold.reason)
    }
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

/// How many are left.
fn clear_ended(apply: &mut Apply<'_, '_>) -> Result<usize> {
    let (mut ended, mut left, now) = (Vec::new(), 0, apply.time);
    apply.tables.look::<HoldRow>(&[], |hold| match hold.is_in_force(now) {
        true => left += 1,
        false => ended.push(hold.key()),
    })?;
    for key in ended {
        apply.tables.remove(Table::Hold, &key);
    }
    Ok(left)
}
