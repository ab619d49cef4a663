//! One connection that carries no requests: from its arrival to the last byte of its session (Kong's stream subsystem).
//!
//! Enters: an accepted connection. Forward only: [`arrive`] learns whom it comes from and which server name it asks for,
//! policy finds its route and judges it, TLS ends here or not, [`connect`] finds a server, [`relay`] passes bytes on,
//! [`finish`] counts and logs. A refusal is the end of the connection: there is no language to say it in.

pub mod client_hello;
mod connect;
mod finish;
pub mod relay;
#[cfg(test)]
mod tests;
mod view;

use std::net::SocketAddr;
use std::rc::Rc;

use policy::isa::Entry;
use policy::stream::{self, Connection, End, TLS};
use policy::table::{Id, Route, StreamRoute};
use policy::vm::{self, State, Verdict};

use crate::crowd::Place;
use crate::downstream::proxy_protocol::Announced;
use crate::downstream::{self, Open};
use crate::exchange::{Context, timed_out};
use crate::settable::{self, Limit};
use crate::snapshot::Epoch;
use crate::telemetry::counter::Tally;
use crate::tls::{Stream, StreamError};
use crate::worker::clock;
use crate::worker::{Buffer, Conn};
use finish::Record;
use view::View;

/// Serves a connection to its end. `secure` is whether its listener expects TLS.
pub async fn serve(context: Rc<Context>, mut conn: Conn, secure: bool, mut place: Place) {
    context.opened();
    let open = Open(Rc::clone(&context));
    // Boxed, as everything that a session does once: it must not carry the memory for good.
    match Box::pin(arrive(&context, &mut conn, secure, &mut place)).await {
        Ok(arrival) => session(&context, conn, arrival).await,
        Err(Some(tally)) => context.instruments.recorder.tally(tally),
        Err(None) => {}
    }
    drop((open, place));
}

/// What is known of a connection before its route.
struct Arrival {
    /// The client's end.
    source: End,
    /// The server name that its TLS asks for; `None` without TLS.
    server_name: Option<String>,
    /// Bytes that were received, all of them the client's own.
    received: Buffer,
}

/// Reads a PROXY header and a ClientHello, where they are due. Who may not come is an error without a count of its own.
async fn arrive(
    context: &Context,
    conn: &mut Conn,
    secure: bool,
    place: &mut Place,
) -> Result<Arrival, Option<Tally>> {
    let (mut peer, mut received) = (conn.peer(), Buffer::empty());
    if context.node.proxy_protocol && context.node.trusts(peer.map(downstream::bits)) {
        match downstream::announced(conn, &mut received).await {
            Some(Announced::Client(client)) => peer = Some(client),
            Some(Announced::Peer) => {}
            None => return Err(Some(Tally::ProxyHeadersRefused)),
        }
    }
    if !downstream::has_room(context, place, peer) {
        return Err(None);
    }
    let server_name = if secure {
        let name = hello(conn, &mut received).await;
        Some(name.ok_or(Some(Tally::HandshakesFailed))?)
    } else {
        None
    };
    Ok(Arrival {
        source: end(peer),
        server_name,
        received,
    })
}

fn end(address: Option<SocketAddr>) -> End {
    End {
        address: address.map(downstream::bits),
        port: address.map_or(0, |address| address.port()),
    }
}

/// Reads until the ClientHello is whole, and perhaps more. `None` when there is none.
async fn hello(conn: &mut Conn, received: &mut Buffer) -> Option<String> {
    let mut message = Buffer::take();
    conn.arm(settable::tls_handshake_s());
    loop {
        if let Some(name) = client_hello::server_name(received, &mut message).ok()? {
            conn.disarm();
            return Some(name);
        }
        let read = conn.read(received).await;
        read.inspect_err(|&error| timed_out(error.into(), Limit::TlsHandshakeS))
            .ok()?;
    }
}

