//! The state of one connection (RFC 9113): its streams, their windows, and what waits to be sent. No I/O.
//!
//! Enters: received bytes, and what exchanges want sent. Leaves: opened streams, woken exchanges, bytes to send. Every
//! nuisance that is free for a peer costs it from a budget.

#[cfg(fuzzing)]
mod fuzz;
mod goodbye;
mod heads;
mod nuisance;
mod receive;
mod send;
mod streams;
mod windows;

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use super::budget::Budget;
use super::stream::Stream;
use crate::http::h2::frame::{self, FrameHead, Kind};
use crate::http::h2::hpack::{Decoder, Fields};
use crate::http::h2::{ErrorCode, PREFACE};
use crate::limits;
use crate::settable::{self, Limit};
use crate::worker::Buffer;
use crate::worker::clock::Moment;

/// Which side of the connection is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

/// What one look at the received bytes brought.
pub(super) struct Advance {
    /// Bytes that are done with; 0 when more must come.
    pub(super) consumed: usize,
    /// A stream that the peer opened.
    pub(super) opened: Option<u32>,
}

/// A header block that is not whole yet.
struct Block {
    stream: u32,
    ended: bool,
    bytes: Vec<u8>,
    continuations: usize,
}

pub(super) struct Connection {
    role: Role,
    decoder: Decoder,
    /// Frames to be sent.
    pub(super) out: Buffer,
    streams: HashMap<u32, Stream, ahash::RandomState>,
    /// Memory of heads that are no more.
    spare_fields: Vec<Fields>,
    /// Streams that we reset while the peer may still send on them.
    forgotten: VecDeque<u32>,
    /// The newest stream of the peer, ...
    newest: u32,
    /// ... and the newest that was not ignored.
    served: u32,
    /// The next stream of ours.
    next: u32,
    window: i64,
    room: i64,
    credit: usize,
    peer_window: i64,
    peer_streams: usize,
    peer_frame: usize,
    block: Option<Block>,
    greeted: bool,
    /// Whether the peer has sent SETTINGS, ...
    settled: bool,
    /// ... and who waits for that.
    greeter: Option<Waker>,
    shrunk: bool,
    /// We said that we will leave.
    parting: bool,
    /// We take no new streams.
    pub(super) leaving: bool,
    /// The peer takes no new streams.
    left: bool,
    /// Nothing more can come or go.
    dead: bool,
    resets: Budget,
    chatter: Budget,
}

impl Connection {
    pub(super) fn new(role: Role, now: Moment) -> Self {
        let mut out = Buffer::take();
        let window = settable::h2_stream_window_bytes();
        // `SETTINGS_MAX_HEADER_LIST_SIZE`.
        let head = u32::try_from(settable::head_bytes()).unwrap_or(u32::MAX);
        match role {
            Role::Server => {
                frame::push_settings(&[(3, settable::h2_streams()), (4, window), (6, head)], &mut out)
            }
            Role::Client => {
                out.extend_from_slice(PREFACE);
                frame::push_settings(&[(2, 0), (4, window), (6, head)], &mut out);
            }
        }
        let room = match role {
            Role::Server => settable::h2_window_bytes(),
            Role::Client => limits::H2_STREAMS * window,
        };
        frame::push_window_update(0, room - 65_535, &mut out);
        Self {
            role,
            decoder: Decoder::default(),
            out,
            streams: HashMap::default(),
            spare_fields: Vec::new(),
            forgotten: VecDeque::new(),
            newest: 0,
            served: 0,
            next: 1,
            window: frame::WINDOW_INITIAL,
            room: room.into(),
            credit: 0,
            peer_window: frame::WINDOW_INITIAL,
            peer_streams: usize::MAX,
            peer_frame: frame::PAYLOAD_BYTES,
            block: None,
            greeted: role == Role::Client,
            settled: false,
            greeter: None,
            shrunk: false,
            parting: false,
            leaving: false,
            left: false,
            dead: false,
            resets: Budget::new(settable::h2_resets(), settable::h2_resets_per_s(), now),
            chatter: Budget::new(settable::h2_chatter(), settable::h2_chatter_per_s(), now),
        }
    }

