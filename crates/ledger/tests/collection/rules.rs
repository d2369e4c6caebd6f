//! The rules that collection rests on (docs/design/collection.md), each of which may be taken out,
//! and how much of the world is looked at.

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Barrier {
    /// It is the rows of sessions that count.
    Rows,
    /// Those that whoever collects has seen begin.
    Remembered,
    /// A clock says that by now they must have ended.
    Clock,
}

/// From when on a session counts that a checkpoint was made of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Base {
    /// From what its member had applied before it copied the reach.
    Applied,
    /// From when the reach was copied.
    Copied,
    /// From the checkpoint's entry.
    Entry,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Rules {
    pub(crate) delete_entry_first: bool,
    pub(crate) dead_names_stay: bool,
    pub(crate) second_mark: bool,
    /// It goes on until no further point was noted while it read.
    pub(crate) second_mark_settles: bool,
    pub(crate) taking_in_unclears: bool,
    pub(crate) announcing_spares: bool,
    pub(crate) announcing_owns: bool,
    /// A checkpoint's copy is made when no answer is under way.
    pub(crate) copies_wait: bool,
    pub(crate) answers_after_begin: bool,
    pub(crate) base: Base,
    pub(crate) checkpoint_is_held: bool,
    /// Nothing is committed in a session whose run was cancelled, which nobody waits for.
    pub(crate) cancelled_commit_nothing: bool,
    pub(crate) barrier: Barrier,
    pub(crate) rounds_are_told_apart: bool,
    /// A round that was broken off does not keep the next one from beginning.
    pub(crate) older_rounds_end: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self {
        delete_entry_first: true,
        dead_names_stay: true,
        second_mark: true,
        second_mark_settles: true,
        taking_in_unclears: true,
        announcing_spares: true,
        announcing_owns: true,
        copies_wait: true,
        answers_after_begin: true,
        base: Base::Applied,
        checkpoint_is_held: true,
        cancelled_commit_nothing: true,
        barrier: Barrier::Rows,
        rounds_are_told_apart: true,
        older_rounds_end: true,
    };
}

/// A world that has everything is too large to be looked at in a minute; two of anything are
/// enough to get in each other's way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Scope {
    pub(crate) sessions: usize,
    pub(crate) collectors: usize,
    pub(crate) checkpoints: bool,
    /// Runs are cancelled, and whoever carries them out goes on.
    pub(crate) cancels: bool,
    pub(crate) takes_in: bool,
    pub(crate) has_follower: bool,
    /// Packs that are known are announced again, dead ones too where they may.
    pub(crate) announces_again: bool,
    pub(crate) crashes: bool,
}
