//! Attacks on framing: refused with the right status, the connection closed, and not one byte of them forwarded.
//!
//! Every payload is followed by a recognisable probe request on the same connection. The origin's tapes are the
//! oracle: neither the payload nor the probe may have reached it.

use std::time::Duration;

use anyhow::{Context, Result};
use tests::{Client, Gateway, Origin, Script, Step};

use crate::one_route;

const PROBE: &[u8] = b"GET /probe-7f3a HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends `payload` and the probe on one connection, and gives the status of every response that came back.
fn attack(gateway: &Gateway, payload: &[u8]) -> Result<Vec<u16>> {
    let mut client = Client::connect(gateway.addr())?;
    client.send(payload)?;
    // A gateway that has already closed may reset; that is a fine answer.
    let _ = client.send(PROBE);
    let _ = client.half_close();
    let bytes = client.read_to_close().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    Ok(text
        .split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|part| part.get(..3)?.parse().ok())
        .collect())
}

/// Asserts that each payload is refused with one of `statuses`, once, and that the origin saw nothing.
fn refuse_all(payloads: &[&[u8]], statuses: &[u16]) -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    for payload in payloads {
        let shown = payload.escape_ascii().to_string();
        let shown = &shown[..shown.len().min(200)];
        let answers = attack(&gateway, payload).with_context(|| shown.to_owned())?;
        assert!(
            answers.len() == 1 && statuses.contains(&answers[0]),
            "{shown}: {answers:?}"
        );
        assert_eq!(
            origin.requests().len(),
            0,
            "{shown}: the origin saw {:?}",
            origin.requests()
        );
    }
    assert!(origin.tapes().iter().all(Vec::is_empty));
    assert_eq!(
        Client::get(gateway.addr(), "/", &[])?.status,
        200,
        "the gateway is well after the attacks"
    );
    Ok(())
}

#[test]
fn broken_request_lines_are_refused() -> Result<()> {
    let payloads: &[&[u8]] = &[
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.32\r\nHost: a\r\n\r\n",
        b"GET / HTTP/\r\r1.1\r\nHost: a\r\n\r\n",
        b"\0 / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G=\":<>(e),[T];?\" / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ! HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    refuse_all(payloads, &[400, 405, 501, 505])
}

#[test]
fn broken_headers_are_refused() -> Result<()> {
    let payloads: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\n Content-Length: 5\r\nHost: a\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length 10\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\xefoo: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\na\0: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\na b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\na: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nVisible: x\rSmuggled: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nVisible: x\nSmuggled: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nFolded: x\r\n y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-\r\nEncoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\rZGET /evil: HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
        b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    refuse_all(payloads, &[400])
}

#[test]
fn ambiguous_lengths_are_refused() -> Result<()> {
    let lengths = [
        "",
        "+10",
        "-48",
        "0x10",
        "1_0",
        "1Z",
        "10,10",
        "10, 5",
        "18446744073709551616",
        "9999999999999999999999",
        "010",
    ];
    let mut payloads: Vec<Vec<u8>> = lengths
        .iter()
        .map(|length| {
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n0123456789").into_bytes()
        })
        .collect();
    payloads
        .push(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello".to_vec());
    payloads
        .push(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_vec());
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    refuse_all(&payloads, &[400])
}

#[test]
fn ambiguous_transfer_codings_are_refused() -> Result<()> {
    let lines = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding:",
    ];
    let mut payloads: Vec<Vec<u8>> = lines
        .iter()
        .map(|line| format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n0\r\n\r\n").into_bytes())
        .collect();
    payloads.push(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec());
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    refuse_all(&payloads, &[400, 501])
}

#[test]
fn oversized_heads_are_refused_within_limits() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    for (payload, statuses) in [
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "u".repeat(64 * 1024)),
            vec![414],
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n",
                "v".repeat(1024 * 1024)
            ),
            vec![400, 431],
        ),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), vec![400, 431]),
    ] {
        let mut client = Client::connect(gateway.addr())?;
        // The gateway may refuse before it has read everything, and then reset.
        let _ = client.send(payload.as_bytes());
        match client.response("GET") {
            Ok(answer) => assert!(
                statuses.contains(&answer.status),
                "{} for {}",
                answer.status,
                &payload[..30]
            ),
            Err(error) => assert!(error.downcast_ref::<std::io::Error>().is_some(), "{error:#}"),
        }
    }
    assert!(origin.requests().is_empty());
    Ok(())
}