    /// Looks at the next frame of `bytes`.
    ///
    /// # Errors
    /// The connection must end with this code: see [`Connection::fail`].
    pub(super) fn advance(&mut self, bytes: &[u8], now: Moment) -> Result<Advance, ErrorCode> {
        self.out.furnish();
        let nothing = Advance {
            consumed: 0,
            opened: None,
        };
        if !self.greeted {
            let seen = bytes.len().min(PREFACE.len());
            if bytes[..seen] != PREFACE[..seen] {
                return Err(ErrorCode::Protocol);
            }
            self.greeted = seen == PREFACE.len();
            return Ok(Advance {
                consumed: if self.greeted { seen } else { 0 },
                ..nothing
            });
        }
        let Some(head) = FrameHead::read(bytes) else {
            return Ok(nothing);
        };
        if head.length > frame::PAYLOAD_BYTES {
            return Err(ErrorCode::FrameSize);
        }
        let Some(payload) = bytes.get(frame::HEAD_BYTES..frame::HEAD_BYTES + head.length) else {
            return Ok(nothing);
        };
        let opened = self.frame(&head, payload, now)?;
        if self.out.len() > settable::h2_out_most_bytes() {
            settable::reached(Limit::H2OutMostBytes);
            return Err(ErrorCode::EnhanceYourCalm);
        }
        Ok(Advance {
            consumed: frame::HEAD_BYTES + head.length,
            opened,
        })
    }

    fn frame(&mut self, head: &FrameHead, payload: &[u8], now: Moment) -> Result<Option<u32>, ErrorCode> {
        let in_block = self.block.as_ref().map(|block| block.stream);
        match (in_block, head.kind) {
            (Some(stream), Kind::Continuation) if stream == head.stream => {}
            (Some(_), _) | (None, Kind::Continuation) => return Err(ErrorCode::Protocol),
            _ => {}
        }
        if !self.settled && (head.kind != Kind::Settings || head.has(frame::ACK)) {
            return Err(ErrorCode::Protocol);
        }
        match head.kind {
            Kind::Data => self.data(head, payload, now)?,
            Kind::Headers => return self.headers(head, payload, now),
            Kind::Continuation => return self.continuation(head, payload, now),
            Kind::Priority => self.priority(head, payload, now)?,
            Kind::RstStream => self.reset_received(head, payload, now)?,
            Kind::Settings => self.settings(head, payload, now)?,
            Kind::Ping => self.ping(head, payload, now)?,
            Kind::GoAway => self.go_away(head, payload, now)?,
            Kind::WindowUpdate => self.window_update(head, payload, now)?,
            Kind::PushPromise => return Err(ErrorCode::Protocol),
            Kind::Unknown => self.chat(now)?,
        }
        Ok(None)
    }

    /// Frames of a stream need a stream that exists or existed.
    fn check_stream(&self, id: u32) -> Result<(), ErrorCode> {
        let known = match self.role {
            Role::Server => id % 2 == 1 && id <= self.newest,
            Role::Client => id % 2 == 1 && id < self.next,
        };
        if known { Ok(()) } else { Err(ErrorCode::Protocol) }
    }

    fn check_headers_stream(&self, id: u32) -> Result<(), ErrorCode> {
        if self.role == Role::Server && id % 2 == 1 && id > self.newest {
            return Ok(());
        }
        self.check_stream(id)
    }

    /// Whether a head has begun and not ended.
    pub(super) const fn is_in_block(&self) -> bool {
        self.block.is_some()
    }

    /// Whether the peer opens the streams.
    pub(super) fn is_server(&self) -> bool {
        self.role == Role::Server
    }

    /// Whether the peer has said how many streams it takes.
    pub(super) const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Wakes `waker` when the peer has said how many streams it takes, or never will.
    pub(super) fn wake_settled(&mut self, waker: Waker) {
        self.greeter = Some(waker);
    }

    fn wake_greeted(&mut self) {
        if let Some(waker) = self.greeter.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
