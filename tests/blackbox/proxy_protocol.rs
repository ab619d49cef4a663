//! The PROXY protocol: load balancers that are trusted say for whom they connect; nobody else does.

use anyhow::Result;
use tests::{Authority, Client, Curl, Gateway, Origin};

use crate::{echoed, one_route};

/// A version 2 header for a client 192.0.2.7, with a value behind the addresses.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\xc0\x00\x02\x07\x0a\x00\x00\x01\x1f\x90\x00\x50\x04\x00\x01\x00";

fn gateway(origin: &Origin, plugin: &str, extra: &str, trusted: &str) -> Result<Gateway> {
    let builder = Gateway::builder(one_route(&origin.url(), plugin, extra))
        .flag(&format!("--trusted-ip={trusted}"))
        .flag("--proxy-protocol");
    if extra.is_empty() { builder } else { builder.tls() }.start()
}

#[test]
fn a_trusted_balancer_names_the_client() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "", "", "127.0.0.0/8")?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n")?;
    let claims = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https")];
    client.send(&client.request("GET", "/", &claims, b""))?;
    let view = client.response("GET")?.json();
    for (header, expected) in [
        ("X-Real-IP", "192.0.2.7"),
        // The balancer vouches for the address, not for what its client claims.
        ("X-Forwarded-For", "6.6.6.6, 192.0.2.7"),
        ("X-Forwarded-Proto", "http"),
    ] {
        assert_eq!(echoed(&view, header).as_deref(), Some(expected), "{header}");
    }
    Ok(())
}

#[test]
fn a_binary_header_may_come_in_pieces_and_with_the_request() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "", "", "127.0.0.1")?;
    for split in [0, 1, 12, 20, BINARY.len()] {
        let mut client = Client::connect(gateway.addr())?;
        let bytes = [BINARY, &client.request("GET", "/", &[], b"")].concat();
        client.send(&bytes[..split])?;
        std::thread::sleep(std::time::Duration::from_millis(20));
        client.send(&bytes[split..])?;
        let view = client.response("GET")?.json();
        assert_eq!(
            echoed(&view, "X-Real-IP").as_deref(),
            Some("192.0.2.7"),
            "{split}"
        );
        // The header belongs to the connection, not to a request.
        client.send(&client.request("GET", "/again", &[], b""))?;
        let view = client.response("GET")?.json();
        assert_eq!(echoed(&view, "X-Real-IP").as_deref(), Some("192.0.2.7"));
    }
    Ok(())
}

#[test]
fn a_balancer_that_names_nobody_speaks_for_itself() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "", "", "127.0.0.1")?;
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    for header in [&b"PROXY UNKNOWN\r\n"[..], local] {
        let mut client = Client::connect(gateway.addr())?;
        client.send(header)?;
        client.send(&client.request("GET", "/", &[], b""))?;
        let view = client.response("GET")?.json();
        assert_eq!(echoed(&view, "X-Real-IP").as_deref(), Some("127.0.0.1"));
    }
    Ok(())
}

#[test]
fn a_trusted_peer_without_a_header_is_refused_and_counted() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "", "", "127.0.0.1")?;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PROXY TCP4 192.0.2.7 nowhere 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\x00\x0c",
    ] {
        let mut client = Client::connect(gateway.addr())?;
        client.send(bytes)?;
        assert_eq!(client.read_to_close()?, b"", "{}", bytes.escape_ascii());
    }
    assert_eq!(
        gateway
            .admin()
            .metric("tollgate_proxy_headers_refused_total", &[])?,
        3.0
    );
    Ok(())
}

#[test]
fn a_strangers_header_is_a_malformed_request() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "", "", "203.0.113.0/24")?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    assert_eq!(client.response("GET")?.status, 400);
    let view = Client::get(gateway.addr(), "/", &[])?.json();
    assert_eq!(echoed(&view, "X-Real-IP").as_deref(), Some("127.0.0.1"));
    Ok(())
}

#[test]
fn policy_judges_the_client_that_was_named() -> Result<()> {
    let origin = Origin::echo()?;
    let plugin = "{name: ip-restriction, config: {deny: [192.0.2.0/24]}}";
    let gateway = gateway(&origin, plugin, "", "127.0.0.1")?;
    let status = |named: &str| -> Result<u16> {
        let mut client = Client::connect(gateway.addr())?;
        client.send(format!("PROXY TCP4 {named} 10.0.0.1 8080 80\r\n").as_bytes())?;
        client.send(&client.request("GET", "/", &[], b""))?;
        Ok(client.response("GET")?.status)
    };
    assert_eq!((status("192.0.2.7")?, status("198.51.100.7")?), (403, 200));
    Ok(())
}

#[test]
fn tls_begins_behind_the_header() -> Result<()> {
    let (origin, authority) = (Origin::echo()?, Authority::new()?);
    let certificate = authority.issue(&["localhost"])?;
    let list = crate::tls::certificates(&[(&certificate, &["localhost"])]);
    let gateway = gateway(&origin, "", &list, "127.0.0.1")?;
    let view = Curl::new(&format!("https://{}/", gateway.tls_addr()))?
        .args(["--insecure", "--haproxy-protocol"])
        .run()?
        .json();
    assert_eq!(echoed(&view, "X-Real-IP").as_deref(), Some("127.0.0.1"));
    assert_eq!(echoed(&view, "X-Forwarded-Proto").as_deref(), Some("https"));
    Ok(())
}

#[test]
fn headers_from_nobody_are_a_mistake() -> Result<()> {
    let origin = Origin::echo()?;
    let started = Gateway::builder(one_route(&origin.url(), "", ""))
        .flag("--proxy-protocol")
        .start();
    let error = started
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    assert!(error.contains("--trusted-ip"), "{error}");
    Ok(())
}
