//! Locks on what lies in a bucket: the version that is read now is locked, and asked for its lock.
//!
//! ```text
//!   head ─→ locked as long already? ─ yes ─→ done
//!                └─ no ─→ PutObjectRetention on this version ─→ read it back
//! ```
//!
//! What replaces a locked version is locked as long as that was. Nothing is believed that was not
//! read back; whether the bucket keeps its word at all, `proof` tries.

use super::{S3Store, length_of, refusal::refused, time_of};
use crate::{
    ObjectName,
    refusal::missing,
    store::{Locking, ObjectMeta},
};
use aws_sdk_s3::{
    operation::head_object::HeadObjectOutput,
    primitives::DateTime,
    types::{ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode},
};
use holdfast_common::{Code, Error, Lock, LockClass, Result, Timestamp};

const NANOS: i64 = 1_000_000_000;

impl S3Store {
    /// What `head` says, or that there is no such object.
    pub(super) async fn looked_at(&self, name: &ObjectName) -> Result<Option<HeadObjectOutput>> {
        let (bucket, key) = (&self.place().container, self.place().key(name.as_str()));
        match self.client().await.head_object().bucket(bucket).key(key).send().await {
            Ok(found) => Ok(Some(found)),
            Err(error) if self.is_absent(super::absence(&error)).await? => Ok(None),
            Err(error) => Err(refused(&format!("looking at {name}"), &error)),
        }
    }

    pub(super) fn meta_of(name: &ObjectName, found: &HeadObjectOutput) -> Result<ObjectMeta> {
        Ok(ObjectMeta {
            name: name.clone(),
            length: length_of(found.content_length)?,
            modified: time_of(found.last_modified.as_ref()),
        })
    }

    pub(super) async fn is_locking(&self) -> Result<Locking> {
        self.locks.get_or_try_init(|| self.try_locks()).await.copied()
    }

    /// By the clock of the location, which is the one that its locks go by.
    pub(super) async fn insist_on_ended(&self, name: &ObjectName, held: Lock) -> Result<()> {
        match self.now().await {
            Some(now) if held.until <= now => Ok(()),
            _ => {
                let message = format!("{name} is locked until {}", held.until);
                Err(Error::new(Code::ObjectLocked, message))
            }
        }
    }

    pub(super) async fn lock_version(&self, name: &ObjectName, wanted: Lock) -> Result<Lock> {
        self.insist_on_now()?;
        let found = self.looked_at(name).await?.ok_or_else(|| missing(name))?;
        let held = lock_of(&found);
        if let Some(held) = held.filter(|held| held.covers(&wanted)) {
            return Ok(held);
        }
        let wanted = held.map_or(wanted, |held| Lock {
            class: held.class.max(wanted.class),
            until: held.until.max(wanted.until),
        });
        let Some(version) = found.version_id else {
            let message = format!("{name} has no version that could be locked");
            return Err(Error::new(Code::LocationLockAbsent, message));
        };
        let (bucket, key) = (&self.place().container, self.place().key(name.as_str()));
        let mode = match wanted.class {
            LockClass::Governance => ObjectLockRetentionMode::Governance,
            LockClass::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let retention = ObjectLockRetention::builder()
            .mode(mode)
            .retain_until_date(DateTime::from_secs(seconds(wanted.until)))
            .build();
        let client = self.client().await;
        let put = client.put_object_retention().bucket(bucket).key(&key).version_id(&version);
        // A stronger class is a change that only who may get around locks can make.
        let raises = held.is_some_and(|held| held.class < wanted.class).then_some(true);
        let put = put.set_bypass_governance_retention(raises).retention(retention).send().await;
        put.map_err(|error| refused(&format!("locking {name}"), &error))?;
        let asked = client.get_object_retention().bucket(bucket).key(&key).version_id(&version);
        let said = asked.send().await;
        let said =
            said.map_err(|error| refused(&format!("asking for the lock of {name}"), &error))?;
        let said =
            said.retention.and_then(|said| read(said.mode?.as_str(), said.retain_until_date));
        match said.filter(|said| said.covers(&wanted)) {
            Some(said) => Ok(said),
            None => {
                let message = format!("the lock of {name} does not read back");
                Err(Error::new(Code::LocationLockAbsent, message))
            }
        }
    }
}

/// The lock that an answer names, if it names one.
pub(super) fn lock_of(found: &HeadObjectOutput) -> Option<Lock> {
    read(found.object_lock_mode.as_ref()?.as_str(), found.object_lock_retain_until_date)
}

/// The mode for a put.
pub(super) fn mode_of(class: LockClass) -> ObjectLockMode {
    match class {
        LockClass::Governance => ObjectLockMode::Governance,
        LockClass::Compliance => ObjectLockMode::Compliance,
    }
}

/// Up to the next whole second: some servers keep no more.
pub(super) fn seconds(until: Timestamp) -> i64 {
    let nanos = until.as_nanos();
    nanos.div_euclid(NANOS) + i64::from(nanos.rem_euclid(NANOS) > 0)
}

fn read(mode: &str, until: Option<DateTime>) -> Option<Lock> {
    let class = LockClass::named(&mode.to_ascii_lowercase())?;
    Some(Lock { class, until: time_of(until.as_ref()) })
}
