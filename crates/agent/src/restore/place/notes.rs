//! What could not be done beside the content, told once per kind instead of once per file.
//!
//! A restore by a user who is not root cannot give files away; saying so a million times helps
//! nobody. The first path stands for all, with how many there were.

use holdfast_common::Code;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    Mode,
    Owner,
    /// Something that was to be removed is still there.
    Removal,
    Times,
    Xattr,
}

impl NoteKind {
    pub const ALL: [Self; 5] = [Self::Mode, Self::Owner, Self::Removal, Self::Times, Self::Xattr];
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub kind: NoteKind,
    pub code: Code,
    /// The first path it happened to.
    pub path: Vec<u8>,
    pub count: u64,
}

/// One note for each kind and code: the list is as short as the two enumerations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(Vec<Note>);

impl Notes {
    pub fn iter(&self) -> impl Iterator<Item = &Note> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, note: Note) {
        self.0.push(note);
    }

    pub(crate) fn add(&mut self, kind: NoteKind, code: Code, path: &[u8]) {
        match self.0.iter_mut().find(|note| note.kind == kind && note.code == code) {
            Some(note) => note.count += 1,
            None => self.0.push(Note { kind, code, path: path.to_vec(), count: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_path_stands_for_all_of_a_kind() {
        let mut notes = Notes::default();
        notes.add(NoteKind::Owner, Code::FilePermissionDenied, b"/a");
        notes.add(NoteKind::Owner, Code::FilePermissionDenied, b"/b");
        notes.add(NoteKind::Xattr, Code::FilePermissionDenied, b"/b");
        let told: Vec<(NoteKind, &[u8], u64)> =
            notes.iter().map(|note| (note.kind, &note.path[..], note.count)).collect();
        assert_eq!(told, [(NoteKind::Owner, &b"/a"[..], 2), (NoteKind::Xattr, b"/b", 1)]);
    }
}
