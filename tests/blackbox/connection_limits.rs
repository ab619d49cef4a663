//! How long a client's connection may go on, and how many there may be.

use std::time::Duration;

use anyhow::{Context, Result};
use tests::{Client, Frame, Frames, Origin};

use crate::limits::{gateway, reached};

const HEADERS: u8 = 1;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

fn last_stream(goodbye: &Frame) -> Option<u32> {
    Some(u32::from_be_bytes(*goodbye.payload.first_chunk()?))
}

#[test]
fn a_connection_carries_as_many_requests_as_was_said() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, &["client_requests=3"])?;
    let mut client = Client::connect(gateway.addr())?;
    for last in [false, false, true] {
        let answer = client.ask("GET", "/", &[], b"")?;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection") == "close", last);
    }
    client.expect_close()?;
    reached(&gateway, "client_requests", 1.0);
    Ok(())
}

#[test]
fn requests_behind_the_last_are_left_to_another_connection() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, &["client_requests=1"])?;
    let mut client = Client::connect(gateway.addr())?;
    let two = [
        client.request("GET", "/1", &[], b""),
        client.request("GET", "/2", &[], b""),
    ];
    client.send(&two.concat())?;
    assert_eq!(client.response("GET")?.status, 200);
    client.expect_close()?;
    assert_eq!(origin.requests().len(), 1);
    Ok(())
}

#[test]
fn a_connection_of_http_2_says_goodbye_and_loses_no_request() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, &["client_requests=2"])?;
    let mut client = Frames::connect(gateway.addr())?;
    for stream in [1, 3] {
        client.push(&[Frame::request(stream, "GET", "/", true)])?;
    }
    let (mut answered, mut goodbyes) = (Vec::new(), Vec::new());
    while let Some(frame) = client.frame()? {
        match frame.kind {
            HEADERS => answered.push(frame.stream),
            GOAWAY => goodbyes.push((last_stream(&frame), frame.code())),
            // This one was sent before the goodbye was read.
            PING => client.push(&[
                Frame::request(5, "GET", "/", true),
                Frame::new(PING, 1, 0, &frame.payload),
            ])?,
            _ => {}
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 3, 5]);
    assert_eq!(goodbyes, [(Some(0x7fff_ffff), Some(0)), (Some(5), Some(0))]);
    reached(&gateway, "client_requests", 1.0);
    Ok(())
}

#[test]
fn an_old_connection_ends_with_its_next_request() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, &["client_age_s=1"])?;
    let mut client = Client::connect(gateway.addr())?;
    let mut frames = Frames::connect(gateway.addr())?;
    assert_eq!(
        client.ask("GET", "/", &[], b"")?.header("connection"),
        "keep-alive"
    );
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(client.ask("GET", "/", &[], b"")?.header("connection"), "close");
    client.expect_close()?;
    frames.push(&[Frame::request(1, "GET", "/", true)])?;
    let goodbye = frames.find(|frame| frame.kind == GOAWAY)?.context("a goodbye")?;
    assert_eq!(goodbye.code(), Some(0));
    reached(&gateway, "client_age_s", 2.0);
    Ok(())
}
