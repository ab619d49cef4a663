//! HTTP/1.1 through the gateway: forwarding headers, bodies in every framing, keep-alive, pipelining, early answers.

use std::time::Duration;

use anyhow::Result;
use tests::{Client, Framing, Gateway, Origin, Script, Step};

use crate::{echoed, one_route};

#[test]
fn forwarding_headers_tell_the_origin_who_asked() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(crate::routes(&origin.url(), "{name: a, paths: [/api]}"))?;
    let view = Client::get(
        gateway.addr(),
        "/api/x?y",
        &[("Host", "Shop.example:8000"), ("X-Forwarded-For", "9.9.9.9")],
    )?;
    let view = view.json();
    let port = gateway.addr().port().to_string();
    for (header, expected) in [
        ("X-Forwarded-For", "9.9.9.9, 127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "shop.example"),
        ("X-Forwarded-Port", port.as_str()),
        ("X-Forwarded-Path", "/api/x"),
        ("X-Forwarded-Prefix", "/api"),
        ("X-Real-IP", "127.0.0.1"),
    ] {
        assert_eq!(echoed(&view, header).as_deref(), Some(expected), "{header}");
    }
    let id = echoed(&view, "X-Kong-Request-Id").unwrap_or_default();
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "request id {id:?}"
    );
    assert!(echoed(&view, "Via").is_some_and(|via| via.starts_with("1.1 ")));
    Ok(())
}

#[test]
fn answer_carries_latencies_and_the_request_id() -> Result<()> {
    let origin = Origin::always(Script::respond(
        200,
        &[("Server", "origin"), ("X-Own", "1")],
        "hello",
    ))?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let answer = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.header("X-Own")),
        (200, "hello", "1")
    );
    for header in ["X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency"] {
        assert!(
            answer.header(header).parse::<u64>().is_ok(),
            "{header} is {:?}",
            answer.header(header)
        );
    }
    assert_eq!(
        answer.header("X-Kong-Request-Id"),
        origin.last().header("X-Kong-Request-Id")
    );
    assert!(answer.headers.has("Via") && !answer.headers.has("X-Kong-Response-Latency"));
    Ok(())
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop() -> Result<()> {
    let origin = Origin::always(Script::raw(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-End: 1\r\n\
         Content-Length: 0\r\n\r\n",
    ))?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let sent = [
        ("Connection", "X-Secret-Hop, X-Real-IP"),
        ("X-Secret-Hop", "1"),
        ("Proxy-Connection", "keep-alive"),
        ("Keep-Alive", "timeout=1"),
        ("TE", "trailers, deflate"),
        ("X-End", "1"),
    ];
    let answer = Client::get(gateway.addr(), "/", &sent)?;
    let seen = origin.last();
    for gone in ["X-Secret-Hop", "Proxy-Connection", "Keep-Alive"] {
        assert!(!seen.headers.has(gone), "{gone} reached the origin");
    }
    assert_eq!(
        seen.header("X-Real-IP"),
        "127.0.0.1",
        "a client must not strip what the gateway adds"
    );
    assert_eq!(seen.header("X-End"), "1");
    assert!(!answer.headers.has("X-Hop") && answer.header("X-End") == "1");
    Ok(())
}

#[test]
fn bodies_pass_in_every_framing() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut client = Client::connect(gateway.addr())?;
    let long = "x".repeat(300_000);
    let answer = client.ask("POST", "/", &[], long.as_bytes())?;
    assert_eq!(answer.json()["body"].as_str().map(str::len), Some(long.len()));
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n")?;
    assert_eq!(client.response("POST")?.json()["body"], "hello world");
    assert_eq!(origin.violations(), Vec::<String>::new());
    Ok(())
}

#[test]
fn responses_pass_in_every_framing() -> Result<()> {
    for (raw, framing) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            Some(Framing::Length(5)),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            Some(Framing::Chunked),
        ),
        ("HTTP/1.0 200 OK\r\n\r\nhello", None),
    ] {
        let script = Script::raw(raw);
        let script = if framing.is_none() {
            script.then(Step::Fin)
        } else {
            script
        };
        for split in [usize::MAX, 1] {
            let origin = Origin::always(script.clone().split_every(split, Duration::ZERO))?;
            let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
            let answer = Client::get(gateway.addr(), "/", &[])?;
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{raw:?}");
            assert!(
                framing.is_none_or(|framing| framing == answer.framing),
                "{raw:?}: {:?}",
                answer.framing
            );
        }
    }
    Ok(())
}

