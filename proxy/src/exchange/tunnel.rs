//! After a 101: bytes both ways between client and upstream, until both have ended, one breaks, or nothing moves.
//!
//! Enters: two streams, and what came early on either. Leaves: the counts of what went through. A direction holds at
//! most one buffer, and only while its bytes wait to be written, so that a slow reader slows the other side down; an
//! idle tunnel holds none. Which protocol is spoken is of no interest here.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::forward::Leg;
use super::record::Source;
use super::refusal::Refusal;
use super::request::Sending;
use super::{Exchange, Vanished};
use crate::http::h1::encode::Framing;
use crate::http::headers::Span;
use crate::http::upgrade;
use crate::limits;
use crate::snapshot::Endpoint;
use crate::tls::{Stream, StreamError};
use crate::wire::Wire;
use crate::worker::clock::{self, Moment};
use crate::worker::{Buffer, ConnError, Deadline, First, is_closing, race, take_turn};

impl Exchange<'_> {
    /// The protocol that the upstream is asked for, if the request as it goes out may still ask for one.
    pub(super) fn asked_protocol(&self, endpoint: &Endpoint, framing: Framing) -> Option<Span> {
        let plain =
            self.upstream_method() == b"GET" && matches!(framing, Framing::Nothing | Framing::Length(0));
        let asked = upgrade::asked(&self.scratch.head, &self.scratch.received);
        asked.filter(|_| plain && !endpoint.http2 && self.model_row().is_none())
    }

    /// Whether the 101 that is at the start of `received` is what the request asked for.
    pub(super) fn switches(&self, sending: &Sending, received: &[u8]) -> bool {
        sending.upgrade.is_some_and(|asked| {
            let asked = asked.of(&self.scratch.received);
            upgrade::agreed(asked, &self.scratch.response, received)
        })
    }

    /// Passes the 101 on and carries what follows it. Neither connection is used for anything else afterwards.
    pub(super) async fn tunnel(&mut self, leg: Leg, endpoint: &Endpoint) -> Result<(), Vanished> {
        // HTTP/2 has no 101 (RFC 9113 §8.6), and nobody asks for one there.
        let Wire::Bytes(mut stream) = leg.leased.wire else {
            self.record.source = Source::Gateway;
            return self.refuse(Refusal::Upstream(502)).await;
        };
        self.keep_alive = false;
        self.write_head_with(Framing::Nothing);
        self.send().await?;
        self.client.output = Buffer::empty();
        stream.conn().disarm();
        let Some(client) = self.client.wire.bytes() else {
            return Err(Vanished);
        };
        let early = std::mem::replace(&mut self.client.input, Buffer::empty());
        let mut tunnel = Tunnel {
            up: Way::new(early, endpoint.write),
            down: Way::new(leg.input, Duration::from_secs(limits::CLIENT_WRITE_S)),
            client,
            upstream: &mut stream,
            patience: &self.client.patience,
            idle: endpoint.read,
            moved_at: clock::now(),
        };
        // That one side broke off is an end like any other: no length was promised.
        let _ = tunnel.carry().await;
        let (received, sent) = (tunnel.up.moved, tunnel.down.moved);
        self.client.patience.disarm();
        self.record.carried(received, sent);
        // Whoever did not end the tunnel is told that it has ended, if it can be told at once.
        let _ = stream.try_finish();
        Ok(())
    }
}

/// Two streams and what is on its way between them.
struct Tunnel<'t> {
    client: &'t mut Stream,
    upstream: &'t mut Stream,
    /// From the client to the upstream.
    up: Way,
    /// From the upstream to the client.
    down: Way,
    patience: &'t Deadline,
    /// How long nothing may move in either direction.
    idle: Duration,
    moved_at: Moment,
}

