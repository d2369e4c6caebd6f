//! Claims about listing and deleting.

use super::{Desk, claimed, refused, same};
use bytes::Bytes;
use holdfast_common::{Code, Result, limits};

/// In byte order, with what a tree of folders gets wrong when it is not careful.
const NAMES: [&str; 10] = ["-", "0", "a-b", "a-b-/c", "a/b", "a/b-c", "a/c/d", "a0", "ab/c", "z"];

pub(super) async fn names_come_in_byte_order(desk: &Desk) -> Result<()> {
    scatter(desk).await?;
    same(&names(desk, "", None, 100).await?, &all(), "names come in byte order")?;
    for (prefix, due) in [
        ("a", &NAMES[2..9]),
        ("a/", &NAMES[4..7]),
        ("a/b", &NAMES[4..6]),
        ("a-", &NAMES[2..4]),
        ("a/c/d", &NAMES[6..7]),
        ("a/c/d/", &[]),
        ("b", &[]),
    ] {
        let found = names(desk, prefix, None, 100).await?;
        same(&found, &owned(due), "a prefix selects by the first bytes")?;
    }
    Ok(())
}

pub(super) async fn pages_together_are_the_whole(desk: &Desk) -> Result<()> {
    scatter(desk).await?;
    for limit in 1..=NAMES.len() + 1 {
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = names(desk, "", found.last().map(String::as_str), limit).await?;
            claimed(page.len() <= limit, "a page is no longer than its limit")?;
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        same(&found, &all(), "pages together are the whole")?;
    }
    for (after, due) in [("a", &NAMES[2..]), ("a/b-", &NAMES[5..]), ("zz", &[])] {
        let found = names(desk, "", Some(after), 100).await?;
        same(&found, &owned(due), "a page begins after a name that need not exist")?;
    }
    let found = names(desk, "a/", Some("z"), 100).await?;
    same(&found, &owned(&[]), "after and prefix hold together")?;
    let found = names(desk, "a/", Some("-"), 100).await?;
    same(&found, &owned(&NAMES[4..7]), "a name before the prefix skips nothing")?;
    let one = desk.store.list(&desk.prefix("")?, None, 0).await?;
    same(&one.len(), &1, "a limit of zero is taken as one, lest a listing seem over")?;
    let whole = desk.store.list(&desk.prefix("")?, None, usize::MAX).await?;
    claimed(whole.len() <= limits::LIST_PAGE_ROWS, "a page has a bound")
}

pub(super) async fn deleting_twice_is_deleting_once(desk: &Desk) -> Result<()> {
    scatter(desk).await?;
    let name = desk.name("a/b")?;
    desk.exactly(desk.store.delete(&name).await?, "a delete says that it was there")?;
    claimed(!desk.store.delete(&name).await?, "a second delete says that it was not")?;
    same(&desk.store.head(&name).await?, &None, "what was deleted has no head")?;
    refused(desk.store.get(&name, 10).await, Code::ObjectMissing, "what was deleted is missing")?;
    let left: Vec<String> = all().into_iter().filter(|below| below != "a/b").collect();
    same(&names(desk, "", None, 100).await?, &left, "a delete takes one object")?;

    let receipt = desk.store.put_new(&name, Bytes::from_static(b"other")).await?;
    desk.exactly(!receipt.existed, "a deleted name is free")?;
    same(&desk.store.get(&name, 10).await?, &Bytes::from_static(b"other"), "for other bytes")
}

async fn scatter(desk: &Desk) -> Result<()> {
    for below in NAMES.iter().rev() {
        desk.put(below, b"n").await?;
    }
    Ok(())
}

/// What a page lists, without the case's own prefix.
async fn names(
    desk: &Desk,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>> {
    let after = after.map(|below| desk.name(below)).transpose()?;
    let page = desk.store.list(&desk.prefix(prefix)?, after.as_ref(), limit).await?;
    let own = desk.prefix("")?;
    let below = |object: crate::ObjectMeta| {
        object.name.as_str().strip_prefix(own.as_str()).unwrap_or_default().to_owned()
    };
    Ok(page.into_iter().map(below).collect())
}

fn all() -> Vec<String> {
    owned(&NAMES)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
