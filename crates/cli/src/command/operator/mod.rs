//! `holdfast operator`: people who may act for the cluster, let in, listed, renewed, shut out.
//!
//! ```text
//!   ben:  request ─▶ ben.key (stays) + ben.request ─┐                    ┌─▶ beside ben.key
//!   ada:                                            └─▶ issue ─▶ ben.toml ┘
//! ```

mod issue;
mod request;

use crate::{
    client::Admin,
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    output::{
        figures::{self, json_time},
        table::Table,
    },
};
use clap::{Subcommand, ValueEnum};
use holdfast_common::{Name, Result, Timestamp};
use holdfast_runtime::{Context, pki::certificates_pem};
use holdfast_wire::v1;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Everything
    Admin,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a key, which stays here, and a request for another operator to sign; needs no cluster
    #[command(after_help = EXAMPLES)]
    Request {
        /// The name that the operator is to have
        name: Name,
        /// The request's file, beside which the key will lie; or a directory for both
        #[arg(long, value_name = "DIR|FILE")]
        out: PathBuf,
    },
    /// Let somebody in: sign their request, or make a key and a context at once
    #[command(after_help = EXAMPLES)]
    Issue {
        name: Name,
        #[arg(long, value_enum, default_value_t = Role::Admin)]
        role: Role,
        /// How long each certificate lasts; it is renewed by whoever has it
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
        days: Option<u32>,
        /// What `operator request` made
        #[arg(long, value_name = "FILE")]
        request: Option<PathBuf>,
        /// With a request the context's file; else a directory for the key and the context
        #[arg(long, value_name = "FILE|DIR")]
        to: PathBuf,
    },
    /// List who is or was an operator
    #[command(after_help = EXAMPLES)]
    List,
    /// Get a new certificate for the key of the context that is used
    #[command(after_help = EXAMPLES)]
    Renew,
    /// Shut an operator out; takes effect at once
    #[command(after_help = EXAMPLES)]
    Revoke { name: Name },
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    match arguments.verb {
        Verb::Request { name, out } => request::request(name, &out, demand)?,
        Verb::Issue { name, role: Role::Admin, days, request, to } => {
            let order = issue::Order { name, days: days.unwrap_or(0) };
            match request {
                Some(request) => issue::sign(order, &request, &to, demand).await?,
                None => issue::make(order, &to, demand).await?,
            }
        }
        Verb::List => list(demand).await?,
        Verb::Renew => renew(demand).await?,
        Verb::Revoke { name } => revoke(&name, demand).await?,
    }
    Ok(Ending::Done)
}

async fn list(demand: &Demand<'_>) -> Result<()> {
    let client = demand.client().await?;
    let ask = async |mut admin: Admin, question| admin.list_operators(question).await;
    let operators = client.ask(v1::ListOperatorsRequest {}, ask).await?.operators;
    demand.output.answer(
        || json!({ "operators": operators.iter().map(fields).collect::<Vec<_>>() }),
        || text(&operators),
    )
}

/// The place is seen to be writable before anything is agreed: what could not be kept was renewed
/// for nobody.
async fn renew(demand: &Demand<'_>) -> Result<()> {
    let path = demand.context()?;
    let context = Context::load(path)?;
    let client = demand.client().await?;
    let place = context.reserve(path)?;
    let ask = async |mut admin: Admin, question| admin.renew_operator(question).await;
    let renewed = client.ask(v1::RenewOperatorRequest {}, ask).await?;
    let operator = renewed.operator.unwrap_or_default();
    issue::check(&renewed.certificate_der, &operator.name, &context.own()?.public_key)?;
    place.keep(&certificates_pem([&renewed.certificate_der[..]]))?;
    demand.output.answer(
        || json!({ "operator": fields(&operator), "context": path }),
        || format!("{} is renewed until {}", operator.name, time(Some(operator.until_ns))),
    )
}

