//! Tunnels: the bytes that follow a 101, on raw sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::{Client, Gateway, Raw, Scratch, patient, read_head};

use crate::{eventually, one_route};

pub(crate) const ASK: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
pub(crate) const AGREE: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks for `foo` and gets it: the connection, the head of the 101, and what came behind it.
pub(crate) fn open(gateway: &Gateway, behind: &[u8]) -> Result<(TcpStream, String, Vec<u8>)> {
    let mut stream = patient(TcpStream::connect(gateway.addr())?)?;
    stream.write_all(&[ASK, behind].concat())?;
    let (answer, early) = read_head(&mut stream)?;
    ensure!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    Ok((stream, answer, early))
}

fn exactly(stream: &mut TcpStream, mut early: Vec<u8>, count: usize) -> Result<Vec<u8>> {
    let had = early.len();
    early.resize(count.max(had), 0);
    stream.read_exact(&mut early[had..])?;
    Ok(early)
}

pub(crate) fn to_end(stream: &mut TcpStream, mut early: Vec<u8>) -> Result<Vec<u8>> {
    stream.read_to_end(&mut early)?;
    Ok(early)
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
    let mut stream = patient(TcpStream::connect(gateway.addr())?)?;
    stream.write_all(&[ASK, b"up-early "].concat())?;
    // Longer than the gateway waits before it watches the client.
    std::thread::sleep(Duration::from_millis(150));
    stream.write_all(b"up-late")?;
    let (answer, early) = read_head(&mut stream)?;
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
fn the_last_words_of_an_upstream_that_stops_reading_arrive() -> Result<()> {
    let go = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&go);
    let upstream = Raw::start(move |stream, _head, _early| {
        stream.write_all(AGREE)?;
        while !told.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // What it has not read makes its end a reset.
        stream.write_all(b"last words")?;
        Ok(())
    })?;
    let gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let (mut stream, _, early) = open(&gateway, b"")?;
    let mut writer = stream.try_clone()?;
    let writing = std::thread::spawn(move || while writer.write_all(&[1; 4096]).is_ok() {});
    // By then the gateway has more for the upstream than that takes. It then meets words and reset at once.
    std::thread::sleep(Duration::from_millis(500));
    gateway.signal(Signal::STOP)?;
    go.store(true, Ordering::Release);
    std::thread::sleep(Duration::from_millis(200));
    gateway.signal(Signal::CONT)?;
    assert_eq!(exactly(&mut stream, early, 10)?, b"last words");
    let _ = stream.shutdown(Shutdown::Both);
    writing.join().expect("no panic");
    Ok(())
}

#[test]
fn both_directions_run_at_once() -> Result<()> {
    const BYTES: usize = 24 << 20;
    let upstream = Raw::echo(AGREE)?;
    let gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let (mut stream, _, early) = open(&gateway, b"")?;
    let sent: Vec<u8> = (0..=250).cycle().take(BYTES).collect();
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
    let before = gateway.process().resident()?;
    let mut last = usize::MAX;
    eventually("the upstream is held back", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = pushed.load(Ordering::Relaxed);
        (std::mem::replace(&mut last, now) == now && now > 0).then_some(())
    });
    // What is on its way fills the kernel's buffers, not the gateway.
    assert!(last < BYTES / 2, "{last} bytes were taken");
    let grown = gateway.process().resident()?.saturating_sub(before);
    assert!(grown < 2 << 20, "the gateway grew by {grown} bytes");
    assert_eq!(to_end(&mut stream, early)?.len(), BYTES);
    Ok(())
}

/// A client that has said all and reads nothing looks to some kernels as if it took more.
#[test]
fn a_half_closed_client_that_takes_nothing_costs_no_work() -> Result<()> {
    let upstream = Raw::start(move |stream, _head, _early| {
        stream.write_all(AGREE)?;
        while stream.write_all(&[7; 64 << 10]).is_ok() {}
        Ok(())
    })?;
    let mut gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let (stream, _, _) = open(&gateway, b"")?;
    stream.shutdown(Shutdown::Write)?;
    std::thread::sleep(Duration::from_millis(1500));
    let before = gateway.process().ticks()?;
    std::thread::sleep(Duration::from_secs(2));
    let ticks = gateway.process().ticks()? - before;
    // One that spins uses nearly all of 200; a fifth of that is far from both.
    assert!(ticks < 40, "{ticks} ticks in two seconds");
    drop(stream);
    Ok(())
}

#[test]
fn a_silent_tunnel_ends_after_the_services_read_timeout() -> Result<()> {
    let upstream = Raw::echo(AGREE)?;
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
        assert_eq!(upstream.opened(), round);
    }
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.text(), "ok");
    assert_eq!(upstream.opened(), 4);
    Ok(())
}

#[test]
fn a_tunnel_is_logged_and_counted_at_its_end() -> Result<()> {
    let (upstream, scratch) = (Raw::echo(AGREE)?, Scratch::new()?);
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
