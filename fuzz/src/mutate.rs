//! Valid examples made wrong: a few flips, cuts, splices and lies about lengths.
//!
//! Most of an example stays as it was, so that what is wrong lies deep; sometimes nothing of it
//! stays. The same dice give the same bytes.

use crate::Dice;

/// Bytes that a parser has not seen: from `example`, with pieces of `other`.
pub fn mutated(example: &[u8], other: &[u8], dice: &Dice) -> Vec<u8> {
    if dice.below(12) == 0 {
        return noise(dice.below(BYTES_MAX), dice);
    }
    let mut bytes = example.to_vec();
    for _ in 0..=dice.below(4) {
        change(&mut bytes, other, dice);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], dice: &Dice) {
    let at = dice.below(bytes.len() + 1);
    let end = at + dice.below((bytes.len() - at).min(PIECE_BYTES_MAX) + 1);
    match dice.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
        3 => bytes.splice(at..at, noise(1 + dice.below(16), dice)).for_each(drop),
        4 if !other.is_empty() => {
            let from = dice.below(other.len());
            let length = 1 + dice.below((other.len() - from).min(PIECE_BYTES_MAX));
            bytes.splice(at..end, other[from..from + length].iter().copied()).for_each(drop);
        }
        5 => overwrite(bytes, at, &dice.one_of(&COUNTS).to_le_bytes()[..dice.one_of(&[2, 4, 8])]),
        6 => overwrite(bytes, at, &[dice.one_of(&BYTES)]),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (byte, new) in bytes[at..].iter_mut().zip(with) {
        *byte = *new;
    }
}

fn noise(length: usize, dice: &Dice) -> Vec<u8> {
    (0..length).map(|_| dice.word() as u8).collect()
}

const BYTES_MAX: usize = 1 << 16;
const PIECE_BYTES_MAX: usize = 64;
const BYTES: [u8; 12] = [0, 1, 0x17, 0x18, 0x1b, 0x20, 0x7f, 0x80, 0x9b, 0xbf, 0xfe, 0xff];
const COUNTS: [u64; 8] = [0, 1, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, u64::MAX >> 1, u64::MAX];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
        let some = |seed| {
            let dice = Dice::new(seed);
            (0..50).map(|_| mutated(b"an example", b"another", &dice)).collect::<Vec<_>>()
        };
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
    }
}
