//! Claims about writing: once, whole, first come first served.

use super::{Desk, claimed, refused, same};
use crate::Receipt;
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits};
use std::sync::Arc;
use tokio::task::JoinSet;

const WRITERS: usize = 16;

pub(super) async fn what_was_put_is_there_at_once(desk: &Desk) -> Result<()> {
    let (name, bytes) = (desk.name("a/b")?, Bytes::from_static(b"some bytes"));
    let receipt = desk.store.put_new(&name, bytes.clone()).await?;
    same(&receipt.name, &name, "a receipt names the object")?;
    same(&receipt.length, &10, "a receipt has the length")?;
    same(&receipt.blake3, &blake3::hash(&bytes), "a receipt has the hash")?;
    desk.exactly(!receipt.existed, "the first put says that nothing existed")?;

    let meta = desk.store.head(&name).await?;
    let seen = meta.as_ref().map(|meta| (&meta.name, meta.length));
    same(&seen, &Some((&name, 10)), "what was put has a head")?;
    same(&desk.store.get(&name, 10).await?, &bytes, "what was put is read")?;
    let page = desk.store.list(&desk.prefix("")?, None, 10).await?;
    same(&page.first(), &meta.as_ref(), "what was put is listed, as its head says")?;
    same(&page.len(), &1, "nothing else is listed")
}

pub(super) async fn the_same_bytes_again_are_success(desk: &Desk) -> Result<()> {
    let name = desk.put("a", b"bytes").await?;
    for _ in 0..2 {
        let receipt = desk.store.put_new(&name, Bytes::from_static(b"bytes")).await?;
        claimed(receipt.existed, "the same bytes again existed")?;
        same(&receipt.length, &5, "a receipt of what existed has the length")?;
        same(&receipt.blake3, &blake3::hash(b"bytes"), "and the hash")?;
    }
    Ok(())
}

pub(super) async fn other_bytes_conflict_and_change_nothing(desk: &Desk) -> Result<()> {
    let name = desk.put("a", b"bytes").await?;
    for other in [&b"other"[..], b"", b"bytes and more", b"byte"] {
        let put = desk.store.put_new(&name, Bytes::copy_from_slice(other)).await;
        refused(put, Code::ObjectConflict, "other bytes are a conflict")?;
    }
    let held = desk.store.get(&name, 100).await?;
    same(&held, &Bytes::from_static(b"bytes"), "a conflict changes nothing")
}

pub(super) async fn what_is_replaced_is_never_absent_nor_torn(desk: &Desk) -> Result<()> {
    let (damaged, whole) = (Bytes::from(vec![1; 96 << 10]), Bytes::from(vec![2; 64 << 10]));
    let name = desk.name("healed")?;
    desk.store.replace(&name, whole.clone()).await?;
    same(&desk.store.get(&name, whole.len()).await?, &whole, "what is missing can be replaced")?;
    for _ in 0..4 {
        let writer = async {
            for bytes in [&damaged, &whole, &whole] {
                desk.store.replace(&name, bytes.clone()).await?;
            }
            Ok(())
        };
        let reader = async {
            for _ in 0..8 {
                let read = desk.store.get(&name, damaged.len()).await?;
                claimed(read == damaged || read == whole, "a reader has the old or the new")?;
            }
            Ok(())
        };
        let (written, read): (Result<()>, Result<()>) = tokio::join!(writer, reader);
        written.and(read)?;
        same(&desk.store.get(&name, whole.len()).await?, &whole, "the last one stays")?;
    }
    let length = desk.store.head(&name).await?.map(|meta| meta.length);
    same(&length, &Some(whole.len() as u64), "what replaced it has its head")
}

pub(super) async fn racing_writers_of_the_same_bytes_all_succeed(desk: &Desk) -> Result<()> {
    let bytes = Bytes::from(vec![7; 64 << 10]);
    let outcomes = race(desk, |_| bytes.clone()).await?;
    let receipts: Vec<Receipt> = outcomes.into_iter().map(|(_, put)| put).collect::<Result<_>>()?;
    same(&receipts.len(), &WRITERS, "every writer of the same bytes succeeds")?;
    let stored = receipts.iter().filter(|receipt| !receipt.existed).count();
    claimed(stored <= 1, "at most one of the racing writers stored the object")?;
    desk.exactly(stored == 1, "one of the racing writers stored the object")?;
    same(&desk.store.get(&desk.name("raced")?, bytes.len()).await?, &bytes, "it is whole")
}

pub(super) async fn of_racing_contents_one_wins(desk: &Desk) -> Result<()> {
    let content = |writer: usize| Bytes::from(vec![u8::from(writer.is_multiple_of(2)); 64 << 10]);
    let outcomes = race(desk, content).await?;
    let held = desk.store.get(&desk.name("raced")?, 64 << 10).await?;
    let mut stored = 0;
    for (writer, put) in outcomes {
        if content(writer) == held {
            stored += usize::from(!put?.existed);
        } else {
            refused(put, Code::ObjectConflict, "a racing writer of other bytes is refused")?;
        }
    }
    claimed(stored <= 1, "at most one writer stored the winning content")?;
    desk.exactly(stored == 1, "one writer stored the winning content")
}

pub(super) async fn the_longest_and_deepest_names_work(desk: &Desk) -> Result<()> {
    let before = desk.prefix("")?.as_str().len();
    let room = limits::OBJECT_NAME_BYTES_MAX - before;
    let deep = "d/".repeat(room / 2);
    let long = format!("l{}", "x".repeat(room - 1));
    for below in [deep.trim_end_matches('/'), &long, "0", "-", "--/-"] {
        let name = desk.put(below, b"n").await?;
        same(&desk.store.get(&name, 1).await?, &Bytes::from_static(b"n"), "every name is read")?;
        let page = desk.store.list(&name.as_str().parse()?, None, 1).await?;
        let listed: Vec<_> = page.into_iter().map(|object| object.name).collect();
        same(&listed, &vec![name], "every name is listed")?;
    }
    Ok(())
}

pub(super) async fn a_probe_leaves_nothing(desk: &Desk) -> Result<()> {
    let all = crate::ObjectPrefix::all();
    let before = desk.store.list(&all, None, 100).await?;
    let probe = desk.store.probe().await?;
    same(&probe.write_refused, &None, "a sound location can be written")?;
    claimed(probe.create_only, "a sound location writes a name once")?;
    claimed(probe.is_usable(), "a sound location is usable")?;
    let keeps = desk.store.keeps().await?;
    claimed(keeps.create_only, "a sound location is known to write a name once")?;
    same(&desk.store.list(&all, None, 100).await?, &before, "a probe leaves nothing")
}

async fn race(
    desk: &Desk,
    content: impl Fn(usize) -> Bytes,
) -> Result<Vec<(usize, Result<Receipt>)>> {
    let name = desk.name("raced")?;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, name, bytes) = (Arc::clone(&desk.store), name.clone(), content(writer));
        writers.spawn(async move { (writer, store.put_new(&name, bytes).await) });
    }
    let mut outcomes = Vec::with_capacity(WRITERS);
    while let Some(outcome) = writers.join_next().await {
        let failed = |error| Error::new(Code::InternalBug, "a racing writer died").cause(error);
        outcomes.push(outcome.map_err(failed)?);
    }
    Ok(outcomes)
}
