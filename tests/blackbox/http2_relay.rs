//! What comes before an answer and behind a body, over HTTP/2 upstreams, and uploads that are sent again.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::{Client, Frame, Gateway, Nginx, program};

use crate::http2_upstream::{
    DATA, END_STREAM, HEADERS, NO_CONTENT, OK, RESET, Scene, answer, begins, data, head, request, reset,
};

fn holds(frame: &Frame, text: &str) -> bool {
    frame.payload.windows(text.len()).any(|it| it == text.as_bytes())
}

#[test]
fn early_hints_reach_clients_of_both_protocols() -> Result<()> {
    let scene = Scene::new("")?;
    let hints = [b"\x08\x03103".to_vec(), Frame::field("link", "</a.css>")].concat();
    let mut client = scene.client()?;
    client.push(&[Frame::request(1, "GET", "/", true)])?;
    let mut upstream = scene.accept()?;
    let stream = request(&mut upstream)?;
    upstream.push(&[head(stream, b"\x08\x03100", false), head(stream, &hints, false)])?;
    // It comes before the answer does.
    let early = answer(&mut client)?;
    assert!(
        begins(&early, b"\x08\x03103") && holds(&early, "</a.css>"),
        "{early:?}"
    );
    upstream.push(&[head(stream, NO_CONTENT, true)])?;
    assert!(begins(&answer(&mut client)?, NO_CONTENT));
    let mut plain = Client::connect(scene.gateway.addr())?;
    plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let stream = request(&mut upstream)?;
    upstream.push(&[head(stream, &hints, false), head(stream, OK, true)])?;
    let response = plain.response("GET")?;
    assert_eq!((response.status, &response.interim[..]), (200, &[103][..]));
    Ok(())
}

/// An origin that announces its answer before it has read the request.
#[test]
fn an_announcement_does_not_cut_an_upload() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let gateway = Gateway::start(crate::one_route(
        &format!("http://{}", listener.local_addr()?),
        "",
        "",
    ))?;
    // A few bytes, and enough of them to be moved by the kernel.
    for rest in [3_usize, 3_000_000] {
        let mut client = Client::connect(gateway.addr())?;
        let length = rest + 5;
        client.send(
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nfirst").as_bytes(),
        )?;
        let (mut origin, _) = listener.accept()?;
        origin.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut seen = Vec::new();
        let mut piece = [0; 65_536];
        while !seen.ends_with(b"first") {
            let count = origin.read(&mut piece)?;
            anyhow::ensure!(count > 0, "the origin gets the beginning");
            seen.extend_from_slice(&piece[..count]);
        }
        origin.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        std::thread::sleep(Duration::from_millis(100));
        let begun = seen.len();
        let sender = std::thread::spawn(move || {
            client.send(&vec![b'x'; rest])?;
            client.response("POST")
        });
        while seen.len() < begun + rest {
            let count = origin.read(&mut piece)?;
            anyhow::ensure!(count > 0, "the upload ends after {} bytes", seen.len());
            seen.extend_from_slice(&piece[..count]);
        }
        origin.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")?;
        let response = sender
            .join()
            .map_err(|_panic| anyhow::anyhow!("the client panicked"))??;
        assert_eq!(
            (response.status, &response.interim[..]),
            (200, &[103][..]),
            "{rest}"
        );
    }
    Ok(())
}

#[test]
fn trailers_of_a_request_are_passed_on() -> Result<()> {
    for (plugins, kind) in [
        ("", "text/plain"),
        (
            "{name: request-transformer, config: {add: {body: [\"a:b\"]}}}",
            "application/x-www-form-urlencoded",
        ),
    ] {
        let scene = Scene::new(plugins)?;
        let mut client = scene.client()?;
        let trailers = [
            Frame::field("x-sum", "late"),
            Frame::field("x-consumer-id", "somebody"),
            Frame::field("x_consumer_id", "somebody"),
        ]
        .concat();
        client.push(&[
            Frame::request(1, "POST", "/", false).and(&Frame::field("content-type", kind)),
            data(1, b"c=d", false),
            head(1, &trailers, true),
        ])?;
        let mut upstream = scene.accept()?;
        let stream = request(&mut upstream)?;
        let body = upstream.find(|frame| frame.kind == DATA)?.context("a body")?;
        assert!(
            body.payload.starts_with(b"c=d") && body.flags & END_STREAM == 0,
            "{body:?}"
        );
        let end = upstream
            .find(|frame| frame.kind == HEADERS || frame.flags & END_STREAM != 0)?
            .context("an end")?;
        assert!(
            end.kind == HEADERS && end.flags & END_STREAM != 0,
            "{plugins}: {end:?}"
        );
        assert!(
            holds(&end, "late") && !holds(&end, "somebody"),
            "{plugins}: {end:?}"
        );
        upstream.push(&[head(stream, NO_CONTENT, true)])?;
        assert!(begins(&answer(&mut client)?, NO_CONTENT));
        // Trailers behind no body at all.
        client.push(&[
            Frame::request(3, "POST", "/", false),
            head(3, &Frame::field("x-sum", "alone"), true),
        ])?;
        let stream = request(&mut upstream)?;
        let end = upstream
            .find(|frame| frame.flags & END_STREAM != 0)?
            .context("an end")?;
        assert!(end.stream == stream && holds(&end, "alone"), "{plugins}: {end:?}");
        upstream.push(&[head(stream, NO_CONTENT, true)])?;
        assert!(begins(&answer(&mut client)?, NO_CONTENT));
    }
    Ok(())
}

