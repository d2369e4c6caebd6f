//! The overlay is a map: whatever is settled, viewed or lost meanwhile, and a crash goes back to a
//! state that was, not behind what was flushed.

use super::*;
use holdfast_ledger::MemoryKv;
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::mpsc::Receiver};

type Rows = Vec<KeyValue>;

const MARK: &[u8] = b"mark";

#[derive(Clone, Debug)]
enum Step {
    Crash,
    Flush,
    /// Ends the oldest view.
    Look,
    Scan {
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    },
    View,
    Write(BTreeMap<Vec<u8>, Option<Vec<u8>>>),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || proptest::collection::vec(0u8..3, 1..4);
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    let after = proptest::option::of(proptest::collection::vec(0u8..3, 0..4));
    let prefix = proptest::collection::vec(0u8..3, 0..2);
    let scan = (prefix, after, 0usize..12).prop_map(|(prefix, after, limit)| Step::Scan {
        prefix,
        after,
        limit,
    });
    prop_oneof![
        6 => proptest::collection::btree_map(key(), value, 1..12).prop_map(Step::Write),
        4 => scan,
        2 => Just(Step::View),
        2 => Just(Step::Look),
        1 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ]
}

/// The overlay beside a map, and every state that map was in.
struct Pair {
    below: Arc<MemoryKv>,
    overlay: Arc<Overlay>,
    settle_at: usize,
    model: MemoryKv,
    history: Vec<Rows>,
    flushed: usize,
    views: Vec<(View, Rows)>,
}

impl Pair {
    fn new(settle_at: usize) -> Self {
        let below = Arc::new(MemoryKv::default());
        let overlay = Overlay::without_settler(below.clone(), settle_at);
        let (model, history) = (MemoryKv::default(), vec![Rows::new()]);
        Self { below, overlay, settle_at, model, history, flushed: 0, views: Vec::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Crash => self.crash(),
            Step::Flush => {
                self.overlay.flush().unwrap();
                if self.views.is_empty() {
                    self.flushed = self.history.len() - 1;
                }
            }
            Step::Look => {
                if !self.views.is_empty() {
                    let (view, wanted) = self.views.remove(0);
                    assert_eq!(all(&view), wanted, "a view changed");
                }
            }
            Step::Scan { prefix, after, limit } => {
                let wanted = self.model.scan(&prefix, after.as_deref(), limit).unwrap();
                let found = self.overlay.scan(&prefix, after.as_deref(), limit).unwrap();
                assert_eq!(found, wanted, "{prefix:?} after {after:?}, {limit}");
            }
            Step::View => self.views.push((self.overlay.view(), all(&self.model))),
            Step::Write(mut changes) => {
                let number = self.history.len().to_le_bytes().to_vec();
                changes.insert(MARK.to_vec(), Some(number));
                self.overlay.write(Batch { changes: changes.clone() }).unwrap();
                self.model.write(Batch { changes }).unwrap();
                self.history.push(all(&self.model));
            }
        }
        for (key, value) in all(&self.model) {
            assert_eq!(self.overlay.read(&key).unwrap(), Some(value));
        }
    }

    /// Only what is below is left, which must be a state that was.
    fn crash(&mut self) {
        self.views.clear();
        let left = all(self.below.as_ref());
        let mark = self.below.read(MARK).unwrap();
        let number = mark.map_or(0, |mark| usize::from_le_bytes(mark.try_into().unwrap()));
        assert!(number >= self.flushed, "{number} is behind {}", self.flushed);
        assert_eq!(left, self.history[number], "no state that was");
        self.history.truncate(number + 1);
        self.model = MemoryKv::default();
        let changes = left.into_iter().map(|(key, value)| (key, Some(value))).collect();
        self.model.write(Batch { changes }).unwrap();
        self.overlay = Overlay::without_settler(self.below.clone(), self.settle_at);
    }
}

fn all(kv: &dyn StateKv) -> Rows {
    kv.scan(&[], None, usize::MAX).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn an_overlay_is_a_map_whatever_is_settled_viewed_or_lost(
        steps in proptest::collection::vec(step(), 1..60),
        settle_at in prop_oneof![Just(1usize), Just(500), Just(3000), Just(usize::MAX)],
    ) {
        let mut pair = Pair::new(settle_at);
        for step in steps {
            pair.take(step);
        }
        prop_assert_eq!(all(pair.overlay.as_ref()), all(&pair.model));
    }
}

fn row(number: u32) -> Batch {
    let changes = [(number.to_be_bytes().to_vec(), Some(vec![7; 1000]))];
    Batch { changes: changes.into_iter().collect() }
}

/// Tables that take a batch when they are told to, or refuse it.
struct Slow {
    rows: MemoryKv,
    told: Mutex<Receiver<Result<()>>>,
}

impl StateKv for Slow {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.rows.read(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        self.rows.scan(prefix, after, limit)
    }

