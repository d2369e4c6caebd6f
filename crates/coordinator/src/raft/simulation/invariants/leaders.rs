//! At most one leader per term. In openraft's form of it a term can be taken over by a member of a
//! higher number, so that what names a leader is term and number together: each of these is won at
//! most once, by the member of that number. That who was taken over agrees on nothing any more is
//! what `agreement` and `logs` look at.

use super::{Event, Invariant};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Leaders {
    /// Who led under this term and number: in which of his lives.
    led: BTreeMap<(u64, u64), (u64, u64)>,
    lives: BTreeMap<u64, u64>,
}

impl Invariant for Leaders {
    fn look(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Started { member, .. } => {
                *self.lives.entry(*member).or_default() += 1;
                Ok(())
            }
            Event::Led { member, ballot: (term, number, agreed) } => {
                let life = self.lives.get(member).copied().unwrap_or(0);
                let first = self.led.entry((*term, *number)).or_insert((*member, life));
                if (*member, life) != *first || member != number || !agreed {
                    let (other, before) = *first;
                    return Err(format!(
                        "{member} leads term {term} as {number} in its life {life}, \
                         and {other} did so in its life {before}"
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
