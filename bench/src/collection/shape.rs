//! How many hosts, days and files make so many chunks and points; and which days go when.
//!
//! ```text
//!   day 1   all slices are new       day d   slice d is written anew, the others stay
//!   what day d wrote is needed until as many days later as there are slices
//! ```
//!
//! So after every forgetting packs are left that nobody needs at all, as where logs are rotated,
//! and none of it depends on luck.

use crate::{chance::Chance, files};
use core::fmt;
use holdfast_common::{Code, Error, Result};
use std::{io::Write, path::Path};

/// Files are of one chunk each.
const BYTES: core::ops::Range<u64> = 200..600;
const FILES_IN_A_DIRECTORY: u64 = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub hosts: u64,
    pub days: u64,
    pub slices: u64,
    /// Of one host, on any day.
    pub files: u64,
    pub pairs: u64,
    /// So many days are forgotten in every turn.
    step: u64,
}

impl Shape {
    /// About so many chunks and points; each pair of measurements takes two turns.
    pub fn of(chunks: u64, points: u64, pairs: u64) -> Result<Self> {
        let hosts = if points < 100 { 1 } else { 10 };
        let days = points / hosts;
        let slices = (days / 5).clamp(1, 10);
        let step = (days * 3 / 4).saturating_sub(slices) / (2 * pairs.max(1));
        let files = chunks * slices / (hosts * (slices + days.max(1) - 1));
        if step == 0 || pairs == 0 || files < slices {
            let message = format!(
                "{chunks} chunks in {points} points are too few for {pairs} pairs of rounds"
            );
            return Err(Error::new(Code::UsageMalformed, message)
                .next("ask for more points (five for each round and host), or for fewer pairs"));
        }
        Ok(Self { hosts, days, slices, files, pairs, step })
    }

    pub const fn turns(&self) -> u64 {
        2 * self.pairs
    }

    pub const fn points(&self) -> u64 {
        self.hosts * self.days
    }

    pub const fn chunks(&self) -> u64 {
        self.hosts * (self.files + self.files / self.slices * (self.days - 1))
    }

    /// How many days are kept after a turn; turns count from 1.
    pub const fn kept(&self, turn: u64) -> u64 {
        self.days - self.slices - self.step * turn
    }

    /// Writes what is new on a day, counted from 1, into a host's tree.
    pub fn write_day(&self, tree: &Path, host: u64, day: u64) -> Result<()> {
        for number in 0..self.files {
            if day == 1 || number % self.slices == day % self.slices {
                let mut chance = Chance::new(host << 32 | day, "collection", number);
                self.write(tree, number, &mut chance)?;
            }
        }
        Ok(())
    }

    /// A tree of one host's size that nobody has seen.
    pub fn write_other(&self, tree: &Path, number: u64) -> Result<()> {
        for file in 0..self.files {
            self.write(tree, file, &mut Chance::new(number, "collection beside", file))?;
        }
        Ok(())
    }

    fn write(&self, tree: &Path, number: u64, chance: &mut Chance) -> Result<()> {
        let path = tree.join(format!("{}/{number}", number / FILES_IN_A_DIRECTORY));
        let mut bytes = [0; BYTES.end as usize];
        let length = chance.between(BYTES.start, BYTES.end) as usize;
        chance.fill(&mut bytes[..length]);
        // What was there goes, as where a file is rotated: a new inode.
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(files::failed("remove", &path, &error));
        }
        let mut out = files::create(&path)?;
        out.write_all(&bytes[..length])
            .and_then(|()| out.flush())
            .map_err(|error| files::failed("write", &path, &error))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} chunks of files in {} points: {} hosts with {} files each, of which 1 in {} is \
             written anew every day, on {} days",
            self.chunks(),
            self.points(),
            self.hosts,
            self.files,
            self.slices,
            self.days
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_has_about_what_was_asked_for_and_forgets_in_every_turn() {
        for (chunks, points, pairs) in
            [(10_000_000, 1000, 3), (100_000, 20, 3), (100_000, 20, 1), (300_000, 20, 1)]
        {
            let shape = Shape::of(chunks, points, pairs).unwrap();
            assert_eq!(shape.points(), points);
            assert!(shape.chunks().abs_diff(chunks) < chunks / 50, "{shape}");
            let mut kept = shape.days;
            for turn in 1..=shape.turns() {
                assert!(shape.kept(turn) < kept, "{shape}");
                kept = shape.kept(turn);
                // What the first day that goes wrote is needed by none that stays.
                assert!(shape.days - kept > shape.slices, "{shape}");
            }
            assert!(kept >= shape.days / 4, "{shape}");
        }
    }

    #[test]
    fn what_is_too_small_is_refused() {
        let few = [(100, 2, 1), (100_000, 20, 30), (100_000, 20, 0), (2, 20, 1)];
        for (chunks, points, pairs) in few {
            let refused = Shape::of(chunks, points, pairs).unwrap_err();
            assert_eq!(refused.code, Code::UsageMalformed, "{chunks} {points} {pairs}");
        }
    }

    #[test]
    fn a_day_writes_its_slice_anew_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape::of(3000, 20, 1).unwrap();
        let contents = || -> Vec<Vec<u8>> {
            let path = |number| dir.path().join(format!("{}/{number}", number / 1000));
            (0..shape.files).map(|number| std::fs::read(path(number)).unwrap()).collect()
        };
        shape.write_day(dir.path(), 0, 1).unwrap();
        let first = contents();
        shape.write_day(dir.path(), 0, 2).unwrap();
        let changed: Vec<u64> = first
            .iter()
            .zip(contents())
            .zip(0..)
            .filter(|((old, new), _)| *old != new)
            .map(|(_, number)| number)
            .collect();
        let slice = |number: &u64| number % shape.slices == 2 % shape.slices;
        let due: Vec<u64> = (0..shape.files).filter(slice).collect();
        assert_eq!(changed, due);
    }
}
