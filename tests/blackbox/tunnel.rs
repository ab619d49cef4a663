//! Upgrades: what is asked for, what is agreed to, and the bytes that follow, on raw sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::{Client, Curl, Gateway, Origin, Scratch, Script, Step};

use crate::{echoed, eventually, one_route, routes};

const ASK: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
const AGREE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on raw sockets: each connection is `serve`d on a thread of its own, once its first head has come. What came
/// behind that head is given too. The connection ends with the thread.
struct Raw {
    addr: SocketAddr,
    opened: Arc<AtomicUsize>,
}

impl Raw {
    fn start(
        serve: impl Fn(&mut TcpStream, String, Vec<u8>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let opened = Arc::new(AtomicUsize::new(0));
        let (counted, serve) = (Arc::clone(&opened), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || -> Result<()> {
                    let mut stream = timed(stream)?;
                    let (head, early) = head(&mut stream)?;
                    serve(&mut stream, head, early)
                });
            }
        });
        Ok(Self { addr, opened })
    }

    /// One that agrees, and then sends back what it gets until that ends.
    fn echo() -> Result<Self> {
        Self::start(|stream, _head, early| {
            stream.write_all(AGREE)?;
            stream.write_all(&early)?;
            let mut from = stream.try_clone()?;
            std::io::copy(&mut from, stream)?;
            Ok(())
        })
    }

    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

fn timed(stream: TcpStream) -> Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn head(stream: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Ok((String::from_utf8(bytes)?, rest));
        }
        let count = stream.read(&mut piece)?;
        ensure!(count > 0, "closed inside a head: {}", bytes.escape_ascii());
        bytes.extend_from_slice(&piece[..count]);
    }
}

/// Asks for `foo` and gets it: the connection, the head of the 101, and what came behind it.
fn open(gateway: &Gateway, behind: &[u8]) -> Result<(TcpStream, String, Vec<u8>)> {
    let mut stream = timed(TcpStream::connect(gateway.addr())?)?;
    stream.write_all(&[ASK, behind].concat())?;
    let (answer, early) = head(&mut stream)?;
    ensure!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    Ok((stream, answer, early))
}

fn exactly(stream: &mut TcpStream, mut early: Vec<u8>, count: usize) -> Result<Vec<u8>> {
    let had = early.len();
    early.resize(count.max(had), 0);
    stream.read_exact(&mut early[had..])?;
    Ok(early)
}

fn to_end(stream: &mut TcpStream, mut early: Vec<u8>) -> Result<Vec<u8>> {
    stream.read_to_end(&mut early)?;
    Ok(early)
}

#[test]
fn the_handshake_is_a_request_like_any_other() -> Result<()> {
    let (sender, heads) = mpsc::channel();
    let upstream = Raw::start(move |stream, head, _early| {
        sender.send(head)?;
        stream.write_all(
            b"HTTP/1.1 101 x\r\nConnection: x-hop, Upgrade\r\nX-Hop: y\r\nUpgrade: FOO\r\nX-Own: z\r\n\r\n",
        )?;
        stream.read_exact(&mut [0])?;
        Ok(())
    })?;
    let plugins = "{name: request-transformer, config: {add: {headers: ['x-added:1']}}}, \
                   {name: response-transformer, config: {add: {headers: ['x-edited:2'], json: ['a:b']}}}";
    let gateway = Gateway::start(one_route(&upstream.url(), plugins, ""))?;
    let (_stream, answer, _) = open(&gateway, b"")?;
    let asked = heads.recv_timeout(PATIENCE)?;
    for line in [
        "GET /x HTTP/1.1",
        "Connection: keep-alive, Upgrade",
        "Upgrade: foo",
        "x-added: 1",
    ] {
        assert!(asked.contains(&format!("{line}\r\n")), "{line}: {asked}");
    }
    for line in ["Connection: Upgrade", "Upgrade: FOO", "x-edited: 2", "X-Own: z"] {
        assert!(answer.contains(&format!("{line}\r\n")), "{line}: {answer}");
    }
    for name in ["X-Kong-Request-Id: ", "X-Kong-Upstream-Latency: ", "Via: "] {
        assert!(answer.contains(name), "{name}: {answer}");
    }
    for name in ["Content-Length", "Transfer-Encoding", "X-Hop"] {
        assert!(!answer.contains(name), "{name}: {answer}");
    }
    Ok(())
}

