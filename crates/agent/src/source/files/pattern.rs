//! One exclude pattern, as `docs/exclude-patterns.md` describes it. Pure: bytes against bytes.
//!
//! A pattern is a sequence of parts between slashes. A part matches one name; the part `**` matches
//! any number of names. Both levels are the same problem, a sequence with one kind of joker, so
//! both are solved by the same walk that remembers only the last joker: no recursion, and never
//! more than length times length steps, whatever the pattern.

use holdfast_common::{Code, Error, Result, limits};

#[derive(Clone, Debug)]
pub struct Pattern {
    parts: Vec<Part>,
    directories_only: bool,
    negated: bool,
}

#[derive(Clone, Debug)]
enum Part {
    /// `**`: any number of names.
    Any,
    Name(Vec<Token>),
}

#[derive(Clone, Debug)]
enum Token {
    /// `*`: any number of bytes.
    Any,
    /// `?`
    One,
    Byte(u8),
    /// `[a-z]`, `[!a-z]`
    Set {
        negated: bool,
        ranges: Vec<(u8, u8)>,
    },
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::new(
                Code::ResourceMalformed,
                format!("`{}` is not a pattern: {why}", text.escape_debug()),
            )
            .next("see docs/exclude-patterns.md"))
        };
        if text.len() > limits::EXCLUDE_PATTERN_BYTES_MAX {
            return refuse("it is too long");
        }
        let (negated, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let (anchored, rest) = rest.strip_prefix('/').map_or((false, rest), |rest| (true, rest));
        let (directories_only, rest) =
            rest.strip_suffix('/').map_or((false, rest), |rest| (true, rest));
        let mut parts = Vec::new();
        if !anchored {
            parts.push(Part::Any);
        }
        for part in rest.split('/') {
            match part {
                "" => return refuse("a part of it is empty"),
                "." | ".." => return refuse("`.` and `..` are never names"),
                "**" => parts.push(Part::Any),
                name => match tokens(name.as_bytes()) {
                    Ok(tokens) => parts.push(Part::Name(tokens)),
                    Err(why) => return refuse(why),
                },
            }
        }
        Ok(Self { parts, directories_only, negated })
    }

    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// Whether the absolute path itself matches; a `!` has no say in this.
    pub fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        if self.directories_only && !is_directory {
            return false;
        }
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if !self.last_name_fits(path) {
            return false;
        }
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        // A `**` at the end stands for what is beneath: at least one name.
        let beneath = matches!(self.parts.last(), Some(Part::Any));
        let (parts, names) = match names.split_last() {
            Some((_, above)) if beneath => (&self.parts[..], above),
            _ => (&self.parts[..], &names[..]),
        };
        sequence_matches(
            parts,
            names,
            |part| matches!(part, Part::Any),
            |part, name| match part {
                Part::Any => true,
                Part::Name(tokens) => name_matches(tokens, name),
            },
        )
    }

    /// The cheap look that settles nearly every path.
    fn last_name_fits(&self, path: &[u8]) -> bool {
        match (self.parts.last(), path.rsplit(|byte| *byte == b'/').next()) {
            (Some(Part::Name(tokens)), Some(name)) => name_matches(tokens, name),
            _ => true,
        }
    }
}

fn name_matches(tokens: &[Token], name: &[u8]) -> bool {
    sequence_matches(tokens, name, |token| matches!(token, Token::Any), token_matches)
}

fn token_matches(token: &Token, byte: &u8) -> bool {
    match token {
        Token::Any | Token::One => true,
        Token::Byte(expected) => byte == expected,
        Token::Set { negated, ranges } => {
            ranges.iter().any(|(low, high)| (low..=high).contains(&byte)) != *negated
        }
    }
}

