//! HTTP/2 towards upstreams that answer early, late, in half or not at all, frame by frame.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::{Client, Frame, Frames, Gateway, Origin};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const END_STREAM: u8 = 1;

/// `:status` of a block: 200, 204, 413.
pub(crate) const OK: &[u8] = &[0x88];
pub(crate) const NO_CONTENT: &[u8] = &[0x89];
pub(crate) const TOO_LARGE: &[u8] = b"\x08\x03413";

/// A gateway with one worker before an upstream that the test plays.
pub(crate) struct Scene {
    pub(crate) upstream: TcpListener,
    pub(crate) gateway: Gateway,
}

impl Scene {
    pub(crate) fn new(plugins: &str) -> Result<Self> {
        let upstream = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("grpc://{}", upstream.local_addr()?);
        let gateway = Gateway::builder(crate::one_route(&url, plugins, ""))
            .workers(1)
            .start()?;
        Ok(Self { upstream, gateway })
    }

    pub(crate) fn client(&self) -> Result<Frames> {
        Frames::connect(self.gateway.addr())
    }

    pub(crate) fn accept(&self) -> Result<Frames> {
        Frames::accept(&self.upstream, &[])
    }
}

pub(crate) fn head(stream: u32, block: &[u8], end: bool) -> Frame {
    Frame::new(HEADERS, if end { 5 } else { 4 }, stream, block)
}

pub(crate) fn data(stream: u32, bytes: &[u8], end: bool) -> Frame {
    Frame::new(DATA, u8::from(end), stream, bytes)
}

pub(crate) fn reset(stream: u32, code: u32) -> Frame {
    Frame::new(RESET, 0, stream, &code.to_be_bytes())
}

/// The stream of the next request.
pub(crate) fn request(upstream: &mut Frames) -> Result<u32> {
    let head = upstream.find(|frame| frame.kind == HEADERS)?;
    Ok(head.context("a request")?.stream)
}

/// The next head that a client gets.
pub(crate) fn answer(client: &mut Frames) -> Result<Frame> {
    client
        .find(|frame| matches!(frame.kind, HEADERS | RESET))?
        .context("an answer")
}

/// Whether a head begins with a status. A connection's first one says before it that no table is used.
pub(crate) fn begins(head: &Frame, status: &[u8]) -> bool {
    let block = &head.payload;
    block.strip_prefix(b"\x20").unwrap_or(block).starts_with(status)
}

#[test]
fn half_an_answer_is_never_a_whole_one() -> Result<()> {
    // Every code, REFUSED_STREAM among them.
    for code in [0, 2, 7, 8] {
        let scene = Scene::new("")?;
        let mut client = scene.client()?;
        client.push(&[Frame::request(1, "GET", "/", true)])?;
        let mut upstream = scene.accept()?;
        let stream = request(&mut upstream)?;
        upstream.push(&[head(stream, OK, false), data(stream, b"half", false)])?;
        client.find(|frame| frame.kind == DATA)?.context("a part")?;
        upstream.push(&[reset(stream, code)])?;
        let end = client.find(|frame| frame.kind == RESET || frame.flags & END_STREAM != 0)?;
        assert_eq!(end.context("an end")?.code(), Some(2), "{code}");
    }
    Ok(())
}

#[test]
fn half_an_upload_is_never_a_whole_one() -> Result<()> {
    for code in [0, 2, 7, 8] {
        let origin = Origin::echo()?;
        let gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
        let mut client = Frames::connect(gateway.addr())?;
        client.push(&[Frame::request(1, "POST", "/", false), data(1, b"half", false)])?;
        crate::eventually("the half arrives", || {
            origin
                .tapes()
                .iter()
                .any(|tape| tape.ends_with(b"half\r\n"))
                .then_some(())
        });
        client.push(&[reset(1, code)])?;
        origin.wait_closed(Duration::from_secs(5))?;
        assert!(origin.requests().is_empty(), "{code}: {:?}", origin.requests());
        assert!(!origin.tapes()[0].ends_with(b"0\r\n\r\n"));
    }
    Ok(())
}

