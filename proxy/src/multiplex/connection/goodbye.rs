//! How a connection ends: with a goodbye that loses no request, for a fault, or all at once.
//!
//! A server that only said which stream was its last would drop those that the client is just opening. So it says goodbye
//! twice (RFC 9113 §6.8): first that it will leave, and, once the client has heard of that, which stream is the last.

use super::{Connection, Role};
use crate::http::h2::ErrorCode;
use crate::http::h2::frame;
use crate::limits;
use crate::multiplex::stream::Remote;

/// Above every stream: those that are opened meanwhile are served.
const NONE_YET: u32 = 0x7fff_ffff;
/// A PING that comes back once the peer has read the first goodbye.
pub(super) const HEARD: &[u8; 8] = b"goodbye?";

impl Connection {
    /// Takes the next step of leaving. After the first a server still takes streams; what a client opens is its own choice.
    pub(in crate::multiplex) fn part(&mut self) {
        if self.role == Role::Client || self.parting {
            return self.leave();
        }
        self.out.furnish();
        self.parting = true;
        frame::push_go_away(NONE_YET, ErrorCode::NoError, &mut self.out);
        frame::push_ping(HEARD, &mut self.out);
    }

    /// Whether leaving has begun.
    pub(in crate::multiplex) const fn is_parting(&self) -> bool {
        self.parting || self.leaving
    }

    /// Says that no new streams are taken.
    pub(in crate::multiplex) fn leave(&mut self) {
        self.out.furnish();
        if !std::mem::replace(&mut self.leaving, true) {
            frame::push_go_away(self.served, ErrorCode::NoError, &mut self.out);
        }
    }

    /// Ends everything for the peer's fault.
    pub(in crate::multiplex) fn fail(&mut self, code: ErrorCode) {
        self.out.furnish();
        frame::push_go_away(self.served, code, &mut self.out);
        self.die();
    }

    /// Nothing comes or goes any more.
    pub(in crate::multiplex) fn die(&mut self) {
        (self.dead, self.leaving) = (true, true);
        for stream in self.streams.values_mut() {
            // An answer that came whole is one; a request without a client is none.
            let whole = stream.remote == Remote::Ended && (stream.ended || self.role == Role::Client);
            if !whole {
                stream.remote = Remote::Reset(ErrorCode::Internal);
            }
            stream.ended = true;
            stream.wake();
        }
        self.wake_greeted();
    }

    pub(in crate::multiplex) const fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether no stream of ours will be opened any more.
    pub(in crate::multiplex) const fn is_left(&self) -> bool {
        self.left || self.leaving || self.dead || self.next >= limits::H2_LAST_STREAM
    }
}
