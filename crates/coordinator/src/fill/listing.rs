//! The names that locations hold, a page at a time, and several locations in step.
//!
//! Memory holds one page of each location, however much lies there. What is put while a listing is
//! walked may be seen or not; whoever must have it walks again.

use crate::places::Place;
use holdfast_common::{Result, limits};
use holdfast_repository::layout::{self, Object};
use holdfast_storage::{ObjectMeta, ObjectName, ObjectPrefix};

/// What one location holds, in the order of the names.
pub(super) struct Listing<'a> {
    place: &'a Place,
    prefix: ObjectPrefix,
    page: std::iter::Peekable<std::vec::IntoIter<ObjectMeta>>,
    after: Option<ObjectName>,
    is_over: bool,
}

/// One name, and how long the object is wherever there is one.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: ObjectName,
    pub(super) object: Object,
    /// In the target.
    pub(super) there: Option<u64>,
    /// In the sources, in their order.
    pub(super) copies: Vec<Option<u64>>,
}

/// The sources and the target in step.
pub(super) struct Walk<'a> {
    sources: Vec<Listing<'a>>,
    target: Listing<'a>,
    /// The last name that a source had.
    seen: Option<ObjectName>,
}

/// Names behind which nobody has looked yet, one for each prefix whose names only grow; what has
/// none is looked through from its beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    log: Option<ObjectName>,
    snapshots: Option<ObjectName>,
    /// The newest extent of the log that was seen in the target, or put there.
    extent: Option<ObjectName>,
}

const LOG: &str = "cluster/log/";
const SNAPSHOTS: &str = "cluster/snapshot/";

impl Marks {
    pub(super) fn prefixes(&self) -> [(&'static str, Option<ObjectName>); 5] {
        [
            ("keys/", None),
            ("cluster/key/", None),
            ("epochs/", None),
            (SNAPSHOTS, self.snapshots.clone()),
            (LOG, self.log.clone()),
        ]
    }

    /// Marks that are set anew; what was seen was seen.
    pub(super) fn seen(before: &Self) -> Self {
        Self { extent: before.extent.clone(), ..Self::default() }
    }

    /// The last name that a source had, and the target has by now.
    pub(super) fn note_seen(&mut self, last: Option<ObjectName>) {
        let is_extent = |name: &ObjectName| {
            let object = layout::ObjectName::parse(name.as_str());
            object.is_ok_and(|object| matches!(object, Object::Log { .. }))
        };
        if let Some(last) = last.filter(is_extent) {
            self.extent = Some(last);
        }
    }

    pub(super) fn newest_extent(&self) -> Option<&ObjectName> {
        self.extent.as_ref()
    }

    /// Nothing of the log behind this name counts as seen.
    pub(super) fn not_behind(self, settled: &ObjectName) -> Self {
        Self { log: self.log.map(|log| log.min(settled.clone())), ..self }
    }

    pub(super) fn set(&mut self, prefix: &str, last: Option<ObjectName>) {
        match prefix {
            LOG => self.log = last,
            SNAPSHOTS => self.snapshots = last,
            _ => {}
        }
    }
}

impl<'a> Listing<'a> {
    pub(super) fn over(place: &'a Place, prefix: &str) -> Result<Self> {
        Self::behind(place, prefix, None)
    }

    fn behind(place: &'a Place, prefix: &str, after: Option<ObjectName>) -> Result<Self> {
        let page = Vec::new().into_iter().peekable();
        Ok(Self { place, prefix: prefix.parse()?, page, after, is_over: false })
    }

    async fn peek(&mut self) -> Result<Option<&ObjectMeta>> {
        if self.page.peek().is_none() && !self.is_over {
            let (store, after) = (&self.place.1, self.after.as_ref());
            let page = store.list(&self.prefix, after, limits::LIST_PAGE_ROWS).await?;
            self.is_over = page.is_empty();
            self.after = page.last().map(|meta| meta.name.clone());
            self.page = page.into_iter().peekable();
        }
        Ok(self.page.peek())
    }

    /// The length of an object, when it is there. Names are asked for in their order.
    pub(super) async fn length_of(&mut self, name: &layout::ObjectName) -> Result<Option<u64>> {
        while let Some(meta) = self.peek().await? {
            match meta.name.as_str().cmp(name.as_str()) {
                std::cmp::Ordering::Less => self.page.next(),
                std::cmp::Ordering::Equal => return Ok(Some(meta.length)),
                std::cmp::Ordering::Greater => return Ok(None),
            };
        }
        Ok(None)
    }

    /// Takes the next name when it is this one.
    fn take(&mut self, name: &ObjectName) -> Option<u64> {
        self.page.next_if(|meta| meta.name == *name).map(|meta| meta.length)
    }
}

impl<'a> Walk<'a> {
    pub(super) fn over(from: &'a [Place], to: &'a Place) -> Result<Self> {
        Self::behind(from, to, "", None)
    }

    pub(super) fn behind(
        from: &'a [Place],
        to: &'a Place,
        prefix: &str,
        after: Option<ObjectName>,
    ) -> Result<Self> {
        let sources = from.iter().map(|place| Listing::behind(place, prefix, after.clone()));
        let sources = sources.collect::<Result<_>>()?;
        let target = Listing::behind(to, prefix, after.clone())?;
        Ok(Self { sources, target, seen: None })
    }

    /// The last name of any source that was walked over.
    pub(super) fn last_seen(&self) -> Option<ObjectName> {
        self.seen.clone()
    }

    /// The next name that the target lacks.
    pub(super) async fn lacking(&mut self) -> Result<Option<Held>> {
        while let Some(held) = self.next().await? {
            if held.is_lacking() {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    /// The next name that any of them has.
    pub(super) async fn next(&mut self) -> Result<Option<Held>> {
        let mut first: Option<ObjectName> = None;
        for listing in self.sources.iter_mut().chain([&mut self.target]) {
            if let Some(meta) = listing.peek().await?
                && first.as_ref().is_none_or(|first| meta.name < *first)
            {
                first = Some(meta.name.clone());
            }
        }
        let Some(name) = first else { return Ok(None) };
        let copies: Vec<_> = self.sources.iter_mut().map(|listing| listing.take(&name)).collect();
        if copies.iter().any(Option::is_some) {
            self.seen = Some(name.clone());
        }
        let there = self.target.take(&name);
        Ok(Some(Held { object: layout::ObjectName::parse(name.as_str())?, name, there, copies }))
    }
}

impl Held {
    /// The target has none, or one that is not as long as another of the same bytes. Names that
    /// mean nothing here are left alone, and the object `vault` is nobody's to copy.
    pub(super) fn is_lacking(&self) -> bool {
        match (self.object, self.there) {
            (Object::Unknown | Object::Vault, _) => false,
            (_, None) => true,
            (_, Some(_)) => self.is_same_everywhere() && self.others().next().is_some(),
        }
    }

    /// As far as a listing says.
    pub(super) fn length(&self) -> u64 {
        self.copies.iter().flatten().copied().max().unwrap_or(0)
    }

    /// Whether the name stands for the same bytes in every location. The rest is sealed or claimed
    /// in each by itself.
    pub(super) fn is_same_everywhere(&self) -> bool {
        matches!(
            self.object,
            Object::Pack(_) | Object::Point(_) | Object::Reach(_) | Object::Segment(_)
        )
    }

    /// The sources that have something else than the target, by their number.
    pub(super) fn others(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let copies = self.copies.iter().enumerate();
        let others = copies.filter(|(_, copy)| **copy != self.there);
        others.filter_map(|(at, copy)| Some((at, (*copy)?)))
    }
}