impl Tunnel<'_> {
    /// # Errors
    /// When one side breaks, or takes nothing for too long.
    async fn carry(&mut self) -> Result<(), StreamError> {
        loop {
            let up = self.up.advance(self.client, self.upstream)?;
            let down = self.down.advance(self.upstream, self.client)?;
            if self.up.finished && self.down.finished || is_closing() {
                return Ok(());
            }
            if up || down {
                self.moved_at = clock::now();
                take_turn().await;
            } else if !self.wait().await {
                return Err(ConnError::TimedOut.into());
            }
        }
    }

    /// Waits until a step may come further, without holding a buffer for what has not come; false when that takes too
    /// long.
    async fn wait(&mut self) -> bool {
        let ends = [
            self.moved_at + self.idle,
            self.up.stalls_at(),
            self.down.stalls_at(),
        ];
        self.patience.arm(ends[0].min(ends[1]).min(ends[2]));
        let (client, upstream) = (self.client.conn(), self.upstream.conn());
        let up_writes = self.up.has_bytes(self.upstream);
        let down_writes = self.down.has_bytes(self.client);
        let mut from_client = pin!(wanted(self.up.reads(), client.readable()));
        let mut to_upstream = pin!(wanted(up_writes, upstream.writable()));
        let mut from_upstream = pin!(wanted(self.down.reads(), upstream.readable()));
        let mut to_client = pin!(wanted(down_writes, client.writable()));
        // All are asked each time: who is always ready must not hide who waits.
        let any = poll_fn(|context| {
            let up = from_client.as_mut().poll(context).is_ready();
            let sent_up = to_upstream.as_mut().poll(context).is_ready();
            let down = from_upstream.as_mut().poll(context).is_ready();
            let sent_down = to_client.as_mut().poll(context).is_ready();
            self.up.readable |= up;
            self.up.writable |= sent_up;
            self.down.readable |= down;
            self.down.writable |= sent_down;
            if up || sent_up || down || sent_down {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        race(any, self.patience.wait()).await == First::Left(())
    }
}

/// The event, if it is wanted. What it brings shows when the step is tried.
async fn wanted(wanted: bool, event: impl Future<Output = Result<(), ConnError>>) {
    if wanted {
        let _ = event.await;
    } else {
        pending().await
    }
}

/// One direction.
struct Way {
    /// Read and not yet written.
    buffer: Buffer,
    /// How long who gets the bytes may take none of them.
    write: Duration,
    /// Since when the bytes wait.
    stalled: Option<Moment>,
    /// Whether a read, or a write, may bring something: not since one came to nothing.
    readable: bool,
    writable: bool,
    /// Nothing more comes.
    ended: bool,
    /// And who gets it knows.
    finished: bool,
    /// Bytes that went through.
    moved: u64,
}

impl Way {
    fn new(early: Buffer, write: Duration) -> Self {
        Self {
            buffer: early,
            write,
            stalled: None,
            readable: true,
            writable: true,
            ended: false,
            finished: false,
            moved: 0,
        }
    }

    /// Whether it waits for bytes.
    fn reads(&self) -> bool {
        !self.ended && self.buffer.is_empty()
    }

    /// Whether bytes wait to be sent to `to`.
    fn has_bytes(&self, to: &Stream) -> bool {
        !self.finished && (!self.buffer.is_empty() || to.pending() > 0)
    }

    /// When who gets the bytes has taken too long.
    fn stalls_at(&self) -> Moment {
        self.stalled.map_or(Moment::NEVER, |since| since + self.write)
    }

    /// At most one read and one write; whether anything came of it.
    fn advance(&mut self, from: &mut Stream, to: &mut Stream) -> Result<bool, StreamError> {
        let mut came = false;
        if self.readable && self.reads() {
            match from.try_read(&mut self.buffer) {
                Ok(read) => (came, self.readable) = (read, read),
                Err(StreamError::Conn(ConnError::Closed)) => (came, self.ended) = (true, true),
                Err(error) => return Err(error),
            }
        }
        if self.writable && self.has_bytes(to) {
            came |= self.write(to)?;
        }
        if self.buffer.is_empty() {
            self.buffer = Buffer::empty();
            if self.ended && !self.finished {
                self.finished = to.try_finish()?;
                came |= self.finished;
                self.writable = self.finished;
            }
        }
        Ok(came)
    }

    /// Whether anything went out.
    fn write(&mut self, to: &mut Stream) -> Result<bool, StreamError> {
        let (held, pending) = (self.buffer.len(), to.pending());
        match to.try_write(&mut self.buffer) {
            Ok(()) => {}
            // Who takes nothing more may have said why: the other direction goes on to its own end.
            Err(StreamError::Conn(_)) => {
                self.buffer.clear();
                (self.ended, self.finished) = (true, true);
                return Ok(true);
            }
            Err(StreamError::Tls) => return Err(StreamError::Tls),
        }
        self.moved += (held - self.buffer.len()) as u64;
        self.writable = !self.has_bytes(to);
        let went = (held, pending) != (self.buffer.len(), to.pending());
        if self.writable {
            self.stalled = None;
        } else if went || self.stalled.is_none() {
            self.stalled = Some(clock::now());
        }
        Ok(went)
    }
}
