//! One client connection: requests one after the other, or side by side in HTTP/2, for as long as both sides want.
//!
//! Enters: an accepted connection. Leaves: nothing; every request is handed to `exchange`. Pipelined requests wait
//! in the buffer until it is their turn.

mod http2;
pub mod proxy_protocol;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use policy::unix;

use crate::crowd::Place;
use crate::exchange::{self, After, Client, Context, Pace, Peer, timed_out};
use crate::http::h1::HeadError;
use crate::http::h1::head::RequestDecoder;
use crate::http::h2::PREFACE;
use crate::node::address_bits;
use crate::settable::{self, Limit};
use crate::telemetry::counter::Tally;
use crate::tls::{Agreed, PeerCertificate, Protocol, ServerTls, Stream, StreamError};
use crate::wire::Wire;
use crate::worker::clock::Moment;
use crate::worker::{Activity, Buffer, Conn, Deadline, clock};
use proxy_protocol::Announced;

/// Serves a connection to its end.
pub async fn serve(context: Rc<Context>, conn: Conn, tls: Option<ServerTls>, mut place: Place) {
    context.opened();
    let open = Open(Rc::clone(&context));
    match client(&context, conn, tls, &mut place).await {
        Ok(mut client) => {
            let peer = Rc::clone(&client.peer);
            let mut begun = None;
            match begins(&context, &mut client, &mut begun).await {
                Some(Protocol::Http1) => requests(&context, client, begun).await,
                Some(Protocol::Http2) => http2::serve(&context, client).await,
                None => {}
            }
            if peer.announced.get() {
                context.pool.borrow_mut().forget(peer.number);
            }
        }
        Err(unready) => unready.count(&context),
    }
    drop((open, place));
}

/// Which protocol a client speaks: what TLS agreed on, or its first bytes. `None` when it is gone. `begun` becomes when those
/// came.
async fn begins(context: &Context, client: &mut Client, begun: &mut Option<Moment>) -> Option<Protocol> {
    let stream = client.wire.bytes()?;
    if let Some(tls) = stream.tls() {
        let http2 = tls.alpn_protocol() == Some(Protocol::Http2.name());
        return Some(if http2 { Protocol::Http2 } else { Protocol::Http1 });
    }
    // A worker that leaves has looked for idle connections already: nobody would end this one.
    if client.input.is_empty()
        && (context.leaving.get() || idle(context, stream, &mut client.input).await.is_err())
    {
        return None;
    }
    let slow_at = *begun.insert(clock::now()) + settable::request_head_s();
    loop {
        let seen = client.input.len().min(PREFACE.len());
        if client.input[..seen] != PREFACE[..seen] {
            return Some(Protocol::Http1);
        }
        // All of it decides, so that bytes mean the same however they are split.
        if seen == PREFACE.len() {
            return Some(Protocol::Http2);
        }
        match stream
            .read_or_idle(&mut client.input, slow_at - clock::now())
            .await
        {
            Ok(Activity::Read) => {}
            Ok(Activity::Idle) => return Some(Protocol::Http1),
            Err(_) => return None,
        }
    }
}

/// HTTP/1: one request after the other.
async fn requests(context: &Rc<Context>, mut client: Client, mut begun: Option<Moment>) {
    let after = loop {
        match request(context, &mut client, begun.take()).await {
            After::KeepAlive => {}
            after => break after,
        }
    };
    let Some(stream) = client.wire.bytes() else { return };
    stream.finish().await;
    if after == After::Linger {
        linger(stream, &mut client.input).await;
    }
}

