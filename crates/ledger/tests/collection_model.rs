//! Collection, looked at in every order in which a small world can go: with all rules nothing is
//! lost and nothing stays for ever, and without any one of them the search finds the loss.
//!
//! The design and its rules are in `docs/design/collection.md`. A rule that could be taken out
//! without a loss would be a rule that nothing rests on, or a world that is too small for it.

#![allow(clippy::panic, reason = "a world in which something is lost is a failed test")]

mod collection;

use collection::{
    explorer::{Verdict, explore},
    repacking::{Packing, Repacks},
    rules::{Barrier, Base, Rules, Scope},
    world::Vault,
};

const STATES_MAX: usize = 2_000_000;
const ONE: Scope = Scope {
    sessions: 1,
    collectors: 1,
    checkpoints: false,
    cancels: false,
    takes_in: false,
    has_follower: true,
    announces_again: true,
    crashes: true,
};
const TWO_SESSIONS: Scope = Scope { sessions: 2, announces_again: false, crashes: false, ..ONE };
const CHECKPOINTS: Scope = Scope { checkpoints: true, ..ONE };
const CANCELS: Scope = Scope { cancels: true, ..ONE };
const TWO_COLLECTORS: Scope =
    Scope { collectors: 2, has_follower: false, announces_again: false, ..ONE };
const TAKING_IN: Scope = Scope { takes_in: true, has_follower: false, ..ONE };

#[track_caller]
fn holds(scope: Scope) {
    match explore(Vault::new(Rules::ALL, scope), STATES_MAX) {
        Verdict::Holds(states) => assert!(states > 40_000, "only {states} states"),
        Verdict::Broken(promise, way) => panic!("{promise}: {way:#?}"),
        Verdict::Stuck(way) => panic!("garbage stays for ever: {way:#?}"),
    }
}

/// Without the rule this promise is broken.
#[track_caller]
fn breaks(rules: Rules, scope: Scope, promise: &str) {
    assert_ne!(rules, Rules::ALL);
    match explore(Vault::new(rules, scope), STATES_MAX) {
        Verdict::Broken(broken, way) => {
            assert_eq!(broken, promise, "{way:#?}");
        }
        Verdict::Holds(states) => panic!("nothing was lost in {states} states"),
        Verdict::Stuck(way) => panic!("only garbage stays: {way:#?}"),
    }
}

const LACKS: &str = "a point lacks a pack";
const DELETED: &str = "what the ledger counts on was deleted";

#[test]
fn nothing_is_lost_and_garbage_goes_with_one_session() {
    holds(ONE);
}

#[test]
fn nothing_is_lost_and_garbage_goes_with_two_sessions() {
    holds(TWO_SESSIONS);
}

#[test]
fn nothing_is_lost_and_garbage_goes_with_checkpoints() {
    holds(CHECKPOINTS);
}

#[test]
fn nothing_is_lost_and_garbage_goes_with_backups_that_are_cancelled() {
    holds(CANCELS);
}

#[test]
fn nothing_is_lost_and_garbage_goes_with_an_old_collector_that_wakes() {
    holds(TWO_COLLECTORS);
}

#[test]
fn nothing_is_lost_and_garbage_goes_when_points_are_taken_in() {
    holds(TAKING_IN);
}

#[test]
fn a_hit_answered_by_a_member_that_lags_behind_the_session_is_lost() {
    breaks(Rules { answers_after_begin: false, ..Rules::ALL }, ONE, LACKS);
}

#[test]
fn a_point_committed_between_mark_and_condemnation_is_lost_without_a_second_mark() {
    breaks(Rules { second_mark: false, ..Rules::ALL }, ONE, LACKS);
}

#[test]
fn a_point_that_takes_the_place_of_its_checkpoint_while_that_is_read_is_lost_where_it_is_not_read()
{
    breaks(Rules { second_mark_settles: false, ..Rules::ALL }, CHECKPOINTS, LACKS);
}

#[test]
fn a_session_that_outlives_its_leader_is_lost_where_only_the_leader_remembers_it() {
    breaks(Rules { barrier: Barrier::Remembered, ..Rules::ALL }, TWO_COLLECTORS, LACKS);
}

#[test]
fn a_collection_that_was_broken_off_loses_points_where_its_old_plan_is_carried_out() {
    breaks(Rules { rounds_are_told_apart: false, ..Rules::ALL }, TWO_COLLECTORS, LACKS);
}

#[test]
fn a_session_is_lost_where_a_clock_says_that_it_must_have_ended() {
    breaks(Rules { barrier: Barrier::Clock, ..Rules::ALL }, ONE, LACKS);
}

#[test]
fn a_paused_leader_that_wakes_deletes_what_is_needed_where_no_entry_comes_first() {
    let rules = Rules { delete_entry_first: false, ..Rules::ALL };
    breaks(rules, TWO_COLLECTORS, DELETED);
}