#[test]
fn bytes_that_come_early_on_either_side_arrive() -> Result<()> {
    let upstream = Raw::start(|stream, _head, early| {
        // What the client sent at once must not come before the 101 (CVE-2026-2833).
        ensure!(early.is_empty(), "early: {}", early.escape_ascii());
        stream.set_read_timeout(Some(Duration::from_millis(300)))?;
        ensure!(stream.read(&mut [0]).is_err(), "bytes before the 101");
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&[AGREE, b"down-early "].concat())?;
        let got = exactly(stream, Vec::new(), "up-early up-late".len())?;
        stream.write_all(&got)?;
        Ok(())
    })?;
    let gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let mut stream = timed(TcpStream::connect(gateway.addr())?)?;
    stream.write_all(&[ASK, b"up-early "].concat())?;
    // Longer than the gateway waits before it watches the client.
    std::thread::sleep(Duration::from_millis(150));
    stream.write_all(b"up-late")?;
    let (answer, early) = head(&mut stream)?;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(to_end(&mut stream, early)?, b"down-early up-early up-late");
    Ok(())
}

#[test]
fn a_half_close_is_passed_on_either_way() -> Result<()> {
    let upstream = Raw::start(|stream, _head, _early| {
        stream.write_all(AGREE)?;
        let got = to_end(stream, Vec::new())?;
        stream.write_all(&[b"after your end: ", &got[..]].concat())?;
        Ok(())
    })?;
    let gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let (mut stream, _, early) = open(&gateway, b"")?;
    stream.write_all(b"abc")?;
    stream.shutdown(Shutdown::Write)?;
    assert_eq!(to_end(&mut stream, early)?, b"after your end: abc");

    let (sender, ended) = mpsc::channel();
    let upstream = Raw::start(move |stream, _head, _early| {
        stream.write_all(&[AGREE, b"bye"].concat())?;
        stream.shutdown(Shutdown::Write)?;
        sender.send(to_end(stream, Vec::new())?)?;
        Ok(())
    })?;
    let gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let (mut stream, _, early) = open(&gateway, b"")?;
    assert_eq!(to_end(&mut stream, early)?, b"bye");
    stream.write_all(b"still here")?;
    drop(stream);
    assert_eq!(ended.recv_timeout(PATIENCE)?, b"still here");
    Ok(())
}

#[test]
fn both_directions_run_at_once() -> Result<()> {
    const BYTES: usize = 24 << 20;
    let upstream = Raw::echo()?;
    let gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let (mut stream, _, early) = open(&gateway, b"")?;
    let sent: Vec<u8> = (0..BYTES).map(|at| (at * 31 % 251) as u8).collect();
    let mut writer = stream.try_clone()?;
    let written = sent.clone();
    let writing = std::thread::spawn(move || -> Result<()> {
        writer.write_all(&written)?;
        Ok(writer.shutdown(Shutdown::Write)?)
    });
    let got = to_end(&mut stream, early)?;
    writing.join().expect("no panic")?;
    assert!(got == sent, "{} of {BYTES} bytes", got.len());
    Ok(())
}

#[test]
fn a_slow_reader_slows_the_other_side_down() -> Result<()> {
    const BYTES: usize = 96 << 20;
    let pushed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pushed);
    let upstream = Raw::start(move |stream, _head, _early| {
        stream.write_all(AGREE)?;
        let piece = [7; 64 << 10];
        while counted.load(Ordering::Relaxed) < BYTES {
            stream.write_all(&piece)?;
            counted.fetch_add(piece.len(), Ordering::Relaxed);
        }
        Ok(())
    })?;
    let mut gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let (mut stream, _, early) = open(&gateway, b"")?;
    let before = resident(&mut gateway)?;
    let mut last = usize::MAX;
    eventually("the upstream is held back", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = pushed.load(Ordering::Relaxed);
        (std::mem::replace(&mut last, now) == now && now > 0).then_some(())
    });
    // What is on its way fills the kernel's buffers, not the gateway.
    assert!(last < BYTES / 2, "{last} bytes were taken");
    let grown = resident(&mut gateway)?.saturating_sub(before);
    assert!(grown < 2 << 20, "the gateway grew by {grown} bytes");
    assert_eq!(to_end(&mut stream, early)?.len(), BYTES);
    Ok(())
}

/// Memory of the gateway, in bytes.
fn resident(gateway: &mut Gateway) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.process().id()))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("VmRSS")?;
    let kib: usize = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib << 10)
}

