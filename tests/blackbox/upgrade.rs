//! Upgrades: what is asked for, and what an upstream may agree to.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use anyhow::Result;
use tests::{Client, Curl, Gateway, Origin, Raw, Script, Step};

use crate::tunnel::{AGREE, ASK, PATIENCE, open, to_end};
use crate::{echoed, one_route, routes};

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
    let upstream = Raw::echo(AGREE)?;
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
    assert_eq!(upstream.opened(), 0);
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
        upstream.addr()
    );
    let gateway = Gateway::builder(policy).workers(1).start()?;
    for round in 1..=4 {
        let (mut stream, _, early) = open(&gateway, b"")?;
        assert_eq!(to_end(&mut stream, early)?, b"");
        assert_eq!(upstream.opened(), round);
    }
    Ok(())
}
