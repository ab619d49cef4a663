//! HTTP/2 towards clients: curl, nghttp and h2load as they are, and frames where clients are too polite.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{Authority, Curl, Frame, Frames, Gateway, Nginx, Origin, Script, Step, program};

use crate::tls::certificates;

/// What a program printed, with an error when it failed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context("run")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

fn curl(url: &str) -> Result<Curl> {
    Ok(Curl::new(url)?.args(["--http2-prior-knowledge"]))
}

#[test]
fn a_client_that_knows_http_2_is_governed_as_any_other() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(
        crate::one_route(&origin.url(), "{name: key-auth}", "")
            + "consumers: [{username: ann, keyauth_credentials: [{key: ann-key}]}]\n",
    )?;
    let refused = curl(&gateway.url("/x"))?.run()?;
    assert_eq!((refused.version.as_str(), refused.status), ("HTTP/2", 401));
    assert_eq!(refused.json()["message"], "No API key found in request");
    let answer = curl(&gateway.url("/x?q=1"))?
        .header("apikey", "ann-key")
        .args(["--cookie", "a=1; b=2"])
        .run()?;
    assert_eq!((answer.version.as_str(), answer.status), ("HTTP/2", 200));
    let seen = answer.json();
    assert_eq!(seen["target"], "/x?q=1");
    assert_eq!(
        crate::echoed(&seen, "X-Consumer-Username").as_deref(),
        Some("ann")
    );
    assert_eq!(crate::echoed(&seen, "Cookie").as_deref(), Some("a=1; b=2"));
    assert_eq!(
        crate::echoed(&seen, "X-Forwarded-Host").as_deref(),
        Some("127.0.0.1")
    );
    assert!(
        !answer.headers.has("connection"),
        "there is no such field in HTTP/2"
    );
    Ok(())
}

#[test]
fn tls_agrees_on_http_2_where_the_client_offers_it() -> Result<()> {
    let (origin, authority) = (Origin::echo()?, Authority::new()?);
    let list = certificates(&[(&authority.issue(&["localhost"])?, &["localhost"])]);
    let gateway = Gateway::builder(crate::one_route(&origin.url(), "", &list))
        .tls()
        .start()?;
    let url = format!("https://{}/", gateway.tls_addr());
    for (flag, version) in [("--http2", "HTTP/2"), ("--http1.1", "HTTP/1.1")] {
        for tls in ["1.2", "1.3"] {
            let answer = Curl::new(&url)?
                .args(["--insecure", flag, "--tls-max", tls])
                .run()?;
            assert_eq!(
                (answer.version.as_str(), answer.status),
                (version, 200),
                "{flag} {tls}"
            );
        }
    }
    Ok(())
}

#[test]
fn bodies_of_any_size_and_framing_pass_both_ways() -> Result<()> {
    let origin = Origin::start(|request| Script::respond(200, &[], &request.body))?;
    let gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    for size in [0, 1, 16_384, 16_385, 70_000, 3_000_000] {
        let body: Vec<u8> = (0..size)
            .map(|at: u32| at.to_le_bytes()[0] ^ at.to_le_bytes()[1])
            .collect();
        let file = gateway.scratch().write("body", &body)?;
        let data = format!("@{}", file.display());
        for extra in [
            &[][..],
            &["-H", "Expect: 100-continue"],
            &["-H", "Content-Length:"],
        ] {
            let answer = curl(&gateway.url("/"))?
                .args(["--data-binary", &data])
                .args(extra)
                .run()?;
            assert_eq!(answer.status, 200, "{size} {extra:?}");
            assert!(
                answer.body == body,
                "{size} {extra:?}: {} came back",
                answer.body.len()
            );
        }
    }
    Ok(())
}

#[test]
fn answers_of_unknown_length_end_with_their_stream() -> Result<()> {
    let origin = Origin::start(|_| {
        Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .then(Step::Pause(Duration::from_millis(100)))
            .then(Step::Send(b"6\r\n world\r\n0\r\nX-Late: 1\r\n\r\n".to_vec()))
    })?;
    let gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    let answer = curl(&gateway.url("/"))?.run()?;
    assert_eq!(answer.body, b"hello world");
    let head = curl(&gateway.url("/"))?.args(["--head"]).run();
    assert_eq!(head?.status, 200);
    Ok(())
}

