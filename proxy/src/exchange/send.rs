//! Sends a request to an upstream: its body streams through, until it ends or the upstream answers before that. What is
//! announced before an answer is passed on meanwhile.

use std::rc::Rc;

use super::Exchange;
use super::body::push_chunk;
use super::client::Client;
use super::forward::{Failure, Leg, upstream_failure};
use super::refusal::Refusal;
use super::request::Sending;
use crate::http::body::BodyStep;
use crate::http::h1::chunked;
use crate::http::h2::{self, hpack};
use crate::multiplex::Handle;
use crate::snapshot::Endpoint;
use crate::upstream::retry::Progress;
use crate::wire::Wire;
use crate::worker::{Buffer, First, Pipe, clock, race};

impl Exchange<'_> {
    /// Sends head and body. The body streams through; when the upstream answers before it has ended, sending stops, and the
    /// answer's head is here already if the result is true.
    pub(super) async fn send_request(
        &mut self,
        leg: &mut Leg,
        endpoint: &Endpoint,
        sending: &Sending,
        output: &mut Buffer,
        progress: &mut Progress,
    ) -> Result<bool, Failure> {
        if !sending.whole && self.passes_on(&leg.leased.wire) {
            return Ok(false);
        }
        let (mut ended, mut pipe) = (sending.whole, None);
        let chunked = sending.is_chunked(&leg.leased.wire);
        if sending.whole {
            output.extend_from_slice(&self.scratch.body);
        }
        loop {
            let held = pipe.as_ref().is_some_and(|pipe: &Pipe| pipe.held() > 0);
            if !ended && !held {
                let before = output.len();
                ended = self.take_body(chunked, output)?;
                progress.body_consumed |= output.len() > before;
            }
            let wire = &mut leg.leased.wire;
            let trailers =
                ended && sending.whole && self.client.wire.frames().is_some_and(|it| it.has_trailers());
            if let (true, Some(frames)) = (ended && !trailers, wire.frames()) {
                frames.end();
            }
            if !output.is_empty() || ended {
                wire.arm(endpoint.write);
                let sent = wire.write_all(output).await;
                wire.disarm();
                if let Err(error) = sent {
                    // What was sent may have been answered: a refused upload often is.
                    let answered = wire.frames().is_some_and(|frames| frames.is_answered());
                    if !answered && (ended || !progress.body_consumed) {
                        return Err(upstream_failure(error, *progress));
                    }
                    return Ok(false);
                }
            }
            if ended {
                if let (true, Some(client), Some(upstream)) =
                    (trailers, self.client.wire.frames(), wire.frames())
                {
                    end_with_trailers(client, upstream).await;
                }
                return Ok(false);
            }
            let early = match self
                .splice_request(wire, endpoint, sending, progress, &mut pipe)
                .await?
            {
                Early::Body if !self.body.is_ended() => self.await_body(wire).await?,
                early => early,
            };
            let answers = early == Early::Answer;
            if answers && self.receive_one(leg, endpoint, sending, progress).await? {
                self.keep_alive = false;
                return Ok(true);
            }
        }
    }

    /// Has a body passed on beside the exchange, where frames carry it on both sides: both may go on talking while the other
    /// answers.
    fn passes_on(&mut self, upstream: &Wire) -> bool {
        let (Wire::Frames(client), Wire::Frames(upstream)) = (&self.client.wire, upstream) else {
            return false;
        };
        if self.body.is_ended() {
            return false;
        }
        if std::mem::take(&mut self.owes_continue) {
            client.send_head(false, |out| hpack::encode::status(100, out));
        }
        client.pass_on(upstream, Rc::clone(self.uploaded.get_or_insert_default()));
        true
    }

    /// Moves body bytes that have arrived to the upstream's buffer, perhaps in chunks; whether the body has ended.
    fn take_body(&mut self, chunked: bool, output: &mut Buffer) -> Result<bool, Failure> {
        let mut done = 0;
        loop {
            let input = &self.client.input[done..];
            match self.body.advance(input) {
                Ok(BodyStep::Data { start, end }) => {
                    let data = &input[start..end];
                    let all = done + start == 0 && end == input.len();
                    if all && !chunked && output.is_empty() {
                        // The memory changes hands instead of the bytes.
                        std::mem::swap(&mut self.client.input, output);
                        continue;
                    }
                    if chunked {
                        push_chunk(data, output);
                    } else {
                        output.extend_from_slice(data);
                    }
                    done += end;
                }
                Ok(BodyStep::More) => {
                    self.client.input.clear();
                    return Ok(false);
                }
                Ok(BodyStep::End { consumed }) => {
                    self.client.input.consume(done + consumed);
                    if chunked {
                        output.extend_from_slice(chunked::LAST_CHUNK);
                    }
                    return Ok(true);
                }
                Err(_) => {
                    self.keep_alive = false;
                    let progress = Progress {
                        tries: u32::MAX,
                        sent: true,
                        body_consumed: true,
                        response_began: false,
                        reused: false,
                    };
                    return Err(Failure::Upstream {
                        refusal: Refusal::Malformed(400),
                        progress,
                    });
                }
            }
        }
    }

    /// Waits for more of the body, or for an answer that comes before its end.
    async fn await_body(&mut self, upstream: &Wire) -> Result<Early, Failure> {
        if self.owes_continue || self.client.hears_first(upstream).await? == Early::Body {
            self.read_body_bytes()
                .await
                .map_err(|_vanished| Failure::Vanished)?;
            return Ok(Early::Body);
        }
        Ok(Early::Answer)
    }
}

impl Client {
    /// Who can be read first, it or the upstream.
    pub(super) async fn hears_first(&self, upstream: &Wire) -> Result<Early, Failure> {
        let (within, limit) = self.pace.within();
        let since = clock::now();
        self.wire.arm(within);
        let first = race(self.wire.readable(), upstream.readable()).await;
        self.wire.disarm();
        self.pace.waited(since);
        match first {
            First::Left(Ok(())) => Ok(Early::Body),
            First::Left(Err(error)) => {
                super::timed_out(error, limit);
                Err(Failure::Vanished)
            }
            First::Right(_) => Ok(Early::Answer),
        }
    }
}

/// Ends a request as its client did.
async fn end_with_trailers(client: &Handle, upstream: &mut Handle) {
    if !client.pass_trailers(upstream, h2::encode::request_trailers) {
        upstream.end();
        // An upstream that is gone is seen by who waits for its answer.
        let _ = upstream.write_all(&mut Buffer::empty()).await;
    }
}

/// What came first while a body was awaited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    /// More of it.
    Body,
    /// The upstream's answer, or its end.
    Answer,
}
