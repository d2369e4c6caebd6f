//! The pace of what is read back, without a clock and without a location.

use super::schedule::{Budget, Next};
use holdfast_common::{Name, Timestamp, VaultId, limits};
use holdfast_ledger::row::{CheckPass, CheckRow};
use proptest::prelude::*;
use std::time::Duration;

const PACK: u64 = limits::PACK_BYTES_MAX as u64;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn budget(bytes_per_day: u64) -> Budget {
    Budget { bytes_per_day, every: DAY }
}

fn at(after: Duration) -> Timestamp {
    Timestamp::from_nanos(1_800_000_000_000_000_000).plus(after)
}

fn memory() -> CheckRow {
    let name: Name = "main".parse().unwrap();
    CheckRow::new(VaultId::from_bytes([1; 16]), name, at(Duration::ZERO))
}

fn in_a_pass() -> CheckRow {
    CheckRow { pass: Some(CheckPass::begun(at(Duration::ZERO))), ..memory() }
}

#[test]
fn a_pass_begins_so_long_after_the_one_before_began_however_long_that_took() {
    let budget = budget(1 << 40);
    assert_eq!(
        budget.next(&mut memory(), at(HOUR)),
        Next::Wait(DAY - HOUR),
        "it was hashed as it came"
    );
    assert_eq!(budget.next(&mut memory(), at(DAY)), Next::Begin);
    let last = CheckPass { ended: Some(at(5 * HOUR)), ..CheckPass::begun(at(2 * HOUR)) };
    let mut rests = CheckRow { last: Some(last), ..memory() };
    assert_eq!(budget.next(&mut rests, at(DAY)), Next::Wait(2 * HOUR));
    assert_eq!(budget.next(&mut rests, at(DAY + 2 * HOUR)), Next::Begin);
    let slow = CheckPass { ended: Some(at(9 * DAY)), ..last };
    let mut rests = CheckRow { last: Some(slow), ..memory() };
    assert_eq!(budget.next(&mut rests, at(9 * DAY)), Next::Begin);
}

#[test]
fn what_was_read_is_waited_for_and_a_pause_is_not_made_up_for() {
    let budget = budget(86_400_000);
    let mut memory = in_a_pass();
    memory.paid = budget.pay(memory.paid, at(Duration::ZERO), 60_000);
    assert_eq!(
        budget.next(&mut memory, at(Duration::ZERO)),
        Next::Wait(60 * Duration::from_secs(1))
    );
    assert_eq!(budget.next(&mut memory, at(Duration::from_secs(60))), Next::GoOn);
    // A day later one object goes, and the next one waits again.
    assert_eq!(budget.next(&mut memory, at(DAY)), Next::GoOn);
    memory.paid = budget.pay(memory.paid, at(DAY), 60_000);
    assert_eq!(budget.next(&mut memory, at(DAY)), Next::Wait(60 * Duration::from_secs(1)));
}

#[test]
fn a_small_object_counts_for_a_call_and_a_raised_budget_counts_at_once() {
    let slow = budget(limits::CHECK_BYTES_PER_DAY_MIN);
    let mut memory = in_a_pass();
    memory.paid = slow.pay(memory.paid, at(Duration::ZERO), 0);
    assert!(matches!(slow.next(&mut memory, at(Duration::ZERO)), Next::Wait(_)));
    memory.paid = slow.pay(memory.paid, at(Duration::ZERO), u64::MAX);
    let fast = budget(1 << 50);
    let Next::Wait(wait) = fast.next(&mut memory, at(Duration::ZERO)) else {
        panic!("it was not waited for")
    };
    assert!(wait < Duration::from_secs(1), "{wait:?}");
    assert_eq!(fast.next(&mut memory, at(wait)), Next::GoOn, "and waited for once");
}

proptest! {
    /// Whenever it is asked, in no span of time more is read than the budget gives for it and the
    /// object that began it.
    #[test]
    fn no_span_of_time_has_more_than_its_budget(
        bytes_per_day in limits::CHECK_BYTES_PER_DAY_MIN..1 << 42,
        steps in prop::collection::vec((0_u64..200_000, 0_u64..PACK), 1..80),
    ) {
        let budget = budget(bytes_per_day);
        let (mut memory, mut now) = (in_a_pass(), Duration::ZERO);
        let mut reads: Vec<(Duration, u64)> = Vec::new();
        for (pause_ms, bytes) in steps {
            now += Duration::from_millis(pause_ms);
            if budget.next(&mut memory, at(now)) == Next::GoOn {
                memory.paid = budget.pay(memory.paid, at(now), bytes);
                reads.push((now, bytes));
            }
        }
        for (from, (begun, _)) in reads.iter().enumerate() {
            let mut sum = 0_u128;
            for (read, bytes) in &reads[from..] {
                let span = (*read - *begun).as_nanos();
                // What was read before this one was paid for by now; nanoseconds are whole.
                let given = (span + 100) * u128::from(bytes_per_day) / DAY.as_nanos() + 1;
                prop_assert!(sum <= given, "{sum} bytes in {span} ns, {given} are given");
                sum += u128::from(*bytes);
            }
        }
    }
}
