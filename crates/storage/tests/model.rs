//! Any sequence of calls, against the simplest thing that could be right: a sorted map.
//!
//! Memory and a directory are driven side by side with the same calls. Names are few and tangled
//! (folders beside objects that sort around them), so that calls meet.

#![expect(clippy::unwrap_used, reason = "the scenery of tests may fail loudly")]

use bytes::Bytes;
use holdfast_common::{Code, SystemClock};
use holdfast_storage::{LocalStore, MemoryStore, ObjectName, ObjectPrefix, ObjectStore};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// None is the beginning of another with a `/`: a directory cannot hold both.
const NAMES: [&str; 9] = ["a-b", "a/b", "a/b-c", "a/c/d", "a/c/e", "a0", "b/a/a/a", "b/a/a/b", "c"];

#[derive(Clone, Debug)]
enum Call {
    Put(usize, u8),
    Get(usize),
    Range(usize, u64, u64),
    Delete(usize),
    List(String, Option<usize>, usize),
    Reopen,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let name = 0..NAMES.len();
    let prefix = prop_oneof!["", "a", "a/", "a/c/", "b/a", "c", "d"];
    let call = prop_oneof![
        4 => (name.clone(), 0..3u8).prop_map(|(name, length)| Call::Put(name, length)),
        1 => name.clone().prop_map(Call::Get),
        1 => (name.clone(), 0..4u64, 0..4u64)
            .prop_map(|(at, start, end)| Call::Range(at, start, end)),
        2 => name.clone().prop_map(Call::Delete),
        3 => (prefix, proptest::option::of(name), 1..5usize)
            .prop_map(|(prefix, after, limit)| Call::List(prefix, after, limit)),
        1 => Just(Call::Reopen),
    ];
    proptest::collection::vec(call, 1..40)
}

/// What a call gave, in a form in which stores can be compared.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Bytes(Vec<u8>),
    Existed(bool),
    Names(Vec<String>),
    Nothing,
    Refused(Code),
}

type Model = BTreeMap<ObjectName, Vec<u8>>;

fn content(length: u8) -> Vec<u8> {
    vec![length; usize::from(length)]
}

fn name(at: usize) -> ObjectName {
    NAMES[at].parse().unwrap()
}

fn expected(model: &mut Model, call: &Call) -> Outcome {
    match call {
        Call::Put(at, length) => match model.get(&name(*at)) {
            Some(held) if *held == content(*length) => Outcome::Existed(true),
            Some(_) => Outcome::Refused(Code::ObjectConflict),
            None => {
                model.insert(name(*at), content(*length));
                Outcome::Existed(false)
            }
        },
        Call::Get(at) => match model.get(&name(*at)) {
            Some(held) => Outcome::Bytes(held.clone()),
            None => Outcome::Refused(Code::ObjectMissing),
        },
        Call::Range(at, start, end) => match model.get(&name(*at)) {
            None => Outcome::Refused(Code::ObjectMissing),
            Some(_) if start > end => Outcome::Refused(Code::InternalBug),
            Some(held) => match held.get(*start as usize..*end as usize) {
                Some(bytes) => Outcome::Bytes(bytes.to_vec()),
                None => Outcome::Refused(Code::ObjectDamaged),
            },
        },
        Call::Delete(at) => Outcome::Existed(model.remove(&name(*at)).is_some()),
        Call::List(prefix, after, limit) => {
            let wanted = |name: &&ObjectName| {
                name.as_str().starts_with(prefix.as_str())
                    && after.is_none_or(|after| name.as_str() > NAMES[after])
            };
            Outcome::Names(
                model.keys().filter(wanted).take(*limit).map(ToString::to_string).collect(),
            )
        }
        Call::Reopen => Outcome::Nothing,
    }
}

async fn observed(store: &dyn ObjectStore, call: &Call) -> Outcome {
    let outcome = match call {
        Call::Put(at, length) => store
            .put_new(&name(*at), Bytes::from(content(*length)))
            .await
            .map(|receipt| Outcome::Existed(receipt.existed)),
        Call::Get(at) => store.get(&name(*at), 10).await.map(|b| Outcome::Bytes(b.to_vec())),
        Call::Range(at, start, end) => store
            .get_range(&name(*at), *start..*end)
            .await
            .map(|bytes| Outcome::Bytes(bytes.to_vec())),
        Call::Delete(at) => store.delete(&name(*at)).await.map(Outcome::Existed),
        Call::List(prefix, after, limit) => {
            let prefix: ObjectPrefix = prefix.parse().unwrap();
            let page = store.list(&prefix, after.map(name).as_ref(), *limit).await;
            page.map(|rows| Outcome::Names(rows.iter().map(|r| r.name.to_string()).collect()))
        }
        Call::Reopen => Ok(Outcome::Nothing),
    };
    outcome.unwrap_or_else(|error| Outcome::Refused(error.code))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn every_store_behaves_like_a_sorted_map(calls in calls()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let memory = MemoryStore::new(Arc::new(SystemClock::start()));
        let mut local = LocalStore::open(dir.path()).unwrap();
        let mut model = Model::new();
        for (step, call) in calls.iter().enumerate() {
            if matches!(call, Call::Reopen) {
                local = LocalStore::open(dir.path()).unwrap();
            }
            let due = expected(&mut model, call);
            let (in_memory, in_directory) = runtime.block_on(async {
                (observed(&memory, call).await, observed(&local, call).await)
            });
            prop_assert_eq!(&in_memory, &due, "memory, step {}: {:?}", step, call);
            prop_assert_eq!(&in_directory, &due, "directory, step {}: {:?}", step, call);
        }
    }
}
