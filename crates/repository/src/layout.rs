//! What the objects of a location are called, and what a name says.
//!
//! An [`ObjectName`] is parts of `[a-z0-9-]` joined by `/`, so that it means the same in a
//! directory, an S3 bucket and a URL; there is no `.` and no empty part to climb out with.
//! [`Object`] is what a name stands for. A name of no known object is still a name:
//! [`Object::Unknown`] is left alone by everyone.

use core::{fmt, str::FromStr};
use holdfast_common::{Code, Error, PackId, PointId, Result, SegmentId, limits};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    pub fn vault() -> Self {
        Self("vault".to_owned())
    }

    /// The versions have eight digits in a name; more cannot be written.
    pub fn keys(version: u32, kek_version: u32) -> Result<Self> {
        if version.max(kek_version) > KEY_VERSION_MAX {
            let message = format!("key versions end at {KEY_VERSION_MAX}");
            return Err(Error::new(Code::LimitExceeded, message));
        }
        Ok(Self(format!("keys/{version:08}/{kek_version:08}")))
    }

    pub fn pack(id: &PackId) -> Self {
        Self(format!("packs/{:02x}/{id}", id.as_bytes()[0]))
    }

    pub fn segment(id: &SegmentId) -> Self {
        Self(format!("index/{id}"))
    }

    pub fn point(id: &PointId) -> Self {
        Self(format!("points/{id}"))
    }

    pub fn reach(id: &PointId) -> Self {
        Self(format!("reach/{id}"))
    }

    pub fn log(epoch: u32, from: u64) -> Self {
        Self(format!("cluster/log/{epoch:010}-{from:020}"))
    }

    pub fn epoch(number: u64) -> Self {
        Self(format!("epochs/{number:020}"))
    }

    /// Where the cluster recovery key lies, wrapped under the KEK of this id.
    pub fn cluster_key(kek: &[u8; 16]) -> Self {
        let kek: String = kek.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("cluster/key/{kek}"))
    }

    /// A part of a snapshot of the ledger.
    pub fn snapshot(epoch: u32, index: u64, part: u32) -> Self {
        Self(format!("cluster/snapshot/{epoch:010}-{index:020}-{part:010}"))
    }

    /// What the object of this name is. Fails only where the text is no name at all.
    pub fn parse(text: &str) -> Result<Object> {
        text.parse::<Self>().map(|name| name.object())
    }

    pub fn object(&self) -> Object {
        Object::of_name(&self.0).unwrap_or(Object::Unknown)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl FromStr for ObjectName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_object_name(text) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        let message = format!("`{}` is no object's name", shown.escape_debug());
        Err(Error::new(Code::UsageNameMalformed, message)
            .next("a name is parts of a-z 0-9 - joined by `/`"))
    }
}

impl AsRef<str> for ObjectName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// By the id of its KEK.
    ClusterKey([u8; 16]),
    Epoch(u64),
    Keys {
        version: u32,
        kek_version: u32,
    },
    Log {
        epoch: u32,
        from: u64,
    },
    Pack(PackId),
    Point(PointId),
    Reach(PointId),
    Segment(SegmentId),
    Snapshot {
        epoch: u32,
        index: u64,
        part: u32,
    },
    Unknown,
    Vault,
}

impl Object {
    fn of_name(name: &str) -> Option<Self> {
        let parts = name.split('/').collect::<Vec<_>>();
        match *parts.as_slice() {
            ["vault"] => Some(Self::Vault),
            ["keys", version, kek_version] => Some(Self::Keys {
                version: digits(version, 8)?,
                kek_version: digits(kek_version, 8)?,
            }),
            ["packs", prefix, id] => {
                let pack = id.parse().ok().map(Self::Pack)?;
                id.starts_with(prefix).then_some(pack).filter(|_| prefix.len() == 2)
            }
            ["index", id] => id.parse().ok().map(Self::Segment),
            ["points", id] => id.parse().ok().map(Self::Point),
            ["reach", id] => id.parse().ok().map(Self::Reach),
            ["epochs", number] => digits(number, 20).map(Self::Epoch),
            ["cluster", "log", extent] => {
                let (epoch, from) = extent.split_once('-')?;
                Some(Self::Log { epoch: digits(epoch, 10)?, from: digits(from, 20)? })
            }
            ["cluster", "key", kek] => {
                kek.parse::<PointId>().ok().map(|kek| Self::ClusterKey(*kek.as_bytes()))
            }
            ["cluster", "snapshot", part] => {
                let mut words = part.split('-');
                let (epoch, index, part) = (words.next()?, words.next()?, words.next()?);
                let (epoch, index) = (digits(epoch, 10)?, digits(index, 20)?);
                let part = digits(part, 10)?;
                words.next().is_none().then_some(Self::Snapshot { epoch, index, part })
            }
            _ => None,
        }
    }
}

fn digits<T: FromStr>(text: &str, width: usize) -> Option<T> {
    let plain = text.len() == width && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

fn is_object_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let part_fits = |part: &str| (1..=limits::OBJECT_NAME_PART_BYTES_MAX).contains(&part.len());
    text.len() <= limits::OBJECT_NAME_BYTES_MAX
        && text.split('/').all(|part| part_fits(part) && part.bytes().all(plain))
}

const KEY_VERSION_MAX: u32 = 99_999_999;
/// How much of a refused name is shown: it came from outside and has no bound.
const SHOWN_CHARS: usize = 80;
