//! How HTTP/2 connections begin and end: opened once for many, left without losing a request.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::{Frame, Frames, Gateway, Origin, Script, Step};

use crate::http2_upstream::{HEADERS, NO_CONTENT, Scene, answer, begins, head, request};

const PING: u8 = 6;
const GOAWAY: u8 = 7;

fn last_stream(goodbye: &Frame) -> Option<u32> {
    Some(u32::from_be_bytes(*goodbye.payload.first_chunk()?))
}

#[test]
fn a_burst_opens_one_connection() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    let requests: Vec<Frame> = (0..20)
        .map(|number| Frame::request(number * 2 + 1, "GET", "/", true))
        .collect();
    client.push(&requests)?;
    let mut upstream = Frames::accept_silent(&scene.upstream)?;
    // As long as the server has not said how many streams it takes, it gets one, and no other connection.
    let first = request(&mut upstream)?;
    std::thread::sleep(Duration::from_millis(300));
    scene.upstream.set_nonblocking(true)?;
    assert!(scene.upstream.accept().is_err(), "all wait for the first");
    upstream.push(&[Frame::new(4, 0, 0, &[])])?;
    let mut streams = vec![first];
    for _ in 1..20 {
        streams.push(request(&mut upstream)?);
    }
    assert!(scene.upstream.accept().is_err(), "all share the first");
    let answers: Vec<Frame> = streams
        .iter()
        .map(|stream| head(*stream, NO_CONTENT, true))
        .collect();
    upstream.push(&answers)?;
    for _ in 0..20 {
        assert!(begins(&answer(&mut client)?, NO_CONTENT));
    }
    Ok(())
}

#[test]
fn a_burst_to_a_server_that_is_not_there_is_refused() -> Result<()> {
    let gateway = Gateway::builder(crate::one_route("grpc://127.0.0.1:1", "", ""))
        .workers(1)
        .start()?;
    let mut client = Frames::connect(gateway.addr())?;
    let requests: Vec<Frame> = (0..20)
        .map(|number| Frame::request(number * 2 + 1, "GET", "/", true))
        .collect();
    client.push(&requests)?;
    for _ in 0..20 {
        let answer = answer(&mut client)?;
        assert!(answer.payload.windows(3).any(|it| it == b"502"), "{answer:?}");
    }
    Ok(())
}

#[test]
fn a_server_that_says_nothing_holds_nobody_for_ever() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    client.push(&[
        Frame::request(1, "GET", "/", true),
        Frame::request(3, "GET", "/", true),
    ])?;
    let mut first = Frames::accept_silent(&scene.upstream)?;
    request(&mut first)?;
    let mut second = scene.accept()?;
    let stream = request(&mut second)?;
    second.push(&[head(stream, NO_CONTENT, true)])?;
    assert!(begins(&answer(&mut client)?, NO_CONTENT));
    Ok(())
}

#[test]
fn a_request_on_its_way_is_served_by_a_gateway_that_drains() -> Result<()> {
    let origin =
        Origin::start(|_| Script::respond(204, &[], b"").after(Step::Pause(Duration::from_millis(300))))?;
    let mut gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    let mut client = Frames::connect(gateway.addr())?;
    client.push(&[Frame::request(1, "GET", "/", true)])?;
    crate::eventually("the request arrives", || {
        (!origin.requests().is_empty()).then_some(())
    });
    gateway.terminate()?;
    let goodbye = client.find(|frame| frame.kind == GOAWAY)?.context("a goodbye")?;
    assert_eq!(
        (last_stream(&goodbye), goodbye.code()),
        (Some(0x7fff_ffff), Some(0)),
        "nothing is refused yet"
    );
    let ping = client.find(|frame| frame.kind == PING)?.context("a question")?;
    // This one was sent before the goodbye was read, and its answer comes with that of the first.
    client.push(&[
        Frame::request(3, "GET", "/", true),
        Frame::new(PING, 1, 0, &ping.payload),
    ])?;
    let (mut answered, mut last) = (Vec::new(), None);
    while let Some(frame) = client.frame()? {
        match frame.kind {
            HEADERS => answered.push(frame.stream),
            GOAWAY => last = last_stream(&frame),
            _ => {}
        }
    }
    answered.sort_unstable();
    assert_eq!((answered, last), (vec![1, 3], Some(3)), "and then it closes");
    assert!(gateway.wait(Duration::from_secs(10))?.success());
    Ok(())
}

#[test]
fn an_idle_connection_is_told_that_a_gateway_drains() -> Result<()> {
    let origin = Origin::always(Script::respond(204, &[], b""))?;
    let mut gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    let mut client = Frames::connect(gateway.addr())?;
    client.push(&[Frame::request(1, "GET", "/", true)])?;
    answer(&mut client)?;
    gateway.terminate()?;
    let began = Instant::now();
    let first = client.find(|frame| frame.kind == GOAWAY)?.context("a goodbye")?;
    let second = client
        .find(|frame| frame.kind == GOAWAY)?
        .context("another, unasked")?;
    assert_eq!(
        (last_stream(&first), last_stream(&second)),
        (Some(0x7fff_ffff), Some(1))
    );
    assert!(client.find(|_| false)?.is_none(), "it closes");
    drop(client);
    assert!(gateway.wait(Duration::from_secs(10))?.success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    Ok(())
}

/// What begins like a preface has as long for its head as any other.
#[test]
fn half_a_preface_has_one_deadline() -> Result<()> {
    let origin = Origin::always(Script::respond(204, &[], b""))?;
    let gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    let mut client = TcpStream::connect(gateway.addr())?;
    client.write_all(b"PRI * HTTP/2.0\r\n\r\n")?;
    // A half more than it may take; twice as long was what it took.
    client.set_read_timeout(Some(Duration::from_secs(15)))?;
    let mut told = Vec::new();
    client.read_to_end(&mut told).context("an end in time")?;
    assert!(told.starts_with(b"HTTP/1.1 4"), "{}", told.escape_ascii());
    Ok(())
}
