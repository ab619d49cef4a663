//! Bodies far larger than any buffer: whole, in order, at the pace of who takes them, and cut off when a side is lost.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::{Client, Gateway, Raw, patient, read_head};

use crate::{eventually, one_route};

const LARGE: usize = 24 << 20;

/// Bytes that repeat only after a prime number of them.
static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| (0..251).cycle().take(LARGE).collect());

/// An upstream that answers each request with the pattern.
fn answering() -> Result<Raw> {
    LazyLock::force(&BODY);
    Raw::start(move |stream, _head, _early| {
        loop {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")?;
            stream.write_all(&BODY)?;
            read_head(stream)?;
        }
    })
}

/// A connection that has asked for something.
fn asked(gateway: &Gateway) -> Result<TcpStream> {
    let mut stream = patient(TcpStream::connect(gateway.addr())?)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    Ok(stream)
}

#[test]
fn large_answers_arrive_byte_for_byte_on_kept_connections() -> Result<()> {
    let upstream = answering()?;
    let gateway = Gateway::builder(one_route(&upstream.url(), "", ""))
        .workers(1)
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    for _ in 0..3 {
        let answer = client.ask("GET", "/", &[], b"")?;
        assert_eq!(answer.status, 200);
        assert!(answer.body == *BODY, "{} bytes came", answer.body.len());
    }
    assert_eq!(upstream.opened(), 1, "the upstream's connection was kept");
    Ok(())
}

#[test]
fn what_follows_a_large_answer_is_not_part_of_it() -> Result<()> {
    // The upstream says more than it announced: what is too much must reach nobody, least of all the next request.
    let upstream = Raw::start(move |stream, _head, _early| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")?;
        stream.write_all(&BODY)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npoison!")?;
        read_head(stream)?;
        Ok(())
    })?;
    let gateway = Gateway::builder(one_route(&upstream.url(), "", ""))
        .workers(1)
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    for _ in 0..3 {
        let answer = client.ask("GET", "/", &[], b"")?;
        assert!(answer.body == *BODY, "{} bytes came", answer.body.len());
    }
    assert_eq!(upstream.opened(), 3);
    Ok(())
}

#[test]
fn a_client_that_pauses_does_not_time_the_upstream_out() -> Result<()> {
    let upstream = answering()?;
    let policy = one_route(&upstream.url(), "", "").replace("  routes:", "  read_timeout: 500\n  routes:");
    let gateway = Gateway::start(policy)?;
    let mut stream = asked(&gateway)?;
    let (_, mut body) = read_head(&mut stream)?;
    std::thread::sleep(Duration::from_secs(2));
    let mut piece = vec![0; 1 << 20];
    while body.len() < LARGE {
        let count = stream.read(&mut piece)?;
        ensure!(count > 0, "cut off after {} bytes", body.len());
        body.extend_from_slice(&piece[..count]);
    }
    assert!(body == *BODY);
    Ok(())
}

#[test]
fn an_upstream_that_stalls_inside_a_body_times_out() -> Result<()> {
    LazyLock::force(&BODY);
    let upstream = Raw::start(move |stream, _head, _early| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")?;
        stream.write_all(&BODY[..LARGE / 2])?;
        // Until the gateway gives up.
        let _ = stream.read(&mut [0]);
        Ok(())
    })?;
    let policy = one_route(&upstream.url(), "", "").replace("  routes:", "  read_timeout: 500\n  routes:");
    let gateway = Gateway::start(policy)?;
    let mut stream = asked(&gateway)?;
    let began = Instant::now();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    assert!(began.elapsed() < Duration::from_secs(15), "it was cut off");
    assert!(
        all.len() > LARGE / 2 && all.len() < LARGE,
        "{} bytes came",
        all.len()
    );
    Ok(())
}

#[test]
fn a_client_that_leaves_inside_a_body_ends_the_upstream() -> Result<()> {
    let (gone, left) = mpsc::channel();
    let upstream = Raw::start(move |stream, _head, _early| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            usize::MAX >> 12
        )?;
        while stream.write_all(&[7; 1 << 16]).is_ok() {}
        gone.send(())?;
        Ok(())
    })?;
    let gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let mut stream = asked(&gateway)?;
    stream.read_exact(&mut vec![0; 4 << 20])?;
    drop(stream);
    left.recv_timeout(Duration::from_secs(10))?;
    Ok(())
}

