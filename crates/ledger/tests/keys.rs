//! What the ledger promises about keys: older versions stay, one follows the other, and all of them
//! come under another KEK or none does.

mod story;

use holdfast_common::Code;
use holdfast_ledger::{
    Actor,
    command::{Outcome, RewrapKeys, RotateKeys},
};
use proptest::prelude::*;
use story::{
    Story, ids,
    keys::{OLD_KEK, change_kek, put_further_vault, rotate},
    name,
};

fn operator() -> Actor {
    Actor::Operator(name("admin"))
}

#[test]
fn a_new_version_is_the_newest_and_the_one_before_is_kept() {
    let mut story = Story::founded();
    let first = story.query().vault(&ids::vault()).unwrap();
    story.done(operator(), rotate(1, 2));
    let second = story.query().vault(&ids::vault()).unwrap();
    assert_eq!((second.key_version, &second.key_object[..]), (2, &[20, 2][..]));
    assert_eq!(second.revision, first.revision + 1);
    // An attempt that came to nothing left a number behind.
    story.done(operator(), rotate(2, 5));
    let rows = story.query().key_versions(&ids::vault()).unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.version, row.key_object.to_vec())).collect();
    assert_eq!(told, [(1, first.key_object.to_vec()), (2, vec![20, 2])]);
    assert_eq!((rows[0].made, rows[1].made), (first.created, rows[0].retired));
}

#[test]
fn of_two_who_rotate_at_once_one_is_refused() {
    let mut story = Story::founded();
    story.done(operator(), rotate(1, 2));
    story.refused(operator(), rotate(1, 2), Code::ResourceConflict);
    story.refused(operator(), rotate(1, 3), Code::ResourceConflict);
    assert_eq!(story.query().vault(&ids::vault()).unwrap().key_version, 2);
}

#[test]
fn a_version_that_is_not_behind_the_newest_is_refused() {
    let mut story = Story::founded();
    story.refused(operator(), rotate(1, 1), Code::LimitExceeded);
    story.refused(operator(), rotate(1, 0), Code::LimitExceeded);
    let beyond = holdfast_common::limits::KEY_VERSION_MAX + 1;
    story.refused(operator(), rotate(1, beyond), Code::LimitExceeded);
    assert_eq!(story.query().key_versions(&ids::vault()).unwrap(), []);
}

#[test]
fn every_version_comes_under_another_kek_or_none_does() {
    let mut story = Story::founded();
    story.done(operator(), rotate(1, 2));
    for few in [&[1][..], &[2]] {
        story.refused(operator(), change_kek(few), Code::ResourceConflict);
    }
    assert_eq!(story.query().keks().unwrap(), []);
    story.done(operator(), change_kek(&[1, 2]));
    let vault = story.query().vault(&ids::vault()).unwrap();
    assert_eq!(&vault.key_object[..], [21, 2]);
    let older = story.query().key_versions(&ids::vault()).unwrap();
    assert_eq!(&older[0].key_object[..], [21, 1]);
}

#[test]
fn the_ledger_says_which_kek_is_in_use_and_which_was_and_where_it_is() {
    let mut story = Story::founded();
    story.done(operator(), change_kek(&[1]));
    let keks = story.query().keks().unwrap();
    let told: Vec<_> =
        keks.iter().map(|row| (row.id, row.source.as_deref(), row.until.is_none())).collect();
    assert_eq!(told, [(OLD_KEK, None, false), ([12; 16], Some("file:/etc/holdfast/kek-2"), true)]);
    // Nothing under the old one is taken any more.
    story.refused(operator(), rotate(1, 2), Code::ResourceConflict);
    story.done(operator(), RotateKeys { kek: [12; 16], ..rotate(1, 2) });
    story.refused(operator(), change_kek(&[1, 2]), Code::ResourceConflict);
    let same = RewrapKeys { kek: OLD_KEK, ..change_kek(&[1, 2]) };
    story.refused(operator(), same, Code::ResourceConflict);
}

#[test]
fn a_vault_that_is_made_while_the_kek_changes_does_not_lie_under_the_old_one() {
    let mut story = Story::founded();
    story.done(operator(), change_kek(&[1]));
    story.refused(operator(), put_further_vault(OLD_KEK), Code::ResourceConflict);
    assert!(story.query().vault_named(&name("further")).is_err());
    story.done(operator(), put_further_vault([12; 16]));
    // Of one that is there it says nothing: its keys are not what is put.
    let mut again = put_further_vault(OLD_KEK);
    again.vault.beside = None;
    assert_eq!(story.done(operator(), again), Outcome::Unchanged);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is asked for in whatever order: versions only go up, and none is forgotten.
    #[test]
    fn versions_only_go_up_and_none_is_forgotten(
        asked in proptest::collection::vec((0_u32..6, 0_u32..9, any::<bool>()), 0..20),
    ) {
        let mut story = Story::founded();
        let mut known = vec![1_u32];
        for (before, version, rewraps) in asked {
            let newest = *known.last().unwrap();
            if rewraps {
                let fits = story.query().keks().unwrap().is_empty();
                if fits && version > 6 {
                    story.done(operator(), change_kek(&known));
                }
                continue;
            }
            let kek = if story.query().keks().unwrap().is_empty() { OLD_KEK } else { [12; 16] };
            let command = RotateKeys { kek, ..rotate(before, version) };
            if before == newest && version > newest {
                story.done(operator(), command);
                known.push(version);
            } else if before == newest {
                story.refused(operator(), command, Code::LimitExceeded);
            } else {
                story.refused(operator(), command, Code::ResourceConflict);
            }
            let rows = story.query().key_versions(&ids::vault()).unwrap();
            let mut told: Vec<u32> = rows.iter().map(|row| row.version).collect();
            told.push(story.query().vault(&ids::vault()).unwrap().key_version);
            prop_assert_eq!(&told, &known);
        }
    }
}