#[test]
fn a_silent_tunnel_ends_after_the_services_read_timeout() -> Result<()> {
    let upstream = Raw::echo()?;
    let policy = one_route(&upstream.url(), "", "").replace("  routes:", "  read_timeout: 1000\n  routes:");
    let gateway = Gateway::start(policy)?;
    let (mut stream, _, mut early) = open(&gateway, b"")?;
    // What moves keeps it open: three times longer than it may be silent.
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        stream.write_all(b"on")?;
        assert_eq!(exactly(&mut stream, early, 2)?, b"on");
        early = Vec::new();
    }
    let silent = Instant::now();
    assert_eq!(to_end(&mut stream, Vec::new())?, b"");
    let took = silent.elapsed();
    assert!((900..3000).contains(&took.as_millis()), "{took:?}");
    Ok(())
}

#[test]
fn a_tunnels_connections_are_never_used_again() -> Result<()> {
    let upstream = Raw::start(|stream, head, _early| {
        if head.contains("Upgrade") {
            stream.write_all(&[AGREE, b"bye"].concat())?;
            stream.shutdown(Shutdown::Write)?;
            to_end(stream, Vec::new())?;
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            to_end(stream, Vec::new())?;
        }
        Ok(())
    })?;
    let gateway = Gateway::builder(one_route(&upstream.url(), "", ""))
        .workers(1)
        .start()?;
    for round in 1..=3 {
        let (mut stream, _, early) = open(&gateway, b"")?;
        assert_eq!(to_end(&mut stream, early)?, b"bye");
        // A request behind it on the same connection is the other protocol's, not ours.
        stream.write_all(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")?;
        stream.shutdown(Shutdown::Write)?;
        assert_eq!(to_end(&mut stream, Vec::new())?, b"");
        assert_eq!(upstream.opened.load(Ordering::Relaxed), round);
    }
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.text(), "ok");
    assert_eq!(upstream.opened.load(Ordering::Relaxed), 4);
    Ok(())
}

#[test]
fn an_upstream_that_stays_with_http_answers_as_ever() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(1)
        .start()?;
    let answer = Curl::new(&gateway.url("/x"))?
        .header("Connection", "Upgrade")
        .header("Upgrade", "foo/2")
        .run()?;
    assert_eq!(
        (answer.status, answer.json()["target"].as_str()),
        (200, Some("/x"))
    );
    assert_eq!(echoed(&answer.json(), "Upgrade").as_deref(), Some("foo/2"));
    assert_eq!(
        echoed(&answer.json(), "Connection").as_deref(),
        Some("keep-alive, Upgrade")
    );
    let mut client = Client::connect(gateway.addr())?;
    for _ in 0..2 {
        let asks = [("Connection", "Upgrade"), ("Upgrade", "foo")];
        assert_eq!(client.ask("GET", "/", &asks, b"")?.status, 200);
    }
    assert_eq!(origin.connections(), 1, "both connections are used again");
    Ok(())
}

#[test]
fn what_is_no_upgrade_goes_on_without_one() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let asks = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    for (start, fields) in [
        ("GET / HTTP/1.1", "Upgrade: h2c\r\n"),
        ("GET / HTTP/1.1", "Upgrade: H2C\r\n"),
        ("GET / HTTP/1.1", "Upgrade: TLS/1.2\r\n"),
        ("GET / HTTP/1.1", "Upgrade: HTTP/2.0\r\n"),
        ("GET / HTTP/1.1", "Upgrade: websocket, h2c\r\n"),
        ("GET / HTTP/1.1", "Upgrade: websocket\r\nUpgrade: h2c\r\n"),
        ("GET / HTTP/1.0", "Upgrade: websocket\r\n"),
        ("POST / HTTP/1.1", "Upgrade: websocket\r\nContent-Length: 2\r\n"),
        ("GET / HTTP/1.1", "Upgrade: websocket\r\nContent-Length: 2\r\n"),
    ] {
        let mut client = Client::connect(gateway.addr())?;
        let body = if fields.contains("Length") { "ab" } else { "" };
        client.send(format!("{start}\r\nHost: a\r\n{asks}{fields}\r\n{body}").as_bytes())?;
        let view = client.response("GET")?.json();
        assert_eq!(view["body"], body, "{start} {fields}");
        for name in ["Upgrade", "HTTP2-Settings"] {
            assert_eq!(echoed(&view, name), None, "{start} {fields}");
        }
        assert_eq!(
            echoed(&view, "Connection").as_deref(),
            Some("keep-alive"),
            "{start} {fields}"
        );
    }
    Ok(())
}

