//! What must hold whatever happens, one promise per file.
//!
//! Each looks at every event as it happens, and has a last word when all is over.

mod agreement;
mod applied;
mod leaders;
mod liveness;
mod logs;
mod once;
mod register;
mod votes;

use super::events::Event;

/// A promise.
trait Invariant: Send {
    fn look(&mut self, event: &Event) -> Result<(), String>;

    fn conclude(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) promise: &'static str,
    pub(super) story: String,
}

/// All who look on.
pub(super) struct Witnesses(Vec<(&'static str, Box<dyn Invariant>)>);

impl Default for Witnesses {
    fn default() -> Self {
        Self(vec![
            ("agreement", Box::<agreement::Agreement>::default()),
            ("applied", Box::<applied::Applied>::default()),
            ("leaders", Box::<leaders::Leaders>::default()),
            ("liveness", Box::<liveness::Liveness>::default()),
            ("logs", Box::<logs::Logs>::default()),
            ("once", Box::<once::Once>::default()),
            ("register", Box::<register::Register>::default()),
            ("votes", Box::<votes::Votes>::default()),
        ])
    }
}

impl Witnesses {
    pub(super) fn look(&mut self, event: &Event) -> Option<Wrong> {
        self.ask(|witness| witness.look(event))
    }

    pub(super) fn conclude(&mut self) -> Option<Wrong> {
        self.ask(Invariant::conclude)
    }

    fn ask(
        &mut self,
        question: impl Fn(&mut (dyn Invariant + 'static)) -> Result<(), String>,
    ) -> Option<Wrong> {
        self.0.iter_mut().find_map(|(promise, witness)| {
            question(witness.as_mut()).err().map(|story| Wrong { promise, story })
        })
    }
}
