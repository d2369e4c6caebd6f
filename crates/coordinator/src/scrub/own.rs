//! What coordinators wrote by themselves, all of it at once: for whoever has everything verified
//! now, and waits for it.

use super::{
    course::Course,
    look::{Look, Seen},
    needs::Needs,
};
use crate::{
    house::{House, Vault},
    places::Place,
};
use holdfast_common::Result;

/// Looks at all of it in one location; `tell` is told of each object, and says whether to go on.
pub(crate) async fn look_at_all_own(
    house: &House,
    vault: &Vault,
    (place, others): (&Place, &[Place]),
    tell: &mut (dyn FnMut(&str, Seen) -> bool + Send),
) -> Result<()> {
    let course = Course { house, vault: &vault.row, place, others };
    let (mut cursor, mut followed, mut needs) = (None, None, Needs::default());
    loop {
        let steps = course.own_behind(cursor.as_ref()).await?;
        if steps.is_empty() {
            return Ok(());
        }
        for step in &steps {
            let name = step.name()?;
            let (followed, needs) = (&mut followed, &mut needs);
            let mut look = Look { house, vault, course: &course, followed, needs };
            let seen = Box::pin(look.at(step)).await?;
            if !tell(name.as_str(), seen) {
                return Ok(());
            }
            cursor = Some(name);
        }
    }
}
