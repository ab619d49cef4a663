//! Bodies that nobody looks at: the kernel moves them from one socket to the other.
//!
//! Enters: how much of a body is left, and both connections. Leaves: what of it went through; whatever is in the way
//! (TLS, HTTP/2, chunks, edits, no descriptors) leaves it to the loops that copy. A pipe holds at most
//! [`limits::SPLICE_BYTES`], and is emptied before it is filled again: a slow reader slows the other side down.

use std::time::Duration;

use super::client::Lost;
use super::forward::{Failure, Leg};
use super::request::Sending;
use super::send::Early;
use super::{Exchange, timed_out};
use crate::http::body::BodyReader;
use crate::http::h1::encode::Framing;
use crate::limits;
use crate::settable::{self, Limit};
use crate::snapshot::Endpoint;
use crate::tls::Stream;
use crate::upstream::retry::Progress;
use crate::wire::Wire;
use crate::worker::{Conn, ConnError, First, Pipe, race, take_turn};

impl Exchange<'_> {
    /// Moves the rest of a response's body if it may pass unseen and is worth a pipe; else does nothing. All that was
    /// received before must have been sent.
    pub(super) async fn splice_response(
        &mut self,
        leg: &Leg,
        body: &mut BodyReader,
        framing: Framing,
        endpoint: &Endpoint,
    ) -> Result<(), Lost> {
        if self.meters() || framing == Framing::Chunked || !is_worth_it(body) {
            return Ok(());
        }
        let upstream = &leg.leased.wire;
        let (Some(from), Some(to)) = (plain(upstream), plain(&self.client.wire)) else {
            return Ok(());
        };
        let Some(mut pipe) = Pipe::between(from, to) else {
            return Ok(());
        };
        let failed = |error: ConnError| Lost::Upstream(error.into());
        while let Some(left @ 1..) = body.remaining() {
            take_turn().await;
            let count = pipe.fill(from, at_most(left)).map_err(failed)?;
            if count == 0 {
                from.arm(endpoint.read);
                let came = self.client.watched(upstream.readable(), upstream.aborter()).await;
                from.disarm();
                came?;
                continue;
            }
            body.pass(count);
            self.record.sent(count);
            let Some(client) = plain(&self.client.wire) else {
                return Err(Lost::Client);
            };
            let emptied = empty(&mut pipe, client, settable::client_write_s()).await;
            emptied.map_err(|error| {
                timed_out(error.into(), Limit::ClientWriteS);
                Lost::Client
            })?;
        }
        Ok(())
    }

    /// Moves the rest of a request's body in the same way, until it has ended or the upstream says something. What it said
    /// may be no answer yet: `pipe` keeps what is on its way until then.
    pub(super) async fn splice_request(
        &mut self,
        upstream: &Wire,
        endpoint: &Endpoint,
        sending: &Sending,
        progress: &mut Progress,
        pipe: &mut Option<Pipe>,
    ) -> Result<Early, Failure> {
        let begins = !sending.is_chunked(upstream) && !self.owes_continue && is_worth_it(&self.body);
        if pipe.is_none() && !begins {
            return Ok(Early::Body);
        }
        let (Some(from), Some(to)) = (plain(&self.client.wire), plain(upstream)) else {
            return Ok(Early::Body);
        };
        if pipe.is_none() {
            *pipe = Pipe::between(from, to);
        }
        let Some(pipe) = pipe else {
            return Ok(Early::Body);
        };
        loop {
            take_turn().await;
            if pipe.held() == 0 {
                let Some(left @ 1..) = self.body.remaining() else {
                    return Ok(Early::Body);
                };
                let count = pipe
                    .fill(from, at_most(left))
                    .map_err(|_error| Failure::Vanished)?;
                if count == 0 {
                    match self.client.hears_first(upstream).await? {
                        Early::Body => continue,
                        Early::Answer => return Ok(Early::Answer),
                    }
                }
                progress.body_consumed = true;
                self.body.pass(count);
                self.record.received(count);
                self.client.pace.came(count);
            }
            // Who takes no more of it may have said why.
            match race(empty(pipe, to, endpoint.write), to.readable()).await {
                First::Left(Ok(())) => {}
                First::Left(Err(_)) | First::Right(_) => {
                    to.disarm();
                    return Ok(Early::Answer);
                }
            }
        }
    }
}

/// Hands on what a pipe holds. Who takes none of it `within` a time is given up.
async fn empty(pipe: &mut Pipe, to: &Conn, within: Duration) -> Result<(), ConnError> {
    let mut told = false;
    loop {
        let went = pipe.drain(to)? > 0;
        if pipe.held() == 0 {
            to.disarm();
            return Ok(());
        }
        if went || !told {
            to.arm(within);
        }
        to.room(told && !went).await?;
        told = true;
    }
}

/// The connection, if what goes over it is not encrypted, and nothing else does.
fn plain(wire: &Wire) -> Option<&Conn> {
    match wire {
        Wire::Bytes(Stream::Plain(conn)) => Some(conn),
        Wire::Bytes(Stream::Tls(_)) | Wire::Frames(_) => None,
    }
}

fn is_worth_it(body: &BodyReader) -> bool {
    body.remaining()
        .is_some_and(|left| left >= limits::SPLICE_LEAST_BYTES)
}

fn at_most(left: u64) -> usize {
    usize::try_from(left).map_or(limits::SPLICE_BYTES, |left| left.min(limits::SPLICE_BYTES))
}
