//! `holdfast hold add | list | release`: what stays whatever the rules say, why and until when.

use crate::{
    client::{Admin, Client, select},
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    output::{
        figures::{self, json_time, parse_span},
        table::Table,
    },
};
use clap::Subcommand;
use core::time::Duration;
use holdfast_common::{Code, Error, Name, Result, Timestamp};
use holdfast_wire::v1;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Keep a point, or every point of a policy
    #[command(after_help = EXAMPLES)]
    Add {
        /// The point; `latest` needs a policy
        #[arg(required_unless_present = "policy")]
        point: Option<String>,
        /// Every point of this policy, those to come too; beside `latest`: where to look
        #[arg(long)]
        policy: Option<Name>,
        /// What for
        #[arg(long)]
        reason: String,
        /// For so long, as 90d; until it is released unless given
        #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
        span: Option<Duration>,
        /// Until then, as 2027-01-31T00:00:00Z
        #[arg(long, value_name = "TIME", conflicts_with = "span")]
        until: Option<Timestamp>,
    },
    /// List what is held
    #[command(after_help = EXAMPLES)]
    List,
    /// Let the rules decide again
    #[command(after_help = EXAMPLES)]
    Release {
        /// The hold's id, or enough of its beginning
        hold: String,
        /// Why, for the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    match arguments.verb {
        Verb::Add { point, policy, reason, span, until } => {
            add((point, policy), reason, (until, span), demand).await
        }
        Verb::List => list(demand).await,
        Verb::Release { hold, reason } => release(&hold, reason, demand).await,
    }
}

async fn add(
    (point, policy): (Option<String>, Option<Name>),
    reason: String,
    (until, span): (Option<Timestamp>, Option<Duration>),
    demand: &Demand<'_>,
) -> Result<Ending> {
    let client = demand.client().await?;
    let policy = policy.map(|name| name.to_string());
    let (point, policy) = match point {
        Some(text) => (select::point(&client, &text, policy.as_deref()).await?.id, String::new()),
        None => (Default::default(), policy.unwrap_or_default()),
    };
    let until_ns = until.map(Timestamp::as_nanos);
    let for_ms = span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    let question = v1::AddHoldRequest { point, policy, reason, until_ns, for_ms };
    let ask = async |mut admin: Admin, question| admin.add_hold(question).await;
    let hold = client.ask_once(question, ask).await?.hold.unwrap_or_default();
    demand.output.answer(|| fields(&hold), || format!("{} is held", what(&hold)))?;
    Ok(Ending::Done)
}

async fn list(demand: &Demand<'_>) -> Result<Ending> {
    let mut holds = holds(&demand.client().await?, "").await?;
    holds.sort_by_key(|hold| hold.since_ns);
    demand.output.answer(
        || json!({ "holds": holds.iter().map(fields).collect::<Vec<_>>() }),
        || text(&holds),
    )?;
    Ok(Ending::Done)
}

async fn release(text: &str, reason: String, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    check_prefix(text)?;
    let hold = only(holds(&client, text).await?, text)?;
    confirm(demand, &format!("release {}, which was held for: {}", what(&hold), hold.reason))?;
    let question = v1::ReleaseHoldRequest { hold: hold.id.clone(), reason };
    let ask = async |mut admin: Admin, question| admin.release_hold(question).await;
    client.ask_once(question, ask).await?;
    demand.output.answer(
        || json!({ "id": hex::encode(&hold.id), "result": "released" }),
        || {
            let what = what(&hold);
            format!("{what} is held no more: its rules decide, unasked only when that has settled")
        },
    )?;
    Ok(Ending::Done)
}

