//! One request and its response: the corridor. Every branch of a request's life is in this room.
//!
//! Forward only, each step its own file: [`judge`] runs policy, [`request`] writes what the upstream gets,
//! [`forward`] and [`connect`] find a connection for it, [`send`] and [`receive`] are one try there, [`hedge`] makes a second
//! one beside it, [`relay`] passes the response on, or [`tunnel`] another protocol,
//! [`finish`] settles and counts.
//! A refusal at any step leaves by one door, [`refusal`].

mod announce;
mod body;
mod client;
mod connect;
mod context;
mod cors;
mod echo;
mod edits;
#[cfg(debug_assertions)]
mod fault;
mod finish;
mod forward;
mod gate;
mod hash_key;
mod hedge;
mod judge;
mod log;
mod model;
mod pace;
mod place;
mod quota;
mod receive;
mod record;
mod refusal;
mod relay;
mod request;
mod request_id;
mod send;
mod shed;
mod splice;
mod tunnel;
mod view;

use std::cell::Cell;
use std::rc::Rc;

pub use client::{Client, Peer};
pub use context::{Context, Instruments, Presence, Scratch, Shared};
pub(crate) use hash_key::hash_of_client;
pub use request_id::{RequestId, RequestIds, Uuid};

use crate::http::body::{BodyLength, BodyReader};
use crate::http::known::KnownHeader;
use crate::settable::{self, Limit};
use crate::snapshot::Epoch;
use crate::tls::StreamError;
use crate::worker::ConnError;
use judge::Judgement;
pub use pace::Pace;
use record::Record;
use refusal::Refusal;

/// What happens to the client's connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another request may follow.
    KeepAlive,
    /// It closes.
    Close,
    /// It closes, and the client may still be sending: closing at once would destroy the answer on its way.
    Linger,
}

/// A running exchange.
struct Exchange<'e> {
    context: &'e Rc<Context>,
    epoch: Rc<Epoch>,
    client: &'e mut Client,
    scratch: &'e mut Scratch,
    body: BodyReader,
    owes_continue: bool,
    keep_alive: bool,
    /// Bytes of a body that is passed on beside the response.
    uploaded: Option<Rc<Cell<u64>>>,
    record: Record,
}

/// The client is gone: nothing more can be said to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vanished;

/// Serves the request whose head was just received.
pub async fn run(context: &Rc<Context>, client: &mut Client, scratch: &mut Scratch) -> After {
    let mut exchange = Exchange::begin(context, client, scratch);
    let served = exchange.serve().await;
    exchange.finish(served.is_ok());
    match served {
        Ok(()) if exchange.keep_alive => After::KeepAlive,
        Ok(()) if !exchange.body.is_ended() => After::Linger,
        _ => After::Close,
    }
}

/// Counts a wait for a client that took too long; another end of it is another matter.
pub(crate) fn timed_out(error: StreamError, limit: Limit) {
    if error == StreamError::Conn(ConnError::TimedOut) {
        settable::reached(limit);
    }
}

/// Answers a request head that could not be read, and closes.
pub async fn refuse_head(
    context: &Rc<Context>,
    client: &mut Client,
    scratch: &mut Scratch,
    status: u16,
) -> After {
    scratch.head.clear();
    let mut exchange = Exchange::begin(context, client, scratch);
    exchange.keep_alive = false;
    // A client that is gone does not need the answer.
    let served = exchange.refuse(Refusal::Malformed(status)).await;
    exchange.finish(served.is_ok());
    After::Linger
}

impl<'e> Exchange<'e> {
    fn begin(context: &'e Rc<Context>, client: &'e mut Client, scratch: &'e mut Scratch) -> Self {
        context.presence.begun();
        let record = Record::begin(
            context.ids.next(),
            scratch.received.len(),
            client.peer.address,
            client.peer.tls.is_some(),
        );
        if scratch.head.body != BodyLength::None {
            let headers = scratch.head.headers.on(&scratch.received);
            client.pace = Pace::of(headers.get(KnownHeader::ContentType));
        }
        Self {
            epoch: context.pin(),
            body: client.reader_of(scratch.head.body),
            owes_continue: scratch.head.expect_continue,
            keep_alive: scratch.head.keep_alive && !context.draining.get() && !client.is_done(),
            uploaded: None,
            context,
            client,
            scratch,
            record,
        }
    }

    async fn serve(&mut self) -> Result<(), Vanished> {
        match self.judge().await? {
            Judgement::Forward => self.forward().await,
            Judgement::Refuse(refusal) => self.refuse(refusal).await,
        }
    }

    /// Sends what is ready for the client.
    async fn send(&mut self) -> Result<(), Vanished> {
        self.record.sent(self.client.output.len());
        self.client.wire.arm(settable::client_write_s());
        let sent = self.client.wire.write_all(&mut self.client.output).await;
        self.client.wire.disarm();
        sent.map_err(|error: StreamError| {
            timed_out(error, Limit::ClientWriteS);
            Vanished
        })
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.context.presence.ended();
    }
}
