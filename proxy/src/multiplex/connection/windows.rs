//! Flow control of what comes: DATA that was taken is given back to the peer as room for more.

use super::Connection;
use crate::http::h2::frame;
use crate::multiplex::stream::Remote;
use crate::settable;

impl Connection {
    /// Gives DATA bytes of the connection back to the peer, once it is worth a frame.
    pub(super) fn give_back(&mut self, count: usize) {
        self.credit += count;
        if self.credit >= settable::h2_window_bytes() as usize / 2 {
            let credit = u32::try_from(std::mem::take(&mut self.credit)).unwrap_or(0);
            frame::push_window_update(0, credit, &mut self.out);
            self.room += i64::from(credit);
        }
    }

    /// What was received on a stream has been taken: the peer may send more.
    pub(in crate::multiplex) fn consumed(&mut self, id: u32, count: usize) {
        self.out.furnish();
        self.give_back(count);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.credit += count;
        if stream.remote == Remote::Open && stream.credit >= settable::h2_stream_window_bytes() as usize / 2 {
            let credit = u32::try_from(std::mem::take(&mut stream.credit)).unwrap_or(0);
            stream.room += i64::from(credit);
            frame::push_window_update(id, credit, &mut self.out);
        }
    }

    /// Wakes everybody who waits to send.
    pub(in crate::multiplex) fn wake_writers(&mut self) {
        for waker in self
            .streams
            .values_mut()
            .filter_map(|stream| stream.writer.take())
        {
            waker.wake();
        }
    }
}
