//! How many calls a caller may have open at once, and how much and how long each may send.
//!
//! Counted per identity, not per connection: whoever opens more streams waits for nothing and
//! takes nothing, it is turned away at once, and the others have their own count. A call counts
//! until its answer has gone out whole, so a stream that its reader leaves open counts too.

use super::access::{Caller, Sends};
use crate::identity::people::Spared;
use holdfast_common::{AgentId, Code, Error, Name, Result, limits};
use holdfast_wire::status::to_status;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    collections::HashMap,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Sleep;
use tonic::{Status, body::Body};

/// The calls that are open now.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<HashMap<Who, Open>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Open {
    all: usize,
    large: usize,
}

/// Whom a call counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Agent(AgentId),
    Operator(Name),
    Member(u64),
    /// Nobody that is known, by where it comes from.
    Stranger(Option<IpAddr>),
}

impl Calls {
    pub(crate) fn open(
        &self,
        caller: &Caller,
        remote: Option<IpAddr>,
        sends: Sends,
    ) -> Result<Counted> {
        let who = match caller {
            Caller::Agent(id) => Who::Agent(*id),
            Caller::Operator(name) => Who::Operator(name.clone()),
            Caller::Member(id) => Who::Member(*id),
            Caller::Unknown => Who::Stranger(remote),
        };
        let large = usize::from(sends == Sends::Large);
        let mut calls = self.lock();
        let open = calls.get(&who).copied().unwrap_or_default();
        let (all_max, large_max) = match caller {
            Caller::Member(_) => (limits::CALLS_PER_MEMBER_MAX, limits::CALLS_PER_MEMBER_MAX),
            _ => (limits::CALLS_PER_CALLER_MAX, limits::LARGE_CALLS_PER_CALLER_MAX),
        };
        if open.all >= all_max || open.large + large > large_max {
            return Err(Error::new(Code::ClusterBusy, "the caller has as many calls as it may"));
        }
        calls.insert(who.clone(), Open { all: open.all + 1, large: open.large + large });
        drop(calls);
        Ok(Counted { calls: self.clone(), who, large, spared: None })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Who, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open call.
pub(crate) struct Counted {
    calls: Calls,
    who: Who,
    large: usize,
    spared: Option<Spared>,
}

impl Counted {
    /// For as long as the call lasts, its connection is spared.
    pub(crate) fn sparing(mut self, spared: Option<Spared>) -> Self {
        self.spared = spared;
        self
    }

    /// The answer, which the call lasts as long as.
    pub(crate) fn until_sent(self, answer: Body) -> Body {
        Body::new(Answer { inner: answer, _counted: self })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        drop(self.spared.take());
        let mut calls = self.calls.lock();
        let Some(open) = calls.get_mut(&self.who) else { return };
        open.all = open.all.saturating_sub(1);
        open.large = open.large.saturating_sub(self.large);
        if open.all == 0 {
            calls.remove(&self.who);
        }
    }
}

/// What a caller sends, within its bounds. Streams have bounds of their own, message by message.
pub(crate) fn bounded(body: Body, sends: Sends) -> Body {
    let left = match sends {
        Sends::Small => limits::SMALL_REQUEST_BYTES_MAX,
        Sends::Large => limits::MESSAGE_BYTES_MAX,
        Sends::Stream => return body,
    };
    Body::new(Request { inner: body, left, deadline: Box::pin(tokio::time::sleep(REQUEST_MAX)) })
}

const REQUEST_MAX: Duration = Duration::from_secs(limits::REQUEST_SECS_MAX);

struct Request {
    inner: Body,
    left: usize,
    deadline: Pin<Box<Sleep>>,
}

impl HttpBody for Request {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let refused = |code, message| Poll::Ready(Some(Err(to_status(&Error::new(code, message)))));
        let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Pending if self.deadline.as_mut().poll(cx).is_ready() => {
                return refused(Code::ClusterBusy, "the request did not come whole in time");
            }
            other => return other,
        };
        let bytes = frame.data_ref().map_or(0, |data| data.len());
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => return refused(Code::LimitExceeded, "the request is larger than it may be"),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

struct Answer {
    inner: Body,
    _counted: Counted,
}

impl HttpBody for Answer {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};

    fn agent(number: u8) -> Caller {
        Caller::Agent(AgentId::from_bytes([number; 16]))
    }

    fn body(frames: impl futures::Stream<Item = Bytes> + Send + 'static) -> Body {
        Body::new(StreamBody::new(frames.map(|bytes| Ok::<_, Status>(Frame::data(bytes)))))
    }

    #[test]
    fn each_caller_has_its_own_count_and_gets_it_back() {
        let calls = Calls::default();
        let open = |caller: &Caller, sends| calls.open(caller, None, sends);
        let mut held: Vec<_> = (0..limits::CALLS_PER_CALLER_MAX)
            .map(|_| open(&agent(1), Sends::Small).unwrap())
            .collect();
        let error = open(&agent(1), Sends::Stream).err().unwrap();
        assert_eq!(error.code, Code::ClusterBusy);
        assert!(error.is_retryable());
        assert!(open(&agent(2), Sends::Small).is_ok());
        // An answer that nobody reads still counts.
        let unread = body(stream::iter([Bytes::from_static(b"answer")]));
        let answer = held.pop().unwrap().until_sent(unread);
        assert!(open(&agent(1), Sends::Small).is_err());
        drop(answer);
        held.push(open(&agent(1), Sends::Small).unwrap());
        drop(held);
        assert!(calls.lock().is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn of_large_calls_there_are_fewer() {
        let calls = Calls::default();
        let open = |sends| calls.open(&agent(1), None, sends);
        let held: Vec<_> =
            (0..limits::LARGE_CALLS_PER_CALLER_MAX).map(|_| open(Sends::Large).unwrap()).collect();
        assert_eq!(open(Sends::Large).err().unwrap().code, Code::ClusterBusy);
        assert!(open(Sends::Small).is_ok());
        drop(held);
        assert!(open(Sends::Large).is_ok());
    }

    #[tokio::test]
    async fn a_request_that_is_too_large_ends_where_its_bound_is() {
        let frame = Bytes::from(vec![0; limits::SMALL_REQUEST_BYTES_MAX / 2]);
        let frames = |count| body(stream::iter(vec![frame.clone(); count]));
        let whole = bounded(frames(2), Sends::Small).collect().await.unwrap();
        assert_eq!(whole.to_bytes().len(), limits::SMALL_REQUEST_BYTES_MAX);
        assert!(bounded(frames(3), Sends::Small).collect().await.is_err());
        assert!(bounded(frames(3), Sends::Large).collect().await.is_ok());
        assert!(bounded(frames(3), Sends::Stream).collect().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_come_is_given_up_and_a_stream_is_not() {
        let begun = tokio::time::Instant::now();
        let never = || body(stream::iter([Bytes::from_static(b"x")]).chain(stream::pending()));
        assert!(bounded(never(), Sends::Large).collect().await.is_err());
        assert_eq!(begun.elapsed(), REQUEST_MAX);
        let streamed =
            tokio::time::timeout(10 * REQUEST_MAX, bounded(never(), Sends::Stream).collect());
        assert!(streamed.await.is_err(), "a stream may be silent");
    }
}
