//! The state of one connection (RFC 9113): its streams, their windows, and what waits to be sent. No I/O.
//!
//! Enters: received bytes, and what exchanges want sent. Leaves: opened streams, woken exchanges, bytes to send. Every
//! nuisance that is free for a peer costs it from a budget.

mod heads;
mod receive;
mod send;

use std::collections::{HashMap, VecDeque};

use super::budget::Budget;
use super::stream::{Remote, Stream};
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
    settled: bool,
    shrunk: bool,
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
        let window = limits::H2_STREAM_WINDOW_BYTES;
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
            Role::Server => limits::H2_WINDOW_BYTES,
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
            shrunk: false,
            leaving: false,
            left: false,
            dead: false,
            resets: Budget::new(settable::h2_resets(), limits::H2_RESETS_PER_S, now),
            chatter: Budget::new(settable::h2_chatter(), limits::H2_CHATTER_PER_S, now),
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
        if self.out.len() > limits::H2_OUT_MOST_BYTES {
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

    /// DATA on a stream that is no more.
    fn stray(&mut self, id: u32, now: Moment) -> Result<(), ErrorCode> {
        self.chat(now)?;
        if self.role == Role::Server && !self.leaving && !self.forgotten.contains(&id) {
            self.forget(id);
            frame::push_reset(id, ErrorCode::StreamClosed, &mut self.out);
            return self.spend_reset(now);
        }
        Ok(())
    }

    fn chat(&mut self, now: Moment) -> Result<(), ErrorCode> {
        let may = self.chatter.spend(now);
        if may {
            Ok(())
        } else {
            settable::reached(Limit::H2Chatter);
            Err(ErrorCode::EnhanceYourCalm)
        }
    }

    fn spend_reset(&mut self, now: Moment) -> Result<(), ErrorCode> {
        let may = self.resets.spend(now);
        if may {
            Ok(())
        } else {
            settable::reached(Limit::H2Resets);
            Err(ErrorCode::EnhanceYourCalm)
        }
    }

    /// Ends a stream for what the peer did. Whoever serves it learns of it.
    pub(super) fn reset_stream(&mut self, id: u32, code: ErrorCode, now: Moment) -> Result<(), ErrorCode> {
        self.out.furnish();
        if let Some(stream) = self.streams.get_mut(&id) {
            if !stream.is_reset() {
                frame::push_reset(id, code, &mut self.out);
            }
            stream.remote = Remote::Reset(code);
            stream.ended = true;
            stream.wake();
        }
        match self.role {
            Role::Server => self.spend_reset(now),
            Role::Client => Ok(()),
        }
    }

    fn forget(&mut self, id: u32) {
        if self.forgotten.len() >= limits::H2_FORGOTTEN {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(id);
    }

    fn keep_fields(&mut self, mut fields: Fields) {
        fields.clear();
        if self.spare_fields.len() < limits::H2_SPARE && fields.bytes.capacity() <= limits::BUFFER_BYTES {
            self.spare_fields.push(fields);
        }
    }

    /// Gives DATA bytes of the connection back to the peer, once it is worth a frame.
    fn give_back(&mut self, count: usize) {
        self.credit += count;
        if self.credit >= limits::H2_WINDOW_BYTES as usize / 2 {
            let credit = u32::try_from(std::mem::take(&mut self.credit)).unwrap_or(0);
            frame::push_window_update(0, credit, &mut self.out);
            self.room += i64::from(credit);
        }
    }

    /// What was received on a stream has been taken: the peer may send more.
    pub(super) fn consumed(&mut self, id: u32, count: usize) {
        self.out.furnish();
        self.give_back(count);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.credit += count;
        if stream.remote == Remote::Open && stream.credit >= limits::H2_STREAM_WINDOW_BYTES as usize / 2 {
            let credit = u32::try_from(std::mem::take(&mut stream.credit)).unwrap_or(0);
            stream.room += i64::from(credit);
            frame::push_window_update(id, credit, &mut self.out);
        }
    }

    /// Lets go of a stream: what is open of it is reset.
    pub(super) fn release(&mut self, id: u32) {
        self.out.furnish();
        let Some(mut stream) = self.streams.remove(&id) else {
            return;
        };
        let code = match (stream.remote, stream.ended, self.role) {
            (Remote::Reset(_), ..) | (Remote::Ended, true, _) => None,
            // The answer is whole; nobody needs the rest of the upload (§8.1).
            (Remote::Open, true, Role::Server) => Some(ErrorCode::NoError),
            (_, false, Role::Server) => Some(ErrorCode::Internal),
            (_, _, Role::Client) => Some(ErrorCode::Cancel),
        };
        if let Some(code) = code {
            frame::push_reset(id, code, &mut self.out);
        }
        if stream.remote != Remote::Ended {
            self.forget(id);
        }
        // What passes it on beside its exchange must not wait for ever.
        stream.wake();
        self.give_back(stream.received.len());
        for fields in [stream.head.take(), stream.trailers.take()].into_iter().flatten() {
            self.keep_fields(fields);
        }
        if self.streams.is_empty() {
            self.rest();
        }
    }

    /// Nobody knows for how long there will be no stream: what one after the other needs is kept, and no more.
    fn rest(&mut self) {
        let small = limits::H2_TABLE_BYTES;
        self.spare_fields
            .retain(|fields| fields.bytes.capacity() <= small);
        self.spare_fields.truncate(1);
        self.forgotten.shrink_to(limits::H2_SPARE);
        self.streams.shrink_to(limits::H2_SPARE);
    }

    pub(super) fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.get_mut(&id)
    }

    /// Streams at work.
    pub(super) fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Wakes everybody who waits to send.
    pub(super) fn wake_writers(&mut self) {
        for waker in self
            .streams
            .values_mut()
            .filter_map(|stream| stream.writer.take())
        {
            waker.wake();
        }
    }

    /// Whether a head has begun and not ended.
    pub(super) const fn is_in_block(&self) -> bool {
        self.block.is_some()
    }

    pub(super) const fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether the peer lets no more streams be opened, ever.
    pub(super) const fn is_left(&self) -> bool {
        self.left || self.dead || self.next >= limits::H2_LAST_STREAM
    }
}