#[test]
fn a_delete_that_lands_late_hits_what_was_stored_anew_under_a_dead_name() {
    let rules = Rules { dead_names_stay: false, ..Rules::ALL };
    breaks(rules, ONE, DELETED);
}

#[test]
fn a_pack_that_is_announced_again_is_lost_where_it_stays_condemned() {
    breaks(Rules { announcing_spares: false, ..Rules::ALL }, ONE, LACKS);
}

#[test]
fn a_hit_between_a_checkpoints_copy_and_its_entry_is_lost_where_the_entry_re_bases() {
    breaks(Rules { base: Base::Entry, ..Rules::ALL }, CHECKPOINTS, LACKS);
}

#[test]
fn a_hit_at_a_member_that_lags_is_lost_where_its_checkpoint_counts_from_when_it_was_copied() {
    breaks(Rules { base: Base::Copied, ..Rules::ALL }, CHECKPOINTS, LACKS);
}

#[test]
fn a_hit_that_is_answered_while_the_reach_is_copied_is_lost_where_the_copy_does_not_wait() {
    breaks(Rules { copies_wait: false, ..Rules::ALL }, CHECKPOINTS, LACKS);
}

#[test]
fn a_pack_that_is_put_again_during_a_checkpoint_is_lost_where_somebody_else_owns_it() {
    breaks(Rules { announcing_owns: false, ..Rules::ALL }, CHECKPOINTS, LACKS);
}

#[test]
fn a_session_is_lost_where_its_checkpoint_is_forgotten_under_it() {
    breaks(Rules { checkpoint_is_held: false, ..Rules::ALL }, CHECKPOINTS, LACKS);
}

#[test]
fn a_backup_that_nobody_waited_for_is_lost_where_it_commits_though_it_was_cancelled() {
    breaks(Rules { cancelled_commit_nothing: false, ..Rules::ALL }, CANCELS, LACKS);
}

#[test]
fn a_point_taken_in_after_the_second_mark_is_lost_where_the_round_goes_on() {
    breaks(Rules { taking_in_unclears: false, ..Rules::ALL }, TAKING_IN, LACKS);
}

#[test]
fn garbage_stays_for_ever_where_a_round_that_was_broken_off_keeps_the_next_from_beginning() {
    let rules = Rules { older_rounds_end: false, ..Rules::ALL };
    match explore(Vault::new(rules, ONE), STATES_MAX) {
        Verdict::Stuck(way) => assert!(!way.is_empty()),
        Verdict::Holds(_) | Verdict::Broken(..) => panic!("it goes all the same, or is lost"),
    }
}

#[test]
fn nothing_is_lost_and_sparse_packs_go_when_they_are_packed_anew() {
    match explore(Packing::new(Repacks::ALL), STATES_MAX) {
        Verdict::Holds(states) => assert!(states > 5_000, "only {states} states"),
        Verdict::Broken(promise, way) => panic!("{promise}: {way:#?}"),
        Verdict::Stuck(way) => panic!("a sparse pack stays for ever: {way:#?}"),
    }
}

/// Without the rule this promise is broken.
#[track_caller]
fn repacking_breaks(rules: Repacks, promise: &str) {
    assert_ne!(rules, Repacks::ALL);
    match explore(Packing::new(rules), STATES_MAX) {
        Verdict::Broken(broken, way) => assert_eq!(broken, promise, "{way:#?}"),
        Verdict::Holds(states) => panic!("nothing was lost in {states} states"),
        Verdict::Stuck(way) => panic!("only a sparse pack stays: {way:#?}"),
    }
}

const NUMBERLESS: &str = "a number has no pack";

#[test]
fn a_chunk_that_is_hit_while_it_is_being_left_out_is_lost_where_nobody_is_waited_for() {
    repacking_breaks(Repacks { waits: false, ..Repacks::ALL }, NUMBERLESS);
}

#[test]
fn a_chunk_that_came_to_be_needed_is_lost_where_the_first_mark_says_what_is_copied() {
    repacking_breaks(Repacks { marks_again: false, ..Repacks::ALL }, NUMBERLESS);
}

#[test]
fn a_point_that_takes_the_place_of_another_while_points_are_read_is_lost_where_it_is_not_read() {
    repacking_breaks(Repacks { reads_new_points: false, ..Repacks::ALL }, NUMBERLESS);
}

#[test]
fn what_points_need_some_of_is_lost_where_it_goes_by_what_is_new_alone() {
    repacking_breaks(Repacks { goes_by_repacking_alone: false, ..Repacks::ALL }, NUMBERLESS);
}

#[test]
fn a_pack_that_is_announced_again_is_lost_where_it_is_packed_anew_all_the_same() {
    repacking_breaks(Repacks { takes_condemned_only: false, ..Repacks::ALL }, NUMBERLESS);
}

#[test]
fn a_location_that_follows_lacks_both_where_the_old_pack_goes_first() {
    repacking_breaks(Repacks { heirs_first: false, ..Repacks::ALL }, LACKS);
}
