//! The request body: read whole for policy, or thrown away after a refusal.

use super::refusal::Refusal;
use super::{Exchange, Vanished};
use crate::http::body::BodyStep;
use crate::http::h1::{chunked, encode};
use crate::http::h2::hpack;
use crate::settable::{self, Limit};
use crate::tls::StreamError;
use crate::worker::{Buffer, ConnError, clock};

impl Exchange<'_> {
    /// Reads the body to its end, at most `bound` bytes.
    pub(super) async fn read_whole_body(&mut self, bound: usize) -> Result<Result<(), Refusal>, Vanished> {
        if self.record.body_read {
            return Ok(if self.scratch.body.len() > bound {
                Err(self.too_large())
            } else {
                Ok(())
            });
        }
        // What is done with goes at once: a body of small chunks would be moved for each of them.
        let mut done = 0;
        loop {
            let input = &self.client.input[done..];
            match self.body.advance(input) {
                Ok(BodyStep::Data { start, end }) => {
                    self.scratch.body.extend_from_slice(&input[start..end]);
                    done += end;
                    if self.scratch.body.len() > bound {
                        self.client.input.consume(done);
                        return Ok(Err(self.too_large()));
                    }
                }
                Ok(BodyStep::More) => {
                    self.client.input.clear();
                    done = 0;
                    self.read_body_bytes().await?;
                }
                Ok(BodyStep::End { consumed }) => {
                    self.client.input.consume(done + consumed);
                    self.record.body_read = true;
                    return Ok(Ok(()));
                }
                Err(_) => {
                    self.keep_alive = false;
                    return Ok(Err(Refusal::Malformed(400)));
                }
            }
        }
    }

    /// Appends what the client sends of its body, after letting it start if it waits to be let.
    pub(super) async fn read_body_bytes(&mut self) -> Result<(), Vanished> {
        if std::mem::take(&mut self.owes_continue) {
            match self.client.wire.frames() {
                Some(frames) => frames.send_head(false, |out| hpack::encode::status(100, out)),
                None => self.client.output.extend_from_slice(encode::CONTINUE),
            }
            self.send().await?;
        }
        if self.client.input.capacity() == 0 {
            self.client.input = Buffer::take();
        }
        let (within, limit) = self.client.pace.within();
        let since = clock::now();
        self.client.wire.arm(within);
        let read = self.client.wire.read(&mut self.client.input).await;
        self.client.wire.disarm();
        self.client.pace.waited(since);
        match read {
            Ok(count) => {
                self.record.received(count);
                self.client.pace.came(count);
                Ok(())
            }
            // Frames mark the end of a message; bytes of a request that end with the connection are not one.
            Err(StreamError::Conn(ConnError::Closed)) if self.client.wire.is_shared() => {
                self.body.end().map_err(|_error| Vanished)
            }
            Err(error) => {
                super::timed_out(error, limit);
                Err(Vanished)
            }
        }
    }

    /// Reads and forgets what is left of the body, if that is little; else the connection must close.
    pub(super) async fn discard_body(&mut self) -> Result<(), Vanished> {
        // A shared connection goes on whatever becomes of one message.
        if self.client.wire.is_shared() {
            return Ok(());
        }
        let mut budget = settable::drain_bytes();
        // A client that was never let to start may or may not send: only closing is unambiguous.
        if self.owes_continue && !self.body.is_ended() {
            self.keep_alive = false;
        }
        if self.body.remaining().is_some_and(|left| left > budget) {
            self.leave_body();
        }
        let mut done = 0;
        while self.keep_alive {
            match self.body.advance(&self.client.input[done..]) {
                Ok(BodyStep::Data { end, .. }) => {
                    done += end;
                    match budget.checked_sub(end as u64) {
                        Some(left) => budget = left,
                        None => self.leave_body(),
                    }
                }
                Ok(BodyStep::More) => {
                    self.client.input.clear();
                    done = 0;
                    self.read_body_bytes().await?;
                }
                Ok(BodyStep::End { consumed }) => {
                    self.client.input.consume(done + consumed);
                    return Ok(());
                }
                Err(_) => self.keep_alive = false,
            }
        }
        self.client.input.consume(done);
        Ok(())
    }

    /// More of the body is left than is read for nothing: the connection closes instead.
    pub(super) fn leave_body(&mut self) {
        if std::mem::take(&mut self.keep_alive) {
            settable::reached(Limit::DrainBytes);
        }
    }
}

/// Appends data as one chunk.
pub(super) fn push_chunk(data: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(chunked::ChunkHead::new(data.len()).bytes());
    output.extend_from_slice(data);
    output.extend_from_slice(chunked::CHUNK_END);
}
