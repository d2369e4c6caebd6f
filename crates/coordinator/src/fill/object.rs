//! One object on its way into the target: the first copy that is whole goes there.
//!
//! What an object must be, the ledger knows of most; of the others their own form says it. The
//! target's own copy goes only when a whole one takes its name, all at once.

use super::{filling::Filling, listing::Held};
use crate::{
    budget::Share,
    places::Place,
    verify::{hash_of, problem_of},
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_keyring::IdentityPublicKey;
use holdfast_ledger::row::AgentRow;
use holdfast_repository::{
    PointObject,
    check::{Finding, Openers, check_object},
    layout::{self, Object},
};

/// What became of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// So many bytes were put.
    Copied(u64),
    /// No copy is whole, and this is wrong with them.
    Left(String),
    /// The target needed nothing.
    Whole,
}

/// What a location has under a name.
pub(super) enum Copy {
    Bad(String),
    Whole(Bytes, Share),
}

impl Filling<'_> {
    /// What has to be there whole: the target's own copy too is read before it counts.
    pub(super) async fn assure(&self, held: &Held) -> Result<Fate> {
        let Some(length) = held.there.filter(|_| held.is_same_everywhere()) else {
            return self.bring(held).await;
        };
        let mut problems = match self.read(self.to, held, length).await? {
            Copy::Whole(..) => return Ok(Fate::Whole),
            Copy::Bad(problem) => vec![format!("{problem} in {}", self.to.0)],
        };
        for (place, length) in self.from.iter().zip(&held.copies) {
            let Some(length) = *length else { continue };
            // Whoever waits for his turn on the line holds nothing that others wait for.
            self.pace.pay(length).await;
            match self.read(place, held, length).await? {
                Copy::Whole(bytes, _share) => return self.put(held, bytes).await,
                Copy::Bad(problem) => problems.push(format!("{problem} in {}", place.0)),
            }
        }
        Ok(Fate::Left(problems.join(", ")))
    }

    pub(super) async fn bring(&self, held: &Held) -> Result<Fate> {
        let mut problems = Vec::new();
        if matches!(held.object, Object::Keys { .. }) && self.is_collected(held.object)? {
            return Ok(Fate::Whole);
        }
        if self.ledger.is_unproven(self.vault, held.object)
            && let Some(disagreement) = self.disagreement(held).await?
        {
            return Ok(Fate::Left(disagreement));
        }
        for (at, length) in held.others() {
            let place = &self.from[at];
            self.pace.pay(length).await;
            match self.read(place, held, length).await? {
                Copy::Whole(bytes, _share) => return self.put(held, bytes).await,
                Copy::Bad(problem) => problems.push(format!("{problem} in {}", place.0)),
            }
        }
        if let Some(length) = held.there {
            // Those of the same length say nothing against it.
            if held.copies.contains(&Some(length)) {
                return Ok(Fate::Whole);
            }
            match self.read(self.to, held, length).await? {
                Copy::Whole(..) => return Ok(Fate::Whole),
                Copy::Bad(problem) => problems.push(format!("{problem} in {}", self.to.0)),
            }
        }
        if problems.is_empty() {
            problems.push("missing".to_owned());
        }
        Ok(Fate::Left(problems.join(", ")))
    }

    /// Two sources that say different things, of which neither can be shown to be wrong.
    pub(super) async fn disagreement(&self, held: &Held) -> Result<Option<String>> {
        let mut first: Option<(&Place, blake3::Hash)> = None;
        for (at, length) in held.others() {
            let place = &self.from[at];
            let Copy::Whole(bytes, _share) = self.read(place, held, length).await? else {
                continue;
            };
            let hash = blake3::hash(&bytes);
            match first {
                Some((other, said)) if said != hash => {
                    return Ok(Some(format!("not the same in {} and {}", other.0, place.0)));
                }
                _ => first = Some((place, hash)),
            }
        }
        Ok(None)
    }

    async fn put(&self, held: &Held, bytes: Bytes) -> Result<Fate> {
        let (store, name, length) = (&self.to.1, &held.name, bytes.len() as u64);
        (self.insist)()?;
        if self.is_collected(held.object)? {
            return Ok(Fate::Whole);
        }
        if held.there.is_some() {
            store.replace(name, bytes).await?;
            return Ok(Fate::Copied(length));
        }
        match store.put_new(name, bytes.clone()).await {
            Ok(_) => Ok(Fate::Copied(length)),
            Err(error) if error.code != Code::ObjectConflict => Err(error),
            // Somebody was faster, and with other bytes.
            Err(_) if held.is_same_everywhere() => {
                (self.insist)()?;
                store.replace(name, bytes).await?;
                Ok(Fate::Copied(length))
            }
            Err(_) => Ok(Fate::Whole),
        }
    }

    /// What was collected goes from here too. Asked right before it would be put: it may have been
    /// given up while it was read.
    fn is_collected(&self, object: Object) -> Result<bool> {
        match object {
            Object::Pack(id) => self.query.is_collected(&self.vault.id, &id),
            Object::Point(id) | Object::Reach(id) => self.query.is_point_gone(&id),
            // A version that was destroyed lies in some location until that was asked.
            Object::Keys { version, .. } => self.is_destroyed(version),
            _ => Ok(false),
        }
    }

    pub(super) fn is_destroyed(&self, version: u32) -> Result<bool> {
        Ok(self.query.destroyed_key(&self.vault.id, version)?.is_some())
    }

    pub(super) async fn read(&self, place: &Place, held: &Held, length: u64) -> Result<Copy> {
        let bytes_max = usize::try_from(length).unwrap_or(usize::MAX).min(limits::REACH_BYTES_MAX);
        let share = self.budget.wait_for(bytes_max, self.insist).await?;
        let bytes = match place.1.get(&held.name, bytes_max).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let problem = problem_of(self.vault, place, &error).await;
                let problem = problem.map_err(|error| went_away(place, error))?;
                tracing::warn!(object = %held.name, location = %place.0, %error, "not read");
                return Ok(Copy::Bad(problem.to_owned()));
            }
        };
        if (bytes.len() as u64) < length {
            return Ok(Copy::Bad("truncated".to_owned()));
        }
        Ok(match self.problem(held, bytes.clone()).await? {
            Some(problem) => Copy::Bad(problem),
            None => Copy::Whole(bytes, share),
        })
    }

    /// What is wrong with the bytes under this name, when anything is.
    async fn problem(&self, held: &Held, bytes: Bytes) -> Result<Option<String>> {
        let (vault, name) = (self.vault.id, held.name.as_str().parse::<layout::ObjectName>()?);
        if let Some(hash) = hash_of(self.query, &vault, &name)? {
            let hashed = self.tasks.run_blocking("hash", move || Ok(blake3::hash(&bytes))).await?;
            return Ok((hashed != hash).then(|| "hash".to_owned()));
        }
        let (custody, object) = (self.custody.clone(), bytes.clone());
        let check = move || {
            let openers = Openers { footer: None, segment: Some(custody.as_ref()) };
            Ok(check_object(&vault, &name, &object, openers))
        };
        Ok(match self.tasks.run_blocking("check", check).await? {
            Finding::Sound => self.forged(held, &bytes)?,
            Finding::Unknown => self.misnamed(held, bytes).await?,
            Finding::HashMismatch => Some("hash".to_owned()),
            Finding::Truncated => Some("truncated".to_owned()),
            Finding::Foreign(other) => Some(format!("of the vault {other}")),
            Finding::Unreadable(error) => Some(error.to_string()),
        })
    }

    /// What coordinators alone write is opened.
    async fn misnamed(&self, held: &Held, bytes: Bytes) -> Result<Option<String>> {
        let (ledger, vault, object) = (self.ledger.clone(), self.vault.clone(), held.object);
        let look = move || Ok(ledger.insist(&vault, object, &bytes).err());
        let problem = self.tasks.run_blocking("open", look).await?;
        Ok(problem.map(|error| error.to_string()))
    }

    /// Of a point that the ledger does not know, its agent's signature says whether it is whole.
    fn forged(&self, held: &Held, bytes: &Bytes) -> Result<Option<String>> {
        let Object::Point(id) = held.object else { return Ok(None) };
        let point = PointObject::parse(&self.vault.id, &id, bytes)?;
        let agent = self.query.row::<AgentRow>(point.record().agent.as_bytes())?;
        let Some(agent) = agent else { return Ok(None) };
        let signed = IdentityPublicKey::from_bytes(agent.identity_public)
            .verify_point(point.record_bytes(), point.signature());
        Ok(signed.err().map(|error| error.to_string()))
    }
}

/// It showed the vault before.
pub(super) fn went_away(place: &Place, error: Error) -> Error {
    if error.code != Code::LocationEmpty {
        return error;
    }
    let message = format!("the location `{}` went away", place.0);
    Error::new(Code::LocationIoFailed, message)
        .cause(error)
        .next("mount it again and repeat this: it goes on where it was")
}
