//! Hard links: names for what another path has brought back.
//!
//! The first path of a group carries the content and comes with the other files. When only later
//! ones were selected, the first of those takes the content over: its entry is found by one pass
//! over the whole manifest, which happens only then. Of each group two numbers stay in
//! memory; its first path may lie in the target until it is asked for.

use super::super::place::{Aside, Target};
use super::file::{Failures, Outcome};
use super::plan::for_each;
use super::run::Run;
use crate::flow::lock;
use holdfast_common::{Code, Error, Result};
use holdfast_seal::manifest::entry::{Entry, EntryKind, LinkIdentity};
use minicbor::{Decode, Encode, bytes::ByteVec};
use std::collections::{BTreeMap, HashMap};

/// What a first path takes beside its bytes, or more.
const FIRST_BYTES: usize = 64;

#[derive(Default)]
pub(super) struct Links {
    /// Where more than fits may be put: not in a dry run, which writes nothing.
    target: Option<Target>,
    /// Where the first path of each group was put, with its inode.
    firsts: HashMap<u64, u64>,
    aside: Aside,
    /// Why first paths are not in place.
    failures: Failures,
    /// Groups with paths that come later.
    later: u64,
    /// Of these the first path is not among what was selected; where the first that is was put.
    orphans: BTreeMap<u64, u64>,
}

#[derive(Decode, Encode)]
struct First {
    #[n(0)]
    path: ByteVec,
    #[n(1)]
    inode: LinkIdentity,
}

impl Links {
    pub(super) fn into(target: &Target) -> Self {
        Self { target: Some(target.clone()), ..Self::default() }
    }

    /// Whether this entry brings its own content or kind; others wait for [`Links::place`].
    pub(super) fn is_first(&mut self, group: u64, entry: &Entry) -> bool {
        if self.firsts.contains_key(&group) || self.orphans.contains_key(&group) {
            self.later += 1;
            return false;
        }
        if entry.kind == EntryKind::File && entry.content.is_none() {
            self.later += 1;
            let place = self.put(&entry.path, entry.link_identity());
            self.orphans.insert(group, place);
            return false;
        }
        let place = self.put(&entry.path, entry.link_identity());
        self.firsts.insert(group, place);
        true
    }

    fn put(&mut self, path: &[u8], inode: LinkIdentity) -> u64 {
        let file = || match &self.target {
            Some(target) => target.file_aside(),
            None => Err(Error::new(Code::FileMissing, "nothing is written")),
        };
        let first = First { path: path.to_vec().into(), inode };
        let mut bytes = Vec::with_capacity(path.len() + FIRST_BYTES);
        match minicbor::encode(&first, &mut bytes) {
            Ok(()) => {}
            Err(error) => unreachable!("encoding to memory failed: {error}"),
        }
        self.aside.put(&bytes, file)
    }

    fn first(&self, place: u64) -> Result<First> {
        minicbor::decode(&self.aside.get(place)?).map_err(|error| {
            Error::new(Code::FileIoFailed, "the first path of a hard link is not what was kept")
                .cause(error)
        })
    }

    /// Where to note what becomes of this entry.
    pub(super) fn outcome(&self, entry: &Entry) -> Outcome {
        let group = entry.hardlink_group.filter(|group| self.firsts.contains_key(group));
        group.map_or_else(Outcome::default, |group| self.outcome_of(group))
    }

    fn outcome_of(&self, group: u64) -> Outcome {
        Outcome::of(group, self.failures.clone())
    }

    pub(super) fn any(&self) -> bool {
        self.later > 0
    }

    pub(super) fn any_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// Has `link` give everything that waited the first path of its group.
    pub(super) fn place(
        &self,
        run: &Run<'_>,
        paths: &[Vec<u8>],
        link: impl Fn(&Entry, &[u8]) -> Result<()>,
    ) -> Result<()> {
        for_each(run.reader, paths, run, |entry| {
            let Some(group) = entry.hardlink_group else { return Ok(()) };
            let Some(place) = self.firsts.get(&group) else {
                run.skip(&entry.path, Code::ManifestDamaged);
                return Ok(());
            };
            let first = self.first(*place)?;
            if first.path == entry.path {
                return Ok(());
            }
            if first.inode != entry.link_identity() {
                run.skip(&entry.path, Code::FileChanged);
                return Ok(());
            }
            let failed = lock(&self.failures).get(&group).copied();
            let linked = match failed {
                Some(code) => Err(code),
                None => link(&entry, &first.path).map_err(|error| error.code),
            };
            match linked {
                Ok(()) => run.placed(),
                Err(code) => run.skip(&entry.path, code),
            }
            Ok(())
        })
    }

    /// Gives the first selected path of each orphaned group the group's content, by `file`.
    pub(super) fn adopt(
        &mut self,
        run: &Run<'_>,
        mut file: impl FnMut(Entry, Outcome) -> Result<()>,
    ) -> Result<()> {
        let mut orphans = std::mem::take(&mut self.orphans);
        for entry in run.reader.manifest().entries()? {
            let entry = entry?;
            let Some(group) = entry.hardlink_group.filter(|_| entry.content.is_some()) else {
                continue;
            };
            let Some(place) = orphans.remove(&group) else { continue };
            self.firsts.insert(group, place);
            let First { path, inode } = self.first(place)?;
            let outcome = self.outcome_of(group);
            if inode == entry.link_identity() {
                file(Entry { path: path.to_vec().into(), ..entry }, outcome)?;
            } else {
                run.skip(&path, Code::FileChanged);
                outcome.failed(Code::FileChanged);
            }
            if orphans.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
