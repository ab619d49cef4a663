//! Limits that operators set: each holds at the value that was said, and is counted when it is reached.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::{Client, Frame, Frames, Gateway, Origin, Scratch};

use crate::{eventually, one_route};

pub(crate) fn gateway(origin: &Origin, limits: &[&str]) -> Result<Gateway> {
    let builder = Gateway::builder(one_route(&origin.url(), "", "")).workers(1);
    limits
        .iter()
        .fold(builder, |builder, limit| builder.flag("--limit").flag(limit))
        .start()
}

pub(crate) fn reached(gateway: &Gateway, limit: &str, times: f64) {
    let label = format!("limit=\"{limit}\"");
    eventually(&format!("{limit} is counted"), || {
        let count = gateway
            .admin()
            .metric("tollgate_limit_reached_total", &[&label])
            .ok()?;
        (count >= times).then_some(())
    });
}

#[test]
fn heads_have_the_size_that_was_said() -> Result<()> {
    let origin = Origin::echo()?;
    let flags = [
        "head_bytes=2KiB",
        "header_bytes=512",
        "uri_bytes=100",
        "headers=10",
    ];
    let gateway = gateway(&origin, &flags)?;
    let addr = gateway.addr();
    let many: Vec<(String, String)> = (0..12).map(|at| (format!("x-{at}"), "v".to_owned())).collect();
    let long = "v".repeat(400);
    let large: Vec<(String, String)> = (0..6).map(|at| (format!("x-{at}"), long.clone())).collect();
    let ask = |path: &str, headers: &[(String, String)]| -> Result<u16> {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        Ok(Client::get(addr, path, &headers)?.status)
    };
    assert_eq!(ask(&format!("/{}", "p".repeat(99)), &[])?, 200);
    assert_eq!(ask("/", &large[..4])?, 200);
    assert_eq!(ask("/", &many[..8])?, 200);
    for (limit, path, headers, status) in [
        ("uri_bytes", format!("/{}", "p".repeat(100)), vec![], 414),
        ("headers", "/".to_owned(), many, 431),
        ("head_bytes", "/".to_owned(), large, 431),
        (
            "header_bytes",
            "/".to_owned(),
            vec![("x".to_owned(), "v".repeat(520))],
            431,
        ),
    ] {
        assert_eq!(ask(&path, &headers)?, status, "{limit}");
        reached(&gateway, limit, 1.0);
    }
    Ok(())
}

#[test]
fn waits_last_as_long_as_was_said() -> Result<()> {
    let origin = Origin::echo()?;
    let flags = [
        "client_idle_s=1",
        "request_head_s=1",
        "client_body_s=1",
        "linger_s=1",
    ];
    let gateway = gateway(&origin, &flags)?;
    for (limit, sent, answered) in [
        ("client_idle_s", "", ""),
        ("request_head_s", "GET / HTTP/1.1\r\nHost:", "HTTP/1.1 408 "),
        (
            "client_body_s",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
            "",
        ),
    ] {
        let mut client = Client::connect(gateway.addr())?;
        client.send(sent.as_bytes())?;
        let since = Instant::now();
        let heard = String::from_utf8(client.read_to_close()?)?;
        let took = since.elapsed();
        ensure!(heard.starts_with(answered), "{limit}: {heard}");
        ensure!(
            took > Duration::from_millis(900) && took < Duration::from_secs(8),
            "{limit}: {took:?}"
        );
        reached(&gateway, limit, 1.0);
    }
    Ok(())
}

#[test]
fn http_2_has_the_budgets_that_were_said() -> Result<()> {
    let origin = Origin::always(tests::Script::default().then(tests::Step::Hold))?;
    let gateway = gateway(&origin, &["h2_streams=2", "h2_resets=5", "h2_chatter=100"])?;
    let mut frames = Frames::connect(gateway.addr())?;
    let settings = frames
        .find(|frame| frame.kind == 4 && frame.flags == 0)?
        .context("SETTINGS")?;
    ensure!(
        settings.payload.windows(6).any(|it| it == [0, 3, 0, 0, 0, 2]),
        "{settings:?}"
    );
    for stream in [1, 3, 5] {
        frames.push(&[Frame::request(stream, "GET", "/", true)])?;
    }
    let refused = frames.find(|frame| frame.kind == 3)?.context("a refusal")?;
    assert_eq!((refused.stream, refused.code()), (5, Some(7)));
    reached(&gateway, "h2_streams", 1.0);
    for (limit, frame) in [
        ("h2_chatter", Frame::new(6, 0, 0, &[0; 8])),
        ("h2_resets", Frame::new(8, 0, 7, &0_u32.to_be_bytes())),
    ] {
        let mut frames = Frames::connect(gateway.addr())?;
        for at in 0..300_u32 {
            let frame = match limit {
                "h2_resets" => vec![
                    Frame::request(at * 2 + 1, "GET", "/", true),
                    Frame {
                        stream: at * 2 + 1,
                        ..frame.clone()
                    },
                ],
                _ => vec![frame.clone()],
            };
            if frames.push(&frame).is_err() {
                break;
            }
        }
        assert_eq!(frames.farewell()?, Some(11), "{limit}");
        reached(&gateway, limit, 1.0);
    }
    Ok(())
}

#[test]
fn a_node_file_has_a_table_of_them_and_flags_win() -> Result<()> {
    let (origin, scratch) = (Origin::echo()?, Scratch::new()?);
    let file = scratch.write(
        "tollgate.toml",
        "[limits]\nuri_bytes = 64\nhead_bytes = \"4KiB\"\n",
    )?;
    let builder = Gateway::builder(one_route(&origin.url(), "", "")).workers(1);
    let builder = builder.flag("--config").flag(&file.display().to_string());
    let gateway = builder.clone().start()?;
    let path = format!("/{}", "p".repeat(80));
    assert_eq!(Client::get(gateway.addr(), &path, &[])?.status, 414);
    drop(gateway);
    let gateway = builder.clone().flag("--limit").flag("uri_bytes=128").start()?;
    assert_eq!(Client::get(gateway.addr(), &path, &[])?.status, 200);
    drop(gateway);
    let wrong = builder.flag("--limit").flag("uri_byte=128").start();
    let error = format!("{:#}", wrong.err().context("it started")?);
    ensure!(error.contains("is `uri_bytes` meant?"), "{error}");
    Ok(())
}