/// Feeds a connection with frames, takes what comes, and checks its bounds.
#[cfg(fuzzing)]
pub(super) fn fuzzed(role: Role, frames: &[u8]) {
    let mut state = Connection::new(role, Moment::default());
    let mut input = Vec::new();
    if role == Role::Server {
        input.extend_from_slice(PREFACE);
    }
    frame::push_settings(&[], &mut input);
    input.extend_from_slice(frames);
    for _ in 0..4 {
        state.open();
    }
    let mut done = 0;
    while let Ok(step) = state.advance(&input[done..], Moment::default()) {
        if step.consumed == 0 {
            break;
        }
        done += step.consumed;
        let held: usize = state.streams.values().map(|stream| stream.received.len()).sum();
        let most = match role {
            Role::Server => limits::H2_WINDOW_BYTES,
            Role::Client => limits::H2_STREAMS * limits::H2_STREAM_WINDOW_BYTES,
        };
        assert!(held <= most as usize);
        assert!(state.streams.len() <= limits::H2_STREAMS as usize);
        assert!(state.out.len() <= limits::H2_OUT_MOST_BYTES);
        if let Some(id) = step.opened.filter(|id| id % 3 == 0) {
            state.release(id);
        }
    }
}

#[cfg(test)]
impl Connection {
    /// Memory that it holds beside what waits to be sent.
    fn idle_bytes(&self) -> usize {
        let fields: usize = self.spare_fields.iter().map(Fields::capacity).sum();
        fields + self.decoder.capacity() + self.streams.capacity() * size_of::<(u32, Stream)>()
    }
}

#[cfg(test)]
mod tests;
