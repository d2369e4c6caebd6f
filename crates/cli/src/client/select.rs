//! Which point and which run is meant: a full id, its first eight or more characters, or `latest`.
//!
//! `latest` is the newest complete point; it needs a policy as soon as more than one source has
//! points, because the newest of all would be a guess. A checkpoint is never `latest`, nor is what
//! a restore saved; they answer only to their own id or to their run's.

use super::{Admin, Client};
use holdfast_common::{Code, Error, Result, Timestamp, limits};
use holdfast_wire::v1;
use std::collections::BTreeSet;

const PREFIX_MIN: usize = 8;
const ID_CHARACTERS: usize = 32;

/// Which points; all fields apply together.
#[derive(Clone, Debug)]
pub struct Filter {
    pub policy: Option<String>,
    pub agent: Option<String>,
    pub before: Option<Timestamp>,
    pub checkpoints: bool,
    /// Only what `latest` may mean: backups that went to their end.
    pub scheduled: bool,
    pub limit: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            policy: None,
            agent: None,
            before: None,
            checkpoints: false,
            scheduled: false,
            limit: usize::MAX,
        }
    }
}

impl Filter {
    /// What `latest` may be. Of one policy the newest is enough; of all, whether there are others
    /// has to be seen.
    fn latest(policy: Option<&str>) -> Self {
        let limit = if policy.is_some() { 1 } else { usize::MAX };
        let policy = policy.map(ToOwned::to_owned);
        Self { policy, scheduled: true, limit, ..Self::default() }
    }

    /// The same choice over points that are here already, and stay in their order: newest first.
    pub fn apply(&self, mut points: Vec<v1::Point>) -> Vec<v1::Point> {
        points.retain(|point| {
            self.policy.as_ref().is_none_or(|policy| point.policy.as_ref() == Some(policy))
                && self.agent.as_ref().is_none_or(|agent| point.agent == *agent)
                && self.before.is_none_or(|before| point.time_ns < before.as_nanos())
                && (self.checkpoints || point.state != "checkpoint")
                && (!self.scheduled || matches!(&*point.state, "complete" | "partial"))
        });
        points.truncate(self.limit);
        points
    }
}

/// Every point that the filter lets through, newest first, fetched page by page.
pub async fn list(client: &Client, filter: &Filter) -> Result<Vec<v1::Point>> {
    let mut found: Vec<v1::Point> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut before = filter.before.map(Timestamp::as_nanos);
    while found.len() < filter.limit {
        let limit = limits::LIST_PAGE_ROWS.min(filter.limit - found.len());
        let question = v1::ListPointsRequest {
            policy: filter.policy.clone(),
            agent: filter.agent.clone(),
            before_ns: before,
            limit: limit as u32,
            checkpoints: filter.checkpoints,
            scheduled: filter.scheduled,
            ..Default::default()
        };
        let page = ask_points(client, question).await?;
        // The next page begins with the moment of the last row: several points may share it. A page
        // is as long as a message carries, so the last one is the one that brings nothing new.
        before = page.last().map(|point| point.time_ns.saturating_add(1));
        let count = found.len();
        found.extend(page.into_iter().filter(|point| seen.insert(point.id.clone())));
        if found.len() == count {
            break;
        }
    }
    Ok(found)
}

/// The one point that `text` means.
pub async fn point(client: &Client, text: &str, policy: Option<&str>) -> Result<v1::Point> {
    if text == "latest" {
        return latest(list(client, &Filter::latest(policy)).await?);
    }
    check_prefix(text)?;
    let question = v1::ListPointsRequest {
        id_prefix: text.to_owned(),
        limit: 2,
        checkpoints: true,
        ..Default::default()
    };
    let mut found = ask_points(client, question).await?;
    if found.is_empty() {
        found = of_run(client, text).await?;
    }
    if found.is_empty() {
        insist_on_known(client, text).await?;
    }
    only(found, text)
}

/// What is left of points that were forgotten, as far as the filter lets it through; in the order
/// in which they went.
pub async fn forgotten(client: &Client, filter: &Filter) -> Result<Vec<v1::ForgottenPoint>> {
    let mut found: Vec<v1::ForgottenPoint> = Vec::new();
    let mut after_id = bytes::Bytes::new();
    loop {
        let question = v1::ListPointsRequest {
            policy: filter.policy.clone(),
            agent: filter.agent.clone(),
            before_ns: filter.before.map(Timestamp::as_nanos),
            limit: limits::LIST_PAGE_ROWS as u32,
            checkpoints: filter.checkpoints,
            forgotten: true,
            after_id,
            ..Default::default()
        };
        let page = ask(client, question).await?.forgotten;
        let Some(last) = page.last().and_then(|row| row.point.as_ref()) else { break };
        after_id = last.id.clone();
        found.extend(page);
    }
    found.sort_by_key(|row| row.when_ns);
    Ok(found)
}

