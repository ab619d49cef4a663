//! A client and what is said to it, whatever carries it: HTTP/1 bytes or HTTP/2 frames.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use super::body::push_chunk;
use super::pace::Pace;
use crate::http::body::{BodyLength, BodyReader};
use crate::http::h1::chunked;
use crate::http::h1::encode::{self, Connection, Framing};
use crate::http::h2;
use crate::http::outgoing::Outgoing;
use crate::limits;
use crate::settable::{self, Limit};
use crate::tls::{Agreed, PeerCertificate, StreamError};
use crate::wire::{Wire, WireAborter};
use crate::worker::clock::Moment;
use crate::worker::{Buffer, Deadline, First, clock, race};

/// A client, between and during exchanges.
pub struct Client {
    /// What carries its messages.
    pub wire: Wire,
    /// Received and not yet used.
    pub input: Buffer,
    /// To be sent.
    pub output: Buffer,
    /// How it is connected.
    pub peer: Rc<Peer>,
    /// Wakes who waits long for an upstream.
    pub patience: Deadline,
    /// What the body of its request has taken so far.
    pub pace: Pace,
    /// Requests that its connection has carried.
    pub requests: u64,
}

/// What holds for a client's connection as long as it lives.
pub struct Peer {
    /// Its address, IPv4 mapped; `None` on a Unix socket.
    pub address: Option<u128>,
    /// The same as text, `unix:` where there is none.
    pub address_text: String,
    /// Its port; 0 on a Unix socket.
    pub port: u16,
    /// The listener's port; a Unix socket has that of the scheme.
    pub local_port: u16,
    /// Where it connected to; `None` for a Unix socket.
    pub local: Option<SocketAddr>,
    /// When it was accepted.
    pub since: Moment,
    /// What tells its connection from the others of the worker.
    pub number: u64,
    /// Whether servers were told of it, so that connections to them end with it.
    pub announced: Cell<bool>,
    /// The protocol that TLS agreed on, if it did.
    pub protocol: Option<&'static str>,
    /// The TLS session, when there is one.
    pub tls: Option<Agreed>,
    /// The certificate that the client showed.
    pub certificate: Option<PeerCertificate>,
    /// Server name of the handshake, lower case.
    pub server_name: String,
    /// Whether a request on it has proved who it is, or its certificate does.
    pub known: Cell<bool>,
}

impl Peer {
    /// Why the request that is number `requests` of its connection is the last there, if it is.
    pub fn is_done(&self, requests: u64) -> Option<Limit> {
        if requests >= settable::client_requests() {
            return Some(Limit::ClientRequests);
        }
        (clock::now() - self.since >= settable::client_age_s()).then_some(Limit::ClientAgeS)
    }
}

/// Who was lost.
pub(super) enum Lost {
    /// The client.
    Client,
    /// The upstream.
    Upstream(StreamError),
}

impl Client {
    /// Whether its connection is its own and carries no request after this one, for what it has carried or how old it is.
    /// One that is shared says goodbye by itself.
    pub(super) fn is_done(&self) -> bool {
        let done = match self.wire {
            Wire::Bytes(_) => self.peer.is_done(self.requests),
            Wire::Frames(_) => None,
        };
        done.map(settable::reached).is_some()
    }

    /// What reads a body of this length from it. Frames mark its end, and the length was checked by then.
    pub(super) fn reader_of(&self, length: BodyLength) -> BodyReader {
        reader_of(&self.wire, length)
    }

    /// Begins a response. With `silent` nothing follows the head.
    pub(super) fn begin(
        &mut self,
        status: u16,
        fields: &Outgoing<'_>,
        framing: Framing,
        connection: Connection<'_>,
        silent: bool,
    ) {
        match &mut self.wire {
            Wire::Bytes(_) => {
                self.output.furnish();
                encode::write_response(status, fields, framing, connection, &mut self.output);
            }
            Wire::Frames(frames) => {
                frames.send_head(silent, |out| h2::encode::response(status, fields, framing, out));
            }
        }
    }

    /// Announces something before the response.
    pub(super) fn interim(&mut self, status: u16, fields: &Outgoing<'_>) {
        match &mut self.wire {
            Wire::Bytes(_) => {
                self.output.furnish();
                encode::write_interim(status, fields, &mut self.output);
            }
            Wire::Frames(frames) => {
                frames.send_head(false, |out| {
                    h2::encode::response(status, fields, Framing::Nothing, out)
                });
            }
        }
    }

    /// Appends a piece of a body to what is sent next.
    pub(super) fn piece(&mut self, data: &[u8], framing: Framing) {
        if framing == Framing::Chunked {
            push_chunk(data, &mut self.output);
        } else {
            self.output.furnish();
            self.output.extend_from_slice(data);
        }
    }

    /// Makes what is sent next the end of a body.
    pub(super) fn end(&mut self, framing: Framing) {
        match &mut self.wire {
            Wire::Bytes(_) if framing == Framing::Chunked => {
                self.output.extend_from_slice(chunked::LAST_CHUNK);
            }
            Wire::Bytes(_) => {}
            Wire::Frames(frames) => frames.end(),
        }
    }

    /// Awaits something of an upstream. When that takes long, watches whether the client is still there; if it is not,
    /// the upstream is let go at once.
    pub(super) async fn watched<T>(
        &mut self,
        upstream: impl Future<Output = Result<T, StreamError>>,
        aborter: WireAborter,
    ) -> Result<T, Lost> {
        let mut upstream = pin!(upstream);
        match self.stays_for(&mut upstream).await {
            Some(result) => result.map_err(Lost::Upstream),
            None => {
                aborter.abort();
                let _ = upstream.await;
                Err(Lost::Client)
            }
        }
    }

    /// The same for what may be dropped: `None` when the client has left.
    pub(super) async fn stays_for<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        self.patience
            .arm_in(Duration::from_millis(limits::CLIENT_WATCH_MS));
        let result = match race(&mut wait, self.patience.wait()).await {
            First::Left(result) => result,
            // A client that sends on while it is answered must wait to be read: what it sends is kept.
            First::Right(()) if self.is_full() => wait.await,
            First::Right(()) => match race(&mut wait, self.wire.stirs()).await {
                First::Left(result) => result,
                First::Right(()) if self.is_gone().await => return None,
                First::Right(()) => wait.await,
            },
        };
        self.patience.disarm();
        Some(result)
    }

    /// Whether as much waits behind the request as may be read while it is answered: whether the client is still there
    /// is not seen then.
    pub(super) fn is_full(&self) -> bool {
        let full = self.input.len() >= settable::pipelined_bytes();
        if full {
            settable::reached(Limit::PipelinedBytes);
        }
        full
    }

    /// Whether a client that stirred has left.
    pub(super) async fn is_gone(&mut self) -> bool {
        let Some(stream) = self.wire.bytes() else {
            return true;
        };
        if self.input.capacity() == 0 {
            self.input = Buffer::take();
        }
        // It is readable: this ends at once, with a pipelined request or the end.
        stream.read(&mut self.input).await.is_err()
    }
}

/// What reads a body of this length from a wire.
pub(super) fn reader_of(wire: &Wire, length: BodyLength) -> BodyReader {
    BodyReader::new(match length {
        BodyLength::Length(_) if wire.is_shared() => BodyLength::UntilClose,
        length => length,
    })
}
