//! One process a directory: whoever opens the ledger's files holds the lock until all are closed.
//!
//! The engines have locks of their own, but a refusal by one of them looks like damage. Every
//! engine's handle holds a clone of this one, as its last field: when the last is dropped, the
//! files are closed and whoever waits for the directory is told.

use holdfast_common::{Code, Error, Result};
use std::{
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct DirectoryLock {
    /// Unlocked when it is closed.
    _file: File,
    released: watch::Sender<()>,
}

impl DirectoryLock {
    /// Takes the lock, or says that another process has it.
    pub(crate) fn take(directory: &Path) -> Result<Arc<Self>> {
        let io = |error: std::io::Error| Error::io("the ledger's lock cannot be taken", &error);
        let file = File::create(directory.join("lock")).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Arc::new(Self { _file: file, released: watch::channel(()).0 })),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                Code::ResourceConflict,
                format!("{} is in use by another process", directory.display()),
            )
            .next("stop the other coordinator first")),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    /// Ends when the last holder has let go.
    pub(crate) fn release(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut released = self.released.subscribe();
        async move { while released.changed().await.is_ok() {} }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_has_one_holder_and_the_next_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(directory.path()).unwrap();
        let second = DirectoryLock::take(directory.path()).unwrap_err();
        assert_eq!(second.code, Code::ResourceConflict);
        let (clone, release) = (lock.clone(), lock.release());
        drop(lock);
        assert!(DirectoryLock::take(directory.path()).is_err(), "a clone still holds it");
        drop(clone);
        release.await;
        DirectoryLock::take(directory.path()).unwrap();
    }
}
