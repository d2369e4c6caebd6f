//! Whether a file is what the previous point already holds, decided without reading it.
//!
//! Same kind, size, mtime, ctime and inode mean unchanged, with one exception, the *racy* case: a
//! write that came after our last look, but within the tick of the filesystem's clock, left the
//! same times behind. So times that were not clearly in the past when the previous run read the
//! file are not trusted. The device's number is not compared: it changes when a host restarts.

use core::time::Duration;
use holdfast_common::Timestamp;
use holdfast_seal::manifest::entry::{Entry, EntryKind, FLAG_CHANGED_WHILE_READ, Inode};

/// Clocks of filesystems tick in up to 2 s (FAT); everyone else is finer.
const RACY: Duration = Duration::from_secs(2);

/// `previous_read` is when the run that made `previous` began to read. Both entries are of the
/// same path.
pub fn unchanged(previous: &Entry, now: &Entry, previous_read: Timestamp) -> bool {
    let trusted_before = previous_read.minus(RACY).as_nanos();
    let flagged = previous.flags.unwrap_or(0) & FLAG_CHANGED_WHILE_READ != 0;
    let lacks_content =
        previous.kind == EntryKind::File && previous.size > 0 && previous.content.is_none();
    let number = |inode: Option<Inode>| inode.map(|inode| inode.number);
    !flagged
        && !lacks_content
        && previous.kind == now.kind
        && previous.size == now.size
        && previous.mtime_ns == now.mtime_ns
        && previous.ctime_ns == now.ctime_ns
        && number(previous.inode) == number(now.inode)
        && previous.mtime_ns < trusted_before
        && previous.ctime_ns < trusted_before
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::ContentHash;
    use holdfast_seal::manifest::entry::{Content, Profile};

    const READ: Timestamp = Timestamp::from_nanos(100_000_000_000);

    fn entry() -> Entry {
        Entry {
            path: b"/x".to_vec().into(),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime_ns: 5,
            ctime_ns: 6,
            size: 3,
            xattrs: None,
            link_target: None,
            device: None,
            hardlink_group: None,
            inode: Some(Inode { device: 1, number: 2 }),
            content: Some(Content {
                profile: Profile::Whole,
                hash: ContentHash::from_bytes([0; 32]),
                chunks: Some(Vec::new()),
                lists: None,
                ranges: None,
            }),
            flags: None,
        }
    }

    fn holds(previous: impl FnOnce(&mut Entry), now: impl FnOnce(&mut Entry)) -> bool {
        let (mut before, mut after) = (entry(), entry());
        previous(&mut before);
        now(&mut after);
        unchanged(&before, &after, READ)
    }

    #[test]
    fn a_file_is_unchanged_only_when_everything_agrees() {
        assert!(holds(|_| {}, |now| now.content = None));
        assert!(!holds(|_| {}, |now| now.size += 1));
        assert!(!holds(|_| {}, |now| now.mtime_ns += 1));
        assert!(!holds(|_| {}, |now| now.ctime_ns += 1));
        assert!(!holds(|_| {}, |now| now.kind = EntryKind::Fifo));
        assert!(!holds(|_| {}, |now| now.inode = Some(Inode { device: 1, number: 3 })));
        assert!(!holds(|_| {}, |now| now.inode = None));
    }

    #[test]
    fn modes_and_device_numbers_do_not_cause_a_read() {
        assert!(holds(|_| {}, |now| now.mode = 0o600));
        assert!(holds(|_| {}, |now| now.inode = Some(Inode { device: 9, number: 2 })));
    }

    #[test]
    fn a_file_that_was_flagged_or_has_no_content_is_read_again() {
        assert!(!holds(|previous| previous.flags = Some(FLAG_CHANGED_WHILE_READ), |_| {}));
        assert!(!holds(|previous| previous.content = None, |_| {}));
    }

    #[test]
    fn times_within_two_seconds_of_the_previous_read_are_not_trusted() {
        let edge = READ.as_nanos() - 2_000_000_000;
        for (age, trusted) in [(1, true), (0, false), (-1, false), (-9_000_000_000, false)] {
            let time = edge - age;
            let by_mtime = |entry: &mut Entry| entry.mtime_ns = time;
            let by_ctime = |entry: &mut Entry| entry.ctime_ns = time;
            assert_eq!(holds(by_mtime, by_mtime), trusted, "mtime {age}");
            assert_eq!(holds(by_ctime, by_ctime), trusted, "ctime {age}");
        }
    }
}
