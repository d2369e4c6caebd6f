//! What can be wrong with an object's bytes, before it is told to anyone.
//!
//! Parsers speak of defects, because the same truncation is a `pack.content_damaged` in a pack and
//! a `segment.content_damaged` in a segment, and because a scrub wants to count truncations apart
//! from flipped bits. A [`Form`] names the object and turns a [`Defect`] into the public error.

use holdfast_common::{Code, Error, VaultId};

/// One kind of object, and the codes its defects are told under.
pub(crate) struct Form {
    pub(crate) noun: &'static str,
    pub(crate) damaged: Code,
    pub(crate) foreign: Code,
}

#[derive(Debug)]
pub(crate) enum Defect {
    /// The object says it belongs to this other vault.
    Foreign(VaultId),
    /// The content is not the one that its name or its own digest promises.
    HashMismatch,
    Malformed(String),
    /// Somebody else refused a part: an opener, the record decoder.
    Refused(Error),
    /// Something was cut off the end.
    Truncated,
    VersionUnknown(u64),
}

impl Defect {
    pub(crate) fn malformed(why: impl Into<String>) -> Self {
        Self::Malformed(why.into())
    }

    pub(crate) fn told_of(self, form: &Form) -> Error {
        let noun = form.noun;
        match self {
            Self::Foreign(vault) => {
                Error::new(form.foreign, format!("the {noun} belongs to the vault {vault}"))
            }
            Self::HashMismatch => {
                Error::new(form.damaged, format!("the {noun} does not match its hash"))
            }
            Self::Malformed(why) => {
                Error::new(form.damaged, format!("the {noun} is malformed")).cause(why)
            }
            Self::Refused(error) => error,
            Self::Truncated => Error::new(form.damaged, format!("the {noun} is cut short")),
            Self::VersionUnknown(version) => Error::new(
                Code::VersionUnknown,
                format!("the {noun} has format version {version}, and only 1 is known"),
            ),
        }
    }
}
