//! The streams that are at work: how they end, and the memory that the next ones use again.

use super::{Connection, Role};
use crate::http::h2::ErrorCode;
use crate::http::h2::frame;
use crate::http::h2::hpack::Fields;
use crate::limits;
use crate::multiplex::stream::{Remote, Stream};
use crate::worker::clock::Moment;

impl Connection {
    /// Ends a stream for what the peer did. Whoever serves it learns of it.
    pub(in crate::multiplex) fn reset_stream(
        &mut self,
        id: u32,
        code: ErrorCode,
        now: Moment,
    ) -> Result<(), ErrorCode> {
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

    /// Lets go of a stream: what is open of it is reset.
    pub(in crate::multiplex) fn release(&mut self, id: u32) {
        self.out.furnish();
        let Some(mut stream) = self.streams.remove(&id) else {
            return;
        };
        let code = match (stream.remote, stream.ended, self.role) {
            (Remote::Reset(_), ..) | (Remote::Ended, true, _) => None,
            // The server has not heard of it: to reset an idle stream is an error of the connection (§6.4).
            (_, _, Role::Client) if !stream.begun_here => None,
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
        let heads = [stream.head.take(), stream.trailers.take()].into_iter().flatten();
        for fields in heads.chain(stream.early.drain(..)) {
            self.keep_fields(fields);
        }
        if self.streams.is_empty() {
            self.rest();
        }
    }

    /// Nobody knows for how long there will be no stream: what one after the other needs is kept, and no more.
    pub(super) fn rest(&mut self) {
        let small = limits::H2_TABLE_BYTES;
        self.spare_fields
            .retain(|fields| fields.bytes.capacity() <= small);
        self.spare_fields.truncate(1);
        self.forgotten.shrink_to(limits::H2_SPARE);
        self.streams.shrink_to(limits::H2_SPARE);
    }

    pub(super) fn keep_fields(&mut self, mut fields: Fields) {
        fields.clear();
        if self.spare_fields.len() < limits::H2_SPARE && fields.bytes.capacity() <= limits::BUFFER_BYTES {
            self.spare_fields.push(fields);
        }
    }

    pub(in crate::multiplex) fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.get_mut(&id)
    }

    /// Streams at work.
    pub(in crate::multiplex) fn open_streams(&self) -> usize {
        self.streams.len()
    }
}
