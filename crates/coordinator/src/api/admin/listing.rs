//! Which points and runs a caller means. The tables are walked until enough rows fit the question,
//! however old those are; an id, or enough of its beginning, is looked up where it lies.

use super::render;
use crate::house::House;
use holdfast_common::{AgentId, Name, Result, Timestamp, limits};
use holdfast_ledger::{
    Query,
    row::{ForgottenRow, PointRow, PointState, RunRow},
};
use holdfast_wire::{parse, v1};
use prost::Message;
use std::cmp::Reverse;

/// Points, newest first.
pub(super) fn points(
    house: &House,
    request: &v1::ListPointsRequest,
) -> Result<v1::ListPointsResponse> {
    if request.forgotten {
        let rows = choose_forgotten(house.ledger.query(), request)?;
        let forgotten = in_one_message(rows.iter().map(|row| render::forgotten(house, row)))?;
        return Ok(v1::ListPointsResponse { points: Vec::new(), forgotten });
    }
    let rows = choose_points(house.ledger.query(), request)?;
    let points = rows.iter().map(|row| render::point(house, row));
    Ok(v1::ListPointsResponse { points: in_one_message(points)?, forgotten: Vec::new() })
}

/// Runs, newest first.
pub(super) fn runs(house: &House, request: &v1::ListRunsRequest) -> Result<v1::ListRunsResponse> {
    let rows = choose_runs(house.ledger.query(), request)?;
    let runs = rows.iter().map(|row| render::run(house, row));
    Ok(v1::ListRunsResponse { runs: in_one_message(runs)? })
}

pub(super) fn page(limit: u32) -> usize {
    match limit as usize {
        0 => 1000,
        limit => limit.min(limits::LIST_PAGE_ROWS),
    }
}

fn choose_points(query: Query<'_>, request: &v1::ListPointsRequest) -> Result<Vec<PointRow>> {
    let policy = parse::name_if_any(request.policy.as_deref())?;
    let agents = parse::name_if_any(request.agent.as_deref())?;
    let agents = agents.map(|name| agents_called(query, &name)).transpose()?;
    let before = request.before_ns.map(Timestamp::from_nanos);
    let run = match &request.run_id {
        Some(id) => match query.row::<RunRow>(parse::run_id(id)?.as_bytes())? {
            Some(run) => Some(run),
            None => return Ok(Vec::new()),
        },
        None => None,
    };
    let fits = |point: &PointRow| {
        policy.as_ref().is_none_or(|policy| point.policy.as_ref() == Some(policy))
            && agents.as_ref().is_none_or(|agents| agents.contains(&point.agent))
            && run.as_ref().is_none_or(|run| point.run == run.id)
            && before.is_none_or(|before| point.committed < before)
            && point.id.to_string().starts_with(&request.id_prefix)
            && (!request.scheduled || point.state.is_scheduled())
            && (request.checkpoints || run.is_some() || point.state != PointState::Checkpoint)
    };
    let limit = page(request.limit);
    if is_selective(&request.id_prefix) {
        let mut found = first(query.points_like(&request.id_prefix), fits, limits::LIST_PAGE_ROWS)?;
        found.sort_by_key(|point| Reverse(point.committed));
        found.truncate(limit);
        return Ok(found);
    }
    // What a run committed lies between its own beginning and end.
    let ended = run.as_ref().and_then(|run| run.ended);
    let ended = ended.map(|ended| Timestamp::from_nanos(ended.as_nanos().saturating_add(1)));
    let newest = [before, ended].into_iter().flatten().min();
    let of_its_time = |point: &Result<PointRow>| match (point, &run) {
        (Ok(point), Some(run)) => point.committed >= run.created,
        _ => true,
    };
    first(query.points(newest).take_while(of_its_time), fits, limit)
}

