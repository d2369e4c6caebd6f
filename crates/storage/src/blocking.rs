//! Work that may block, where it holds up nobody else.
//!
//! Work that has begun ends even when whoever waits for it is gone.

use holdfast_common::{Code, Error, Result};

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => {
            Err(Error::new(Code::InternalBug, "work on a location panicked").cause(error))
        }
        Err(error) => {
            let message = "the process is stopping, the location was not asked";
            Err(Error::new(Code::LocationIoFailed, message).cause(error))
        }
    }
}
