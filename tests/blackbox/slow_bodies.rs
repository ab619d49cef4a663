//! Clients that send their bodies as slowly as each piece allows: they are let go, and nobody else is.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{Client, Frame, Frames, Gateway, Origin};

use crate::limits::{gateway, reached};
use crate::{eventually, one_route};

const RST_STREAM: u8 = 3;

/// Sends a byte now and then until that fails, or `enough` says so.
fn drip(mut send: impl FnMut(&[u8]) -> Result<()>, mut enough: impl FnMut() -> bool) {
    while !enough() && send(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn is_reached(gateway: &Gateway) -> bool {
    let label = "limit=\"client_body_bytes_per_s\"";
    let count = gateway.admin().metric("tollgate_limit_reached_total", &[label]);
    count.is_ok_and(|count| count >= 1.0)
}

/// What is read whole, what streams, what the kernel moves, what is thrown away.
#[test]
fn a_body_that_drips_ends_its_connection() -> Result<()> {
    let origin = Origin::echo()?;
    let refused = "{name: request-termination, config: {status_code: 403}}";
    let whole = "{name: request-transformer, config: {add: {body: [\"a:b\"]}}}";
    for (plugin, length) in [("", 1000), ("", 1 << 20), (whole, 1000), (refused, 1000)] {
        let gateway = Gateway::builder(one_route(&origin.url(), plugin, ""))
            .workers(1)
            .flag("--limit")
            .flag("client_body_grace_s=1")
            .start()?;
        let mut client = Client::connect(gateway.addr())?;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        client.send(head.as_bytes())?;
        drip(|byte| client.send(byte), || is_reached(&gateway));
        reached(&gateway, "client_body_bytes_per_s", 1.0);
        client.read_to_close()?;
    }
    Ok(())
}

#[test]
fn a_stream_that_drips_is_reset_and_the_others_go_on() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, &["client_body_grace_s=1"])?;
    let mut client = Frames::connect(gateway.addr())?;
    client.push(&[Frame::request(1, "POST", "/", false)])?;
    drip(
        |byte| client.push(&[Frame::new(0, 0, 1, byte)]),
        || is_reached(&gateway),
    );
    let reset = client.find(|it| it.kind == RST_STREAM)?.context("a reset")?;
    assert_eq!(reset.stream, 1);
    client.push(&[Frame::request(3, "GET", "/", true)])?;
    ensure!(client.find(|it| it.kind == 1 && it.stream == 3)?.is_some());
    reached(&gateway, "client_body_bytes_per_s", 1.0);
    Ok(())
}

#[test]
fn what_is_fast_enough_or_grpc_or_not_asked_goes_on() -> Result<()> {
    for (limit, kind, piece) in [
        ("client_body_bytes_per_s=10", "text/plain", 100),
        ("client_body_bytes_per_s=100000", "application/grpc", 1),
        ("client_body_bytes_per_s=0", "text/plain", 1),
    ] {
        let origin = Origin::echo()?;
        let gateway = gateway(&origin, &["client_body_grace_s=1", limit])?;
        let mut client = Client::connect(gateway.addr())?;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            piece * 15
        );
        client.send(head.as_bytes())?;
        for _ in 0..15 {
            client.send(&vec![b'x'; piece])?;
            std::thread::sleep(Duration::from_millis(150));
        }
        assert_eq!(client.response("POST")?.status, 200, "{limit}");
    }
    Ok(())
}

/// An upstream that takes nothing for long is not its client's fault.
#[test]
fn a_client_is_not_blamed_for_its_upstream() -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let upstream = std::thread::spawn(move || -> Result<()> {
        let mut stream = tests::patient(listener.accept()?.0)?;
        std::thread::sleep(Duration::from_millis(2500));
        let (_head, mut body) = tests::read_head(&mut stream)?;
        let mut piece = vec![0; 1 << 16];
        while body.len() < LENGTH {
            let count = std::io::Read::read(&mut stream, &mut piece)?;
            ensure!(count > 0, "the body is cut");
            body.extend_from_slice(&piece[..count]);
        }
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 204 No Content\r\n\r\n")?;
        Ok(())
    });
    let flags = ["client_body_grace_s=1", "client_body_bytes_per_s=1073741824"];
    let builder = Gateway::builder(one_route(&url, "", "")).workers(1);
    let gateway = flags
        .iter()
        .fold(builder, |builder, limit| builder.flag("--limit").flag(limit))
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes())?;
    client.send(&vec![b'x'; LENGTH])?;
    assert_eq!(client.response("POST")?.status, 204);
    eventually("the upstream has it", || upstream.is_finished().then_some(()));
    Ok(())
}

/// More than two sockets hold.
const LENGTH: usize = 24 << 20;
