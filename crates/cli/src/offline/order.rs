//! Which points of a location are newer than which, with no cluster's clock to ask.
//!
//! The times in a record are of the agent's own clock, which may have been wrong by a year. What
//! is signed and has no clock is the chain: each point names the one before it of its source. So
//! within a source the chain decides, and times only between ends of chains that nothing joins:
//! those of several sources, of several agents, or around a point that is not there any more.
//! The chain of a source that begins with its very first point is the oldest of them.

use core::cmp::Reverse;
use holdfast_common::AgentId;
use holdfast_repository::{PointRecord, PointState};
use std::collections::{BinaryHeap, HashMap};

/// One agent's policy, or its path where there is no policy: what has one chain.
type Source<'a> = (AgentId, Option<&'a str>, Option<&'a str>);

/// Positions of the records, newest first.
pub fn newest_first(records: &[&PointRecord]) -> Vec<usize> {
    let before = before(records);
    let mut newer = vec![0_usize; records.len()];
    before.iter().flatten().for_each(|at| newer[*at] += 1);
    let ranked = |at: usize| (records[at].started, Reverse(records[at].point), at);
    let ends = (0..records.len()).filter(|at| newer[*at] == 0);
    let mut ends: BinaryHeap<_> = ends.map(ranked).collect();
    let mut order = Vec::with_capacity(records.len());
    while let Some((.., at)) = ends.pop() {
        order.push(at);
        if let Some(older) = before[at] {
            newer[older] -= 1;
            if newer[older] == 0 {
                ends.push(ranked(older));
            }
        }
    }
    // Who goes round in a circle is in no honest chain: last, and by its own word.
    let mut circling: Vec<_> = (0..records.len()).filter(|at| newer[*at] > 0).collect();
    circling.sort_by_key(|at| Reverse(ranked(*at)));
    order.extend(circling);
    order
}

/// Only such a point is the `previous` of another.
pub fn went_to_its_end(record: &PointRecord) -> bool {
    matches!(record.state, PointState::Complete | PointState::Partial)
}

fn before(records: &[&PointRecord]) -> Vec<Option<usize>> {
    let known: HashMap<_, _> = records
        .iter()
        .enumerate()
        .map(|(at, record)| ((source(record), record.point), at))
        .collect();
    let named = |record: &PointRecord| {
        record.previous.and_then(|id| known.get(&(source(record), id)).copied())
    };
    let mut before: Vec<_> = records.iter().map(|record| named(record)).collect();
    let oldest = oldest_chains(records, &before);
    for (at, record) in records.iter().enumerate() {
        if record.previous.is_some() && before[at].is_none() {
            before[at] = oldest.get(&source(record)).copied().flatten();
        }
    }
    before
}

/// The newest point of the chain that begins with the first point of each source; `None` where more
/// than one says that it was the first.
fn oldest_chains<'a>(
    records: &[&'a PointRecord],
    before: &[Option<usize>],
) -> HashMap<Source<'a>, Option<usize>> {
    let mut after: HashMap<usize, usize> = HashMap::new();
    let mut oldest = HashMap::new();
    let ended = || records.iter().enumerate().filter(|(_, record)| went_to_its_end(record));
    after.extend(ended().filter_map(|(at, _)| Some((before[at]?, at))));
    for (first, record) in ended().filter(|(_, record)| record.previous.is_none()) {
        let mut newest = first;
        while let Some(next) = after.get(&newest) {
            newest = *next;
        }
        let another = oldest.insert(source(record), Some(newest)).is_some();
        if another {
            oldest.insert(source(record), None);
        }
    }
    oldest
}

fn source(record: &PointRecord) -> Source<'_> {
    match &record.policy {
        Some(policy) => (record.agent, Some(policy.as_str()), None),
        None => (record.agent, None, Some(&record.source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{ChunkId, PointId, RunId, Timestamp, VaultId};
    use holdfast_repository::point::{ChunkProfileOne, FormatOne, IdKeyScope};

    fn made(id: u8, previous: Option<u8>, clock: i64) -> PointRecord {
        PointRecord {
            format: FormatOne::One,
            point: PointId::from_bytes([id; 16]),
            vault: VaultId::from_bytes([1; 16]),
            agent: AgentId::from_bytes([1; 16]),
            run: RunId::from_bytes([id; 16]),
            policy: None,
            source: "files:/srv".to_owned(),
            started: Timestamp::from_nanos(clock),
            ended: Timestamp::from_nanos(clock),
            root: ChunkId::from_bytes([id; 32]),
            height: 1,
            entries: 1,
            bytes: 1,
            previous: previous.map(|id| PointId::from_bytes([id; 16])),
            state: PointState::Complete,
            chunk_profile: ChunkProfileOne::One,
            id_key_scope: IdKeyScope::Agent,
            skipped: 0,
            inline_packs: Vec::new(),
            skipped_page: None,
        }
    }

    #[track_caller]
    fn assert_order(records: &[PointRecord], expected: &[u8]) {
        let records: Vec<_> = records.iter().collect();
        let order = newest_first(&records);
        let ids: Vec<_> = order.iter().map(|at| records[*at].point.as_bytes()[0]).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn the_chain_decides_whatever_the_clock_said() {
        assert_order(&[made(2, Some(1), 900), made(3, Some(2), 20), made(1, None, 10)], &[3, 2, 1]);
        let checkpoint = PointRecord { state: PointState::Checkpoint, ..made(4, Some(2), 15) };
        let records = [made(2, Some(1), 900), checkpoint, made(3, Some(2), 20), made(1, None, 10)];
        assert_order(&records, &[3, 4, 2, 1]);
    }

    #[test]
    fn times_decide_between_sources() {
        let other = |record| PointRecord { source: "files:/home".to_owned(), ..record };
        let other_agent = |record| PointRecord { agent: AgentId::from_bytes([2; 16]), ..record };
        let records = [made(1, None, 10), made(2, Some(1), 30), other(made(3, None, 20))];
        assert_order(&records, &[2, 3, 1]);
        // Nobody is put behind a stranger that names it.
        assert_order(&[made(1, None, 10), other_agent(made(2, Some(1), 5))], &[1, 2]);
        assert_order(&[made(1, None, 10), other(made(2, Some(1), 5))], &[1, 2]);
    }

    #[test]
    fn a_chain_that_lost_a_link_is_newer_than_the_first_point() {
        assert_order(&[made(1, None, 900), made(3, Some(2), 20), made(4, Some(3), 5)], &[4, 3, 1]);
        // With no beginning left, only times are.
        assert_order(&[made(2, Some(1), 10), made(4, Some(3), 20)], &[4, 2]);
        // Two beginnings: one of them is wrong, and nobody knows which.
        assert_order(&[made(1, None, 900), made(2, None, 800), made(4, Some(3), 20)], &[1, 2, 4]);
    }

    #[test]
    fn points_that_name_each_other_are_all_told() {
        let records = [made(1, Some(2), 10), made(2, Some(1), 20), made(3, None, 5)];
        assert_order(&records, &[3, 2, 1]);
        assert_order(&[made(1, Some(1), 10)], &[1]);
        assert_order(&[], &[]);
    }
}
