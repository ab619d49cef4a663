//! What we begin: streams of ours, heads, bodies.

use super::{Connection, Role};
use crate::http::h2::frame;
use crate::http::h2::hpack::encode;
use crate::limits;
use crate::multiplex::stream::{Remote, Stream};

impl Connection {
    /// Opens a stream of ours; `None` when the peer takes no more for now.
    pub(in crate::multiplex) fn open(&mut self) -> Option<u32> {
        if !self.may_open() {
            return None;
        }
        let id = self.next;
        self.next += 2;
        self.chatter.earn(limits::H2_CHATTER_PER_STREAM);
        let stream = self.new_stream();
        self.streams.insert(id, stream);
        Some(id)
    }

    /// Whether a stream of ours could be opened. Until the peer has said how many it takes, one is all that is asked of it.
    pub(in crate::multiplex) fn may_open(&self) -> bool {
        let most = if self.settled { self.peer_streams } else { 1 };
        let room = self.streams.len() < most.min(limits::H2_STREAMS as usize);
        room && !self.left && !self.leaving && !self.dead && self.next < limits::H2_LAST_STREAM
    }

    /// Sends a head, or trailers.
    pub(in crate::multiplex) fn send_block(&mut self, id: u32, end: bool, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.furnish();
        let shrink = !std::mem::replace(&mut self.shrunk, true);
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.ended) else {
            self.shrunk &= !shrink;
            return;
        };
        stream.begun_here = true;
        stream.ended = end;
        frame::push_block(id, end, self.peer_frame, &mut self.out, |out| {
            if shrink {
                encode::no_table(out);
            }
            write(out);
        });
    }

    /// Whether the answer to a stream of ours is whole: nobody needs the rest of what it answers.
    pub(in crate::multiplex) fn is_answered(&self, id: u32) -> bool {
        let whole = |stream: &Stream| stream.remote == Remote::Ended;
        self.role == Role::Client && self.streams.get(&id).is_some_and(whole)
    }

    /// DATA bytes that can be sent on a stream now.
    pub(in crate::multiplex) fn sendable(&self, id: u32) -> usize {
        let Some(stream) = self.streams.get(&id) else {
            return 0;
        };
        let window = usize::try_from(stream.window.min(self.window)).unwrap_or(0);
        let space = limits::H2_OUT_BYTES.saturating_sub(self.out.len());
        window.min(space).min(self.peer_frame)
    }

    /// Sends DATA, at most what is sendable.
    pub(in crate::multiplex) fn send_data(&mut self, id: u32, data: &[u8], end: bool) {
        self.out.furnish();
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.ended) else {
            return;
        };
        let length = i64::try_from(data.len()).unwrap_or(0);
        stream.window -= length;
        stream.ended = end;
        self.window -= length;
        self.chatter.earn(limits::H2_CHATTER_PER_DATA);
        frame::push_data(id, data, end, &mut self.out);
    }
}
