//! Clients that are slow on purpose: they are ended in time and hold up nobody else.
//!
//! What takes longer than a test may, such as the 60 seconds between two reads of a body, is left to the limits' own
//! tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::{Client, Origin, Response, Script, Step};

use crate::client::{connect, fresh_address};
use crate::pressure::{HELD_UP, gateway, ordinary};
use crate::subject::answer;

/// How long a request head may take, from its first byte (`REQUEST_HEAD_S`).
const HEAD: Duration = Duration::from_secs(10);
/// By how much a busy machine may be late.
const LATE: Duration = Duration::from_secs(5);

/// slowloris: heads that come byte by byte and never end.
#[test]
fn heads_that_never_end_are_answered_408_in_time_and_hold_up_nobody() -> Result<()> {
    let origin = Origin::start(answer)?;
    let gateway = gateway(&origin)?;
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| connect(fresh_address(), gateway.addr()))
        .collect::<Result<_>>()?;
    let began = Instant::now();
    let mut rest = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "
        .iter()
        .chain(std::iter::repeat(&b'z'));
    while began.elapsed() < HEAD - Duration::from_secs(1) {
        let byte = rest.next().copied().unwrap_or(b'z');
        for stream in &mut slow {
            stream.write_all(&[byte]).context("ended before its time")?;
        }
        ensure!(ordinary(&gateway)? < HELD_UP, "others are held up");
        std::thread::sleep(Duration::from_millis(300));
    }
    for stream in &mut slow {
        let told = end_of(stream, HEAD + LATE - began.elapsed().min(HEAD))?;
        ensure!(told.starts_with(b"HTTP/1.1 408 "), "got {}", told.escape_ascii());
    }
    ensure!(began.elapsed() >= HEAD, "ended after {:?}", began.elapsed());
    saw_only_ordinary_ones(&origin)
}

/// Nothing of a slow request got through.
fn saw_only_ordinary_ones(origin: &Origin) -> Result<()> {
    let requests = origin.requests();
    let other = requests.iter().find(|request| request.target != "/ordinary");
    ensure!(other.is_none(), "the origin saw {other:?}");
    Ok(())
}

/// Everything until the end of the connection.
fn end_of(stream: &mut TcpStream, patience: Duration) -> Result<Vec<u8>> {
    stream.set_read_timeout(Some(patience))?;
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .context("the connection stays open")?;
    Ok(bytes)
}

/// A second request on a kept connection has as little time as the first.
#[test]
fn a_slow_second_head_is_answered_408_too() -> Result<()> {
    let origin = Origin::start(answer)?;
    let gateway = gateway(&origin)?;
    let mut client = Client::connect(gateway.addr())?;
    ensure!(client.ask("GET", "/1", &[], b"")?.status == 200);
    let began = Instant::now();
    client.send(b"GET /2 HTTP/1.1\r\nHost: a\r\n")?;
    while began.elapsed() < HEAD - Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(500));
        client.send(b"X: y\r\n")?;
    }
    ensure!(client.response("GET")?.status == 408);
    client.expect_close()
}

/// A head that comes slowly but in time is a head.
#[test]
fn a_slow_head_and_a_slow_body_in_time_are_served() -> Result<()> {
    let origin = Origin::start(answer)?;
    let gateway = gateway(&origin)?;
    let mut client = Client::connect(gateway.addr())?;
    for byte in b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" {
        client.send(&[*byte])?;
        std::thread::sleep(Duration::from_millis(60));
    }
    ensure!(client.response("POST")?.status == 200);
    ensure!(origin.last().body == b"abc");
    Ok(())
}

/// Uploads that have begun and go nowhere hold one connection each, and nobody else's.
#[test]
fn uploads_that_stall_hold_up_nobody() -> Result<()> {
    let origin = Origin::start(answer)?;
    let gateway = gateway(&origin)?;
    let mut stalled = Vec::new();
    for _ in 0..200 {
        let mut stream = connect(fresh_address(), gateway.addr())?;
        stream.write_all(b"POST /stalled HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")?;
        stalled.push(stream);
    }
    for _ in 0..50 {
        ensure!(ordinary(&gateway)? < HELD_UP, "others are held up");
    }
    drop(stalled);
    // The upstream is let go when its client is gone, and never takes a part for the whole.
    let deadline = Instant::now() + Duration::from_secs(10);
    while origin.open_connections() > 2 {
        ensure!(
            Instant::now() < deadline,
            "{} are still open",
            origin.open_connections()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    saw_only_ordinary_ones(&origin)
}

/// An early answer to an upload that goes on: the client gets it, and nothing of the upload is a request.
#[test]
fn an_answer_before_the_end_of_an_upload_ends_the_connection() -> Result<()> {
    let origin = Origin::start_at_head(|request| match request.target.as_str() {
        "/early" => Script::respond(200, &[], "early").then(Step::Pause(Duration::from_millis(200))),
        _ => answer(request),
    })?;
    let gateway = gateway(&origin)?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")?;
    let early: Response = client.response("POST")?;
    ensure!(
        early.text() == "early" && early.header("connection") == "close",
        "{early:?}"
    );
    let _ = client.send(b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n");
    let rest = client.read_to_close().unwrap_or_default();
    ensure!(rest.is_empty(), "the client got {}", rest.escape_ascii());
    ensure!(origin.requests().iter().all(|request| request.target != "/evil"));
    for _ in 0..5 {
        ordinary(&gateway)?;
    }
    Ok(())
}
