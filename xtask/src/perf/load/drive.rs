//! Loads that no tool of Debian puts on: a thread for each connection does one exchange after the other and ends the
//! last one, so that every exchange that costs a gateway something is counted. The first error ends the run.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustls::{CipherSuite, ClientConnection, HandshakeKind, NamedGroup, StreamOwned};

use super::super::message::{
    ECHO_BYTES, Head, WEBSOCKET_ACCEPT, WEBSOCKET_KEY, drain, fill, frame, read_frame,
};
use super::super::origin::{DOWN, UP};
use super::super::rig::{HOST, Rig};
use super::super::scenario::Exchange;
use super::Outcome;

/// How long a gateway may be silent.
const SILENCE: Duration = Duration::from_secs(20);
/// What a client reads at once.
const READ_BYTES: usize = 256 * 1024;
const MESSAGE: [u8; ECHO_BYTES as usize] = [b'x'; ECHO_BYTES as usize];

/// A plaintext connection to a gateway.
pub(crate) type Connection = BufReader<TcpStream>;

pub(super) fn run(
    rig: &Rig,
    connections: usize,
    exchange: Exchange,
    port: u16,
    seconds: u64,
) -> Result<Outcome> {
    let begin = Instant::now();
    let until = begin + Duration::from_secs(seconds);
    let mut latencies = std::thread::scope(|scope| -> Result<Vec<u64>> {
        let threads: Vec<_> = (0..connections)
            .map(|_| scope.spawn(|| client(rig, exchange, port, until)))
            .collect();
        let mut latencies = Vec::new();
        for thread in threads {
            latencies.extend(thread.join().map_err(|_panic| anyhow!("a client panicked"))??);
        }
        Ok(latencies)
    })?;
    let rps = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    let (p50_us, p99_us) = super::percentiles(&mut latencies);
    Ok(Outcome {
        requests: latencies.len() as u64,
        errors: 0,
        rps,
        p50_us,
        p99_us,
    })
}

/// The microseconds of each exchange of one client.
fn client(rig: &Rig, exchange: Exchange, port: u16, until: Instant) -> Result<Vec<u64>> {
    match exchange {
        Exchange::Handshake => repeat(until, || handshake(rig, port)),
        Exchange::Echo => {
            let mut connection = upgrade(port)?;
            let masked = frame(&MESSAGE, true);
            repeat(until, || echo(&mut connection, &masked))
        }
        Exchange::Download(bytes) => {
            let mut connection = connect(port)?;
            repeat(until, || {
                ask_for(&mut connection, bytes)?;
                answer(&mut connection, bytes)
            })
        }
        Exchange::Upload(bytes) => {
            let mut connection = connect(port)?;
            repeat(until, || {
                announce(&mut connection, UP, bytes)?;
                fill(connection.get_mut(), bytes)?;
                answer(&mut connection, 0)
            })
        }
    }
}

fn repeat(until: Instant, mut exchange: impl FnMut() -> Result<()>) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    loop {
        let begin = Instant::now();
        exchange()?;
        let end = Instant::now();
        latencies.push(u64::try_from((end - begin).as_micros()).unwrap_or(u64::MAX));
        if end >= until {
            return Ok(latencies);
        }
    }
}

/// Connects, shakes hands in full, and asks for one answer.
fn handshake(rig: &Rig, port: u16) -> Result<()> {
    let session = ClientConnection::new(Arc::clone(&rig.client), HOST.try_into()?)?;
    let mut tls = BufReader::new(StreamOwned::new(session, connect(port)?.into_inner()));
    write!(
        tls.get_mut(),
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    )?;
    let head = Head::read(&mut tls)?.context("closed before an answer")?;
    is_ok(&head)?;
    drain(&mut tls, head.length()?)?;
    let session = &tls.get_ref().conn;
    let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
    let group = session.negotiated_key_exchange_group().map(|group| group.name());
    ensure!(
        session.handshake_kind() == Some(HandshakeKind::Full)
            && suite == Some(CipherSuite::TLS13_AES_256_GCM_SHA384)
            && group == Some(NamedGroup::X25519),
        "a handshake of another kind than the peers': {suite:?} {group:?}"
    );
    Ok(())
}

fn upgrade(port: u16) -> Result<Connection> {
    let mut connection = connect(port)?;
    write!(
        connection.get_mut(),
        "GET /echo HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n"
    )?;
    let head = Head::read(&mut connection)?.context("closed before an answer")?;
    ensure!(
        head.start.starts_with("HTTP/1.1 101 ")
            && head.field("sec-websocket-accept") == Some(WEBSOCKET_ACCEPT),
        "no upgrade: {}",
        head.start
    );
    Ok(connection)
}

fn echo(connection: &mut Connection, masked: &[u8]) -> Result<()> {
    connection.get_mut().write_all(masked)?;
    let echo = read_frame(connection)?.context("the WebSocket was closed")?;
    ensure!(echo == MESSAGE, "an echo differs from its message");
    Ok(())
}

/// A connection to a port of the loopback.
///
/// # Errors
/// When there is none.
pub(crate) fn connect(port: u16) -> Result<Connection> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(BufReader::with_capacity(READ_BYTES, stream))
}

/// Asks for an answer of this many bytes.
///
/// # Errors
/// When the connection breaks.
pub(crate) fn ask_for(connection: &mut Connection, bytes: u64) -> Result<()> {
    write!(
        connection.get_mut(),
        "GET {DOWN}{bytes} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    )?;
    Ok(())
}

/// Sends the head of a request whose body has this many bytes.
///
/// # Errors
/// When the connection breaks.
pub(crate) fn announce(connection: &mut Connection, path: &str, bytes: u64) -> Result<()> {
    write!(
        connection.get_mut(),
        "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {bytes}\r\n\r\n"
    )?;
    Ok(())
}

/// Reads an answer to its end.
///
/// # Errors
/// When it is not 200 with this many bytes.
pub(crate) fn answer(connection: &mut Connection, bytes: u64) -> Result<()> {
    let head = Head::read(connection)?.context("closed before an answer")?;
    is_ok(&head)?;
    let length = head.length()?;
    ensure!(length == bytes, "a body of {length} bytes instead of {bytes}");
    drain(connection, length)
}

fn is_ok(head: &Head) -> Result<()> {
    ensure!(head.start.starts_with("HTTP/1.1 200"), "answered {}", head.start);
    Ok(())
}