/// Refuses what was there once, and says since when it is not.
async fn insist_on_known(client: &Client, text: &str) -> Result<()> {
    let question = v1::ListPointsRequest {
        id_prefix: text.to_owned(),
        limit: 1,
        checkpoints: true,
        forgotten: true,
        ..Default::default()
    };
    let Some(row) = ask(client, question).await?.forgotten.pop() else { return Ok(()) };
    let id = hex::encode(row.point.unwrap_or_default().id);
    let (when, by, why) = (Timestamp::from_nanos(row.when_ns), row.by, row.why);
    if row.key_version.is_some() {
        let message = format!("the point {id} went at {when}: {why}, and {by} agreed");
        return Err(Error::new(Code::PointKeyDestroyed, message));
    }
    let message = format!("the point {id} was forgotten at {when} by {by}: {why}");
    Err(Error::new(Code::PointMissing, message))
}

/// The same choice among points that are here already (offline), newest first.
pub fn among(points: Vec<v1::Point>, text: &str, policy: Option<&str>) -> Result<v1::Point> {
    if text == "latest" {
        return latest(Filter::latest(policy).apply(points));
    }
    check_prefix(text)?;
    let fits = |id: &[u8]| hex::encode(id).starts_with(text);
    let (named, others): (Vec<_>, Vec<_>) = points.into_iter().partition(|point| fits(&point.id));
    if !named.is_empty() {
        return only(named, text);
    }
    // A run's points are one after the other, and the newest has all that the others have.
    let mut of_runs: Vec<_> = others.into_iter().filter(|point| fits(&point.run_id)).collect();
    of_runs.dedup_by(|later, earlier| later.run_id == earlier.run_id);
    only(of_runs, text)
}

pub async fn run(client: &Client, text: &str) -> Result<v1::Run> {
    check_prefix(text)?;
    let mut found = runs_by_prefix(client, text).await?;
    match (found.pop(), found.len()) {
        (None, _) => Err(Error::new(Code::RunMissing, format!("no run has the id `{text}`"))),
        (Some(run), 0) => Ok(run),
        (Some(_), _) => Err(Error::new(
            Code::UsageIdMalformed,
            format!("more than one run has an id that begins with `{text}`"),
        )
        .next("give more characters of the id")),
    }
}

async fn of_run(client: &Client, text: &str) -> Result<Vec<v1::Point>> {
    let mut found = Vec::new();
    for run in runs_by_prefix(client, text).await? {
        let question = v1::ListPointsRequest {
            run_id: Some(run.id),
            checkpoints: true,
            limit: 1,
            ..Default::default()
        };
        found.extend(ask_points(client, question).await?);
    }
    Ok(found)
}

async fn runs_by_prefix(client: &Client, text: &str) -> Result<Vec<v1::Run>> {
    let question = v1::ListRunsRequest { limit: 2, id_prefix: text.to_owned() };
    let ask = async |mut admin: Admin, question| admin.list_runs(question).await;
    Ok(client.ask(question, ask).await?.runs)
}

async fn ask_points(client: &Client, question: v1::ListPointsRequest) -> Result<Vec<v1::Point>> {
    Ok(ask(client, question).await?.points)
}

async fn ask(client: &Client, question: v1::ListPointsRequest) -> Result<v1::ListPointsResponse> {
    let ask = async |mut admin: Admin, question| admin.list_points(question).await;
    client.ask(question, ask).await
}

fn check_prefix(text: &str) -> Result<()> {
    let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hex && (PREFIX_MIN..=ID_CHARACTERS).contains(&text.len()) {
        return Ok(());
    }
    Err(Error::new(Code::UsageIdMalformed, format!("`{}` is not an id", text.escape_debug()))
        .next("give 8 to 32 characters of the id as it was printed, or `latest`"))
}

fn latest(points: Vec<v1::Point>) -> Result<v1::Point> {
    let sources: BTreeSet<_> = points
        .iter()
        .map(|point| match &point.policy {
            Some(policy) => (Some(policy), None),
            None => (None, Some((&point.agent, &point.source))),
        })
        .collect();
    if sources.len() > 1 {
        return Err(Error::new(
            Code::PointAmbiguous,
            format!("`latest` could mean {} different sources", sources.len()),
        )
        .next("name one with --policy, or give the id of a point"));
    }
    points
        .into_iter()
        .next()
        .ok_or_else(|| Error::new(Code::PointMissing, "there is no point yet to be the latest"))
}