#[test]
fn broken_chunks_never_complete_at_the_origin() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    for body in [
        &b"0_2e\r\n"[..],
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFF0\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\r;ABCD\r\n34\r\nE\r\n0\r\n\r\n",
        b"5;\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"0\n\r\n",
        b"0\r\nX:POST /evil HTTP/1.1\r\n bad\r\n\r\n",
    ] {
        let mut payload = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        payload.extend_from_slice(body);
        let shown = body.escape_ascii().to_string();
        let answers = attack(&gateway, &payload)?;
        assert!(
            answers.len() <= 1 && answers.iter().all(|status| *status == 400),
            "{shown}: {answers:?}"
        );
        assert!(origin.requests().is_empty(), "{shown}: {:?}", origin.requests());
    }
    Ok(())
}

#[test]
fn trailers_and_extensions_end_at_the_gateway() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
          5;ext=\"secret\"\r\nhello\r\n0\r\nX-Consumer-Username: root\r\nContent-Length: 5\r\n\r\n",
    )?;
    assert_eq!(client.response("POST")?.json()["body"], "hello");
    let tape = String::from_utf8_lossy(&origin.tapes()[0]).into_owned();
    assert!(!tape.contains("secret") && !tape.contains("root"), "{tape}");
    Ok(())
}

#[test]
fn any_split_of_a_request_parses_the_same() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let request = b"POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for at in 1..request.len() {
        let mut client = Client::connect(gateway.addr())?;
        client.send(&request[..at])?;
        std::thread::sleep(Duration::from_millis(2));
        client.send(&request[at..])?;
        let view = client
            .response("POST")
            .with_context(|| format!("split at {at}"))?
            .json();
        assert_eq!(
            (view["target"].as_str(), view["body"].as_str()),
            (Some("/a?b"), Some("abc")),
            "split at {at}"
        );
    }
    Ok(())
}

#[test]
fn bytes_after_an_upgrade_are_not_smuggled() -> Result<()> {
    let origin = Origin::echo()?;
    let policy = crate::routes(
        &origin.url(),
        "{name: open, paths: [/open]}, \
         {name: admin, paths: [/admin], plugins: [{name: request-termination, config: {status_code: 403}}]}",
    );
    let gateway = Gateway::start(policy)?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(
        b"GET /open HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n\
          GET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    )?;
    client.half_close()?;
    client.read_to_close()?;
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| !request.target.contains("admin"))
    );
    assert!(
        origin
            .tapes()
            .iter()
            .all(|tape| !String::from_utf8_lossy(tape).contains("GET /admin"))
    );
    Ok(())
}

#[test]
fn an_origins_broken_response_is_not_passed_on_or_reused() -> Result<()> {
    for raw in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX: a\nY: b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ] {
        let origin = Origin::always(Script::raw(raw).then(Step::Hold))?;
        let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
        let answer = Client::get(gateway.addr(), "/", &[])?;
        assert_eq!(answer.status, 502, "{raw:?}");
        assert_eq!(
            answer.json()["message"],
            "An invalid response was received from the upstream server"
        );
    }
    Ok(())
}

#[test]
fn bytes_behind_a_response_poison_nothing() -> Result<()> {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let origin = Origin::start(move |request| {
        let own = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}",
            request.target.len(),
            request.target
        );
        Script::raw(if request.target == "/first" {
            own + evil
        } else {
            own
        })
    })?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(1)
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    for target in ["/first", "/second", "/third"] {
        assert_eq!(client.ask("GET", target, &[], b"")?.text(), target);
    }
    Ok(())
}

#[test]
fn a_body_cut_short_is_never_a_whole_answer() -> Result<()> {
    for raw in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n",
    ] {
        for end in [Step::Fin, Step::Reset] {
            let origin = Origin::always(Script::raw(raw).then(end.clone()))?;
            let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
            let answer = Client::get(gateway.addr(), "/", &[]);
            assert!(
                answer.as_ref().map_or(true, |answer| answer.status == 502),
                "{raw:?} {end:?}: {answer:?}"
            );
        }
    }
    Ok(())
}
