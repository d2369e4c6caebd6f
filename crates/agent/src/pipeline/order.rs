//! Entries come back from many threads in any order; the manifest wants them in the walk's order.
//!
//! Every item gets a ticket when the walk hands it out. A ticket that is done waits here until all
//! before it are done. The look-ahead is bounded twice, in tickets and in bytes: when one large
//! file keeps the others waiting, the walk waits too. Putting an item in never blocks, so whoever
//! holds the oldest ticket can always finish.

use crate::flow::{Halt, Popped, lock, wait};
use holdfast_common::Result;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

pub(super) struct Order<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    halt: Arc<Halt>,
    tickets_max: u64,
    bytes_max: usize,
}

struct State<T> {
    /// The oldest ticket that was not handed on.
    next: u64,
    /// How many tickets there are, once the walk is over.
    end: Option<u64>,
    done: BTreeMap<u64, (T, usize)>,
    bytes: usize,
    /// Who waits: the walk for room, the manifest for the oldest ticket.
    waiting: usize,
}

impl<T> Order<T> {
    pub(super) fn new(tickets_max: u64, bytes_max: usize, halt: &Arc<Halt>) -> Self {
        Self {
            state: Mutex::new(State {
                next: 0,
                end: None,
                done: BTreeMap::new(),
                bytes: 0,
                waiting: 0,
            }),
            changed: Condvar::new(),
            halt: Arc::clone(halt),
            tickets_max,
            bytes_max,
        }
    }

    /// Waits until the ticket may be handed out; `bytes` is what is known to come with it.
    pub(super) fn admit(&self, ticket: u64, bytes: usize) -> Result<()> {
        let mut state = lock(&self.state);
        while ticket >= state.next + self.tickets_max
            || (state.bytes + bytes > self.bytes_max && ticket > state.next)
        {
            self.halt.check()?;
            state = self.wait(state);
        }
        self.halt.check()
    }

    /// The ticket is done; `bytes` is about what its item holds.
    pub(super) fn put(&self, ticket: u64, item: T, bytes: usize) {
        let mut state = lock(&self.state);
        debug_assert!(ticket >= state.next, "a ticket is done twice");
        state.bytes += bytes;
        let before = state.done.insert(ticket, (item, bytes));
        debug_assert!(before.is_none(), "a ticket is done twice");
        // Nobody waits for another ticket than the oldest.
        let is_oldest = ticket == state.next;
        self.tell(state, is_oldest);
    }

    fn wait<'s>(&self, mut state: MutexGuard<'s, State<T>>) -> MutexGuard<'s, State<T>> {
        state.waiting += 1;
        let mut state = wait(&self.changed, state, Duration::MAX);
        state.waiting -= 1;
        state
    }

    fn tell(&self, state: MutexGuard<'_, State<T>>, matters: bool) {
        let anybody = state.waiting > 0;
        drop(state);
        if matters && anybody {
            self.changed.notify_all();
        }
    }

    /// What was taken last is not done after all: its ticket is the oldest again.
    pub(super) fn reopen(&self) -> u64 {
        let mut state = lock(&self.state);
        debug_assert!(state.next > 0, "nothing was taken yet");
        state.next -= 1;
        state.next
    }

    /// The walk is over after so many tickets.
    pub(super) fn end(&self, tickets: u64) {
        lock(&self.state).end = Some(tickets);
        self.changed.notify_all();
    }

    /// The next item in the walk's order; closed at the end, or when the run was halted. Empty when
    /// the oldest ticket was not done for a moment.
    pub(super) fn take(&self) -> Popped<T> {
        let (mut state, mut has_waited) = (lock(&self.state), false);
        loop {
            let next = state.next;
            if self.halt.is_set() || state.end == Some(next) {
                return Popped::Closed;
            }
            if let Some((item, bytes)) = state.done.remove(&next) {
                state.next += 1;
                state.bytes -= bytes;
                self.tell(state, true);
                return Popped::Item(item);
            }
            if has_waited {
                return Popped::Empty;
            }
            state = self.wait(state);
            has_waited = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn next<T>(order: &Order<T>) -> Option<T> {
        loop {
            match order.take() {
                Popped::Item(item) => return Some(item),
                Popped::Closed => return None,
                Popped::Empty => {}
            }
        }
    }

    #[test]
    fn whoever_takes_is_not_kept_while_the_oldest_ticket_is_not_done() {
        let order = Order::new(4, 100, &Halt::new());
        order.put(1, "b", 1);
        assert_eq!(order.take(), Popped::Empty);
        order.put(0, "a", 1);
        assert_eq!([order.take(), order.take()], [Popped::Item("a"), Popped::Item("b")]);
        order.end(2);
        assert_eq!(order.take(), Popped::Closed);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn whatever_order_items_are_done_in_they_leave_in_the_walks_order(
            count in 0u64..300,
            ahead in 1u64..40,
            bytes_max in 1usize..200,
            seed in any::<u64>(),
        ) {
            let halt = Halt::new();
            let order = Order::new(ahead, bytes_max, &halt);
            let tickets = crate::flow::Queue::new(ahead as usize, &halt);
            let taken: Vec<u64> = std::thread::scope(|scope| {
                scope.spawn(|| {
                    for ticket in 0..count {
                        order.admit(ticket, 0).unwrap();
                        tickets.push(ticket).unwrap();
                    }
                    order.end(count);
                    tickets.close();
                });
                for worker in 0..3u64 {
                    let (order, tickets) = (&order, &tickets);
                    scope.spawn(move || {
                        while let Some(ticket) = tickets.pop() {
                            let roll = ticket.wrapping_mul(seed | 1) ^ worker;
                            if roll % 5 == 0 {
                                std::thread::yield_now();
                            }
                            order.put(ticket, ticket, (roll % 64) as usize);
                        }
                    });
                }
                std::iter::from_fn(|| next(&order)).collect()
            });
            prop_assert_eq!(taken, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_walk_waits_while_the_oldest_ticket_is_not_done() {
        let halt = Halt::new();
        let order = Order::new(4, 100, &halt);
        order.put(1, "b", 60);
        order.put(2, "c", 60);
        std::thread::scope(|scope| {
            let walk = scope.spawn(|| order.admit(3, 0));
            std::thread::yield_now();
            assert!(!walk.is_finished(), "120 bytes are more than the look-ahead");
            order.put(0, "a", 0);
            assert_eq!([next(&order), next(&order)], [Some("a"), Some("b")]);
            walk.join().unwrap().unwrap();
        });
    }
}
