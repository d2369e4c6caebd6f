//! What changed between two manifests, without reading what they share.
//!
//! Two walkers go side by side in path order. Where both stand before the same page, all beneath it
//! is the same and is stepped over unread; pages end where paths say so, so that the two meet again
//! soon after every change. Times of the inode, inode numbers and how a file was cut are not
//! changes: they do not come back with a restore.

use super::entry::Entry;
use super::walk::{Node, Walker};
use super::{ManifestReader, path};
use core::cmp::Ordering;
use holdfast_common::Result;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: Vec<u8>,
    pub change: ChangeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    /// Kind, bytes, size, holes, link target or device number.
    Content,
    /// Owner, mode, time of modification, xattrs, or whether it shares an inode.
    Metadata,
    Removed,
}

/// The changes that lead from `old` to `new`, in path order.
pub fn diff<'s>(old: &ManifestReader<'s>, new: &ManifestReader<'s>) -> Result<Diff<'s>> {
    Ok(Diff { sides: Some((old.walker()?, new.walker()?)) })
}

/// See [`diff`].
pub struct Diff<'s> {
    sides: Option<(Walker<'s>, Walker<'s>)>,
}

/// What to do next with the two sides.
enum Step {
    Compare,
    EnterNew,
    EnterOld,
    Finish,
    Shared,
    TakeNew,
    TakeOld,
}

impl Diff<'_> {
    fn advance(&mut self) -> Result<Option<Change>> {
        let Some((old, new)) = &mut self.sides else { return Ok(None) };
        loop {
            match next_step(old.node(), new.node()) {
                Step::Finish => return Ok(None),
                Step::EnterOld => old.enter()?,
                Step::EnterNew => new.enter()?,
                Step::Shared => {
                    old.step();
                    new.step();
                }
                Step::TakeOld => return Ok(old.step().map(|entry| of(entry, ChangeKind::Removed))),
                Step::TakeNew => return Ok(new.step().map(|entry| of(entry, ChangeKind::Added))),
                Step::Compare => {
                    if let (Some(before), Some(after)) = (old.step(), new.step())
                        && let Some(change) = compare(&before, &after)
                    {
                        return Ok(Some(of(after, change)));
                    }
                }
            }
        }
    }
}

impl Iterator for Diff<'_> {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.sides = None;
        }
        next
    }
}

fn next_step(old: Option<Node>, new: Option<Node>) -> Step {
    match (old, new) {
        (None, None) => Step::Finish,
        (Some(Node::Page { .. }), None) => Step::EnterOld,
        (None, Some(Node::Page { .. })) => Step::EnterNew,
        (Some(Node::Entry(_)), None) => Step::TakeOld,
        (None, Some(Node::Entry(_))) => Step::TakeNew,
        (Some(Node::Entry(a)), Some(Node::Entry(b))) => match path::order(&a.path, &b.path) {
            Ordering::Less => Step::TakeOld,
            Ordering::Equal => Step::Compare,
            Ordering::Greater => Step::TakeNew,
        },
        (Some(Node::Entry(a)), Some(Node::Page { row, .. })) => {
            let is_before = path::order(&a.path, &row.first) == Ordering::Less;
            if is_before { Step::TakeOld } else { Step::EnterNew }
        }
        (Some(Node::Page { row, .. }), Some(Node::Entry(b))) => {
            let is_before = path::order(&b.path, &row.first) == Ordering::Less;
            if is_before { Step::TakeNew } else { Step::EnterOld }
        }
        (Some(Node::Page { height: a, row: old }), Some(Node::Page { height: b, row: new })) => {
            if a == b && old.page == new.page {
                return Step::Shared;
            }
            // The higher page first, else the earlier one: its pages may be the other's.
            let earlier = || path::order(&old.first, &new.first);
            match b.cmp(&a).then_with(earlier) {
                Ordering::Less | Ordering::Equal => Step::EnterOld,
                Ordering::Greater => Step::EnterNew,
            }
        }
    }
}

fn of(entry: Entry, change: ChangeKind) -> Change {
    Change { path: entry.path.into(), change }
}

fn compare(old: &Entry, new: &Entry) -> Option<ChangeKind> {
    let same_content = old.kind == new.kind
        && old.size == new.size
        && old.link_target == new.link_target
        && old.device == new.device
        && same_bytes(old, new);
    let same_metadata = (old.mode, old.uid, old.gid, old.mtime_ns)
        == (new.mode, new.uid, new.gid, new.mtime_ns)
        && old.user == new.user
        && old.group == new.group
        && old.xattrs == new.xattrs
        && old.hardlink_group.is_some() == new.hardlink_group.is_some();
    match (same_content, same_metadata) {
        (false, _) => Some(ChangeKind::Content),
        (true, false) => Some(ChangeKind::Metadata),
        (true, true) => None,
    }
}

/// Of hard links only the first in order has the content. When another becomes the first, the
/// bytes of the others cannot be compared here, and size and time of modification speak for them.
fn same_bytes(old: &Entry, new: &Entry) -> bool {
    match (&old.content, &new.content) {
        (Some(a), Some(b)) => a.hash == b.hash && a.ranges == b.ranges,
        (None, None) => true,
        _ => old.hardlink_group.is_some() || new.hardlink_group.is_some(),
    }
}
