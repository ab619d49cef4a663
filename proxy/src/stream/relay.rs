//! Bytes both ways between two streams, until both have ended, one breaks, or nothing moves.
//!
//! Enters: two streams, and what came early on either. Leaves: the counts of what went through. A direction holds at
//! most one buffer, and only while its bytes wait to be written, so that a slow reader slows the other side down; an
//! idle relay holds none. An end is passed on, and the other direction goes on without it. Absent: policy, and what the
//! bytes mean.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::tls::{Duplex, Stream, StreamError};
use crate::worker::clock::{self, Moment};
use crate::worker::{Arrived, Buffer, ConnError, Deadline, First, is_closing, race, take_turn};

/// One end of a relay.
pub struct End<'e> {
    /// The connection.
    pub stream: &'e mut Stream,
    /// What it has sent already.
    pub early: Buffer,
    /// How long it may take nothing of what it is sent.
    pub write: Duration,
}

/// What a relay comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Bytes that the left end sent and the right one took.
    pub from_left: u64,
    /// Bytes the other way.
    pub from_right: u64,
    /// How it ended.
    pub ending: Ending,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both ends said that they would send no more, or the worker closes what waits.
    Closed,
    /// Nothing moved, or one end took nothing, for too long.
    Idle,
    /// A connection broke.
    Broken,
}

/// Passes bytes on until both directions have ended, or nothing moves in either for `idle`.
pub async fn relay(left: End<'_>, right: End<'_>, idle: Duration) -> Relayed {
    let mut relay = Relay {
        there: Way::new(left.early, right.write),
        back: Way::new(right.early, left.write),
        left: left.stream.duplex(),
        right: right.stream.duplex(),
        patience: Deadline::on_waker(),
        idle,
        moved_at: clock::now(),
    };
    let ending = match relay.carry().await {
        Ok(()) => Ending::Closed,
        Err(StreamError::Conn(ConnError::TimedOut)) => Ending::Idle,
        Err(_) => Ending::Broken,
    };
    Relayed {
        from_left: relay.there.moved,
        from_right: relay.back.moved,
        ending,
    }
}

/// Two streams and what is on its way between them.
struct Relay<'r> {
    left: Duplex<'r>,
    right: Duplex<'r>,
    /// From left to right.
    there: Way,
    /// From right to left.
    back: Way,
    patience: Deadline,
    /// How long nothing may move in either direction.
    idle: Duration,
    moved_at: Moment,
}

impl Relay<'_> {
    /// # Errors
    /// When one side breaks, or takes nothing for too long.
    async fn carry(&mut self) -> Result<(), StreamError> {
        let (left, right) = (self.left.conn(), self.right.conn());
        // Asking costs an operation of the ring: who has not answered yet is not asked again.
        let (mut from_left, mut from_right) = (pin!(None), pin!(None));
        loop {
            let there = self.there.advance(&mut self.left, &mut self.right)?;
            let back = self.back.advance(&mut self.right, &mut self.left)?;
            if self.there.finished && self.back.finished || is_closing() {
                return Ok(());
            }
            if there || back {
                self.moved_at = clock::now();
                take_turn().await;
                continue;
            }
            if self.there.reads() && from_left.is_none() {
                from_left.set(Some(left.readable()));
            }
            if self.back.reads() && from_right.is_none() {
                from_right.set(Some(right.readable()));
            }
            self.patience.arm(self.gives_up_at());
            let there_writes = self.there.has_bytes(&self.right);
            let back_writes = self.back.has_bytes(&self.left);
            let mut to_right = pin!(there_writes.then(|| right.room(self.there.deceived)));
            let mut to_left = pin!(back_writes.then(|| left.room(self.back.deceived)));
            // All are asked each time: who is always ready must not hide who waits.
            let any = poll_fn(|context| {
                let there = comes(from_left.as_mut(), context);
                let sent_there = comes(to_right.as_mut(), context);
                let back = comes(from_right.as_mut(), context);
                let sent_back = comes(to_left.as_mut(), context);
                self.there.told(there, sent_there);
                self.back.told(back, sent_back);
                if there || sent_there || back || sent_back {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            });
            if race(any, self.patience.wait()).await != First::Left(()) {
                return Err(ConnError::TimedOut.into());
            }
        }
    }

    /// When nothing has moved, or one end has taken nothing, for too long.
    fn gives_up_at(&self) -> Moment {
        let idle = self.moved_at + self.idle;
        idle.min(self.there.stalls_at()).min(self.back.stalls_at())
    }
}

/// Whether an event that was asked for has come. What it brings shows when the step is tried.
fn comes<T>(mut event: Pin<&mut Option<impl Future<Output = T>>>, context: &mut Context<'_>) -> bool {
    let came = event
        .as_mut()
        .as_pin_mut()
        .is_some_and(|event| event.poll(context).is_ready());
    if came {
        event.set(None);
    }
    came
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
    /// Whether the last poll told that there is room, and whether a write after that found none.
    told: bool,
    deceived: bool,
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
            told: false,
            deceived: false,
            ended: false,
            finished: false,
            moved: 0,
        }
    }

    /// Notes what polls tell: that bytes have come, and that there is room.
    const fn told(&mut self, came: bool, room: bool) {
        self.readable |= came;
        self.writable |= room;
        self.told = room;
    }

    /// Whether it waits for bytes.
    fn reads(&self) -> bool {
        !self.ended && self.buffer.is_empty()
    }

    /// Whether bytes wait to be sent to `to`.
    fn has_bytes(&self, to: &Duplex<'_>) -> bool {
        !self.finished && (!self.buffer.is_empty() || to.pending() > 0)
    }

    /// When who gets the bytes has taken too long.
    fn stalls_at(&self) -> Moment {
        self.stalled.map_or(Moment::NEVER, |since| since + self.write)
    }

    /// At most one read and one write; whether anything came of it.
    fn advance(&mut self, from: &mut Duplex<'_>, to: &mut Duplex<'_>) -> Result<bool, StreamError> {
        let mut came = false;
        if self.readable && self.reads() {
            match from.try_read(&mut self.buffer) {
                Ok(arrived) => {
                    came = arrived != Arrived::Nothing;
                    self.readable = arrived == Arrived::Some;
                }
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
    fn write(&mut self, to: &mut Duplex<'_>) -> Result<bool, StreamError> {
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
        self.deceived = !went && self.told;
        self.told = false;
        if self.writable {
            self.stalled = None;
        } else if went || self.stalled.is_none() {
            self.stalled = Some(clock::now());
        }
        Ok(went)
    }
}