#[test]
fn head_304_and_204_have_no_body() -> Result<()> {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/304" => Script::raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n"),
        "/204" => Script::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        _ => Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    })?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut client = Client::connect(gateway.addr())?;
    for (method, target, status) in [
        ("HEAD", "/", 200),
        ("GET", "/304", 304),
        ("GET", "/204", 204),
        ("HEAD", "/x", 200),
    ] {
        let answer = client.ask(method, target, &[], b"")?;
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, 0),
            "{method} {target}"
        );
    }
    Ok(())
}

#[test]
fn pipelined_requests_are_answered_in_order() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut client = Client::connect(gateway.addr())?;
    let batch: Vec<u8> = (0..100)
        .flat_map(|n| client.request("POST", &format!("/{n}"), &[], b"body"))
        .collect();
    client.send(&batch)?;
    for n in 0..100 {
        assert_eq!(client.response("POST")?.json()["target"], format!("/{n}"));
    }
    Ok(())
}

#[test]
fn expect_continue_is_answered_before_the_body_is_sent() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")?;
    std::thread::sleep(Duration::from_millis(100));
    client.send(b"hello")?;
    let answer = client.response("POST")?;
    assert_eq!(
        (answer.status, answer.json()["body"].as_str()),
        (200, Some("hello"))
    );
    assert_eq!(answer.interim, [100]);
    Ok(())
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() -> Result<()> {
    let script = Script::raw("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        .then(Step::Fin);
    let origin = Origin::start_at_head(move |_| script.clone())?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome")?;
    let answer = client.response("POST")?;
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    Ok(())
}

#[test]
fn a_slow_stream_is_passed_on_as_it_comes() -> Result<()> {
    let script =
        Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").then(Step::Hold);
    let origin = Origin::always(script)?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut stream = Client::connect(gateway.addr())?.stream("GET", "/", &[], b"")?;
    assert_eq!(stream.piece()?.as_deref(), Some(&b"one"[..]));
    drop(stream);
    origin.wait_closed(Duration::from_secs(5))
}

#[test]
fn connections_are_kept_on_both_sides() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(1)
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    for _ in 0..20 {
        assert_eq!(client.ask("GET", "/", &[], b"")?.status, 200);
    }
    assert_eq!(origin.connections(), 1);
    let answer = client.ask("GET", "/", &[("Connection", "close")], b"")?;
    assert_eq!(answer.header("Connection"), "close");
    client.expect_close()
}

#[test]
fn http_1_0_client_gets_a_closed_connection() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"GET /old HTTP/1.0\r\nHost: a\r\n\r\n")?;
    let answer = client.response("GET")?;
    assert_eq!(answer.json()["target"], "/old");
    assert_ne!(answer.framing, Framing::Chunked);
    client.expect_close()
}

#[test]
fn hints_reach_the_client_before_the_answer() -> Result<()> {
    let origin = Origin::always(
        Script::raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: y\r\n\r\n")
            .then(Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())),
    )?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let answer = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!(
        (answer.status, &answer.interim[..], &answer.body[..]),
        (200, &[103][..], &b"ok"[..])
    );
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let bytes = String::from_utf8(client.read_to_close()?)?;
    assert!(
        bytes.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{bytes}"
    );
    let answer = tests::Curl::new(&gateway.url("/"))?
        .args(["--http2-prior-knowledge"])
        .run()?;
    assert_eq!((answer.status, &answer.interim[..]), (200, &[103][..]));
    let mut old = Client::connect(gateway.addr())?;
    old.send(b"GET / HTTP/1.0\r\n\r\n")?;
    let bytes = String::from_utf8(old.read_to_close()?)?;
    assert!(
        bytes.starts_with("HTTP/1.1 200 OK\r\n"),
        "HTTP/1.0 knows no interim answers: {bytes}"
    );
    Ok(())
}
