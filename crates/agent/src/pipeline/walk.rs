//! The first stage: every path gets a ticket, its role among hard links, and what the last run
//! remembers of it. It waits whenever the manifest is too far behind.

use super::progress::add;
use super::run::{Job, Run, weight};
use crate::cache::CacheReader;
use crate::source::files::{LinkGroups, Walk};
use holdfast_common::Result;
use holdfast_seal::manifest::entry::EntryKind;

pub(super) fn walk(run: &Run<'_>, walk: Walk, mut cache: Option<CacheReader>) -> Result<()> {
    let mut links = LinkGroups::default();
    let mut ticket = 0;
    for found in walk {
        run.halt.check()?;
        let found = match found {
            Ok(found) => found,
            Err(skipped) => {
                run.skip(skipped);
                continue;
            }
        };
        let remembered = match &mut cache {
            Some(cache) if found.status.kind == EntryKind::File => cache.find(&found.path),
            _ => None,
        };
        let role = links.role(&found.status);
        run.order.admit(ticket, remembered.as_ref().map_or(0, weight))?;
        let remembered = remembered.map(Box::new);
        run.jobs.push(Job { ticket, found, role, remembered, told: false })?;
        ticket += 1;
    }
    add(&run.progress.links_parted, links.separated());
    run.order.end(ticket);
    Ok(())
}