fn only(mut found: Vec<v1::Point>, text: &str) -> Result<v1::Point> {
    match (found.pop(), found.len()) {
        (None, _) => Err(Error::new(Code::PointMissing, format!("no point has the id `{text}`"))),
        (Some(point), 0) => Ok(point),
        (Some(_), _) => Err(Error::new(
            Code::PointAmbiguous,
            format!("more than one point has an id that begins with `{text}`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(id: u8, policy: Option<&str>, time_ns: i64, state: &str) -> v1::Point {
        v1::Point {
            id: vec![id; 16].into(),
            policy: policy.map(Into::into),
            time_ns,
            state: state.into(),
            ..Default::default()
        }
    }

    #[test]
    fn latest_is_the_newest_backup_that_went_to_its_end() {
        let points = vec![
            made(4, Some("b"), 4, "safety"),
            made(3, Some("a"), 3, "checkpoint"),
            // Its clock was wrong: the order of the points counts, not what they say of the time.
            made(2, Some("a"), 1, "partial"),
            made(1, Some("a"), 2, "complete"),
        ];
        assert_eq!(among(points, "latest", None).unwrap().id[0], 2);
    }

    #[test]
    fn latest_of_several_sources_needs_a_policy() {
        let points = vec![made(1, Some("a"), 1, "complete"), made(2, Some("b"), 2, "complete")];
        let refused = among(points.clone(), "latest", None).unwrap_err();
        assert_eq!(refused.code, Code::PointAmbiguous);
        assert_eq!(among(points.clone(), "latest", Some("a")).unwrap().time_ns, 1);
        let missing = among(points, "latest", Some("c")).unwrap_err();
        assert_eq!(missing.code, Code::PointMissing);
    }

    #[test]
    fn of_one_policy_no_more_than_the_newest_is_asked_for() {
        assert_eq!(Filter::latest(Some("a")).limit, 1);
        // Of all, the second source makes it ambiguous.
        assert_eq!(Filter::latest(None).limit, usize::MAX);
    }

    #[test]
    fn an_id_may_be_cut_to_eight_characters_and_no_fewer() {
        let points = vec![made(0xab, None, 1, "complete"), made(0xac, None, 2, "complete")];
        assert_eq!(among(points.clone(), "abababab", None).unwrap().time_ns, 1);
        for bad in ["", "abababa", "ABABABAB", "../../ab", &"ab".repeat(17)] {
            let refused = among(points.clone(), bad, None).unwrap_err();
            assert_eq!(refused.code, Code::UsageIdMalformed, "{bad}");
        }
        let missing = among(points, "00000000", None).unwrap_err();
        assert_eq!(missing.code, Code::PointMissing);
    }

    #[test]
    fn the_id_of_a_run_means_its_newest_point() {
        let of_run = |id, run: u8, state: &str| v1::Point {
            run_id: vec![run; 16].into(),
            ..made(id, None, i64::from(id), state)
        };
        let points = vec![
            of_run(3, 0xab, "checkpoint"),
            of_run(2, 0xab, "checkpoint"),
            of_run(1, 0xac, "complete"),
        ];
        assert_eq!(among(points.clone(), "abababab", None).unwrap().id[0], 3);
        assert_eq!(among(points.clone(), &"ac".repeat(16), None).unwrap().id[0], 1);
        assert_eq!(among(points.clone(), "adadadad", None).unwrap_err().code, Code::PointMissing);
        // A point's own id comes first, and two runs are no answer.
        let own = [points.clone(), vec![of_run(0xab, 0xad, "complete")]].concat();
        assert_eq!(among(own, "abababab", None).unwrap().id[0], 0xab);
        let mut twin = of_run(4, 0xab, "complete");
        twin.run_id = [vec![0xab; 15], vec![0]].concat().into();
        let two = [points, vec![twin]].concat();
        assert_eq!(among(two, "abababab", None).unwrap_err().code, Code::PointAmbiguous);
    }

    #[test]
    fn an_id_that_fits_two_points_is_refused() {
        let mut twin = made(0xab, None, 2, "complete");
        twin.id = [vec![0xab; 15], vec![0]].concat().into();
        let points = vec![made(0xab, None, 1, "complete"), twin];
        assert_eq!(among(points, "abababab", None).unwrap_err().code, Code::PointAmbiguous);
    }
}