/// What is left of points that were forgotten, in the order of their ids.
fn choose_forgotten(
    query: Query<'_>,
    request: &v1::ListPointsRequest,
) -> Result<Vec<ForgottenRow>> {
    let policy = parse::name_if_any(request.policy.as_deref())?;
    let agents = parse::name_if_any(request.agent.as_deref())?;
    let agents = agents.map(|name| agents_called(query, &name)).transpose()?;
    let before = request.before_ns.map(Timestamp::from_nanos);
    let fits = |row: &ForgottenRow| {
        let point = &row.point;
        policy.as_ref().is_none_or(|policy| point.policy.as_ref() == Some(policy))
            && agents.as_ref().is_none_or(|agents| agents.contains(&point.agent))
            && before.is_none_or(|before| point.committed < before)
            && point.id.to_string().starts_with(&request.id_prefix)
            && (request.checkpoints || point.state != PointState::Checkpoint)
    };
    let after = match &request.after_id[..] {
        [] => None,
        id => Some(parse::point_id(id)?),
    };
    let limit = page(request.limit);
    match is_selective(&request.id_prefix) {
        true => first(query.forgotten_like(&request.id_prefix), fits, limit),
        false => first(query.forgotten_after(after.as_ref()), fits, limit),
    }
}

/// All that ever had this name. One that was revoked gave it up, and its points stay.
fn agents_called(query: Query<'_>, name: &Name) -> Result<Vec<AgentId>> {
    let mut agents = query.agents()?;
    agents.retain(|agent| agent.name == *name);
    if agents.is_empty() {
        return query.agent_named(name).map(|agent| vec![agent.id]);
    }
    Ok(agents.iter().map(|agent| agent.id).collect())
}

fn choose_runs(query: Query<'_>, request: &v1::ListRunsRequest) -> Result<Vec<RunRow>> {
    let fits = |run: &RunRow| run.id.to_string().starts_with(&request.id_prefix);
    let limit = page(request.limit);
    if is_selective(&request.id_prefix) {
        let mut found = first(query.runs_like(&request.id_prefix), fits, limits::LIST_PAGE_ROWS)?;
        found.sort_by_key(|run| Reverse(run.created));
        found.truncate(limit);
        return Ok(found);
    }
    first(query.runs(), fits, limit)
}

/// Whether a range of the ids is sure to be short. All that begin with less go by their time.
fn is_selective(prefix: &str) -> bool {
    prefix.len() >= SELECTIVE_CHARACTERS
}

/// The first rows that fit. An error counts as a row, and is the answer.
fn first<R>(
    rows: impl Iterator<Item = Result<R>>,
    fits: impl Fn(&R) -> bool,
    limit: usize,
) -> Result<Vec<R>> {
    rows.filter(|row| row.as_ref().map_or(true, &fits)).take(limit).collect()
}

/// All of them, each time as many as a message carries.
pub(super) fn pages<M: Message>(
    items: impl Iterator<Item = Result<M>>,
) -> impl Iterator<Item = Result<Vec<M>>> {
    let mut items = items.peekable();
    std::iter::from_fn(move || {
        let (mut bytes, mut page) = (0, Vec::new());
        loop {
            let fits = |item: &Result<M>| {
                let more = item.as_ref().map_or(0, Message::encoded_len);
                page.is_empty() || bytes + more <= ANSWER_BYTES_MAX
            };
            match items.next_if(fits) {
                Some(Ok(item)) => {
                    bytes += item.encoded_len();
                    page.push(item);
                }
                Some(Err(error)) => return Some(Err(error)),
                None => return (!page.is_empty()).then_some(Ok(page)),
            }
        }
    })
}

/// As many as a message carries: a source of many paths is long. Whoever wants more asks on.
pub(super) fn in_one_message<M: Message>(items: impl Iterator<Item = Result<M>>) -> Result<Vec<M>> {
    let mut bytes = 0;
    let mut carried = Vec::new();
    for item in items {
        let item = item?;
        bytes += item.encoded_len();
        if bytes > ANSWER_BYTES_MAX && !carried.is_empty() {
            break;
        }
        carried.push(item);
    }
    Ok(carried)
}

