//! Small text files that look like source code: words by rank, indentation, a few line shapes.
//!
//! A project shares one vocabulary; a file uses some dozens of its words again and again, as
//! identifiers do, and now and then a number that nobody has seen before.

use crate::chance::Chance;

pub const BYTES_MIN: u64 = 200;
pub const BYTES_MAX: u64 = 40 * 1024;

/// The words of a data set.
pub struct Vocabulary(Vec<String>);

impl Vocabulary {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed, "vocabulary", 0);
        Self((0..WORDS).map(|_| word(&mut chance)).collect())
    }

    pub fn word(&self, chance: &mut Chance) -> &str {
        &self.0[chance.rank(self.0.len() as u64) as usize]
    }
}

/// A whole file of a size between the bounds.
pub fn file(words: &Vocabulary, chance: &mut Chance) -> Vec<u8> {
    let size = chance.spread(BYTES_MIN, BYTES_MAX) as usize;
    let mut text = lines(words, chance, size);
    text.truncate(size);
    text
}

/// Whole lines, at least `bytes` of them together.
pub fn lines(words: &Vocabulary, chance: &mut Chance, bytes: usize) -> Vec<u8> {
    let own: Vec<&str> = (0..IDENTIFIERS).map(|_| chance.pick(&words.0).as_str()).collect();
    let mut text = String::with_capacity(bytes + 128);
    let mut depth = 0;
    while text.len() < bytes {
        line(words, &own, chance, &mut depth, &mut text);
    }
    text.into_bytes()
}

fn line(
    words: &Vocabulary,
    own: &[&str],
    chance: &mut Chance,
    depth: &mut usize,
    out: &mut String,
) {
    let shape = chance.below(16);
    if shape == 15 && *depth > 0 {
        *depth -= 1;
    }
    out.extend(core::iter::repeat_n("    ", *depth));
    let mut name = || own[chance.rank(own.len() as u64) as usize];
    let (a, b, c, d) = (name(), name(), name(), name());
    let written = match shape {
        0..=3 => format!("let {a} = {b}.{c}({d})?;\n"),
        4 | 5 => format!("self.{a}.{b}(&{c}, {});\n", chance.below(1 << 20)),
        6 | 7 => format!("if {a}.{b}() == {c}::{d} {{\n"),
        8 => format!("pub fn {a}_{b}(&self, {c}: &{d}) -> Result<{a}> {{\n"),
        9 => format!("return Err({a}::new({b}, \"{} {d} {c}\"));\n", words.word(chance)),
        10..=12 => format!("// {}\n", sentence(words, chance)),
        13 => format!("assert_eq!({a}.{b}(), {c}, \"{d}\");\n"),
        14 => format!("for {a} in {b}.{c}() {{\n"),
        _ => String::from("}\n"),
    };
    *depth = if written.ends_with("{\n") { (*depth + 1).min(5) } else { *depth };
    out.push_str(&written);
}

fn sentence(words: &Vocabulary, chance: &mut Chance) -> String {
    let count = chance.between(4, 12);
    (0..count).map(|_| words.word(chance)).collect::<Vec<_>>().join(" ")
}

fn word(chance: &mut Chance) -> String {
    let syllables = chance.between(1, 5);
    (0..syllables)
        .map(|_| {
            let (start, heart) = (*chance.pick(&STARTS), *chance.pick(&HEARTS));
            format!("{start}{heart}")
        })
        .collect()
}

const WORDS: usize = 6000;
const IDENTIFIERS: usize = 48;
const STARTS: [&str; 20] = [
    "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr", "pl", "ch",
    "sh", "qu",
];
const HEARTS: [&str; 12] = ["a", "e", "i", "o", "u", "er", "on", "at", "in", "or", "es", "al"];
