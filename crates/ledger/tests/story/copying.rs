//! What is said to the ledger of locations and of the copies in them.

use super::{
    agent, commit, ids, name,
    retaining::{of_one, outlived},
    vault,
};
use holdfast_common::Timestamp;
use holdfast_ledger::{Command, command::*, row::*};

/// These points lie in `main` too.
pub(crate) fn place_points(points: &[u8]) -> PlacePoints {
    let points = points.iter().map(|number| ids::point(*number)).collect();
    PlacePoints { vault: ids::vault(), location: name("main"), points, opened: None }
}

pub(crate) fn replace_location(location: &str, url: &str) -> ReplaceLocation {
    ReplaceLocation { location: name(location), url: url.to_owned(), left_is_gone: None }
}

/// It lacks what it had.
pub(crate) fn doubt(location: &str, revision: u64) -> DoubtLocation {
    let lacks = "cluster/log/0000000001-00000000000000000007".to_owned();
    DoubtLocation { location: name(location), revision, lacks }
}

/// `main` is required, and `far` follows.
pub(crate) fn vault_beside() -> VaultRow {
    let beside = Beside {
        following: vec![name("far")],
        bytes_per_second_max: 1 << 20,
        enough: Some(1),
        wait_secs: Some(60),
        ..Beside::default()
    };
    VaultRow { beside: Some(beside), ..vault() }
}

/// What a leader says of `far` since the entry that opened its row.
pub(crate) fn note_copies(opened: u64, state: CopyState) -> NoteCopies {
    let problem = (state == CopyState::Away).then(|| CopyProblem {
        code: "location.io_failed".to_owned(),
        message: "it does not answer".to_owned(),
    });
    let is_whole = state == CopyState::Current;
    let copy = CopyRow {
        vault: ids::vault(),
        location: name("far"),
        opened,
        state,
        since: Timestamp::ZERO,
        whole: is_whole.then_some(Timestamp::from_nanos(6)),
        oldest: (!is_whole).then_some(Timestamp::from_nanos(5)),
        points: 2,
        bytes: 300,
        problem,
        left: None,
        anew: None,
        taken: None,
        seen: None,
    };
    NoteCopies { copies: vec![copy] }
}

pub(super) fn samples() -> Vec<(&'static str, Command)> {
    let tested = Note { kind: NoteKind::LocationTested, subject: "local:/srv/new".into() };
    let main = || name("main");
    let placed = commit(1, 1, agent(1), PointState::Complete);
    let left_is_gone = Some(true);
    let gone = ReplaceLocation { left_is_gone, ..replace_location("main", "local:/mnt/new") };
    vec![
        ("note_of_a_trial", tested.into()),
        ("disable_location", DisableLocation { location: main() }.into()),
        ("enable_location", EnableLocation { location: main() }.into()),
        ("replace_location", replace_location("main", "local:/mnt/backup").into()),
        ("put_vault_beside", PutVault { vault: vault_beside(), kek: None }.into()),
        ("commit_placed", CommitPoint { revision: Some(3), ..placed }.into()),
        ("place_opened", PlacePoints { opened: Some(7), ..place_points(&[1]) }.into()),
        ("note_copies", note_copies(7, CopyState::Away).into()),
        ("pass_over", PassOver { vault: ids::vault(), location: main() }.into()),
        ("take_back", TakeBack { vault: ids::vault(), location: main() }.into()),
        ("replace_gone", gone.into()),
        ("rebuild_location", RebuildLocation { location: main() }.into()),
    ]
}

/// Of what came after the others.
pub(super) fn later_samples() -> Vec<(&'static str, Command)> {
    let copies = Some(vec![super::ids::point(2)]);
    let beside = OutlivedPoints { copies, ..outlived(&[1], 3) };
    vec![
        ("doubt_location", doubt("main", 3).into()),
        ("forget_beside_copies", of_one(beside).into()),
    ]
}
