//! One stream of a connection: what it may send and was sent, and who waits for it.

use std::collections::VecDeque;
use std::task::Waker;

use crate::http::h2::ErrorCode;
use crate::http::h2::hpack::Fields;
use crate::worker::Buffer;

/// How far the peer's side of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    /// More may come.
    Open,
    /// It has said all.
    Ended,
    /// The stream is no more: the peer or we have reset it.
    Reset(ErrorCode),
}

/// What is known of it.
#[derive(Debug)]
pub(super) struct Stream {
    /// DATA bytes that the peer lets us send.
    pub(super) window: i64,
    /// DATA bytes that we let the peer send.
    pub(super) room: i64,
    /// Bytes that were taken out and not given back to the peer yet.
    pub(super) credit: usize,
    /// DATA that nobody took yet.
    pub(super) received: Buffer,
    /// Interim heads that came and were not taken yet.
    pub(super) early: VecDeque<Fields>,
    /// The head that came and was not taken yet.
    pub(super) head: Option<Fields>,
    /// The trailers.
    pub(super) trailers: Option<Fields>,
    pub(super) remote: Remote,
    /// Whether a final head has come.
    pub(super) begun: bool,
    /// Interim heads that came.
    pub(super) interim: usize,
    /// Whether we have said anything.
    pub(super) begun_here: bool,
    /// Whether we have said all.
    pub(super) ended: bool,
    /// The length that the head announced.
    pub(super) expects: Option<u64>,
    /// DATA bytes that came.
    pub(super) got: u64,
    /// Who waits for something to come.
    pub(super) reader: Option<Waker>,
    /// Who waits to be able to send.
    pub(super) writer: Option<Waker>,
    /// Who waits for the stream to be reset.
    pub(super) watcher: Option<Waker>,
}

impl Stream {
    pub(super) const fn new(window: i64, room: i64) -> Self {
        Self {
            window,
            room,
            credit: 0,
            received: Buffer::empty(),
            early: VecDeque::new(),
            head: None,
            trailers: None,
            remote: Remote::Open,
            begun: false,
            interim: 0,
            begun_here: false,
            ended: false,
            expects: None,
            got: 0,
            reader: None,
            writer: None,
            watcher: None,
        }
    }

    pub(super) const fn is_reset(&self) -> bool {
        matches!(self.remote, Remote::Reset(_))
    }

    /// Whether what came contradicts the length that was announced.
    pub(super) const fn is_wrong(&self) -> bool {
        match self.expects {
            None => false,
            Some(length) => self.got > length || matches!(self.remote, Remote::Ended) && self.got != length,
        }
    }

    /// The peer has said all: who still sends to it looks whether that is of any use.
    pub(super) fn end(&mut self) {
        self.remote = Remote::Ended;
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// Wakes whoever waits for anything.
    pub(super) fn wake(&mut self) {
        let waiting = [self.reader.take(), self.writer.take(), self.watcher.take()];
        for waker in waiting.into_iter().flatten() {
            waker.wake();
        }
    }
}
