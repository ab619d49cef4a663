//! What each kind of frame does, but those that carry heads.

use super::goodbye::HEARD;
use super::{Connection, Role};
use crate::http::h2::ErrorCode;
use crate::http::h2::frame::{self, FrameHead, Setting};
use crate::multiplex::stream::Remote;
use crate::settable::{self, Limit};
use crate::worker::clock::Moment;

impl Connection {
    pub(super) fn data(&mut self, head: &FrameHead, payload: &[u8], now: Moment) -> Result<(), ErrorCode> {
        let length = i64::try_from(payload.len()).unwrap_or(i64::MAX);
        let data = head.unpadded(payload)?;
        self.check_stream(head.stream)?;
        self.room -= length;
        if self.room < 0 {
            settable::reached(Limit::H2WindowBytes);
            return Err(ErrorCode::FlowControl);
        }
        let end = head.has(frame::END_STREAM);
        if data.is_empty() && !end {
            self.chat(now)?;
        }
        let Some(stream) = self.streams.get_mut(&head.stream) else {
            self.give_back(payload.len());
            return self.stray(head.stream, now);
        };
        let refused = match stream.remote {
            Remote::Open if !stream.begun => Some(ErrorCode::Protocol),
            Remote::Open if stream.room < length => {
                settable::reached(Limit::H2StreamWindowBytes);
                Some(ErrorCode::FlowControl)
            }
            Remote::Open => None,
            Remote::Ended => Some(ErrorCode::StreamClosed),
            Remote::Reset(_) => {
                self.give_back(payload.len());
                return Ok(());
            }
        };
        if let Some(code) = refused {
            self.give_back(payload.len());
            return self.reset_stream(head.stream, code, now);
        }
        stream.room -= length;
        stream.got += data.len() as u64;
        stream.received.furnish();
        stream.received.extend_from_slice(data);
        if end {
            stream.end();
        }
        if let Some(waker) = stream.reader.take() {
            waker.wake();
        }
        let wrong = stream.is_wrong();
        self.consumed(head.stream, payload.len() - data.len());
        if wrong {
            return self.reset_stream(head.stream, ErrorCode::Protocol, now);
        }
        Ok(())
    }

    pub(super) fn priority(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        now: Moment,
    ) -> Result<(), ErrorCode> {
        if head.stream == 0 {
            return Err(ErrorCode::Protocol);
        }
        if payload.len() != 5 {
            return Err(ErrorCode::FrameSize);
        }
        if depends_on(payload) == head.stream {
            return Err(ErrorCode::Protocol);
        }
        self.chat(now)
    }

    pub(super) fn reset_received(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        now: Moment,
    ) -> Result<(), ErrorCode> {
        self.check_stream(head.stream)?;
        let code = exactly::<4>(payload)?;
        let code = ErrorCode::of(u32::from_be_bytes(*code));
        match self.role {
            Role::Server => self.spend_reset(now)?,
            Role::Client if !self.streams.contains_key(&head.stream) => self.chat(now)?,
            Role::Client => {}
        }
        if let Some(stream) = self.streams.get_mut(&head.stream) {
            // A server that needs no more of an upload says so after its whole answer (§8.1).
            let complete =
                self.role == Role::Client && code == ErrorCode::NoError && stream.remote == Remote::Ended;
            if !complete {
                stream.remote = Remote::Reset(code);
            }
            stream.ended = true;
            stream.wake();
        }
        Ok(())
    }

    pub(super) fn settings(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        now: Moment,
    ) -> Result<(), ErrorCode> {
        if head.stream != 0 {
            return Err(ErrorCode::Protocol);
        }
        if head.has(frame::ACK) {
            return if payload.is_empty() {
                self.chat(now)
            } else {
                Err(ErrorCode::FrameSize)
            };
        }
        if self.settled {
            self.chat(now)?;
        }
        self.settled = true;
        self.wake_greeted();
        for setting in frame::settings(payload)? {
            match setting {
                Setting::MaxStreams(most) => self.peer_streams = most as usize,
                Setting::MaxFrame(most) => self.peer_frame = most.min(frame::PAYLOAD_BYTES),
                Setting::InitialWindow(window) => {
                    let more = window - self.peer_window;
                    self.peer_window = window;
                    for stream in self.streams.values_mut() {
                        stream.window += more;
                        if stream.window > frame::WINDOW_MAX {
                            return Err(ErrorCode::FlowControl);
                        }
                    }
                    self.wake_writers();
                }
            }
        }
        frame::push_settings_ack(&mut self.out);
        Ok(())
    }

    pub(super) fn ping(&mut self, head: &FrameHead, payload: &[u8], now: Moment) -> Result<(), ErrorCode> {
        if head.stream != 0 {
            return Err(ErrorCode::Protocol);
        }
        let payload = exactly::<8>(payload)?;
        self.chat(now)?;
        if !head.has(frame::ACK) {
            frame::push_pong(payload, &mut self.out);
        } else if self.parting && payload == HEARD {
            self.leave();
        }
        Ok(())
    }

    pub(super) fn go_away(&mut self, head: &FrameHead, payload: &[u8], now: Moment) -> Result<(), ErrorCode> {
        if head.stream != 0 {
            return Err(ErrorCode::Protocol);
        }
        self.chat(now)?;
        let (last, _code) = payload
            .first_chunk::<8>()
            .and_then(|begin| begin.split_first_chunk::<4>())
            .ok_or(ErrorCode::FrameSize)?;
        let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
        self.left = true;
        if self.role == Role::Client {
            for (id, stream) in &mut self.streams {
                if *id > last {
                    stream.remote = Remote::Reset(ErrorCode::RefusedStream);
                    stream.ended = true;
                    stream.wake();
                }
            }
        }
        Ok(())
    }

    pub(super) fn window_update(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        now: Moment,
    ) -> Result<(), ErrorCode> {
        let more = exactly::<4>(payload)?;
        let more = i64::from(u32::from_be_bytes(*more) & 0x7fff_ffff);
        self.chat(now)?;
        if head.stream == 0 {
            self.window += more;
            return match (more, self.window) {
                (0, _) => Err(ErrorCode::Protocol),
                (_, window) if window > frame::WINDOW_MAX => Err(ErrorCode::FlowControl),
                _ => {
                    self.wake_writers();
                    Ok(())
                }
            };
        }
        self.check_stream(head.stream)?;
        let Some(stream) = self.streams.get_mut(&head.stream).filter(|it| !it.is_reset()) else {
            return Ok(());
        };
        stream.window += more;
        let code = match (more, stream.window) {
            (0, _) => ErrorCode::Protocol,
            (_, window) if window > frame::WINDOW_MAX => ErrorCode::FlowControl,
            _ => {
                if let Some(waker) = stream.writer.take() {
                    waker.wake();
                }
                return Ok(());
            }
        };
        self.reset_stream(head.stream, code, now)
    }
}

fn exactly<const LENGTH: usize>(payload: &[u8]) -> Result<&[u8; LENGTH], ErrorCode> {
    payload.try_into().map_err(|_error| ErrorCode::FrameSize)
}

/// The stream that another is to depend on.
pub(super) fn depends_on(priority: &[u8]) -> u32 {
    priority
        .first_chunk::<4>()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}
