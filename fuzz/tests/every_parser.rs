//! Every parser under random and mutated bytes, under the saved corpus, and whether each has one.
//!
//! `HOLDFAST_SEED` repeats a run, `HOLDFAST_FUZZ_CASES` makes it longer. A failure names both, and
//! shows the input, which then belongs into `fuzz/corpus/<parser>/`.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test reads its settings and fails by panicking"
)]

use holdfast_common::{Entropy, SystemEntropy};
use holdfast_fuzz::{Dice, PARSERS, Parser, mutate::mutated, named};
use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

const CASES: usize = 400;
const CORPUS_BYTES_MAX: u64 = 1 << 20;
const SHOWN_BYTES_MAX: usize = 4096;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The saved inputs of a parser, by file name.
fn saved(parser: &Parser) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(folder) = fs::read_dir(corpus().join(parser.name)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Runs a body; when it panics, says on what.
fn run(parser: &Parser, bytes: &[u8], story: &str) -> bool {
    match catch_unwind(AssertUnwindSafe(|| parser.run(bytes).is_ok())) {
        Ok(accepted) => accepted,
        Err(panic) => {
            let shown: String =
                bytes.iter().take(SHOWN_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
            eprintln!("the parser {} broke a promise; {story}\ninput {shown}", parser.name);
            resume_unwind(panic)
        }
    }
}

#[test]
fn random_and_mutated_bytes_break_no_promise() {
    let seed = number("HOLDFAST_SEED")
        .unwrap_or_else(|| u64::from_le_bytes((&SystemEntropy as &dyn Entropy).array()));
    let cases = number("HOLDFAST_FUZZ_CASES").map_or(CASES, |cases| cases as usize);
    let dice = Dice::new(seed);
    for parser in PARSERS {
        let mut seeds = (parser.examples)();
        seeds.extend(saved(parser).into_iter().map(|(_, bytes)| bytes));
        for case in 0..cases {
            let (example, other) = (dice.below(seeds.len()), dice.below(seeds.len()));
            let bytes = mutated(&seeds[example], &seeds[other], &dice);
            let story = format!(
                "case {case} of HOLDFAST_SEED={seed} HOLDFAST_FUZZ_CASES={cases} \
                 cargo test -p holdfast-fuzz random_and_mutated"
            );
            run(parser, &bytes, &story);
        }
    }
}

#[test]
fn the_saved_corpus_breaks_no_promise() {
    for parser in PARSERS {
        for (path, bytes) in saved(parser) {
            run(parser, &bytes, &path.display().to_string());
        }
    }
}

#[test]
fn every_example_is_accepted() {
    for parser in PARSERS {
        let examples = (parser.examples)();
        assert!(!examples.is_empty(), "{} has no example", parser.name);
        for (at, example) in examples.iter().enumerate() {
            assert!(run(parser, example, "an example"), "{} refuses example {at}", parser.name);
        }
    }
}

/// Without one, coverage and mutation begin before the first check.
#[test]
fn every_parser_has_a_saved_input_that_it_accepts() {
    for parser in PARSERS {
        let accepted = saved(parser)
            .iter()
            .any(|(path, bytes)| run(parser, bytes, &path.display().to_string()));
        assert!(accepted, "fuzz/corpus/{} holds nothing that is accepted", parser.name);
    }
}

#[test]
fn every_corpus_has_its_parser_and_all_of_them_are_small() {
    let folders = fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().file_name());
    for folder in folders {
        let name = folder.to_str().unwrap();
        assert!(named(name).is_some(), "fuzz/corpus/{name} has no parser in the registry");
    }
    let inputs = PARSERS.iter().flat_map(saved);
    let bytes: u64 = inputs.map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(bytes < CORPUS_BYTES_MAX, "the saved corpus has {bytes} bytes");
}

#[test]
fn names_are_sorted_and_no_parser_has_two() {
    let names: Vec<&str> = PARSERS.iter().map(|parser| parser.name).collect();
    let sorted: Vec<&str> = names.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(names, sorted);
}

#[test]
#[ignore = "writes the corpus: cargo test -p holdfast-fuzz -- --ignored write_the_examples"]
fn write_the_examples_into_the_corpus() {
    for parser in PARSERS {
        let folder = corpus().join(parser.name);
        fs::create_dir_all(&folder).unwrap();
        for (at, example) in (parser.examples)().iter().enumerate() {
            if !saved(parser).iter().any(|(_, bytes)| bytes == example) {
                fs::write(folder.join(format!("example-{at:02}")), example).unwrap();
            }
        }
    }
}
