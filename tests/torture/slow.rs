//! Clients that are slow on purpose, and many: they are ended in time, cost little, and harm nobody else.
//!
//! What takes longer than a test may, such as the 60 seconds between two reads of a body, is left to the limits' own
//! tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tests::{Client, Gateway, Origin, Response, Script, Step};

use crate::client::{connect, fresh_address};
use crate::known;
use crate::subject::answer;

/// How long a request head may take, from its first byte (`REQUEST_HEAD_S`).
const HEAD: Duration = Duration::from_secs(10);
/// An ordinary request takes a millisecond; one that takes this long waits for others.
const HELD_UP: Duration = Duration::from_secs(3);
/// By how much a busy machine may be late.
const LATE: Duration = Duration::from_secs(5);

fn gateway(origin: &Origin, flags: &[&str]) -> Result<Gateway> {
    let policy = include_str!("policy.yaml").replace("@ORIGIN@", &origin.url());
    let builder = Gateway::builder(policy).workers(1);
    flags
        .iter()
        .fold(builder, |builder, flag| builder.flag(flag))
        .start()
}

/// The time that an ordinary request takes.
fn ordinary(gateway: &Gateway) -> Result<Duration> {
    let began = Instant::now();
    let answer = Client::get(gateway.addr(), "/ordinary", &[])?;
    ensure!(answer.status == 200, "an ordinary request got {}", answer.status);
    Ok(began.elapsed())
}

/// slowloris: heads that come byte by byte and never end.
#[test]
fn heads_that_never_end_are_answered_408_in_time_and_hold_up_nobody() -> Result<()> {
    let origin = Origin::start(answer)?;
    let gateway = gateway(&origin, &[])?;
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
    ensure!(
        origin
            .requests()
            .iter()
            .all(|request| request.target == "/ordinary")
    );
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
    let gateway = gateway(&origin, &[])?;
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
    let gateway = gateway(&origin, &[])?;
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
    let gateway = gateway(&origin, &[])?;
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
    ensure!(
        origin
            .requests()
            .iter()
            .all(|request| request.target == "/ordinary")
    );
    Ok(())
}