/// The rest is for what lies between the rows.
const ANSWER_BYTES_MAX: usize = limits::MESSAGE_BYTES_MAX / 2;
const SELECTIVE_CHARACTERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, MANY, id, moment, name};
    use holdfast_common::{PointId, RunId};
    use holdfast_ledger::row::AgentState;

    fn points_of(crowd: Crowd, request: &v1::ListPointsRequest) -> Vec<PointId> {
        let rows = crowd.ask(|query| choose_points(query, request)).unwrap();
        rows.iter().map(|row| row.id).collect()
    }

    fn point(number: u64) -> PointId {
        PointId::from_bytes(id(number))
    }

    /// Two points of a policy and one checkpoint of it, all older than a page of others.
    fn crowd() -> Crowd {
        let mut crowd = Crowd::default().gathered();
        for number in [1, 2, 3] {
            crowd.point(number, |row| {
                row.policy = Some(name("nightly"));
                if number == 3 {
                    row.state = PointState::Checkpoint;
                }
            });
        }
        crowd
    }

    #[test]
    fn the_points_of_a_policy_are_found_behind_a_page_of_others() {
        let request = v1::ListPointsRequest {
            policy: Some("nightly".to_owned()),
            limit: 10,
            ..Default::default()
        };
        assert_eq!(points_of(crowd(), &request), [point(2), point(1)]);
        let one = v1::ListPointsRequest { limit: 1, ..request.clone() };
        assert_eq!(points_of(crowd(), &one), [point(2)]);
        let all = v1::ListPointsRequest { checkpoints: true, ..request.clone() };
        assert_eq!(points_of(crowd(), &all), [point(3), point(2), point(1)]);
        let other = v1::ListPointsRequest { policy: Some("weekly".to_owned()), ..request };
        assert_eq!(points_of(crowd(), &other), []);
    }

    #[test]
    fn pages_are_as_long_as_a_message_carries_and_leave_nothing_out() {
        let long = "x".repeat(ANSWER_BYTES_MAX / 3);
        let points = || {
            (0..7u8).map(|number| v1::RetainedPoint {
                id: vec![number].into(),
                source: if number == 3 { long.repeat(4) } else { long.clone() },
                ..Default::default()
            })
        };
        let told: Vec<Vec<u8>> = pages(points().map(Ok))
            .map(|page| page.unwrap().iter().map(|point| point.id[0]).collect())
            .collect();
        assert_eq!(told, [vec![0, 1], vec![2], vec![3], vec![4, 5], vec![6]]);
        let broken = || Err(holdfast_common::Error::new(holdfast_common::Code::InternalBug, "no"));
        let told: Vec<_> = pages(points().take(1).map(Ok).chain([broken()])).collect();
        assert_eq!(told.iter().map(Result::is_ok).collect::<Vec<_>>(), [false]);
    }

    #[test]
    fn what_is_left_of_points_is_listed_page_by_page_and_found_by_their_beginning() {
        let listed = |request: v1::ListPointsRequest| {
            let mut crowd = Crowd::default();
            crowd.point(1, |_| {});
            for number in [2, 3, 4] {
                crowd.put(&crate::crowd::forgotten(number));
            }
            let rows = crowd.ask(|query| choose_forgotten(query, &request)).unwrap();
            rows.iter().map(|row| row.point.id).collect::<Vec<_>>()
        };
        let all = v1::ListPointsRequest { forgotten: true, ..Default::default() };
        assert_eq!(listed(all.clone()), [point(2), point(3), point(4)]);
        let after_id = point(2).as_bytes().to_vec().into();
        let page = v1::ListPointsRequest { after_id, limit: 1, ..all.clone() };
        assert_eq!(listed(page), [point(3)]);
        for (number, found) in [(3, vec![point(3)]), (1, vec![])] {
            let id_prefix = point(number).to_string()[..16].to_owned();
            let one = v1::ListPointsRequest { id_prefix, ..all.clone() };
            assert_eq!(listed(one), found);
        }
        let policy = Some("other".to_owned());
        assert_eq!(listed(v1::ListPointsRequest { policy, ..all }), []);
    }

    #[test]
    fn the_oldest_point_is_found_by_its_id_by_half_of_it_and_by_any_beginning() {
        for end in [32, 31, 16, 15] {
            let id_prefix = point(2).to_string()[..end].to_owned();
            let request = v1::ListPointsRequest { id_prefix, limit: 2, ..Default::default() };
            let wanted: &[PointId] = if end == 15 { &[point(2), point(1)] } else { &[point(2)] };
            assert_eq!(points_of(crowd(), &request), wanted, "{end}");
        }
        // Too little for a range of ids: what began with it goes by its time.
        let request = v1::ListPointsRequest {
            id_prefix: "0000".to_owned(),
            before_ns: Some(moment(3).as_nanos()),
            limit: 1,
            ..Default::default()
        };
        assert_eq!(points_of(crowd(), &request), [point(2)]);
        let unknown = v1::ListPointsRequest { id_prefix: "f".repeat(32), ..Default::default() };
        assert_eq!(points_of(crowd(), &unknown), []);
    }

    #[test]
    fn the_checkpoint_of_an_old_run_is_found_by_the_run() {
        let of = |number| v1::ListPointsRequest {
            run_id: Some(id(number).to_vec().into()),
            limit: 1,
            ..Default::default()
        };
        assert_eq!(points_of(crowd(), &of(3)), [point(3)]);
        assert_eq!(points_of(crowd(), &of(50)), []);
    }

    #[test]
    fn the_points_of_a_name_are_those_of_every_agent_that_had_it() {
        let mut crowd = crowd();
        for (number, state) in [(7, AgentState::Revoked), (8, AgentState::Enrolled)] {
            let agent = AgentId::from_bytes([number; 16]);
            crowd.agent(agent, "host", state);
            crowd.point(number.into(), |row| row.agent = agent);
        }
        let request = v1::ListPointsRequest { agent: Some("host".into()), ..Default::default() };
        assert_eq!(points_of(crowd, &request), [point(8), point(7)]);
        let unknown = v1::ListPointsRequest { agent: Some("nobody".into()), ..Default::default() };
        let refused = Crowd::default().ask(|query| choose_points(query, &unknown)).unwrap_err();
        assert_eq!(refused.code, holdfast_common::Code::AgentMissing);
    }

    #[test]
    fn an_answer_ends_before_its_message_is_too_long_and_has_one_row_at_least() {
        let long = |_| Ok(v1::Point { source: "/a".repeat(12 * 1024), ..Default::default() });
        let answer = in_one_message((0..1000).map(long)).unwrap();
        let message = v1::ListPointsResponse { points: answer, forgotten: Vec::new() };
        assert!(message.encoded_len() < limits::MESSAGE_BYTES_MAX);
        assert!(message.points.len() > 100);
        let longest = v1::Point { source: "a".repeat(ANSWER_BYTES_MAX), ..Default::default() };
        let pair = [Ok(longest.clone()), Ok(longest)];
        assert_eq!(in_one_message(pair.into_iter()).unwrap().len(), 1);
        let short = (0..1000).map(|_| Ok(v1::Point::default()));
        assert_eq!(in_one_message(short).unwrap().len(), 1000);
    }

    #[test]
    fn pages_before_the_last_time_seen_reach_every_point() {
        let mut request = v1::ListPointsRequest { limit: 4000, ..Default::default() };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..MANY {
            let rows = crowd().ask(|query| choose_points(query, &request)).unwrap();
            request.before_ns = rows.last().map(|row| row.committed.as_nanos());
            seen.extend(rows.iter().map(|row| row.id));
            if rows.is_empty() {
                break;
            }
        }
        assert_eq!(seen.len() as u64, MANY + 2);
    }

    #[test]
    fn the_oldest_run_is_found_by_its_id_and_the_newest_are_listed() {
        let runs = |id_prefix: &str, limit| {
            let request = v1::ListRunsRequest { id_prefix: id_prefix.to_owned(), limit };
            let rows = crowd().ask(|query| choose_runs(query, &request)).unwrap();
            rows.iter().map(|row| row.id).collect::<Vec<_>>()
        };
        let run = |number| RunId::from_bytes(id(number));
        assert_eq!(runs(&run(1).to_string(), 2), [run(1)]);
        assert_eq!(runs(&run(1).to_string()[..16], 2), [run(1)]);
        assert_eq!(runs("", 2), [run(99 + MANY), run(98 + MANY)]);
        assert_eq!(runs("", 0).len(), 1000);
    }
}
