//! One stream of a shared connection, as the exchange on it sees it.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::Shared;
use super::stream::{Remote, Stream};
use crate::http::h1::HeadError;
use crate::http::h2::{ErrorCode, message};
use crate::http::head::{Method, RequestHead, ResponseHead};
use crate::tls::StreamError;
use crate::worker::{Buffer, ConnError, Deadline, First, clock, race};

/// A stream. Dropping it resets what is still open of it.
pub struct Handle {
    pub(super) shared: Rc<Shared>,
    pub(super) id: u32,
    /// Whether the stream lives as long as this.
    pub(super) owns: bool,
    deadline: Deadline,
    /// Whether its head was asked for.
    taken: Cell<bool>,
    /// The next DATA is the last.
    pub(super) ending: bool,
}

impl Handle {
    pub(super) fn new(shared: Rc<Shared>, id: u32) -> Self {
        Self {
            shared,
            id,
            owns: true,
            deadline: Deadline::on_waker(),
            taken: Cell::new(false),
            ending: false,
        }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        self.shared.state.borrow_mut().stream(self.id).map(act)
    }

    /// Fails what waits on this stream when `within` passes without [`Handle::disarm`] or another arming.
    pub fn arm(&self, within: Duration) {
        self.deadline.arm_in(within);
    }

    /// Takes the deadline away.
    pub fn disarm(&self) {
        self.deadline.disarm();
    }