async fn session(context: &Context, conn: Conn, arrival: Arrival) {
    let epoch = context.pin();
    let destination = end(conn.local());
    let connection = Connection {
        source: arrival.source,
        destination,
        server_name: arrival.server_name.as_deref().map(str::as_bytes),
    };
    let Some(found) = stream::find(&epoch.snapshot.policy, &connection) else {
        return context.instruments.recorder.tally(Tally::SessionsUnmatched);
    };
    let mut session = Session::begin(context, epoch, found, arrival.source, conn.local());
    session.record.server_name = arrival.server_name;
    if session.judge() {
        let terminated = Box::pin(session.terminate(conn, arrival.received)).await;
        let Ok((client, early)) = terminated else {
            return context.instruments.recorder.tally(Tally::HandshakesFailed);
        };
        session.pass_on(client, early).await;
    }
    session.finish();
}

/// A session on its route.
struct Session<'s> {
    context: &'s Context,
    epoch: Rc<Epoch>,
    route: Id<Route>,
    source: End,
    /// Where the client connected to; `None` for a Unix socket.
    local: Option<SocketAddr>,
    state: State,
    record: Record,
}

impl<'s> Session<'s> {
    fn begin(
        context: &'s Context,
        epoch: Rc<Epoch>,
        found: Id<StreamRoute>,
        source: End,
        local: Option<SocketAddr>,
    ) -> Self {
        let route = epoch.snapshot.policy.get(found).route;
        Self {
            context,
            epoch,
            route,
            source,
            local,
            state: State::default(),
            record: Record::begin(local.map_or(0, |local| local.port())),
        }
    }

    /// Runs policy; whether the session goes on.
    fn judge(&mut self) -> bool {
        let status = match self.run(Entry::Request) {
            Verdict::Forward if self.policy().get(self.route).service.is_none() => 503,
            Verdict::Forward => return true,
            Verdict::Refuse(refusal) => self.policy().get(refusal).status,
            // What asks for a request, or answers one, has no place here.
            Verdict::Respond(_) | Verdict::Preflight(_) | Verdict::Wait(_) => 403,
        };
        self.record.status = u16::try_from(status).unwrap_or(403);
        false
    }

    fn run(&mut self, entry: Entry) -> Verdict {
        let mut view = View(self.source.address);
        let policy = &self.epoch.snapshot.policy;
        vm::run(policy, self.route, entry, &mut self.state, &mut view)
    }

    /// Ends TLS here, if the route says so. Gives the client's bytes that were received and are to be passed on.
    async fn terminate(&mut self, conn: Conn, received: Buffer) -> Result<(Stream, Buffer), StreamError> {
        let ends_here = self.policy().get(self.route).protocols & TLS != 0;
        if !ends_here || self.record.server_name.is_none() {
            return Ok((Stream::Plain(Box::new(conn)), received));
        }
        // A policy that lost its certificates cannot speak TLS.
        let tls = self.epoch.snapshot.server_tls.as_ref().ok_or(StreamError::Tls)?;
        let tls = tls.accept_stream().map_err(|_error| StreamError::Tls)?;
        let within = settable::tls_handshake_s();
        let stream = Stream::handshake_from(received, conn, tls, within)
            .await
            .inspect_err(|&error| timed_out(error, Limit::TlsHandshakeS))?;
        self.record.terminated(stream.tls());
        Ok((stream, Buffer::empty()))
    }

    /// Connects to the service and passes bytes on until the session ends.
    async fn pass_on(&mut self, mut client: Stream, early: Buffer) {
        let epoch = Rc::clone(&self.epoch);
        let Some(service) = self.policy().get(self.route).service else {
            return;
        };
        let endpoint = &epoch.snapshot.endpoints[service.index()];
        let (mut upstream, selection) = match Box::pin(self.connect(&epoch, endpoint)).await {
            Ok(connected) => connected,
            Err(status) => {
                self.record.status = status;
                return;
            }
        };
        self.record.connected = Some(clock::now());
        let end = |stream, early| relay::End {
            stream,
            early,
            write: endpoint.read,
        };
        let (left, right) = (end(&mut client, early), end(&mut upstream, Buffer::empty()));
        let relayed = relay::relay(left, right, endpoint.read).await;
        // Whoever did not end the session is told that it has ended, if it can be told at once.
        let _ = client.duplex().try_finish();
        let _ = upstream.duplex().try_finish();
        self.record.relayed = Some((relayed.from_left, relayed.from_right));
        // The target carried the session until now.
        drop(selection);
    }

    fn policy(&self) -> &policy::Policy {
        &self.epoch.snapshot.policy
    }
}