/// Counts a connection as open until it is dropped, however that comes about.
pub(crate) struct Open(pub(crate) Rc<Context>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// Why a connection ended before its first request.
enum Unready {
    /// TLS could not be agreed on.
    Handshake,
    /// It should have begun with a PROXY header.
    Unannounced,
    /// As many come from where it does as may.
    Crowded,
}

impl Unready {
    fn count(self, context: &Context) {
        let recorder = &context.instruments.recorder;
        match self {
            Self::Handshake => recorder.tally(Tally::HandshakesFailed),
            Self::Unannounced => recorder.tally(Tally::ProxyHeadersRefused),
            // The limit was counted.
            Self::Crowded => {}
        }
    }
}

async fn client(
    context: &Context,
    mut conn: Conn,
    tls: Option<ServerTls>,
    place: &mut Place,
) -> Result<Client, Unready> {
    let (mut peer, local, since) = (conn.peer(), conn.local(), clock::now());
    let mut received = Buffer::empty();
    if context.node.proxy_protocol && context.node.trusts(peer.map(bits)) {
        // Boxed, as everything that a connection does once: it must not carry the memory for good.
        let announced = Box::pin(announced(&mut conn, &mut received)).await;
        match announced.ok_or(Unready::Unannounced)? {
            Announced::Client(client) => peer = Some(client),
            Announced::Peer => {}
        }
    }
    if !has_room(context, place, peer) {
        return Err(Unready::Crowded);
    }
    let within = settable::tls_handshake_s();
    let stream = match tls {
        None => Stream::Plain(Box::new(conn)),
        // A client that cannot agree on TLS is told so by TLS; there is no one else to tell.
        Some(tls) => {
            let session = tls.accept().map_err(|_error| Unready::Handshake)?;
            let early = std::mem::replace(&mut received, Buffer::empty());
            Box::pin(Stream::handshake_from(early, conn, session, within))
                .await
                .map_err(|error| {
                    timed_out(error, Limit::TlsHandshakeS);
                    Unready::Handshake
                })?
        }
    };
    let server_name = match stream.tls() {
        Some(rustls::Connection::Server(session)) => session.server_name().unwrap_or("").to_ascii_lowercase(),
        _ => String::new(),
    };
    let certificate = stream.tls().and_then(PeerCertificate::of);
    let default_port = if stream.tls().is_some() { 443 } else { 80 };
    let peer = Peer {
        address: peer.map(bits),
        address_text: match peer {
            Some(peer) => peer.ip().to_canonical().to_string(),
            None => unix::PREFIX.to_owned(),
        },
        port: peer.map_or(0, |peer| peer.port()),
        local_port: local.map_or(default_port, |local| local.port()),
        local,
        since,
        number: context.number(),
        announced: Cell::new(false),
        protocol: stream.tls().and_then(protocol),
        tls: stream.tls().and_then(Agreed::of),
        known: Cell::new(certificate.is_some()),
        certificate,
        server_name,
    };
    Ok(Client {
        wire: Wire::Bytes(stream),
        input: received,
        output: Buffer::empty(),
        peer: Rc::new(peer),
        patience: Deadline::on_waker(),
        pace: Pace::default(),
        requests: 0,
    })
}

/// What TLS agreed on, where it did.
pub(crate) fn protocol(session: &rustls::Connection) -> Option<&'static str> {
    match session.alpn_protocol()? {
        b"h2" => Some("h2"),
        b"http/1.1" => Some("http/1.1"),
        _ => None,
    }
}

/// An address as policy compares it.
pub(crate) fn bits(end: SocketAddr) -> u128 {
    address_bits(end.ip())
}

/// Whether one more connection may come from where this one does. Who is trusted comes for many clients, and is not counted.
pub(crate) fn has_room(context: &Context, place: &mut Place, client: Option<SocketAddr>) -> bool {
    let address = client.map(bits);
    context.node.trusts(address) || place.comes_from(address)
}

/// Reads a PROXY header, and perhaps more. `None` when there is none.
pub(crate) async fn announced(conn: &mut Conn, received: &mut Buffer) -> Option<Announced> {
    conn.arm(settable::proxy_header_s());
    loop {
        let read = conn.read(received).await;
        read.inspect_err(|&error| timed_out(error.into(), Limit::ProxyHeaderS))
            .ok()?;
        if let Some((length, announced)) = proxy_protocol::decode(received).ok()? {
            received.consume(length);
            if received.is_empty() {
                *received = Buffer::empty();
            }
            conn.disarm();
            return Some(announced);
        }
    }
}

