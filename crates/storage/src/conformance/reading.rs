//! Claims about reading: the right bytes, or an error that says what is wrong.

use super::{Desk, claimed, refused, same};
use bytes::Bytes;
use holdfast_common::{Code, Result, limits};

pub(super) async fn what_was_never_put_is_missing(desk: &Desk) -> Result<()> {
    desk.put("a/b", b"there").await?;
    for below in ["absent", "a", "a/b/c", "a/c"] {
        let name = desk.name(below)?;
        same(&desk.store.head(&name).await?, &None, "what was never put has no head")?;
        refused(desk.store.get(&name, 10).await, Code::ObjectMissing, "it is missing")?;
        let range = desk.store.get_range(&name, 0..0).await;
        refused(range, Code::ObjectMissing, "even an empty range of it is missing")?;
        let deleted = desk.store.delete(&name).await?;
        claimed(!deleted, "what was never put cannot be deleted")?;
    }
    Ok(())
}

pub(super) async fn an_object_over_the_callers_bound_is_refused(desk: &Desk) -> Result<()> {
    let name = desk.put("a", b"0123456789").await?;
    same(&desk.store.get(&name, 10).await?.len(), &10, "the bound itself is allowed")?;
    for bound in [0, 9] {
        let get = desk.store.get(&name, bound).await;
        refused(get, Code::LimitExceeded, "a longer object than wanted is refused")?;
    }
    Ok(())
}

pub(super) async fn a_range_is_exact_or_refused(desk: &Desk) -> Result<()> {
    let whole: &[u8] = b"0123456789";
    let name = desk.put("a", b"0123456789").await?;
    for range in [0..10, 0..1, 3..7, 9..10, 0..0, 5..5, 10..10] {
        let found = desk.store.get_range(&name, range.start as u64..range.end as u64).await?;
        same(&found, &Bytes::from_static(&whole[range]), "a range is its bytes")?;
    }
    for range in [0..11, 9..11, 10..11, 11..11, 100..200] {
        let found = desk.store.get_range(&name, range).await;
        refused(found, Code::ObjectDamaged, "a range past the end is damage")?;
    }
    let huge = 0..limits::PACK_BYTES_MAX as u64 + 1;
    for range in [huge, 0..u64::MAX] {
        let found = desk.store.get_range(&name, range).await;
        refused(found, Code::LimitExceeded, "a range has a bound")?;
    }
    #[expect(clippy::reversed_empty_ranges, reason = "the mistake that must be refused")]
    let found = desk.store.get_range(&name, 7..3).await;
    refused(found, Code::InternalBug, "a range that ends before it starts is a mistake")
}

pub(super) async fn an_empty_object_is_an_object(desk: &Desk) -> Result<()> {
    let name = desk.put("a", b"").await?;
    let length = desk.store.head(&name).await?.map(|meta| meta.length);
    same(&length, &Some(0), "an empty object has a head")?;
    same(&desk.store.get(&name, 0).await?, &Bytes::new(), "an empty object is read")?;
    same(&desk.store.get_range(&name, 0..0).await?, &Bytes::new(), "and its empty range")?;
    let again = desk.store.put_new(&name, Bytes::new()).await?;
    claimed(again.existed, "an empty object exists")?;
    let other = desk.store.put_new(&name, Bytes::from_static(b"a")).await;
    refused(other, Code::ObjectConflict, "an empty object is not a free name")
}

pub(super) async fn a_pack_of_the_largest_size_survives(desk: &Desk) -> Result<()> {
    let mut bytes = vec![0; limits::PACK_BYTES_MAX];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let (name, bytes) = (desk.name("a")?, Bytes::from(bytes));
    desk.store.put_new(&name, bytes.clone()).await?;
    let found = desk.store.get(&name, limits::PACK_BYTES_MAX).await?;
    claimed(found == bytes, "a large object is read whole")?;
    let end = bytes.len() as u64;
    let found = desk.store.get_range(&name, end - 100_000..end).await?;
    claimed(found == bytes.slice(bytes.len() - 100_000..), "the end of a large object is read")?;
    let found = desk.store.get_range(&name, 0..end).await?;
    claimed(found == bytes, "the largest range is a whole pack")?;
    claimed(desk.store.put_new(&name, bytes).await?.existed, "a large object is recognised")
}