/// Page by page, those whose id begins like this.
async fn holds(client: &Client, beginning: &str) -> Result<Vec<v1::Hold>> {
    let mut found: Vec<v1::Hold> = Vec::new();
    loop {
        let after = found.last().map(|hold| hold.id.clone()).unwrap_or_default();
        let question = v1::ListHoldsRequest { id_prefix: beginning.to_owned(), after };
        let ask = async |mut admin: Admin, question| admin.list_holds(question).await;
        let page = client.ask(question, ask).await?.holds;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}

fn check_prefix(text: &str) -> Result<()> {
    if text.len() >= PREFIX_MIN {
        return Ok(());
    }
    let message = format!("`{text}` is too short for an id");
    Err(Error::new(Code::UsageIdMalformed, message)
        .next(format!("give its first {PREFIX_MIN} characters at least")))
}

/// The one in force whose id begins like this.
fn only(holds: Vec<v1::Hold>, text: &str) -> Result<v1::Hold> {
    let is_meant = |hold: &v1::Hold| hex::encode(&hold.id).starts_with(text);
    let meant = holds.into_iter().filter(is_meant);
    let (ended, open): (Vec<_>, Vec<_>) = meant.partition(|hold| hold.ended_ns.is_some());
    let mut found = open.into_iter();
    match (found.next(), found.next()) {
        (None, _) => Err(Error::new(Code::HoldMissing, missing(&ended, text))),
        (Some(hold), None) => Ok(hold),
        (Some(_), Some(_)) => {
            let message = format!("more than one hold has an id that begins with `{text}`");
            Err(Error::new(Code::UsageIdMalformed, message).next("give more of its characters"))
        }
    }
}

fn missing(ended: &[v1::Hold], text: &str) -> String {
    match ended.first() {
        Some(hold) => {
            let when = figures::time_if_any(hold.ended_ns);
            format!("the hold {} ended at {when} already", hex::encode(&hold.id))
        }
        None => format!("no hold has the id `{text}`"),
    }
}

fn what(hold: &v1::Hold) -> String {
    match (&hold.point[..], &*hold.policy) {
        ([], "") => format!("everything of agent {}", hold.agent),
        ([], policy) => format!("policy {policy}"),
        (point, _) => format!("point {}", hex::encode(point)),
    }
}

fn fields(hold: &v1::Hold) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    json!({
        "id": hex::encode(&hold.id),
        "point": some(&hex::encode(&hold.point)),
        "policy": some(&hold.policy),
        "agent": some(&hold.agent),
        "reason": hold.reason,
        "by": hold.by,
        "since": json_time(Some(hold.since_ns)),
        "until": json_time(hold.until_ns),
        "ended": json_time(hold.ended_ns),
    })
}

fn text(holds: &[v1::Hold]) -> String {
    let mut table = Table::new(["hold", "what", "since", "until", "by", "reason"]);
    for hold in holds {
        table.row([
            hex::encode(&hold.id),
            what(hold),
            figures::time_if_any(Some(hold.since_ns)),
            match hold.ended_ns {
                Some(_) => format!("ended {}", figures::time_if_any(hold.ended_ns)),
                None => figures::time_if_any(hold.until_ns),
            },
            hold.by.clone(),
            hold.reason.clone(),
        ]);
    }
    table.render()
}

const PREFIX_MIN: usize = 8;

pub const EXAMPLES: &str = "\
Examples:
  holdfast hold add 3f2a9c11 --reason 'claim 4711' --until 2027-01-31T00:00:00Z
  holdfast hold add --policy nightly --reason 'audit of the year' --for 90d
  holdfast hold list
  holdfast hold release 8c01d2e4 --yes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_found_by_enough_of_its_id() {
        let hold = |byte: u8, end: u8| {
            let id = vec![byte, byte, byte, byte, end];
            v1::Hold { id: id.into(), ..Default::default() }
        };
        let ended = || v1::Hold { ended_ns: Some(1), ..hold(0xcd, 4) };
        let holds = || vec![hold(0xab, 1), hold(0xab, 2), hold(0xcd, 3), ended()];
        let found = |text| {
            let only = check_prefix(text).and_then(|()| only(holds(), text));
            only.map(|hold| hold.id[4]).map_err(|error| error.code)
        };
        assert_eq!(found("cdcdcdcd"), Ok(3));
        assert_eq!(found("abababab02"), Ok(2));
        assert_eq!(found("abababab"), Err(Code::UsageIdMalformed));
        assert_eq!(found("cdcdcd"), Err(Code::UsageIdMalformed));
        assert_eq!(found("efefefef"), Err(Code::HoldMissing));
        assert_eq!(found("cdcdcdcd04"), Err(Code::HoldMissing));
        let error = only(holds(), "cdcdcdcd04").unwrap_err();
        assert!(error.message.contains("ended at"), "{error}");
    }
}