/// Reads what the client still sends, so that it gets to read the answer before the connection is reset under it.
async fn linger(stream: &mut Stream, input: &mut Buffer) {
    stream.conn().arm_idle(settable::linger_s());
    let mut left = settable::linger_bytes();
    while left > 0 {
        input.clear();
        match stream.read(input).await {
            Ok(count) => left = left.saturating_sub(count),
            Err(error) => return timed_out(error, Limit::LingerS),
        }
    }
    settable::reached(Limit::LingerBytes);
}

/// Waits for one request and has it served. Memory for it is taken when its first bytes are there; `begun` is when they came,
/// if somebody looked at them before.
async fn request(context: &Rc<Context>, client: &mut Client, begun: Option<Moment>) -> After {
    let Some(stream) = client.wire.bytes() else {
        return After::Close;
    };
    let input = &mut client.input;
    if input.is_empty() && (context.leaving.get() || idle(context, stream, input).await.is_err()) {
        return After::Close;
    }
    let mut scratch = context.scratch();
    let after = match head(stream, input, &mut scratch, begun).await {
        Head::Request(length) => {
            scratch.received.extend_from_slice(&client.input[..length]);
            client.input.consume(length);
            client.requests += 1;
            // Boxed: an idle connection must not carry the memory of a running exchange. Made in its place: it is large.
            let run = Box::write(Box::new_uninit(), exchange::run(context, client, &mut scratch));
            Box::into_pin(run).await
        }
        Head::Refused(error) => {
            if let Some(limit) = error.limit() {
                settable::reached(limit);
            }
            Box::pin(exchange::refuse_head(
                context,
                client,
                &mut scratch,
                error.status(),
            ))
            .await
        }
        Head::TooSlow => {
            settable::reached(Limit::RequestHeadS);
            Box::pin(exchange::refuse_head(context, client, &mut scratch, 408)).await
        }
        Head::Gone => After::Close,
    };
    context.give_back(scratch);
    if client.input.is_empty() {
        client.input = Buffer::empty();
    }
    if client.output.is_empty() {
        client.output = Buffer::empty();
    }
    after
}

enum Head {
    Request(usize),
    Refused(HeadError),
    TooSlow,
    Gone,
}

async fn head(
    stream: &mut Stream,
    input: &mut Buffer,
    scratch: &mut exchange::Scratch,
    begun: Option<Moment>,
) -> Head {
    let mut decoder = RequestDecoder::default();
    let within = settable::request_head_s();
    let mut slow_at = begun.map(|begun| begun + within);
    loop {
        match decoder.decode(input, &mut scratch.head) {
            Ok(Some(length)) => return Head::Request(length),
            Ok(None) => {}
            Err(error) => return Head::Refused(error),
        }
        let slow_at = *slow_at.get_or_insert_with(|| clock::now() + within);
        match stream.read_or_idle(input, slow_at - clock::now()).await {
            Ok(Activity::Read) => {}
            Ok(Activity::Idle) => return Head::TooSlow,
            Err(_) => return Head::Gone,
        }
    }
}

/// Waits for the first bytes of a request: with a buffer, or, where [`crate::limits::IDLE_BUFFERS`] connections do so already,
/// without one, which costs one more operation.
async fn idle(context: &Context, stream: &mut Stream, input: &mut Buffer) -> Result<(), StreamError> {
    stream.conn().arm_idle(settable::client_idle_s());
    let place = context.may_wait_with_buffer();
    let waited = match place {
        Some(_) => Ok(()),
        None => stream.readable().await,
    };
    let read = match waited {
        Ok(()) => stream.read(input).await,
        Err(error) => Err(error),
    };
    read.inspect_err(|&error| timed_out(error, Limit::ClientIdleS))?;
    stream.conn().disarm();
    Ok(())
}