    fn write(&self, batch: Batch) -> Result<()> {
        self.told.lock().unwrap().recv().unwrap_or(Ok(()))?;
        self.rows.write(batch)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

fn slow() -> (Arc<Slow>, mpsc::SyncSender<Result<()>>) {
    let (tell, told) = mpsc::sync_channel(MANY as usize);
    (Arc::new(Slow { rows: MemoryKv::default(), told: Mutex::new(told) }), tell)
}

fn fill(overlay: &Overlay, numbers: std::ops::Range<u32>) {
    numbers.for_each(|number| overlay.write(row(number)).unwrap());
}

/// A minute.
const LOOKS_MAX: u32 = 6_000;
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(10);
/// More than one layer takes, and less than all may.
const MANY: u32 = 2_000;

#[test]
fn writes_and_reads_go_on_while_a_layer_is_on_its_way_to_the_disk() {
    let (below, tell) = slow();
    let overlay = Overlay::start(below.clone()).unwrap();
    fill(&overlay, 0..MANY);
    assert_eq!(all(below.as_ref()).len(), 0, "the disk has not taken anything");
    assert_eq!(all(overlay.as_ref()).len(), MANY as usize);
    (0..MANY).for_each(|_| tell.send(Ok(())).unwrap());
    overlay.flush().unwrap();
    assert_eq!(all(below.as_ref()), all(overlay.as_ref()));
    assert_eq!(all(below.as_ref()).len(), MANY as usize);
}

#[test]
fn writes_wait_when_memory_is_full_and_go_on_when_the_disk_has_taken_some() {
    let (below, tell) = slow();
    let overlay = Overlay::start(below).unwrap();
    let many = 3 * u32::try_from(limits::TABLE_LAYERS_BYTES_MAX / 1000).unwrap();
    let fill_up = || {
        for number in 0..many {
            overlay.write(row(number)).unwrap();
            let bytes = overlay.shared.lock().bytes();
            assert!(bytes < limits::TABLE_LAYERS_BYTES_MAX + 2_000, "{bytes} after {number}");
        }
    };
    std::thread::scope(|scope| {
        let filling = scope.spawn(fill_up);
        while !filling.is_finished() {
            if !overlay.has_room() {
                tell.send(Ok(())).unwrap();
            }
            std::thread::yield_now();
        }
    });
    drop(tell);
    assert_eq!(all(overlay.as_ref()).len(), many as usize);
}

#[test]
fn a_view_lets_nothing_newer_below_and_then_everything() {
    let below = Arc::new(MemoryKv::default());
    let overlay = Overlay::without_settler(below.clone(), 1);
    fill(&overlay, 0..3);
    let view = overlay.view();
    fill(&overlay, 3..9);
    overlay.flush().unwrap();
    assert_eq!((all(below.as_ref()).len(), all(&view).len()), (3, 3));
    assert_eq!(all(overlay.as_ref()).len(), 9);
    drop(view);
    overlay.flush().unwrap();
    assert_eq!(all(below.as_ref()).len(), 9);
}

/// Tables that remember the largest batch.
#[derive(Default)]
struct Weighing(MemoryKv, Mutex<usize>);

impl StateKv for Weighing {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.read(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        self.0.scan(prefix, after, limit)
    }

    fn write(&self, batch: Batch) -> Result<()> {
        let mut most = self.1.lock().unwrap();
        *most = batch.changes.len().max(*most);
        self.0.write(batch)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn what_waited_for_a_view_goes_below_in_small_batches() {
    let below = Arc::<Weighing>::default();
    let overlay = Overlay::without_settler(below.clone(), 3_000);
    let view = overlay.view();
    fill(&overlay, 0..200);
    assert_eq!(all(below.as_ref()).len(), 0);
    drop(view);
    overlay.shared.settle(usize::MAX).unwrap();
    let (settled, most) = (all(below.as_ref()).len(), *below.1.lock().unwrap());
    assert!(settled > 180, "all but the open layer: {settled}");
    assert!(most <= 12, "no layer is much larger than when nothing stands in its way: {most}");
}

#[test]
fn what_waited_for_a_view_goes_below_without_another_write() {
    let overlay = Overlay::start(Arc::new(MemoryKv::default())).unwrap();
    let view = overlay.view();
    let layers = || overlay.shared.lock().frozen.len();
    let mut written = 0;
    while layers() < 3 {
        fill(&overlay, written..written + 1);
        written += 1;
    }
    drop(view);
    for _ in 0..LOOKS_MAX {
        if layers() == 0 {
            return;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    panic!("they wait for whoever writes next");
}

#[test]
fn rows_are_not_replaced_under_a_view() {
    let overlay = Overlay::without_settler(Arc::new(MemoryKv::default()), 1);
    fill(&overlay, 0..3);
    let view = overlay.view();
    let wipe = |below: &dyn StateKv| {
        let changes = all(below).into_iter().map(|(key, _)| (key, None)).collect();
        below.write(Batch { changes })
    };
    assert_eq!(overlay.replace(wipe).unwrap_err().code, Code::InternalBug);
    assert_eq!(all(&view).len(), 3);
    drop(view);
    overlay.replace(wipe).unwrap();
    assert_eq!(all(overlay.as_ref()), []);
}

#[test]
fn after_a_write_that_failed_nothing_is_taken_any_more() {
    let (below, tell) = slow();
    let overlay = Overlay::start(below).unwrap();
    tell.send(Err(Error::new(Code::DiskFull, "on purpose"))).unwrap();
    fill(&overlay, 0..1);
    assert_eq!(overlay.flush().unwrap_err().code, Code::DiskFull);
    assert_eq!(overlay.write(row(1)).unwrap_err().code, Code::DiskFull);
    assert_eq!(overlay.flush().unwrap_err().code, Code::DiskFull);
    assert_eq!(all(overlay.as_ref()).len(), 1, "what was answered stays so");
}