#[test]
fn a_101_to_something_else_is_a_bad_answer() -> Result<()> {
    for fields in [
        "Connection: Upgrade\r\nUpgrade: bar",
        "Connection: Upgrade\r\nUpgrade: foo, bar",
        "Connection: Upgrade\r\nUpgrade: foo\r\nUpgrade: foo",
        "Connection: Upgrade",
        "Upgrade: foo",
    ] {
        let origin = Origin::always(
            Script::raw(format!(
                "HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\nevil"
            ))
            .then(Step::Hold),
        )?;
        let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
        let mut client = Client::connect(gateway.addr())?;
        client.send(ASK)?;
        let answer = client.response("GET")?;
        assert_eq!(answer.status, 502, "{fields}");
        assert!(!answer.text().contains("evil"));
        origin.wait_closed(PATIENCE)?;
    }
    Ok(())
}

#[test]
fn bytes_behind_a_refused_upgrade_are_judged_as_requests() -> Result<()> {
    let upstream = Raw::echo()?;
    let policy = routes(
        &upstream.url(),
        "{name: open, paths: [/x], plugins: [{name: key-auth}]}, \
         {name: admin, paths: [/admin], plugins: [{name: request-termination, config: {status_code: 403}}]}",
    );
    let gateway = Gateway::start(policy)?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(&[ASK, b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"].concat())?;
    assert_eq!(client.response("GET")?.status, 401);
    assert_eq!(client.response("GET")?.status, 403);
    assert_eq!(upstream.opened.load(Ordering::Relaxed), 0);
    Ok(())
}

#[test]
fn a_tunnel_is_logged_and_counted_at_its_end() -> Result<()> {
    let (upstream, scratch) = (Raw::echo()?, Scratch::new()?);
    let path = scratch.path().join("access.log");
    let plugins = format!(
        "{{name: file-log, config: {{path: {}}}}}, \
         {{name: prometheus, config: {{status_code_metrics: true, bandwidth_metrics: true}}}}",
        path.display()
    );
    let gateway = Gateway::start(one_route(&upstream.url(), &plugins, ""))?;
    let (mut stream, answer, early) = open(&gateway, b"")?;
    stream.write_all(&[1; 30_000])?;
    assert_eq!(exactly(&mut stream, early, 30_000)?.len(), 30_000);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), "", "it runs");
    stream.shutdown(Shutdown::Write)?;
    assert_eq!(to_end(&mut stream, Vec::new())?, b"");
    let entry: serde_json::Value = eventually("a log line", || {
        let text = std::fs::read_to_string(&path).ok()?;
        serde_json::from_str(text.strip_suffix('\n')?).ok()
    });
    assert_eq!(entry["response"]["status"], 101);
    assert_eq!(entry["response"]["size"], answer.len() + 30_000);
    assert_eq!(entry["request"]["size"], ASK.len() + 30_000);
    assert_eq!(entry["upstream_status"], "101");
    assert!(
        entry["latencies"]["request"].as_u64() >= Some(300),
        "{}",
        entry["latencies"]
    );
    let metric = |name: &str, labels: &[&str]| gateway.admin().metric(name, labels).ok();
    eventually("the count", || {
        (metric(
            "kong_http_requests_total",
            &["code=\"101\"", "source=\"service\""],
        )? > 0.5)
            .then_some(())
    });
    for direction in ["direction=\"ingress\"", "direction=\"egress\""] {
        assert!(
            metric("kong_bandwidth_bytes", &[direction]) > Some(30_000.0),
            "{direction}"
        );
    }
    Ok(())
}

#[test]
fn a_try_is_repeated_before_the_101_and_never_after() -> Result<()> {
    let upstream = Raw::start(move |stream, _head, _early| {
        stream.write_all(AGREE)?;
        Ok(())
    })?;
    let dead = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, host: up, routes: [{{name: r, paths: [/]}}]}}\n\
         upstreams:\n- name: up\n  targets: [{{target: '{dead}'}}, {{target: '{}'}}]\n",
        upstream.addr
    );
    let gateway = Gateway::builder(policy).workers(1).start()?;
    for round in 1..=4 {
        let (mut stream, _, early) = open(&gateway, b"")?;
        assert_eq!(to_end(&mut stream, early)?, b"");
        assert_eq!(upstream.opened.load(Ordering::Relaxed), round);
    }
    Ok(())
}