async fn revoke(name: &Name, demand: &Demand<'_>) -> Result<()> {
    confirm(demand, &format!("shut operator {name} out, and end what he has under way"))?;
    let client = demand.client().await?;
    let question = v1::RevokeOperatorRequest { name: name.to_string() };
    let ask = async |mut admin: Admin, question| admin.revoke_operator(question).await;
    let v1::RevokeOperatorResponse { operator, left } = client.ask(question, ask).await?;
    let operator = operator.unwrap_or_default();
    demand.output.answer(
        || {
            let left: Vec<Value> = left.iter().map(fields).collect();
            json!({ "operator": fields(&operator), "left": left })
        },
        || revoked_text(&operator, &left),
    )
}

fn revoked_text(operator: &v1::OperatorStatus, left: &[v1::OperatorStatus]) -> String {
    let by = if operator.revoked_by.is_empty() { "-" } else { &operator.revoked_by };
    let (name, when) = (&operator.name, time(operator.revoked_ns));
    let said = format!("operator {name} is revoked since {when}, by {by}");
    if left.is_empty() {
        return said;
    }
    let why = format!("let in by {name}, or by those, and left: revoke who is not yours");
    format!("{said}\n{why}\n\n{}", text(left))
}

fn fields(operator: &v1::OperatorStatus) -> Value {
    let named = |name: &String| (!name.is_empty()).then(|| name.clone());
    json!({
        "name": operator.name,
        "role": operator.role,
        "state": operator.state,
        "since": json_time(operator.since_ns),
        "issued_by": named(&operator.issued_by),
        "until": json_time(Some(operator.until_ns)),
        "renewed": json_time(operator.renewed_ns),
        "revoked": json_time(operator.revoked_ns),
        "revoked_by": named(&operator.revoked_by),
    })
}

fn text(operators: &[v1::OperatorStatus]) -> String {
    let columns = ["operator", "role", "state", "since", "issued by", "until", "renewed"];
    let mut table = Table::new(columns);
    for operator in operators {
        let by = if operator.issued_by.is_empty() { "-" } else { &operator.issued_by };
        table.row([
            operator.name.clone(),
            operator.role.clone(),
            operator.state.clone(),
            time(operator.since_ns),
            by.to_owned(),
            time(Some(operator.until_ns)),
            time(operator.renewed_ns),
        ]);
    }
    table.render()
}

fn time(ns: Option<i64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| figures::time(Timestamp::from_nanos(ns)))
}

const DAYS_MAX: i64 = 365;

pub const EXAMPLES: &str = "\
Examples:
  holdfast operator request ben --out ~/holdfast          on ben's host: ben.key and ben.request
  holdfast operator issue ben --request ben.request --to ben.toml --days 90
  holdfast operator issue ben --to /root/ben              the key made here, to be handed over
  holdfast operator list
  holdfast operator renew
  holdfast operator revoke ben --yes";

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::limits;

    #[test]
    fn a_certificate_lasts_as_long_as_the_cluster_allows() {
        assert_eq!(DAYS_MAX as u64 * 24 * 3600, limits::OPERATOR_CERT_TTL_SECS);
    }

    #[test]
    fn who_is_left_of_those_that_he_let_in_is_named() {
        let of = |name: &str| v1::OperatorStatus { name: name.into(), ..Default::default() };
        assert!(!revoked_text(&of("ben"), &[]).contains("left"));
        let told = revoked_text(&of("ben"), &[of("eve"), of("mal")]);
        assert!(told.contains("left: revoke") && told.contains("eve") && told.contains("mal"));
    }

    #[test]
    fn what_is_absent_is_null() {
        let founder = v1::OperatorStatus { name: "admin".into(), ..Default::default() };
        let told = fields(&founder);
        for absent in ["since", "issued_by", "renewed", "revoked", "revoked_by"] {
            assert!(told[absent].is_null(), "{absent}");
        }
        assert!(text(&[founder]).contains("admin"));
    }
}