#[test]
fn an_answer_that_breaks_off_is_no_whole_answer() -> Result<()> {
    let origin =
        Origin::start(|_| Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").then(Step::Fin))?;
    let gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    let broken = curl(&gateway.url("/"))?.run().expect_err("half an answer");
    assert!(
        broken.to_string().contains("92"),
        "curl's code for a stream's error: {broken}"
    );
    // The connection is as good as before.
    let mut frames = Frames::connect(gateway.addr())?;
    for stream in [1, 3] {
        frames.push(&[Frame::request(stream, "GET", "/", true)])?;
        let reset = frames.find(|frame| frame.kind == 3)?.context("a reset")?;
        assert_eq!((reset.stream, reset.code()), (stream, Some(2)));
    }
    Ok(())
}

#[test]
fn many_streams_share_a_connection() -> Result<()> {
    let nginx = Nginx::start("location / { return 200 hello; }")?;
    let gateway = Gateway::start(crate::one_route(&format!("http://{}", nginx.addr()), "", ""))?;
    let report = output(
        Command::new(program("h2load")?)
            .args(["-n", "4000", "-c", "4", "-m", "50"])
            .arg(gateway.url("/")),
    )?;
    assert!(
        report.contains("4000 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{report}"
    );
    let report = output(
        Command::new(program("nghttp")?)
            .args(["--no-dep", "-nv", "-m", "3"])
            .arg(gateway.url("/")),
    )?;
    assert_eq!(report.matches(":status: 200").count(), 3, "{report}");
    Ok(())
}

#[test]
fn a_slow_answer_does_not_hold_the_others() -> Result<()> {
    let origin = Origin::start(|request| {
        let wait = if request.target == "/slow" { 400 } else { 0 };
        Script::respond(200, &[], b"").after(Step::Pause(Duration::from_millis(wait)))
    })?;
    let gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    let mut frames = Frames::connect(gateway.addr())?;
    frames.push(&[
        Frame::request(1, "GET", "/slow", true),
        Frame::request(3, "GET", "/fast", true),
    ])?;
    let first = frames.find(|frame| frame.kind == 1)?.context("an answer")?;
    let second = frames.find(|frame| frame.kind == 1)?.context("another")?;
    assert_eq!((first.stream, second.stream), (3, 1));
    Ok(())
}

#[test]
fn a_client_that_resets_lets_its_upstream_go() -> Result<()> {
    let origin = Origin::always(Script::default().then(Step::Hold))?;
    let gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    let mut frames = Frames::connect(gateway.addr())?;
    frames.push(&[Frame::request(1, "GET", "/", true)])?;
    crate::eventually("the request arrives", || {
        (!origin.requests().is_empty()).then_some(())
    });
    frames.push(&[Frame::new(3, 0, 1, &8_u32.to_be_bytes())])?;
    origin.wait_closed(Duration::from_secs(5))?;
    Ok(())
}

#[test]
fn malformed_requests_are_reset_and_nothing_is_forwarded() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    let mut frames = Frames::connect(gateway.addr())?;
    let field = Frame::field;
    let mut stream = 1;
    for block in [
        field("transfer-encoding", "chunked"),
        field("connection", "close"),
        field("x", "a\r\nSmuggled: 1"),
        field("x", "a\0"),
        field("x\r\ny", "a"),
        field("X-Upper", "a"),
        field("host", "elsewhere"),
        field("content-length", "5"),
        field(":path", "/again"),
        field("x", " a"),
    ] {
        frames.push(&[Frame::request(stream, "POST", "/", true).and(&block)])?;
        let answer = frames
            .find(|frame| matches!(frame.kind, 1 | 3))?
            .context("an end")?;
        assert_eq!(
            (answer.stream, answer.code()),
            (stream, Some(1)),
            "{}",
            block.escape_ascii()
        );
        stream += 2;
    }
    for (path, status) in [("/%zz", "400"), (&*"/a".repeat(5000), "414")] {
        frames.push(&[Frame::request(stream, "GET", path, true)])?;
        let answer = frames
            .find(|frame| matches!(frame.kind, 1 | 3))?
            .context("an answer")?;
        let told =
            answer.payload.windows(3).any(|it| it == status.as_bytes()) || answer.payload.contains(&0x8c);
        assert!(answer.kind == 1 && told, "{status}: {answer:?}");
        stream += 2;
    }
    assert!(origin.requests().is_empty());
    Ok(())
}

#[test]
fn draining_finishes_streams_and_takes_no_more() -> Result<()> {
    let origin =
        Origin::start(|_| Script::respond(200, &[], b"done").after(Step::Pause(Duration::from_millis(700))))?;
    let mut gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    let mut frames = Frames::connect(gateway.addr())?;
    frames.push(&[Frame::request(1, "GET", "/", true)])?;
    crate::eventually("the request arrives", || {
        (!origin.requests().is_empty()).then_some(())
    });
    gateway.terminate()?;
    let data = frames
        .find(|frame| frame.kind == 0 && !frame.payload.is_empty())?
        .context("the body")?;
    assert_eq!(data.payload, b"done");
    assert_eq!(frames.farewell()?, Some(0));
    assert!(frames.find(|_| false)?.is_none(), "it closes");
    assert!(gateway.wait(Duration::from_secs(10))?.success());
    Ok(())
}
