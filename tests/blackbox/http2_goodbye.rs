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
