//! The bodies guided by coverage: libFuzzer looks for inputs that reach what none reached before.
//!
//! `HOLDFAST_FUZZ=<parser>` chooses the body; everything else is an argument of the engine. Built
//! and run by `make torture ONLY=fuzz`, see `docs/torture.md`. A panic ends the process, and the
//! engine writes the input that caused it into a file.
#![no_main]

use holdfast_fuzz::{PARSERS, Parser, named};
use std::sync::OnceLock;

static CHOSEN: OnceLock<&'static Parser> = OnceLock::new();

#[allow(clippy::disallowed_methods, clippy::print_stderr, reason = "the engine has the arguments")]
fn choose() {
    let asked = std::env::var("HOLDFAST_FUZZ").unwrap_or_default();
    match named(&asked) {
        Some(parser) => drop(CHOSEN.set(parser)),
        None => {
            let names: Vec<&str> = PARSERS.iter().map(|parser| parser.name).collect();
            eprintln!("HOLDFAST_FUZZ names no parser; there are {}", names.join(" "));
            std::process::exit(2);
        }
    }
}

libfuzzer_sys::fuzz_target!(
    init: choose(),
    |bytes: &[u8]| {
        if let Some(parser) = CHOSEN.get() {
            let _either_is_right = parser.run(bytes);
        }
    }
);
