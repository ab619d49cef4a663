//! Limits inside messages: chunks, trailers, bodies that nobody wants, what comes before an answer, frames.

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{Client, Dns, Frame, Frames, Gateway, Origin, Reply, Script};

use crate::dns::{asking, local};
use crate::limits::{gateway, reached};
use crate::{eventually, one_route};

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn chunked_bodies_have_the_bounds_that_were_said() -> Result<()> {
    let origin = Origin::echo()?;
    let flags = [
        "chunk_extension_bytes=8",
        "chunk_overhead_bytes=1KiB",
        "trailers=2",
        "trailer_bytes=256",
    ];
    let gateway = gateway(&origin, &flags)?;
    let trailers = |count: usize, bytes: usize| {
        let line = format!("x: {}\r\n", "v".repeat(bytes));
        format!("1\r\na\r\n0\r\n{}\r\n", line.repeat(count))
    };
    let tiny = |count: usize| "1;a=b\r\nx\r\n".repeat(count) + "0\r\n\r\n";
    for (limit, within, beyond) in [
        (
            "chunk_extension_bytes",
            "1;a=bcdef\r\nx\r\n0\r\n\r\n".to_owned(),
            "1;a=bcdefgh\r\nx\r\n0\r\n\r\n".to_owned(),
        ),
        ("chunk_overhead_bytes", tiny(100), tiny(2000)),
        ("trailers", trailers(2, 9), trailers(3, 9)),
        ("trailer_bytes", trailers(1, 200), trailers(1, 300)),
    ] {
        for (body, status) in [(within, 200), (beyond, 400)] {
            let mut client = Client::connect(gateway.addr())?;
            // Who is refused may be told before all was sent.
            let _ = client.send(format!("{HEAD}{body}").as_bytes());
            assert_eq!(client.response("POST")?.status, status, "{limit}");
        }
        reached(&gateway, limit, 1.0);
    }
    Ok(())
}

#[test]
fn a_refused_body_is_read_as_far_as_was_said() -> Result<()> {
    let origin = Origin::echo()?;
    let plugin = "{name: request-termination, config: {status_code: 403}}";
    let gateway = Gateway::builder(one_route(&origin.url(), plugin, ""))
        .flag("--limit")
        .flag("drain_bytes=10")
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    assert_eq!(client.ask("POST", "/", &[], &[b'x'; 10])?.status, 403);
    assert_eq!(client.ask("POST", "/", &[], &[b'x'; 11])?.status, 403);
    client.expect_close()?;
    reached(&gateway, "drain_bytes", 1.0);
    Ok(())
}

#[test]
fn what_comes_behind_a_request_waits_beyond_the_bound() -> Result<()> {
    let may_answer = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&may_answer);
    let origin = Origin::start(move |_| {
        // The first request is answered once the test has seen what it looks for, and the others with it.
        eventually("the test has seen it", || {
            may_answer.load(Ordering::Acquire).then_some(())
        });
        Script::respond(200, &[], b"")
    })?;
    let gateway = gateway(&origin, &["pipelined_bytes=1KiB"])?;
    let mut client = Client::connect(gateway.addr())?;
    let long = "v".repeat(700);
    let request = client.request("GET", "/", &[("x", &long)], b"");
    client.send(&request.repeat(3))?;
    reached(&gateway, "pipelined_bytes", 1.0);
    told.store(true, Ordering::Release);
    for _ in 0..3 {
        assert_eq!(client.response("GET")?.status, 200);
    }
    Ok(())
}

#[test]
fn an_upstream_announces_as_often_as_was_said() -> Result<()> {
    for (count, status) in [(2, 200), (3, 502)] {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count);
        let answer = format!("{early}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let origin = Origin::always(Script::raw(answer))?;
        let gateway = gateway(&origin, &["interim_responses=2"])?;
        assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, status);
        if status == 502 {
            reached(&gateway, "interim_responses", 1.0);
        }
    }
    Ok(())
}

#[test]
fn an_upstreams_head_is_counted_like_a_clients() -> Result<()> {
    let long = "v".repeat(600);
    let origin = Origin::always(Script::respond(200, &[("x", &long)], b""))?;
    let gateway = gateway(&origin, &["header_bytes=512"])?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 502);
    reached(&gateway, "header_bytes", 1.0);
    Ok(())
}

#[test]
fn heads_of_http_2_are_continued_as_often_as_was_said() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, &["h2_continuations=2"])?;
    let mut frames = Frames::connect(gateway.addr())?;
    let mut begin = Frame::request(1, "GET", "/", true);
    begin.flags = 1;
    let more = Frame::new(9, 0, 1, &Frame::field("x", "y"));
    frames.push(&[begin, more.clone(), more])?;
    assert_eq!(frames.farewell()?, Some(11));
    reached(&gateway, "h2_continuations", 1.0);
    Ok(())
}