#[test]
fn a_client_that_waits_to_be_let_is_let() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    client.push(&[Frame::request(1, "POST", "/", false).and(&Frame::field("expect", "100-continue"))])?;
    let mut upstream = scene.accept()?;
    let stream = request(&mut upstream)?;
    assert!(begins(&answer(&mut client)?, b"\x08\x03100"));
    client.push(&[data(1, b"body", true)])?;
    let body = upstream.find(|frame| frame.kind == DATA)?.context("a body")?;
    assert_eq!(body.payload, b"body");
    upstream.push(&[head(stream, NO_CONTENT, true)])?;
    assert!(begins(&answer(&mut client)?, NO_CONTENT));
    Ok(())
}

#[test]
fn what_was_refused_is_sent_again_whatever_its_method() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    client.push(&[Frame::request(1, "POST", "/", true)])?;
    let mut upstream = scene.accept()?;
    let first = request(&mut upstream)?;
    upstream.push(&[reset(first, 7)])?;
    let second = request(&mut upstream)?;
    assert_ne!(first, second);
    // The second is one that a server that leaves did not see.
    upstream.push(&[Frame::new(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])])?;
    let mut other = scene.accept()?;
    let third = request(&mut other)?;
    other.push(&[head(third, NO_CONTENT, true)])?;
    assert!(begins(&answer(&mut client)?, NO_CONTENT));
    Ok(())
}

#[test]
fn what_may_have_been_done_is_not_sent_again() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    client.push(&[Frame::request(1, "POST", "/", true)])?;
    let mut upstream = scene.accept()?;
    let first = request(&mut upstream)?;
    upstream.push(&[reset(first, 2)])?;
    let answer = answer(&mut client)?;
    assert!(answer.payload.windows(3).any(|it| it == b"502"), "{answer:?}");
    assert!(
        upstream.push(&[Frame::new(6, 0, 0, &[0; 8])]).is_ok()
            && upstream
                .find(|frame| frame.kind == HEADERS || frame.kind == 6)?
                .is_some_and(|it| it.kind == 6),
        "no second request came before the pong"
    );
    Ok(())
}

#[test]
fn a_server_that_takes_few_streams_gets_more_connections() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    let one_stream = [0, 3, 0, 0, 0, 1];
    client.push(&[Frame::request(1, "GET", "/", true)])?;
    let mut first = Frames::accept(&scene.upstream, &one_stream)?;
    let one = request(&mut first)?;
    // Its SETTINGS have been seen once they are acknowledged.
    first
        .find(|frame| frame.kind == 4 && frame.flags == 1)?
        .context("an acknowledgement")?;
    client.push(&[Frame::request(3, "GET", "/", true)])?;
    let mut second = Frames::accept(&scene.upstream, &one_stream)?;
    let two = request(&mut second)?;
    second.push(&[head(two, NO_CONTENT, true)])?;
    assert_eq!(answer(&mut client)?.stream, 3);
    first.push(&[head(one, NO_CONTENT, true)])?;
    assert_eq!(answer(&mut client)?.stream, 1);
    // Both have room again: no third is made.
    client.push(&[Frame::request(5, "GET", "/", true)])?;
    let three = request(&mut first)?;
    first.push(&[head(three, NO_CONTENT, true)])?;
    assert_eq!(answer(&mut client)?.stream, 5);
    Ok(())
}

#[test]
fn a_client_that_leaves_takes_its_stream_with_it() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    client.push(&[Frame::request(1, "GET", "/", true)])?;
    let mut upstream = scene.accept()?;
    let stream = request(&mut upstream)?;
    client.push(&[reset(1, 8)])?;
    let end = upstream.find(|frame| frame.kind == RESET)?.context("a reset")?;
    assert_eq!((end.stream, end.code()), (stream, Some(8)));
    // The same for an HTTP/1 client that closes, on the same connection.
    let mut plain = Client::connect(scene.gateway.addr())?;
    plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let stream = request(&mut upstream)?;
    drop(plain);
    let end = upstream.find(|frame| frame.kind == RESET)?.context("a reset")?;
    assert_eq!((end.stream, end.code()), (stream, Some(8)));
    Ok(())
}

