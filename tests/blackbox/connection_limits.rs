//! How long a client's connection may go on, and how many there may be.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};
use tests::{Client, Frame, Frames, Gateway, Origin};

use crate::limits::{gateway, reached};
use crate::{eventually, one_route};

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

/// A connection from one of this machine's many addresses.
fn from(address: &str, addr: SocketAddr) -> Result<Client> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&format!("{address}:0").parse::<SocketAddr>()?.into())?;
    socket.connect(&addr.into())?;
    Client::on(TcpStream::from(socket))
}

fn answers(client: &mut Client) -> Result<bool> {
    Ok(client.ask("GET", "/", &[], b"")?.status == 200)
}

fn two_workers(origin: &Origin, flags: &[&str]) -> Result<Gateway> {
    let builder = Gateway::builder(one_route(&origin.url(), "", "")).workers(2);
    flags
        .iter()
        .fold(builder, |builder, flag| builder.flag(flag))
        .start()
}

#[test]
fn who_comes_above_the_bound_of_all_workers_waits() -> Result<()> {
    let origin = Origin::echo()?;
    let mut gateway = two_workers(&origin, &["--limit=connections_most=3"])?;
    let mut inside = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(gateway.addr())?;
        assert!(answers(&mut client)?);
        inside.push(client);
    }
    let mut waiting = Client::connect(gateway.addr())?;
    waiting.send(&waiting.request("GET", "/waited", &[], b""))?;
    reached(&gateway, "connections_most", 1.0);
    assert_eq!(origin.requests().len(), 3, "nobody serves it");
    assert!(inside.iter_mut().all(|client| answers(client).unwrap_or(false)));
    inside.pop();
    assert_eq!(waiting.response("GET")?.status, 200);
    // Who waits does not keep a gateway from ending.
    let mut last = Client::connect(gateway.addr())?;
    reached(&gateway, "connections_most", 2.0);
    gateway.terminate()?;
    last.expect_close()?;
    assert!(gateway.wait(Duration::from_secs(10))?.success());
    Ok(())
}

#[test]
fn one_address_has_as_many_connections_as_was_said() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = two_workers(&origin, &["--limit=connections_per_address=2"])?;
    let mut inside = Vec::new();
    for address in ["127.0.0.2", "127.0.0.3", "127.0.0.2"] {
        let mut client = from(address, gateway.addr())?;
        assert!(answers(&mut client)?, "{address}");
        inside.push(client);
    }
    from("127.0.0.2", gateway.addr())?.expect_close()?;
    reached(&gateway, "connections_per_address", 1.0);
    let mut other = from("127.0.0.3", gateway.addr())?;
    assert!(answers(&mut other)?);
    inside.truncate(2);
    eventually("its place is free", || {
        let mut again = from("127.0.0.2", gateway.addr()).ok()?;
        answers(&mut again).ok()
    });
    Ok(())
}

/// Clients behind a balancer count by the address that it names, the balancer does not.
#[test]
fn clients_of_a_balancer_count_one_by_one() -> Result<()> {
    let origin = Origin::echo()?;
    let flags = [
        "--limit=connections_per_address=1",
        "--proxy-protocol",
        "--trusted-ip=127.0.0.1",
    ];
    let gateway = two_workers(&origin, &flags)?;
    let named = |client: &str| -> Result<Client> {
        let mut balancer = Client::connect(gateway.addr())?;
        balancer.send(format!("PROXY {client} 1000 80\r\n").as_bytes())?;
        Ok(balancer)
    };
    let mut inside = Vec::new();
    for client in [
        "TCP4 192.0.2.7 10.0.0.1",
        "TCP4 192.0.2.8 10.0.0.1",
        "TCP6 2001:db8::1 2001:db8::9",
        "TCP6 2001:db8:0:1::1 2001:db8::9",
        "UNKNOWN x y",
        "UNKNOWN x y",
    ] {
        let mut client = named(client)?;
        assert!(answers(&mut client)?);
        inside.push(client);
    }
    for client in ["TCP4 192.0.2.7 10.0.0.1", "TCP6 2001:db8::2 2001:db8::9"] {
        named(client)?.expect_close()?;
    }
    reached(&gateway, "connections_per_address", 2.0);
    Ok(())
}

#[test]
fn connections_without_requests_count_too() -> Result<()> {
    let origin = Origin::echo()?;
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n- name: raw\n  url: tcp://{}\n  routes:\n  - {{name: all, protocols: [tcp], \
         destinations: [{{ip: 127.0.0.0/8}}]}}\n",
        origin.addr()
    );
    let gateway = Gateway::builder(policy)
        .flag("--stream-listen=127.0.0.1:0")
        .flag("--limit=connections_per_address=1")
        .start()?;
    let mut first = from("127.0.0.2", gateway.stream_addr(0))?;
    assert!(answers(&mut first)?);
    from("127.0.0.2", gateway.stream_addr(0))?.expect_close()?;
    assert!(answers(&mut from("127.0.0.3", gateway.stream_addr(0))?)?);
    reached(&gateway, "connections_per_address", 1.0);
    Ok(())
}