#[test]
fn windows_of_http_2_are_announced_as_was_said() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(
        &origin,
        &["h2_stream_window_bytes=16KiB", "h2_window_bytes=96KiB"],
    )?;
    let mut frames = Frames::connect(gateway.addr())?;
    let settings = frames
        .find(|it| it.kind == 4 && it.flags == 0)?
        .context("SETTINGS")?;
    ensure!(
        settings.payload.windows(6).any(|it| it == [0, 4, 0, 0, 0x40, 0]),
        "{settings:?}"
    );
    let update = frames.find(|it| it.kind == 8)?.context("an update")?;
    assert_eq!(
        (update.stream, &update.payload[..]),
        (0, &(96 * 1024 - 65_535_u32).to_be_bytes()[..])
    );
    // A body of many windows passes.
    let body = vec![b'x'; 16_384];
    frames.push(&[Frame::request(1, "POST", "/", false)])?;
    let mut room = 16_384;
    for piece in 0..8 {
        while room < 16_384 {
            let update = frames
                .find(|it| it.kind == 8 && it.stream == 1)?
                .context("room")?;
            room += u32::from_be_bytes(*update.payload.first_chunk().context("an update")?);
        }
        room -= 16_384;
        frames.push(&[Frame::new(0, u8::from(piece == 7), 1, &body)])?;
    }
    ensure!(frames.find(|it| it.kind == 1)?.is_some());
    Ok(())
}

#[test]
fn who_asks_without_reading_is_let_go_at_the_bound() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, &["h2_out_most_bytes=256KiB", "h2_chatter=1000000"])?;
    let mut frames = Frames::connect(gateway.addr())?;
    let pings = vec![Frame::new(6, 0, 0, &[0; 8]); 2000];
    for _ in 0..450 {
        if frames.push(&pings).is_err() {
            break;
        }
    }
    reached(&gateway, "h2_out_most_bytes", 1.0);
    Ok(())
}

#[test]
fn names_have_the_bounds_that_were_said() -> Result<()> {
    let origin = Origin::echo()?;
    let port = origin.addr().port();
    let dns = Dns::start(move |asked| match (&*asked.name, &*asked.kind) {
        ("never.test" | "nor.test", _) => vec![],
        (_, "A") => vec![Reply::addresses(asked, 60, &[local(1), local(99)])],
        _ => vec![Reply::nothing(60)],
    })?;
    let routes = ["many", "never", "nor"].map(|name| {
        format!(
            "- name: {name}\n  url: http://{name}.test:{port}\n  routes:\n  - {{name: {name}, paths: [/{name}]}}\n"
        )
    });
    let policy = format!("_format_version: \"3.0\"\nservices:\n{}", routes.concat());
    let (builder, _scratch) = asking(&dns, policy, "options timeout:5 attempts:5\n")?;
    let limits = [
        "dns_records=1",
        "resolver_threads=1",
        "resolve_wait_s=1",
        "dns_lookup_s=2",
    ];
    let builder = limits
        .iter()
        .fold(builder, |builder, limit| builder.flag("--limit").flag(limit));
    let gateway = builder.start()?;
    // Of two addresses one is used, and nobody listens at the other.
    for _ in 0..3 {
        assert_eq!(Client::get(gateway.addr(), "/many", &[])?.status, 200);
    }
    reached(&gateway, "dns_records", 1.0);
    for name in ["/never", "/nor"] {
        assert_eq!(Client::get(gateway.addr(), name, &[])?.status, 503);
    }
    for limit in ["resolve_wait_s", "resolver_threads", "dns_lookup_s"] {
        reached(&gateway, limit, 1.0);
    }
    Ok(())
}

#[test]
fn the_metrics_listener_serves_as_many_as_was_said() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .metrics()
        .flag("--limit")
        .flag("admin_clients=1")
        .start()?;
    let addr = gateway.ready()["metrics_listen"]
        .as_str()
        .context("it listens")?
        .to_owned();
    let silent = TcpStream::connect(&addr)?;
    let mut second = TcpStream::connect(&addr)?;
    second.set_read_timeout(Some(Duration::from_secs(10)))?;
    assert_eq!(second.read(&mut [0; 1]).unwrap_or(0), 0, "it is turned away");
    drop(silent);
    reached(&gateway, "admin_clients", 1.0);
    Ok(())
}

#[test]
fn connections_to_upstreams_are_kept_as_was_said() -> Result<()> {
    for (flag, limit, connections) in [
        ("upstream_requests=2", "upstream_requests", 2),
        ("upstream_idle_s=1", "upstream_idle_s", 3),
    ] {
        let origin = Origin::echo()?;
        let gateway = gateway(&origin, &[flag])?;
        let mut client = Client::connect(gateway.addr())?;
        for _ in 0..3 {
            assert_eq!(client.ask("GET", "/", &[], b"")?.status, 200);
            if limit == "upstream_idle_s" {
                std::thread::sleep(Duration::from_millis(1200));
            }
        }
        assert_eq!(origin.connections(), connections, "{limit}");
        reached(&gateway, limit, 1.0);
    }
    Ok(())
}

#[test]
fn a_worker_keeps_as_many_idle_connections_as_was_said() -> Result<()> {
    let origins = [Origin::echo()?, Origin::echo()?];
    let services = [0, 1].map(|at: usize| {
        format!(
            "- name: s{at}\n  url: {}\n  routes:\n  - {{name: r{at}, paths: [/{at}]}}\n",
            origins[at].url()
        )
    });
    let gateway = Gateway::builder(format!(
        "_format_version: \"3.0\"\nservices:\n{}",
        services.concat()
    ))
    .workers(1)
    .flag("--limit=upstream_idle=1")
    .start()?;
    for path in ["/0", "/1", "/0"] {
        assert_eq!(Client::get(gateway.addr(), path, &[])?.status, 200);
    }
    assert_eq!(origins.map(|origin| origin.connections()), [2, 1]);
    reached(&gateway, "upstream_idle", 2.0);
    Ok(())
}
