//! Holds that the returning region put on alone, and those of agents that it revoked: in force
//! here too, without anybody deciding. To hold more than was wanted is never wrong, and what nobody
//! holds may be forgotten before somebody has read the report.
//!
//! A hold that the region released again is none, and what it released of this side's stays held: a
//! release is listed for people.

use super::{Order, Report};
use crate::house::House;
use holdfast_common::{HoldId, Result, Timestamp};
use holdfast_ledger::{
    Command, Envelope, Query,
    command::AddHold,
    level::RETENTION,
    row::{Held, HoldRow},
};
use std::collections::BTreeMap;

/// Takes over what is missing here; what cannot be stays in the report.
pub(super) async fn take_over(
    house: &House,
    order: &Order,
    remnant: &[(u64, Envelope)],
    report: &mut Report,
) -> Result<()> {
    if order.dry_run || house.ledger.query().level()? < RETENTION {
        return Ok(());
    }
    for (index, hold) in missing(&house.ledger.query(), remnant)? {
        match house.ledger.propose(order.actor.clone(), AddHold { hold }).await {
            Ok(_) => report.differences.retain(|told| Some(told.index) != index),
            Err(error) if error.code.retry() => return Err(error),
            Err(error) => tracing::warn!(%error, "a hold of the region is not taken over"),
        }
    }
    Ok(())
}

/// Each with the entry that put it on; none where that did something else beside.
fn missing(here: &Query<'_>, remnant: &[(u64, Envelope)]) -> Result<Vec<(Option<u64>, HoldRow)>> {
    let mut holds: BTreeMap<HoldId, (Option<u64>, HoldRow)> = BTreeMap::new();
    for (index, envelope) in remnant {
        match &envelope.command {
            Command::AddHold(add) => {
                holds.insert(add.hold.id, (Some(*index), add.hold.clone()));
            }
            Command::RevokeAgent(revoke) => {
                let hold = HoldRow {
                    id: HoldId::from_bytes(*revoke.agent.as_bytes()),
                    what: Held::Agent(revoke.agent),
                    reason: "the agent was revoked by the other side".to_owned(),
                    by: envelope.actor.clone(),
                    since: Timestamp::ZERO,
                    until: None,
                    released: None,
                };
                holds.insert(hold.id, (None, hold));
            }
            Command::ReleaseHold(release) => drop(holds.remove(&release.hold)),
            _ => {}
        }
    }
    let mut missing = Vec::new();
    for (id, found) in holds {
        if here.row::<HoldRow>(id.as_bytes())?.is_none() {
            missing.push(found);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, moment, name};
    use holdfast_common::{AgentId, PointId};
    use holdfast_ledger::{
        Actor,
        command::{ReleaseHold, RevokeAgent},
        envelope::ENVELOPE_VERSION,
    };

    fn hold(number: u8) -> HoldRow {
        HoldRow {
            id: HoldId::from_bytes([number; 16]),
            what: Held::Point(PointId::from_bytes([9; 16])),
            reason: "a lawsuit".to_owned(),
            by: Actor::Operator(name("admin")),
            since: Timestamp::ZERO,
            until: None,
            released: None,
        }
    }

    fn entry(index: u64, command: impl Into<Command>) -> (u64, Envelope) {
        let envelope = Envelope {
            version: ENVELOPE_VERSION,
            key: [1; 16],
            actor: Actor::Operator(name("admin")),
            time: moment(index),
            epoch: 1,
            traceparent: None,
            command: command.into(),
        };
        (index, envelope)
    }

    #[test]
    fn holds_that_are_not_here_are_taken_over_and_those_of_revoked_agents_too() {
        let mut crowd = Crowd::default();
        crowd.put(&hold(1));
        crowd.put(&HoldRow { released: Some(moment(3)), ..hold(2) });
        let agent = AgentId::from_bytes([7; 16]);
        let release = |number: u8| {
            let HoldRow { id, what, .. } = hold(number);
            ReleaseHold { hold: id, reason: None, what }
        };
        let remnant = vec![
            entry(10, AddHold { hold: hold(1) }),
            entry(11, AddHold { hold: hold(2) }),
            entry(12, AddHold { hold: hold(3) }),
            entry(13, AddHold { hold: hold(4) }),
            entry(14, release(4)),
            entry(15, RevokeAgent { agent }),
            entry(16, release(1)),
        ];
        let found = crowd.ask(|query| missing(&query, &remnant)).unwrap();
        let told: Vec<_> = found.iter().map(|(index, hold)| (*index, &hold.what)).collect();
        assert_eq!(told, [(Some(12), &hold(3).what), (None, &Held::Agent(agent))]);
    }
}