    /// The request that opened this stream; `received` becomes the bytes that `head` points into.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn take_request(&self, received: &mut Vec<u8>, head: &mut RequestHead) -> Result<(), HeadError> {
        self.taken.set(true);
        let taken = self.with(|stream| {
            let ended = stream.remote == Remote::Ended && stream.got == 0 && stream.trailers.is_none();
            let mut fields = stream.head.take().unwrap_or_default();
            let read = message::request(&mut fields, ended, head);
            stream.expects = message::announced(head.body, &head.headers, &fields);
            std::mem::swap(received, &mut fields.bytes);
            stream.head = Some(fields);
            match read {
                Ok(()) if stream.is_wrong() => Err(HeadError::ContentLength),
                read => read,
            }
        });
        taken.unwrap_or(Err(HeadError::Pseudo))
    }

    /// Waits for the next head of the response to a request of `method`, interim ones before the final one; `received`
    /// becomes the bytes that `head` points into. The inner result says whether it can be understood.
    ///
    /// # Errors
    /// [`StreamError`] when none comes.
    pub async fn response(
        &self,
        method: Method,
        received: &mut Vec<u8>,
        head: &mut ResponseHead,
    ) -> Result<Result<(), HeadError>, StreamError> {
        self.wait(
            |stream, waker| match stream.early.pop_front().or_else(|| stream.head.take()) {
                Some(fields) if message::is_interim(&fields) => {
                    let read = message::response(&fields, false, method, head);
                    *received = fields.bytes;
                    Poll::Ready(Ok(read))
                }
                Some(mut fields) => {
                    self.taken.set(true);
                    let ended = stream.remote == Remote::Ended
                        && stream.received.is_empty()
                        && stream.trailers.is_none();
                    let read = message::response(&fields, ended, method, head);
                    stream.expects = message::announced(head.body, &head.headers, &fields);
                    std::mem::swap(received, &mut fields.bytes);
                    stream.head = Some(fields);
                    Poll::Ready(Ok(match read {
                        Ok(()) if stream.is_wrong() => Err(HeadError::ContentLength),
                        read => read,
                    }))
                }
                None => match stream.remote {
                    Remote::Reset(_) => Poll::Ready(Err(LOST)),
                    Remote::Open | Remote::Ended => {
                        stream.reader = Some(waker.clone());
                        Poll::Pending
                    }
                },
            },
        )
        .await
    }

    /// Appends DATA that came, at least one byte.
    ///
    /// # Errors
    /// [`ConnError::Closed`] at the stream's end, else how it failed.
    pub async fn read(&mut self, buffer: &mut Buffer) -> Result<usize, StreamError> {
        let count = self
            .wait(|stream, waker| match (stream.received.len(), stream.remote) {
                (0, Remote::Open) => {
                    stream.reader = Some(waker.clone());
                    Poll::Pending
                }
                (0, Remote::Ended) => Poll::Ready(Err(ConnError::Closed.into())),
                (_, Remote::Reset(_)) => Poll::Ready(Err(LOST)),
                (count, _) => {
                    buffer.furnish();
                    buffer.extend_from_slice(&stream.received);
                    stream.received.clear();
                    Poll::Ready(Ok(count))
                }
            })
            .await?;
        self.shared.state.borrow_mut().consumed(self.id, count);
        self.shared.wake_writer();
        Ok(count)
    }

    /// Waits until there is a head or something to read, or the end of it. May be dropped.
    ///
    /// # Errors
    /// [`StreamError`] when the deadline passed, or the stream was reset.
    pub async fn readable(&self) -> Result<(), StreamError> {
        self.wait(|stream, waker| match (stream.received.len(), stream.remote) {
            (0, Remote::Open) if stream.early.is_empty() && (self.taken.get() || !stream.begun) => {
                stream.reader = Some(waker.clone());
                Poll::Pending
            }
            (_, Remote::Reset(_)) => Poll::Ready(Err(LOST)),
            _ => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Waits until the peer has reset the stream. May be dropped.
    pub async fn reset(&self) {
        poll_fn(|context| {
            let mut state = self.shared.state.borrow_mut();
            match state.stream(self.id) {
                Some(stream) if !stream.is_reset() => {
                    stream.watcher = Some(context.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Begins to end the connection: streams are taken for as long as the peer may not know. False when it ends already.
    pub fn say_goodbye(&self) -> bool {
        let mut state = self.shared.state.borrow_mut();
        let begins = !state.is_parting();
        if begins {
            self.shared.part(&mut state);
        }
        drop(state);
        self.shared.wake_writer();
        begins
    }

    /// Whether the peer said that it did not look at what was sent (§8.7): all of it may be sent again.
    pub fn was_refused(&self) -> bool {
        let refused = |stream: &mut Stream| stream.remote == Remote::Reset(ErrorCode::RefusedStream);
        self.with(refused).unwrap_or(false)
    }

    /// Whether the head of an answer is there to be read.
    pub fn is_answered(&self) -> bool {
        self.with(|stream| stream.begun && !stream.is_reset())
            .unwrap_or(false)
    }

    /// A way to end the stream while an operation on it waits.
    pub fn aborter(&self) -> StreamAborter {
        StreamAborter {
            shared: Rc::clone(&self.shared),
            id: self.id,
        }
    }

    /// Sends a head, whose block `write` writes; `end` when nothing follows it.
    pub fn send_head(&self, end: bool, write: impl FnOnce(&mut Vec<u8>)) {
        self.shared.state.borrow_mut().send_block(self.id, end, write);
        self.shared.wake_writer();
    }

    /// Makes what is written next the last.
    pub fn end(&mut self) {
        self.ending = self.with(|stream| !stream.ended).unwrap_or(false);
    }

    /// Sends the whole buffer as the peer's windows allow, and clears it.
    ///
    /// # Errors
    /// [`StreamError`] when the peer makes no room in time or has reset the stream.
    pub async fn write_all(&mut self, buffer: &mut Buffer) -> Result<(), StreamError> {
        let mut sent = 0;
        loop {
            let room = self.room(buffer.len() - sent).await?;
            let piece = &buffer[sent..][..room];
            sent += piece.len();
            let last = self.ending && sent == buffer.len();
            if !piece.is_empty() || last {
                self.shared.state.borrow_mut().send_data(self.id, piece, last);
                self.shared.wake_writer();
            }
            if sent == buffer.len() {
                buffer.clear();
                return Ok(());
            }
        }
    }

    /// How much of `wanted` can be sent; waits for some of it.
    async fn room(&self, wanted: usize) -> Result<usize, StreamError> {
        let poll = poll_fn(|context| {
            let mut state = self.shared.state.borrow_mut();
            let room = state.sendable(self.id).min(wanted);
            let answered = state.is_answered(self.id);
            let Some(stream) = state.stream(self.id) else {
                return Poll::Ready(Err(LOST));
            };
            match stream.remote {
                Remote::Reset(_) => Poll::Ready(Err(LOST)),
                // Whoever answers without wanting more of a request has closed this direction.
                _ if (stream.ended || answered) && (wanted > 0 || self.ending) => {
                    Poll::Ready(Err(ConnError::Closed.into()))
                }
                _ if room > 0 || wanted == 0 => Poll::Ready(Ok(room)),
                _ => {
                    stream.writer = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        match race(poll, self.deadline.wait()).await {
            First::Left(result) => result,
            First::Right(()) => Err(ConnError::TimedOut.into()),
        }
    }

    /// Ends the stream for a malformed message ([`ErrorCode::Protocol`], §8.1.1), or without having looked at it
    /// ([`ErrorCode::RefusedStream`]).
    pub fn refuse(&self, code: ErrorCode) {
        let mut state = self.shared.state.borrow_mut();
        if let Err(code) = state.reset_stream(self.id, code, clock::now()) {
            state.fail(code);
        }
        drop(state);
        self.shared.wake_writer();
    }

    async fn wait<T>(
        &self,
        mut look: impl FnMut(&mut Stream, &std::task::Waker) -> Poll<Result<T, StreamError>>,
    ) -> Result<T, StreamError> {
        let poll = poll_fn(|context| {
            let mut state = self.shared.state.borrow_mut();
            match state.stream(self.id) {
                Some(stream) => look(stream, context.waker()),
                None => Poll::Ready(Err(LOST)),
            }
        });
        match race(poll, self.deadline.wait()).await {
            First::Left(result) => result,
            First::Right(()) => Err(ConnError::TimedOut.into()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.owns {
            self.shared.release(self.id);
        }
    }
}

/// Ends a stream whose operation somebody else awaits.
pub struct StreamAborter {
    shared: Rc<Shared>,
    id: u32,
}

impl StreamAborter {
    /// Resets the stream; operations that wait complete.
    pub fn abort(self) {
        // Only a server spends from its peer's budget.
        let _ = self
            .shared
            .state
            .borrow_mut()
            .reset_stream(self.id, ErrorCode::Cancel, clock::now());
        self.shared.wake_writer();
    }
}

/// How a stream that was reset looks to who uses it: never as one that ended.
const LOST: StreamError = StreamError::Conn(ConnError::Broken(std::io::ErrorKind::ConnectionReset));
