//! A bounded queue between stages, with any number of threads at both ends.
//!
//! `close` says that nothing more comes: what is inside is still handed out. A full queue makes its
//! writer wait, which is how a slow network slows the reading of files down. `return_to_front` is
//! for work that came back; its bound is the bound on work handed out.

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
            state: Mutex::new(State { items, closed: false, readers: 0, writers: 0 }),
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
        let anybody = state.readers > 0;
        drop(state);
        if anybody {
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
                let anybody = state.writers > 0;
                drop(state);
                if anybody {
                    self.room.notify_one();
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

    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }
}

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
