//! A bounded queue between stages, with any number of threads at both ends.
//!
//! `close` says that nothing more comes: what is inside is still handed out. A full queue makes its
//! writer wait, which is how a slow network slows the reading of files down. `return_to_front` is
//! for work that came back; its bound is the bound on work handed out.
//!
//! Waking a thread costs more than moving an item. So writers are woken when half of the queue is
//! free, and a reader that takes many small items may let some gather first.

use super::{Halt, lock, wait};
use holdfast_common::Result;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    room: Condvar,
    capacity: usize,
    halt: Arc<Halt>,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
    /// Who waits at either end: to wake nobody costs a call into the kernel too.
    readers: usize,
    writers: usize,
    /// How many items are worth waking a reader for.
    worth: usize,
}

/// What a wait of limited length brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped<T> {
    Closed,
    Empty,
    Item(T),
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize, halt: &Arc<Halt>) -> Self {
        debug_assert!(capacity > 0);
        let items = VecDeque::new();
        Self {
            state: Mutex::new(State { items, closed: false, readers: 0, writers: 0, worth: 1 }),
            filled: Condvar::new(),
            room: Condvar::new(),
            capacity,
            halt: Arc::clone(halt),
        }
    }

    /// Waits for room.
    pub(crate) fn push(&self, item: T) -> Result<()> {
        let mut state = lock(&self.state);
        while state.items.len() >= self.capacity {
            self.halt.check()?;
            state.writers += 1;
            state = wait(&self.room, state, Duration::MAX);
            state.writers -= 1;
        }
        debug_assert!(!state.closed, "a stage pushes after it closed");
        state.items.push_back(item);
        self.tell_a_reader(state);
        self.halt.check()
    }

    /// Never waits.
    pub(crate) fn return_to_front(&self, item: T) {
        let mut state = lock(&self.state);
        state.items.push_front(item);
        self.tell_a_reader(state);
    }

    fn tell_a_reader(&self, state: MutexGuard<'_, State<T>>) {
        let is_due = state.readers > 0 && state.items.len() >= state.worth;
        drop(state);
        if is_due {
            self.filled.notify_one();
        }
    }

    /// `None` once the queue is closed and empty, or the run was halted.
    pub(crate) fn pop(&self) -> Option<T> {
        loop {
            match self.pop_within(Duration::from_secs(3600)) {
                Popped::Item(item) => return Some(item),
                Popped::Closed => return None,
                Popped::Empty => {}
            }
        }
    }

    /// Waits for an item, but no longer than `patience`.
    pub(crate) fn pop_within(&self, patience: Duration) -> Popped<T> {
        let mut left = patience;
        let mut state = lock(&self.state);
        loop {
            if self.halt.is_set() {
                return Popped::Closed;
            }
            if let Some(item) = state.items.pop_front() {
                let is_due = state.writers > 0 && state.items.len() <= self.capacity / 2;
                drop(state);
                if is_due {
                    self.room.notify_all();
                }
                return Popped::Item(item);
            }
            if state.closed {
                return Popped::Closed;
            }
            if left.is_zero() {
                return Popped::Empty;
            }
            let step = left.min(super::HALT_LOOK_INTERVAL);
            state.readers += 1;
            state = wait(&self.filled, state, step);
            state.readers -= 1;
            left = left.saturating_sub(step);
        }
    }

    /// The same for the only reader of a queue: when it had to wait, it waits a moment more, for so
    /// many items that several are taken for one waking.
    pub(crate) fn pop_gathered(&self, patience: Duration) -> Popped<T> {
        if lock(&self.state).items.is_empty() {
            match self.pop_within(patience) {
                Popped::Item(item) => self.return_to_front(item),
                ended => return ended,
            }
            let mut state = lock(&self.state);
            if state.items.len() < GATHERED && !state.closed {
                state.worth = GATHERED.min(self.capacity / 2).max(1);
                state.readers += 1;
                state = wait(&self.filled, state, GATHERING);
                state.readers -= 1;
                state.worth = 1;
            }
            drop(state);
        }
        self.pop_within(patience)
    }

    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }
}

const GATHERED: usize = 32;
const GATHERING: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{Code, Error};

    #[test]
    fn what_was_pushed_before_closing_is_still_handed_out() {
        let queue = Queue::new(4, &Halt::new());
        queue.push(1).unwrap();
        queue.push(2).unwrap();
        queue.return_to_front(0);
        queue.close();
        assert_eq!(
            [queue.pop(), queue.pop(), queue.pop(), queue.pop()],
            [Some(0), Some(1), Some(2), None]
        );
    }

    #[test]
    fn a_writer_waits_while_the_queue_is_full() {
        let queue = Queue::new(1, &Halt::new());
        queue.push(1).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| queue.push(2));
            assert_eq!(queue.pop(), Some(1));
            assert_eq!(queue.pop(), Some(2));
            writer.join().unwrap().unwrap();
        });
        assert_eq!(queue.pop_within(Duration::ZERO), Popped::Empty);
    }

    #[test]
    fn what_gathers_comes_in_order_and_whole() {
        let queue = Queue::new(64, &Halt::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..1000).for_each(|item| queue.push(item).unwrap());
                queue.close();
            });
            for expected in 0..1000 {
                assert_eq!(queue.pop_gathered(Duration::from_secs(3600)), Popped::Item(expected));
            }
            assert_eq!(queue.pop_gathered(Duration::from_secs(3600)), Popped::Closed);
        });
        assert_eq!(Queue::<u8>::new(1, &Halt::new()).pop_gathered(Duration::ZERO), Popped::Empty);
    }

    #[test]
    fn writers_go_on_when_half_is_free() {
        let queue = Queue::new(4, &Halt::new());
        (0..4).for_each(|item| queue.push(item).unwrap());
        std::thread::scope(|scope| {
            let writers: Vec<_> = (4..6)
                .map(|item| {
                    scope.spawn({
                        let queue = &queue;
                        move || queue.push(item)
                    })
                })
                .collect();
            while lock(&queue.state).writers < 2 {
                std::thread::yield_now();
            }
            (0..2).for_each(|_| assert!(queue.pop().is_some()));
            writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
        });
        assert_eq!(lock(&queue.state).items.len(), 4);
    }

    #[test]
    fn a_halt_ends_every_wait_with_the_first_error() {
        let halt = Halt::new();
        let queue: Queue<u8> = Queue::new(1, &halt);
        queue.push(1).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| queue.push(2));
            halt.fail(Error::new(Code::DiskFull, "first"));
            halt.fail(Error::new(Code::InternalBug, "second"));
            assert_eq!(writer.join().unwrap().unwrap_err().code, Code::DiskFull);
        });
        assert_eq!(queue.pop(), None, "nothing is handed out after a halt");
    }
}
