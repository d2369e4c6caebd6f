//! What is said to the ledger of verifiers and of what they find.

use super::{agent, create_token, ids, members, source};
use holdfast_common::AgentId;
use holdfast_ledger::{Command, command::*, envelope::Refusal, row::*};

/// A token for an agent that verifies.
pub(crate) fn verifier_token(hash: [u8; 32]) -> CreateToken {
    let CreateToken { token } = create_token(hash);
    CreateToken { token: TokenRow { duty: Some(AgentDuty::Verifier), ..token } }
}

/// A verification of a point as run `number`.
pub(crate) fn start_verify(number: u8, who: AgentId, point: u8) -> StartRun {
    let (run, point) = (ids::run(number), ids::point(point));
    StartRun { run: RunRow::verification(run, who, ids::vault(), source(), point) }
}

/// Its end, as its verifier told it.
pub(crate) fn end_verify(run: u8, session: u8, damaged: u64) -> EndVerify {
    let refusal = Refusal { code: "a.b".into(), message: "m".into(), next: None };
    EndVerify {
        run: ids::run(run),
        session: ids::session(session),
        counts: VerifyCounts { entries: 3, bytes: 100, damaged },
        report: None,
        damage: (damaged > 0).then_some(refusal),
    }
}

pub(super) fn samples() -> Vec<(&'static str, Command)> {
    let see = members::see(1, &[agent(1)], &[]);
    let able = SeeAgents { verifiers: Some(vec![agent(1)]), ..see };
    let found = EndVerify { report: Some(vec![8; 3].into()), ..end_verify(2, 1, 4) };
    vec![
        ("create_verifier_token", verifier_token([6; 32]).into()),
        ("see_verifiers", able.into()),
        ("start_verify", start_verify(2, agent(1), 3).into()),
        ("end_verify", end_verify(2, 1, 0).into()),
        ("end_verify_of_damage", found.into()),
    ]
}
