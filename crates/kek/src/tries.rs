//! How long and how often a provider is asked.

use core::time::Duration;
use holdfast_common::{Code, Error, Result};

/// Of one question, its answer included.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(10);
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(5);
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// Asks once, in the time of one question.
pub(crate) async fn once<T>(ask: impl Future<Output = Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(ANSWER_MAX, ask).await;
    answer.unwrap_or_else(|_| Err(away("it does not answer")))
}

/// Reads what lies on this host: a disk may hang as a server does.
pub(crate) async fn on_thread<T: Send + 'static>(
    read: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let failed = |error| Error::new(Code::InternalBug, "a thread failed").cause(error);
    tokio::task::spawn_blocking(read).await.map_err(failed)?
}

/// Asks, and again while nobody answers. What is refused is not asked for twice.
pub(crate) async fn insisting<T, F>(ask: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut tried = 0;
    loop {
        let answer = once(ask()).await;
        tried += 1;
        match answer {
            Err(error) if error.code == Code::KekUnreachable && tried < TRIES => {
                tokio::time::sleep(PAUSE * 2_u32.pow(tried - 1)).await;
            }
            answer => return answer,
        }
    }
}

pub(crate) fn away(cause: &str) -> Error {
    Error::new(Code::KekUnreachable, "the KEK's provider cannot be reached").cause(said(cause))
}

pub(crate) fn denied(message: impl Into<String>, cause: &str) -> Error {
    Error::new(Code::KekDenied, message).cause(said(cause))
}

pub(crate) fn gone(message: impl Into<String>, cause: &str) -> Error {
    Error::new(Code::KekGone, message).cause(said(cause))
}

/// A provider refused the bytes: another key's, another cluster's, or damaged.
pub(crate) fn foreign(cause: &str) -> Error {
    Error::new(Code::KeyWrong, "the provider does not open the sealed KEK")
        .cause(said(cause))
        .next("name the KEK that this was made with; if it is that one, the record was changed")
}

/// What somebody else said, on one line and not too long.
fn said(cause: &str) -> String {
    let cause: String = cause.split_whitespace().collect::<Vec<_>>().join(" ");
    cause.chars().filter(|c| !c.is_control()).take(SAID_LETTERS_MAX).collect()
}

const SAID_LETTERS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering};

    async fn asked(answers: impl Fn(u32) -> Result<u32>) -> (Result<u32>, u32) {
        let count = AtomicU32::new(0);
        let answer = insisting(|| async { answers(count.fetch_add(1, Ordering::Relaxed)) }).await;
        (answer, count.into_inner())
    }

    #[tokio::test]
    async fn who_is_away_is_asked_again_and_who_refuses_is_not() {
        let back = |count| if count < 2 { Err(away("gone fishing")) } else { Ok(count) };
        assert_eq!(asked(back).await, (Ok(2), 3));
        let (answer, count) = asked(|_| Err(away("gone fishing"))).await;
        assert_eq!((answer.unwrap_err().code, count), (Code::KekUnreachable, 3));
        let (answer, count) = asked(|_| Err(denied("no", "no"))).await;
        assert_eq!((answer.unwrap_err().code, count), (Code::KekDenied, 1));
    }

    #[test]
    fn what_others_say_is_one_line_of_bounded_length() {
        assert_eq!(said("a\n\tb\u{7}c"), "a bc");
        assert_eq!(said(&"x".repeat(1000)).len(), SAID_LETTERS_MAX);
    }
}