/// Whether the sequence fits the pattern, where jokers take any number of items. Returning to the
/// last joker is enough: an earlier one could only take what the last one can take as well.
fn sequence_matches<P, T>(
    pattern: &[P],
    items: &[T],
    is_joker: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut i) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while i < items.len() {
        match pattern.get(p) {
            Some(part) if is_joker(part) => {
                retry = Some((p + 1, i));
                p += 1;
            }
            Some(part) if fits(part, &items[i]) => {
                p += 1;
                i += 1;
            }
            _ => match retry {
                Some((after, taken)) => {
                    retry = Some((after, taken + 1));
                    (p, i) = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(is_joker)
}

fn tokens(mut part: &[u8]) -> std::result::Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::with_capacity(part.len());
    while let [first, rest @ ..] = part {
        part = rest;
        match first {
            0 => return Err("no name holds a NUL"),
            b'*' if matches!(tokens.last(), Some(Token::Any)) => {}
            b'*' => tokens.push(Token::Any),
            b'?' => tokens.push(Token::One),
            b'[' => {
                let (set, after) = set(rest)?;
                tokens.push(set);
                part = after;
            }
            b'\\' => {
                let [escaped, after @ ..] = rest else {
                    return Err("a backslash ends it");
                };
                tokens.push(Token::Byte(*escaped));
                part = after;
            }
            byte => tokens.push(Token::Byte(*byte)),
        }
    }
    Ok(tokens)
}

/// What follows a `[`, up to its `]`. A `]` that comes first is itself.
fn set(text: &[u8]) -> std::result::Result<(Token, &[u8]), &'static str> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let mut rest = if negated { &text[1..] } else { text };
    let mut ranges = Vec::new();
    loop {
        match rest {
            [] => return Err("a `[` is never closed"),
            [b']', after @ ..] if !ranges.is_empty() => {
                return Ok((Token::Set { negated, ranges }, after));
            }
            _ => {
                let (low, after) = set_byte(rest)?;
                let (high, after) = match after {
                    [b'-', end @ ..] if !end.is_empty() && end[0] != b']' => set_byte(end)?,
                    _ => (low, after),
                };
                if low > high {
                    return Err("a range in `[]` goes backwards");
                }
                ranges.push((low, high));
                rest = after;
            }
        }
    }
}

fn set_byte(text: &[u8]) -> std::result::Result<(u8, &[u8]), &'static str> {
    match text {
        [b'\\', byte, after @ ..] => Ok((*byte, after)),
        [b'\\'] | [] => Err("a `[` is never closed"),
        [byte, after @ ..] => Ok((*byte, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let (path, is_directory) = path.strip_suffix('/').map_or((path, false), |p| (p, true));
        Pattern::parse(pattern).unwrap().matches(path.as_bytes(), is_directory)
    }

    #[test]
    fn patterns_match_what_the_page_says_and_nothing_else() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("*.log", &["/a.log", "/x/y/.log", "/d.log/"], &["/a.log2", "/a.log/b", "/log"]),
            ("core", &["/core", "/a/core", "/a/core/"], &["/core/x", "/score", "/Core"]),
            ("/proc", &["/proc", "/proc/"], &["/x/proc", "/proc/1"]),
            ("/tmp/*", &["/tmp/a", "/tmp/.b/"], &["/tmp", "/tmp/a/b", "/x/tmp/a"]),
            ("cache/", &["/cache/", "/a/cache/"], &["/cache", "/a/cache"]),
            ("a/b", &["/a/b", "/x/a/b", "/x/y/a/b/"], &["/a/x/b", "/xa/b", "/a/b/c"]),
            ("/a/**/b", &["/a/b", "/a/x/b", "/a/x/y/b"], &["/b", "/x/a/b", "/ab"]),
            ("/a/**", &["/a/b", "/a/b/c"], &["/a", "/ab", "/x/a/b"]),
            ("**/x/**", &["/x/a", "/b/x/c/d"], &["/x", "/b/x"]),
            ("a?c", &["/abc", "/a.c"], &["/ac", "/abbc", "/a/c"]),
            ("[a-c]x", &["/ax", "/cx"], &["/dx", "/x", "/-x"]),
            ("[!a-c]x", &["/dx", "/-x"], &["/ax", "/x"]),
            ("[]-]", &["/]", "/-"], &["/a", "/]-"]),
            ("\\*\\[", &["/*["], &["/a[", "/\\*["]),
            ("\\!x", &["/!x"], &["/x"]),
            ("a**b", &["/ab", "/axxb"], &["/a/b"]),
            ("#x", &["/#x"], &["/x"]),
        ];
        for (pattern, yes, no) in table {
            for path in *yes {
                assert!(matches(pattern, path), "{pattern} must match {path}");
            }
            for path in *no {
                assert!(!matches(pattern, path), "{pattern} must not match {path}");
            }
        }
        assert!(Pattern::parse("caf?").unwrap().matches(b"/caf\xe9", false), "any byte");
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        let long = "x".repeat(limits::EXCLUDE_PATTERN_BYTES_MAX + 1);
        let bad = ["", "!", "/", "//", "a//b", "a/../b", "./a", "[a", "[z-a]", "a\\", "\0", &long];
        for text in bad {
            let refused = Pattern::parse(text).unwrap_err();
            assert_eq!(refused.code, Code::ResourceMalformed, "{text}");
        }
    }

    /// The obvious matcher: every joker tries everything, by recursion.
    fn naive_name(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((b'*', after)), _) => (0..=name.len()).any(|n| naive_name(after, &name[n..])),
            (Some((b'?', after)), Some((_, rest))) => naive_name(after, rest),
            (Some((byte, after)), Some((first, rest))) => byte == first && naive_name(after, rest),
            (Some(_), None) => false,
        }
    }

    fn naive(pattern: &[&str], names: &[&str]) -> bool {
        match pattern.split_first() {
            None => names.is_empty(),
            Some((&"**", [])) => !names.is_empty(),
            Some((&"**", after)) => (0..=names.len()).any(|n| naive(after, &names[n..])),
            Some((part, after)) => names.split_first().is_some_and(|(name, rest)| {
                naive_name(part.as_bytes(), name.as_bytes()) && naive(after, rest)
            }),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn the_matcher_agrees_with_the_obvious_one(
            parts in prop::collection::vec("[ab*?]{1,5}|\\*\\*", 1..5),
            names in prop::collection::vec("[ab]{1,5}", 1..6),
            anchored: bool,
        ) {
            let text = format!("{}{}", if anchored { "/" } else { "" }, parts.join("/"));
            let path = format!("/{}", names.join("/"));
            let parsed = Pattern::parse(&text).unwrap();
            let mut pattern: Vec<&str> = parts.iter().map(String::as_str).collect();
            if !anchored {
                pattern.insert(0, "**");
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            prop_assert_eq!(
                parsed.matches(path.as_bytes(), false), naive(&pattern, &names), "{} {}", text, path
            );
        }
    }
}