/// slow read: clients that ask for much and take nothing. What the gateway holds for each is bounded.
#[test]
fn answers_that_nobody_takes_are_not_piled_up() -> Result<()> {
    const ANSWER: usize = 4 << 20;
    const CLIENTS: usize = 40;
    let origin = Origin::start(|request| match request.target.as_str() {
        "/much" => Script::respond(200, &[], vec![b'm'; ANSWER]),
        _ => answer(request),
    })?;
    let mut gateway = gateway(&origin, &[])?;
    ordinary(&gateway)?;
    let before = resident_kib(gateway.process().id())?;
    let mut idle = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = connect(fresh_address(), gateway.addr())?;
        socket2::SockRef::from(&stream).set_recv_buffer_size(4096)?;
        stream.write_all(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")?;
        idle.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    ensure!(ordinary(&gateway)? < HELD_UP, "others are held up");
    let grown = resident_kib(gateway.process().id())?.saturating_sub(before);
    ensure!(
        grown < CLIENTS as u64 * 256,
        "{grown} KiB for {CLIENTS} clients that take nothing"
    );
    Ok(())
}

/// Connections that only come and go, or come and stay.
#[test]
fn connections_that_say_nothing_hold_up_nobody() -> Result<()> {
    let origin = Origin::start(answer)?;
    let mut gateway = gateway(&origin, &[])?;
    ordinary(&gateway)?;
    let open = descriptors(gateway.process().id())?;
    let silent: Vec<TcpStream> = (0..300)
        .map(|_| connect(fresh_address(), gateway.addr()))
        .collect::<Result<_>>()?;
    for _ in 0..1000 {
        drop(connect(fresh_address(), gateway.addr())?);
    }
    ensure!(ordinary(&gateway)? < HELD_UP, "others are held up");
    drop(silent);
    let deadline = Instant::now() + Duration::from_secs(10);
    while descriptors(gateway.process().id())? > open + 4 {
        let now = descriptors(gateway.process().id())?;
        ensure!(
            Instant::now() < deadline,
            "{now} descriptors are open, {open} were"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A client that was refused may send on for a while, so that it gets to read why; not for ever.
#[test]
fn who_is_refused_and_sends_on_is_cut_off() -> Result<()> {
    let origin = Origin::start(answer)?;
    let gateway = gateway(&origin, &[])?;
    let mut stream = connect(fresh_address(), gateway.addr())?;
    stream.write_all(b"GET / HTTP/9.9\r\nHost: a\r\n\r\n")?;
    let began = Instant::now();
    let junk = [b'j'; 64 * 1024];
    let mut sent = 0;
    while stream.write_all(&junk).is_ok() {
        sent += junk.len();
        ensure!(sent < 64 << 20, "it took {sent} bytes after a refusal");
        ensure!(
            began.elapsed() < Duration::from_secs(20),
            "it reads on after a refusal"
        );
    }
    ordinary(&gateway)?;
    Ok(())
}

/// An early answer to an upload that goes on: the client gets it, and nothing of the upload is a request.
#[test]
fn an_answer_before_the_end_of_an_upload_ends_the_connection() -> Result<()> {
    let origin = Origin::start_at_head(|request| match request.target.as_str() {
        "/early" => Script::respond(200, &[], "early").then(Step::Pause(Duration::from_millis(200))),
        _ => answer(request),
    })?;
    let gateway = gateway(&origin, &[])?;
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

fn resident_kib(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse().ok()).context("no VmRSS")
}

/// Hundredths of a second that the process has computed.
fn busy_ticks(process: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no fields")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()?)
}

fn descriptors(process: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

/// Pipelined bytes that come while an answer streams wait in the socket, not in the gateway.
#[test]
fn bytes_that_come_while_an_answer_streams_are_not_piled_up() -> Result<()> {
    const EVENTS: usize = 30;
    let origin = Origin::start(|request| {
        if request.target != "/stream" {
            return answer(request);
        }
        let mut script = Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..EVENTS {
            script = script
                .then(Step::Pause(Duration::from_millis(100)))
                .then(Step::Send(b"5\r\nevent\r\n".to_vec()));
        }
        script.then(Step::Send(b"0\r\n\r\n".to_vec()))
    })?;
    let mut gateway = gateway(&origin, &[])?;
    ordinary(&gateway)?;
    let before = resident_kib(gateway.process().id())?;
    let mut stream = connect(fresh_address(), gateway.addr())?;
    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut flood = stream.try_clone()?;
    flood.set_write_timeout(Some(Duration::from_millis(200)))?;
    let sender = std::thread::spawn(move || {
        let junk = [b'j'; 64 * 1024];
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < Duration::from_secs(3) {
            sent += flood.write(&junk).unwrap_or(0);
        }
        sent
    });
    let mut grown = 0;
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        grown = grown.max(resident_kib(gateway.process().id())?.saturating_sub(before));
    }
    let sent = sender.join().unwrap_or_default();
    let claim = (|| {
        let sent = sent / 1024;
        ensure!(
            grown < 8 * 1024,
            "grew by {grown} KiB for one client that sent {sent} KiB"
        );
        Ok(())
    })();
    known::expect(
        "slow",
        "bytes_that_come_while_an_answer_streams_are_not_piled_up",
        claim,
    )
}

/// Out of descriptors: accepting pauses, without turning in circles, and goes on when some are free again.
#[test]
fn a_gateway_out_of_descriptors_waits_and_recovers() -> Result<()> {
    let origin = Origin::start(answer)?;
    let mut gateway = gateway(&origin, &[])?;
    ordinary(&gateway)?;
    let process = gateway.process().id();
    let most = descriptors(process)? as u64 + 20;
    let limits = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    let pid = Pid::from_raw(process.try_into()?).context("a process id")?;
    prlimit(Some(pid), Resource::Nofile, limits)?;
    let crowd: Vec<TcpStream> = (0..100)
        .map(|_| connect(fresh_address(), gateway.addr()))
        .collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_millis(500));
    let before = busy_ticks(process)?;
    std::thread::sleep(Duration::from_secs(2));
    let busy = busy_ticks(process)? - before;
    ensure!(busy < 60, "busy for {busy} of 200 ticks with nothing to do");
    drop(crowd);
    let began = Instant::now();
    while ordinary(&gateway).is_err() {
        ensure!(began.elapsed() < Duration::from_secs(10), "does not recover");
    }
    Ok(())
}