#[test]
fn a_client_that_leaves_while_the_upstream_pauses_ends_it() -> Result<()> {
    let (gone, left) = mpsc::channel();
    let upstream = Raw::start(move |stream, _head, _early| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")?;
        stream.write_all(&BODY[..LARGE / 2])?;
        let ended = stream.read(&mut [0]).is_ok_and(|count| count == 0);
        gone.send(ended)?;
        Ok(())
    })?;
    let gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let mut stream = asked(&gateway)?;
    let (_, early) = read_head(&mut stream)?;
    stream.read_exact(&mut vec![0; LARGE / 2 - early.len()])?;
    drop(stream);
    assert!(
        left.recv_timeout(Duration::from_secs(10))?,
        "the upstream was let go"
    );
    Ok(())
}

#[test]
fn a_half_closed_client_that_takes_nothing_costs_no_work() -> Result<()> {
    let upstream = answering()?;
    let mut gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let stream = asked(&gateway)?;
    stream.shutdown(Shutdown::Write)?;
    std::thread::sleep(Duration::from_millis(1500));
    let before = gateway.process().ticks()?;
    std::thread::sleep(Duration::from_secs(2));
    let ticks = gateway.process().ticks()? - before;
    assert!(ticks < 40, "{ticks} ticks in two seconds");
    drop(stream);
    Ok(())
}

#[test]
fn large_uploads_arrive_byte_for_byte_and_the_next_request_follows() -> Result<()> {
    let (arrived, bodies) = mpsc::channel();
    let upstream = Raw::start(move |stream, _head, early| {
        let mut early = early;
        loop {
            let mut body = early;
            let held = body.len();
            body.resize(LARGE, 0);
            stream.read_exact(&mut body[held..])?;
            arrived.send(body)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            (_, early) = read_head(stream)?;
        }
    })?;
    let gateway = Gateway::builder(one_route(&upstream.url(), "", ""))
        .workers(1)
        .start()?;
    let mut stream = patient(TcpStream::connect(gateway.addr())?)?;
    let mut writer = stream.try_clone()?;
    // All in one go: the second head lies directly behind the first body.
    let sender = std::thread::spawn(move || -> Result<()> {
        for _ in 0..3 {
            write!(
                writer,
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"
            )?;
            writer.write_all(&BODY)?;
        }
        Ok(())
    });
    for _ in 0..3 {
        let (head, _) = read_head(&mut stream)?;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(bodies.recv_timeout(Duration::from_secs(20))? == *BODY);
    }
    sender
        .join()
        .map_err(|_panic| anyhow::anyhow!("the sender failed"))??;
    assert_eq!(upstream.opened(), 1, "the upstream's connection was kept");
    Ok(())
}

#[test]
fn an_answer_inside_an_upload_ends_it() -> Result<()> {
    let upstream = Raw::start(move |stream, _head, _early| {
        stream.read_exact(&mut vec![0; LARGE / 4])?;
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 6\r\n\r\nenough")?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(())
    })?;
    let gateway = Gateway::start(one_route(&upstream.url(), "", ""))?;
    let mut stream = patient(TcpStream::connect(gateway.addr())?)?;
    let mut writer = stream.try_clone()?;
    std::thread::spawn(move || -> Result<()> {
        write!(
            writer,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"
        )?;
        writer.write_all(&BODY)?;
        Ok(())
    });
    let (head, _) = read_head(&mut stream)?;
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    Ok(())
}

#[test]
fn an_upstream_that_takes_nothing_of_an_upload_times_out() -> Result<()> {
    let upstream = Raw::start(move |stream, _head, _early| {
        std::thread::sleep(Duration::from_secs(8));
        drop(stream.shutdown(Shutdown::Both));
        Ok(())
    })?;
    let policy = one_route(&upstream.url(), "", "").replace("  routes:", "  write_timeout: 500\n  routes:");
    let gateway = Gateway::start(policy)?;
    let mut stream = patient(TcpStream::connect(gateway.addr())?)?;
    let mut writer = stream.try_clone()?;
    std::thread::spawn(move || -> Result<()> {
        write!(
            writer,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"
        )?;
        writer.write_all(&BODY)?;
        Ok(())
    });
    let began = Instant::now();
    let mut byte = [0];
    // Told why, or cut off, but not left waiting.
    let _ = stream.read(&mut byte);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    Ok(())
}

#[test]
fn a_body_that_nobody_takes_holds_little_memory() -> Result<()> {
    const CLIENTS: usize = 40;
    let upstream = answering()?;
    let mut gateway = Gateway::builder(one_route(&upstream.url(), "", ""))
        .workers(1)
        .start()?;
    let before = gateway.process().resident()?;
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| asked(&gateway)).collect::<Result<_>>()?;
    eventually("all are answered", || {
        (upstream.opened() == CLIENTS).then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    let grown = gateway.process().resident()?.saturating_sub(before);
    assert!(
        grown < CLIENTS * (128 << 10),
        "{} bytes for each",
        grown / CLIENTS
    );
    drop(clients);
    Ok(())
}