#[test]
fn trailers_stay_where_an_answer_is_read_whole() -> Result<()> {
    let scene = Scene::new("{name: response-transformer, config: {add: {json: [\"a:b\"]}}}")?;
    let mut client = scene.client()?;
    let json = [OK, &Frame::field("content-type", "application/json")].concat();
    let trailer = Frame::field("grpc-status", "5");
    client.push(&[Frame::request(1, "GET", "/", true)])?;
    let mut upstream = scene.accept()?;
    let stream = request(&mut upstream)?;
    upstream.push(&[
        head(stream, &json, false),
        data(stream, b"{\"c\":1}", false),
        head(stream, &trailer, true),
    ])?;
    let body = client.find(|frame| frame.kind == DATA)?.context("a body")?;
    assert!(holds(&body, "\"a\""), "{body:?}");
    let end = client
        .find(|frame| frame.flags & END_STREAM != 0)?
        .context("an end")?;
    assert!(end.kind == HEADERS && holds(&end, "grpc-status"), "{end:?}");
    Ok(())
}

#[test]
fn an_upload_that_was_refused_unread_is_sent_again() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    client.push(&[Frame::request(1, "POST", "/", false)])?;
    let mut upstream = scene.accept()?;
    let first = request(&mut upstream)?;
    upstream.push(&[reset(first, 7)])?;
    let second = request(&mut upstream)?;
    assert_ne!(first, second);
    // The second is one that a server that leaves did not see.
    upstream.push(&[Frame::new(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])])?;
    let mut other = scene.accept()?;
    let third = request(&mut other)?;
    client.push(&[data(1, b"body", false), data(1, b"", true)])?;
    let body = other.find(|frame| frame.kind == DATA)?.context("the body")?;
    assert_eq!((body.stream, &body.payload[..]), (third, &b"body"[..]));
    if body.flags & END_STREAM == 0 {
        let end = other.find(|frame| frame.kind == DATA)?.context("its end")?;
        assert_eq!((end.stream, end.flags & END_STREAM), (third, END_STREAM));
    }
    other.push(&[head(third, NO_CONTENT, true)])?;
    assert!(begins(&answer(&mut client)?, NO_CONTENT));
    Ok(())
}

#[test]
fn an_upload_of_which_a_part_is_gone_is_not() -> Result<()> {
    let scene = Scene::new("")?;
    let mut client = scene.client()?;
    client.push(&[Frame::request(1, "POST", "/", false), data(1, b"gone", false)])?;
    let mut upstream = scene.accept()?;
    let stream = request(&mut upstream)?;
    upstream.find(|frame| frame.kind == DATA)?.context("a part")?;
    upstream.push(&[reset(stream, 7)])?;
    let end = answer(&mut client)?;
    assert!(holds(&end, "502"), "{end:?}");
    upstream.push(&[Frame::new(6, 0, 0, &[0; 8])])?;
    let next = upstream
        .find(|frame| matches!(frame.kind, HEADERS | 6))?
        .context("a pong")?;
    assert_eq!(next.kind, 6, "nothing is sent again");
    Ok(())
}

/// nginx answers before the request has ended, and says that it needs no more of it, at any time of the upload.
#[test]
fn uploads_that_nobody_reads_are_answered() -> Result<()> {
    let nginx = Nginx::start("location / { return 200 hello; }")?;
    let gateway = Gateway::builder(crate::one_route(
        &format!("grpc://{}", nginx.http2_addr()),
        "",
        "",
    ))
    .workers(1)
    .start()?;
    let body = nginx.scratch().write("upload", vec![b'x'; 20])?;
    let report = Command::new(program("h2load")?)
        .args(["-n", "3000", "-c", "4", "-m", "20", "-d"])
        .arg(body)
        .arg(gateway.url("/"))
        .output()?;
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(report.contains("3000 done"), "{report}");
    // The worker lives.
    let mut frames = tests::Frames::connect(gateway.addr())?;
    frames.push(&[Frame::request(1, "GET", "/", true)])?;
    let end = frames.find(|frame| matches!(frame.kind, HEADERS | RESET))?;
    assert_eq!(end.context("an answer")?.kind, HEADERS);
    Ok(())
}
