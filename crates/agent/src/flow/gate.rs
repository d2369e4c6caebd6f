//! A gate that lets so many bytes through at once. A permit gives its bytes back when dropped.
//! Several runs may share one.
//!
//! One taker larger than the whole gate would wait for ever; the gate's size is checked against the
//! largest chunk where budgets are written down.

use super::{Halt, lock, wait};
use holdfast_common::Result;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    size: usize,
}

struct State {
    free: usize,
    /// Who waits: to wake nobody costs a call into the kernel too.
    waiting: usize,
}

impl Gate {
    pub(crate) fn new(size: usize) -> Arc<Self> {
        let state = Mutex::new(State { free: size, waiting: 0 });
        Arc::new(Self { state, changed: Condvar::new(), size })
    }

    /// Waits until that many bytes are free, or the taker's run is halted.
    pub(crate) fn enter(self: &Arc<Self>, bytes: usize, halt: &Halt) -> Result<Permit> {
        debug_assert!(bytes <= self.size, "{bytes} bytes never fit a gate of {}", self.size);
        let mut state = lock(&self.state);
        while state.free < bytes {
            halt.check()?;
            state.waiting += 1;
            state = wait(&self.changed, state, Duration::MAX);
            state.waiting -= 1;
        }
        state.free -= bytes;
        Ok(Permit { gate: Arc::clone(self), bytes })
    }
}

pub(crate) struct Permit {
    gate: Arc<Gate>,
    bytes: usize,
}

impl Permit {
    /// Takes another permit of the same gate in, so that both are given back together.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.gate, &other.gate));
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = lock(&self.gate.state);
        state.free += self.bytes;
        debug_assert!(state.free <= self.gate.size, "more was given back than taken");
        let anybody = state.waiting > 0;
        drop(state);
        if anybody {
            self.gate.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{Code, Error};

    #[test]
    fn bytes_come_back_when_permits_are_dropped() {
        let (gate, halt) = (Gate::new(10), Halt::new());
        let mut first = gate.enter(4, &halt).unwrap();
        first.absorb(gate.enter(6, &halt).unwrap());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| gate.enter(10, &halt).map(drop));
            assert_eq!(lock(&gate.state).free, 0);
            drop(first);
            waiter.join().unwrap().unwrap();
        });
        assert_eq!(lock(&gate.state).free, 10);
    }

    #[test]
    fn nobody_enters_a_gate_that_is_too_full() {
        // Who would have to wait in a halted run is told so instead.
        let (gate, halt, halted) = (Gate::new(10), Halt::new(), Halt::new());
        halted.fail(Error::new(Code::RunCancelled, "halted"));
        let most = gate.enter(7, &halt).unwrap();
        assert_eq!(gate.enter(4, &halted).map(drop).unwrap_err().code, Code::RunCancelled);
        gate.enter(3, &halted).map(drop).unwrap();
        drop(most);
        gate.enter(10, &halted).map(drop).unwrap();
    }
}
