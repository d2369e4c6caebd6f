//! Chunking: same bytes, same cuts, however they are fed; nothing lost, bounds kept.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests may")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod fixture;

use fixture::{Seeded, gear};
use holdfast_seal::chunk::Profile;
use holdfast_seal::{ChunkParameters, Chunker};
use proptest::prelude::*;
use std::collections::HashSet;

fn small() -> ChunkParameters {
    ChunkParameters::new(64, 256, 1024, 4096).unwrap()
}

fn chunker() -> Chunker {
    Chunker::new(&small(), &gear(7))
}

/// Cuts like a pipeline does: a buffer that is topped up in pieces of the given sizes.
fn cut(chunker: &Chunker, profile: Profile, content: &[u8], pieces: &[usize]) -> Vec<usize> {
    let (mut cuts, mut buffer, mut rest) = (Vec::new(), Vec::new(), content);
    let mut pieces = pieces.iter().copied().cycle();
    loop {
        match chunker.next_cut(profile, &buffer, rest.is_empty()) {
            Some(length) => {
                buffer.drain(..length);
                cuts.push(length);
            }
            None if rest.is_empty() => return cuts,
            None => {
                let piece = pieces.next().unwrap().min(rest.len());
                buffer.extend_from_slice(&rest[..piece]);
                rest = &rest[piece..];
            }
        }
    }
}

fn chunks<'c>(content: &'c [u8], cuts: &[usize]) -> Vec<&'c [u8]> {
    let mut rest = content;
    let take = |length: &usize| rest.split_off(..*length).unwrap();
    cuts.iter().map(take).collect()
}

fn profiles() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::Whole), Just(Profile::Fixed), Just(Profile::ContentDefined)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_cover_the_content_within_bounds_and_do_not_depend_on_the_feeding(
        seed: u64,
        length in 0usize..40_000,
        repeats in 1usize..4,
        profile in profiles(),
        pieces in prop::collection::vec(1usize..5000, 1..8),
    ) {
        let content = Seeded::new(seed).bytes(length).repeat(repeats);
        let (chunker, parameters) = (chunker(), small());
        let at_once = cut(&chunker, profile, &content, &[usize::MAX]);
        prop_assert_eq!(at_once.iter().sum::<usize>(), content.len());
        prop_assert_eq!(&cut(&chunker, profile, &content, &pieces), &at_once);
        if let Some((_, all_but_last)) = at_once.split_last() {
            let least = match profile {
                Profile::ContentDefined => parameters.min(),
                Profile::Fixed | Profile::Whole => chunker.window(profile),
            };
            prop_assert!(all_but_last.iter().all(|length| *length >= least));
            prop_assert!(at_once.iter().all(|length| *length <= chunker.window(profile)));
        }
    }

    #[test]
    fn an_insertion_changes_only_the_chunks_around_it(
        seed: u64, at in 0usize..50_000, inserted in 1usize..300,
    ) {
        let chance = Seeded::new(seed);
        let before = chance.bytes(200_000);
        let after = [&before[..at], &chance.bytes(inserted), &before[at..]].concat();
        let chunker = chunker();
        let [old, new] = [&before, &after].map(|content| {
            chunks(content, &cut(&chunker, Profile::ContentDefined, content, &[1 << 20]))
        });
        let known: HashSet<&[u8]> = old.iter().copied().collect();
        let fresh = new.iter().filter(|chunk| !known.contains(*chunk)).count();
        prop_assert!(fresh <= 24, "{} of {} chunks are new", fresh, new.len());
        prop_assert!(new.len() > 300);
    }
}

#[test]
fn a_short_buffer_is_answered_only_at_the_end() {
    let (chunker, content) = (chunker(), Seeded::new(1).bytes(5000));
    for profile in [Profile::Whole, Profile::Fixed, Profile::ContentDefined] {
        let window = chunker.window(profile);
        assert_eq!(chunker.next_cut(profile, &content[..window - 1], false), None);
        assert!(chunker.next_cut(profile, &content[..window], false).is_some());
        assert!(chunker.next_cut(profile, &content[..1], true) == Some(1));
        assert_eq!(chunker.next_cut(profile, &[], true), None);
        assert_eq!(chunker.next_cut(profile, &[], false), None);
    }
}

#[test]
fn cuts_follow_the_secret_table() {
    let content = Seeded::new(2).bytes(100_000);
    let [a, b, c] = [7, 7, 8].map(|key| {
        cut(&Chunker::new(&small(), &gear(key)), Profile::ContentDefined, &content, &[9999])
    });
    assert_eq!(a, b);
    assert_ne!(a, c);
    let shared: HashSet<&usize> = a.iter().collect();
    assert!(c.iter().filter(|cut| shared.contains(cut)).count() < c.len());
}

#[test]
fn chunks_are_near_the_average() {
    let content = Seeded::new(3).bytes(1 << 20);
    let cuts = cut(&chunker(), Profile::ContentDefined, &content, &[1 << 20]);
    let average = content.len() / cuts.len();
    assert!((200..450).contains(&average), "{average}");
}

#[test]
fn content_without_any_cut_is_cut_at_the_maximum() {
    let cuts = cut(&chunker(), Profile::ContentDefined, &[0; 10_000], &[100]);
    assert_eq!(cuts[..9], [1024; 9]);
    assert_eq!(cuts[9], 10_000 - 9 * 1024);
}
