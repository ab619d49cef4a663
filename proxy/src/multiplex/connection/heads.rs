//! Frames that carry heads: requests, responses, trailers. A block of them is decoded whatever becomes of it.

use super::receive::depends_on;
use super::{Block, Connection, Role};
use crate::http::h2::frame::{self, FrameHead};
use crate::http::h2::hpack::Fields;
use crate::http::h2::{ErrorCode, message};
use crate::limits;
use crate::multiplex::stream::{Remote, Stream};
use crate::settable::{self, Limit};
use crate::worker::clock::Moment;

impl Connection {
    pub(super) fn headers(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        now: Moment,
    ) -> Result<Option<u32>, ErrorCode> {
        let mut block = head.unpadded(payload)?;
        self.check_headers_stream(head.stream)?;
        if head.has(frame::PRIORITY) {
            let (dependency, rest) = block.split_at_checked(5).ok_or(ErrorCode::FrameSize)?;
            block = rest;
            if depends_on(dependency) == head.stream {
                return Err(ErrorCode::Protocol);
            }
        }
        let ended = head.has(frame::END_STREAM);
        if head.has(frame::END_HEADERS) {
            return self.block(head.stream, ended, block, now);
        }
        self.block = Some(Block {
            stream: head.stream,
            ended,
            bytes: block.to_vec(),
            continuations: 0,
        });
        Ok(None)
    }

    pub(super) fn continuation(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        now: Moment,
    ) -> Result<Option<u32>, ErrorCode> {
        let Some(mut block) = self.block.take() else {
            return Err(ErrorCode::Protocol);
        };
        block.bytes.extend_from_slice(payload);
        block.continuations += 1;
        if head.has(frame::END_HEADERS) {
            return self.block(block.stream, block.ended, &block.bytes, now);
        }
        let limit = match () {
            () if block.continuations >= settable::h2_continuations() => Some(Limit::H2Continuations),
            () if block.bytes.len() > settable::head_bytes() => Some(Limit::HeadBytes),
            () => None,
        };
        if let Some(limit) = limit {
            settable::reached(limit);
            return Err(ErrorCode::EnhanceYourCalm);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// A whole block. It is decoded whatever becomes of it: the table must stay the peer's.
    fn block(&mut self, id: u32, ended: bool, block: &[u8], now: Moment) -> Result<Option<u32>, ErrorCode> {
        let mut fields = self.spare_fields.pop().unwrap_or_default();
        if self.decoder.decode(block, &mut fields).is_err() {
            return Err(ErrorCode::Compression);
        }
        if self.role == Role::Server && id > self.newest {
            return self.opened(id, ended, fields, now);
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            self.keep_fields(fields);
            // RFC 9113 §5.1: on a stream that both sides closed, this is the connection's fault.
            return if self.role == Role::Client || self.leaving || self.forgotten.contains(&id) {
                self.chat(now).map(|()| None)
            } else {
                Err(ErrorCode::StreamClosed)
            };
        };
        let code = match stream.remote {
            Remote::Reset(_) => {
                self.keep_fields(fields);
                return self.chat(now).map(|()| None);
            }
            Remote::Ended => Some(ErrorCode::StreamClosed),
            Remote::Open if stream.begun => {
                let valid = ended && message::check_trailers(&fields).is_ok();
                (!valid).then_some(ErrorCode::Protocol)
            }
            Remote::Open => match message::status(&fields) {
                Some(100..200) if ended => Some(ErrorCode::Protocol),
                Some(100..200) if stream.interim >= settable::interim_responses() => {
                    settable::reached(Limit::InterimResponses);
                    Some(ErrorCode::Protocol)
                }
                Some(100..200) => {
                    stream.interim += 1;
                    stream.early.push_back(fields);
                    if let Some(waker) = stream.reader.take() {
                        waker.wake();
                    }
                    return Ok(None);
                }
                _ => None,
            },
        };
        if let Some(code) = code {
            self.keep_fields(fields);
            return self.reset_stream(id, code, now).map(|()| None);
        }
        let place = if stream.begun {
            &mut stream.trailers
        } else {
            &mut stream.head
        };
        *place = Some(fields);
        stream.begun = true;
        if ended {
            stream.end();
        }
        let wrong = stream.is_wrong();
        if let Some(waker) = stream.reader.take() {
            waker.wake();
        }
        if wrong {
            self.reset_stream(id, ErrorCode::Protocol, now)?;
        }
        Ok(None)
    }

    /// The peer opens a stream.
    fn opened(
        &mut self,
        id: u32,
        ended: bool,
        fields: Fields,
        now: Moment,
    ) -> Result<Option<u32>, ErrorCode> {
        self.newest = id;
        if self.leaving {
            // The peer does not know yet, and may go on with it for a while.
            self.forget(id);
            self.keep_fields(fields);
            return Ok(None);
        }
        self.served = id;
        // Streams that were reset count for as long as they are at work.
        if self.streams.len() >= settable::h2_streams() as usize {
            settable::reached(Limit::H2Streams);
            self.keep_fields(fields);
            self.forget(id);
            frame::push_reset(id, ErrorCode::RefusedStream, &mut self.out);
            return self.spend_reset(now).map(|()| None);
        }
        self.chatter.earn(limits::H2_CHATTER_PER_STREAM);
        let mut stream = self.new_stream();
        stream.begun = true;
        stream.head = Some(fields);
        if ended {
            stream.remote = Remote::Ended;
        }
        self.streams.insert(id, stream);
        Ok(Some(id))
    }

    pub(super) fn new_stream(&mut self) -> Stream {
        let room = settable::h2_stream_window_bytes().into();
        Stream::new(self.peer_window, room)
    }
}