/// An upload that is refused before its end, whether the server says that it needs no more or just stops reading.
#[test]
fn an_early_answer_reaches_a_client_that_still_sends() -> Result<()> {
    let body = vec![b'x'; 300_000];
    for plugins in [
        "",
        "{name: request-transformer, config: {add: {body: [\"a:b\"]}}}",
    ] {
        for told in [true, false] {
            let scene = Scene::new(plugins)?;
            let began = Instant::now();
            let mut client = Client::connect(scene.gateway.addr())?;
            let request_head = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            client.send(&[request_head.as_bytes(), &body].concat())?;
            let mut upstream = scene.accept()?;
            let stream = request(&mut upstream)?;
            upstream.push(&[head(stream, TOO_LARGE, false), data(stream, b"no", true)])?;
            if told {
                upstream.push(&[reset(stream, 0)])?;
            }
            let answer = client.response("POST")?;
            assert_eq!(
                (answer.status, &answer.body[..]),
                (413, &b"no"[..]),
                "{plugins} {told}"
            );
            assert!(began.elapsed() < Duration::from_secs(5), "{plugins} {told}");
        }
    }
    Ok(())
}

#[test]
fn a_length_of_nothing_has_nothing() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    client.push(&[
        Frame::request(1, "POST", "/", false).and(&Frame::field("content-length", "0")),
        data(1, b"smuggled", true),
    ])?;
    assert_eq!(answer(&mut client)?.code(), Some(1));
    // And of an upstream.
    client.push(&[Frame::request(3, "GET", "/", true)])?;
    let mut upstream = scene.accept()?;
    let stream = request(&mut upstream)?;
    upstream.push(&[
        head(
            stream,
            &[OK, &Frame::field("content-length", "0")].concat(),
            false,
        ),
        data(stream, b"more", true),
    ])?;
    let answer = answer(&mut client)?;
    assert!(answer.payload.windows(3).any(|it| it == b"502"), "{answer:?}");
    Ok(())
}

/// Requests, how they are answered, and the body that a client gets.
fn bodiless() -> Vec<(&'static str, Vec<Frame>, &'static [u8])> {
    let trailer = Frame::field("grpc-status", "0");
    let with_length = [OK, &Frame::field("content-length", "5")].concat();
    vec![
        ("HEAD", vec![head(0, &with_length, true)], b""),
        (
            "HEAD",
            vec![head(0, &with_length, false), data(0, b"", true)],
            b"",
        ),
        ("GET", vec![head(0, NO_CONTENT, true)], b""),
        ("GET", vec![head(0, NO_CONTENT, false), data(0, b"", true)], b""),
        ("GET", vec![head(0, OK, true)], b""),
        ("GET", vec![head(0, OK, false), data(0, b"", true)], b""),
        ("GET", vec![head(0, OK, false), head(0, &trailer, true)], b""),
        (
            "GET",
            vec![
                head(0, OK, false),
                data(0, b"12345", false),
                head(0, &trailer, true),
            ],
            b"12345",
        ),
        (
            "GET",
            vec![
                head(0, &with_length, false),
                data(0, b"12345", false),
                data(0, b"", true),
            ],
            b"12345",
        ),
        (
            "GET",
            vec![
                head(0, b"\x08\x03100", false),
                head(0, b"\x08\x03103", false),
                head(0, OK, true),
            ],
            b"",
        ),
    ]
}

#[test]
fn answers_without_a_body_end_once() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    let mut number = 1;
    client.push(&[Frame::request(number, "HEAD", "/", true)])?;
    let mut upstream = scene.accept()?;
    for (method, frames, body) in bodiless() {
        if number > 1 {
            client.push(&[Frame::request(number, method, "/", true)])?;
        }
        let stream = request(&mut upstream)?;
        let frames: Vec<Frame> = frames
            .into_iter()
            .map(|frame| Frame { stream, ..frame })
            .collect();
        upstream.push(&frames)?;
        let mut got: Vec<u8> = Vec::new();
        loop {
            let frame = client.find(|frame| frame.stream == number)?.context("an end")?;
            assert_ne!(frame.kind, RESET, "{method} {frames:?}");
            if frame.kind == DATA {
                got.extend(&frame.payload);
            }
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        assert_eq!(got, body, "{method} {frames:?}");
        // Nothing follows the end.
        client.push(&[Frame::new(6, 0, 0, &[0; 8])])?;
        let next = client
            .find(|frame| frame.stream == number || frame.kind == 6)?
            .context("a pong")?;
        assert_eq!(next.kind, 6, "{method} {frames:?}");
        number += 2;
    }
    Ok(())
}
