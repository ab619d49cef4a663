//! Upstreams: weights, retries, timeouts, and what a client is told when they fail.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::Result;
use tests::{Client, Gateway, Nginx, Origin, Script, Step};

use crate::one_route;

/// A policy whose service goes to an upstream of `targets` (`ADDRESS=WEIGHT`).
fn balanced(targets: &[String], service: &str) -> String {
    let list: String = targets
        .iter()
        .filter_map(|target| target.split_once('='))
        .map(|(addr, weight)| format!("{{target: '{addr}', weight: {weight}}},"))
        .collect();
    format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, host: pool, {service}routes: [{{name: a, paths: [/]}}]}}\n\
         upstreams:\n- {{name: pool, targets: [{list}]}}\n"
    )
}

/// An address nobody listens on.
fn dead() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A failure's status and message. Without `Accept`, failures between gateway and origin are plain text.
fn message(gateway: &Gateway) -> Result<(u16, String)> {
    let answer = Client::get(gateway.addr(), "/", &[("Accept", "application/json")])?;
    Ok((
        answer.status,
        answer.json()["message"].as_str().unwrap_or_default().to_owned(),
    ))
}

#[test]
fn weights_are_kept_exactly() -> Result<()> {
    let origins = [Origin::echo()?, Origin::echo()?, Origin::echo()?];
    let targets: Vec<String> = origins
        .iter()
        .zip([3, 1, 0])
        .map(|(origin, weight)| format!("{}={weight}", origin.addr()))
        .collect();
    let gateway = Gateway::builder(balanced(&targets, "")).workers(1).start()?;
    let mut client = Client::connect(gateway.addr())?;
    for _ in 0..40 {
        assert_eq!(client.ask("GET", "/", &[], b"")?.status, 200);
    }
    assert_eq!(origins.map(|origin| origin.requests().len()), [30, 10, 0]);
    Ok(())
}

#[test]
fn a_dead_target_is_stepped_over() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(balanced(
        &[format!("{}=100", dead()?), format!("{}=1", origin.addr())],
        "",
    ))?;
    for _ in 0..20 {
        assert_eq!(
            Client::fetch(gateway.addr(), "POST", "/", &[], b"once")?.status,
            200
        );
    }
    assert_eq!(origin.requests().len(), 20);
    Ok(())
}

#[test]
fn failures_are_told_in_kongs_words() -> Result<()> {
    let nobody = Gateway::start(one_route(&format!("http://{}", dead()?), "", ""))?;
    assert_eq!(
        message(&nobody)?,
        (
            502,
            "An invalid response was received from the upstream server".to_owned()
        )
    );
    let nameless = Gateway::start(one_route("http://no-such-host.invalid", "", ""))?;
    assert_eq!(message(&nameless)?, (503, "name resolution failed".to_owned()));
    let empty = Gateway::start(balanced(&["127.0.0.1:9=0".to_owned()], ""))?;
    assert_eq!(
        message(&empty)?,
        (503, "failure to get a peer from the ring-balancer".to_owned())
    );
    Ok(())
}

#[test]
fn a_silent_origin_times_out() -> Result<()> {
    let origin = Origin::always(Script::default().then(Step::Hold))?;
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, url: {}, read_timeout: 300, retries: 0, \
         routes: [{{name: a, paths: [/]}}]}}\n",
        origin.url()
    );
    let gateway = Gateway::start(policy)?;
    let start = Instant::now();
    assert_eq!(
        message(&gateway)?,
        (504, "The upstream server is timing out".to_owned())
    );
    assert!(
        (Duration::from_millis(250)..Duration::from_secs(5)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    origin.wait_closed(Duration::from_secs(5))
}

#[test]
fn only_what_is_safe_is_repeated() -> Result<()> {
    let origin = Origin::always(Script::default().then(Step::Fin))?;
    let gateway =
        Gateway::start(one_route(&origin.url(), "", "").replace("  routes:", "  retries: 2\n  routes:"))?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 502);
    assert_eq!(
        origin.requests().len(),
        3,
        "a GET is tried once and repeated twice"
    );
    assert_eq!(
        Client::fetch(gateway.addr(), "POST", "/", &[], b"pay")?.status,
        502
    );
    assert_eq!(
        origin.requests().len(),
        4,
        "a POST that was sent is never repeated"
    );
    Ok(())
}

#[test]
fn an_answer_of_the_origin_is_never_repeated() -> Result<()> {
    for status in [429, 500, 503] {
        let origin = Origin::always(Script::respond(status, &[], "own"))?;
        let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
        let answer = Client::get(gateway.addr(), "/", &[])?;
        assert_eq!(
            (answer.status, answer.text().as_str(), origin.requests().len()),
            (status, "own", 1)
        );
    }
    Ok(())
}

#[test]
fn a_kept_connection_that_the_origin_closed_costs_no_request() -> Result<()> {
    let origin = Origin::always(
        Script::respond(200, &[], "ok")
            .then(Step::Pause(Duration::from_millis(20)))
            .then(Step::Fin),
    )?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(1)
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    for _ in 0..10 {
        assert_eq!(client.ask("POST", "/", &[], b"x")?.status, 200);
        std::thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(origin.requests().len(), 10);
    Ok(())
}

#[test]
fn nginx_serves_large_files_through_the_gateway() -> Result<()> {
    let nginx = Nginx::start("location / { }")?;
    let file: Vec<u8> = (0..4_000_000u32).flat_map(u32::to_le_bytes).collect();
    nginx.scratch().write("large.bin", &file)?;
    let gateway = Gateway::start(one_route(&format!("http://{}", nginx.addr()), "", ""))?;
    assert!(Client::get(gateway.addr(), "/large.bin", &[])?.body == file);
    let part = Client::get(gateway.addr(), "/large.bin", &[("Range", "bytes=4-7")])?;
    assert_eq!((part.status, part.body), (206, vec![1, 0, 0, 0]));
    Ok(())
}

/// What three clients get, one after the other, when the origin's connection has served somebody `first`.
fn three_after(first: Script) -> Result<Vec<(u16, String)>> {
    let origin = Origin::start(move |request| match &*request.target {
        "/first" => first.clone(),
        other => Script::respond(200, &[], other),
    })?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(1)
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n")?;
    std::thread::sleep(Duration::from_millis(400));
    let each = ["/one", "/two", "/three"].map(|target| {
        let answer = Client::get(gateway.addr(), target, &[])?;
        Ok((answer.status, answer.text()))
    });
    each.into_iter().collect()
}

#[test]
fn bytes_that_nobody_asked_for_reach_nobody() -> Result<()> {
    let stranger = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
    let late = |script: Script| {
        script
            .then(Step::Pause(Duration::from_millis(100)))
            .then(Step::Send(stranger.to_vec()))
    };
    let own: Vec<(u16, String)> = ["/one", "/two", "/three"]
        .map(|target| (200, target.to_owned()))
        .to_vec();
    for first in [
        Script::respond(200, &[], "fine"),
        Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        Script::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        Script::raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
        Script::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    ] {
        let shown = format!("{first:?}");
        assert_eq!(three_after(late(first))?, own, "{shown}");
    }
    Ok(())
}

#[test]
fn a_protocol_nobody_asked_for_is_a_bad_answer() -> Result<()> {
    let origin = Origin::always(Script::raw(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ))?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    assert_eq!(message(&gateway)?.0, 502);
    Ok(())
}

#[test]
fn a_dead_target_costs_tries_only_as_far_as_the_budget_goes() -> Result<()> {
    let origin = Origin::echo()?;
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n- name: pair\n  url: http://pair.local\n  routes: [{{name: all, paths: [/]}}]\n\
         upstreams:\n- name: pair.local\n  targets: [{{target: '{}'}}, {{target: '127.0.0.1:1'}}]\n",
        origin.addr()
    );
    for (budget, least, most) in [("100", 400, 400), ("0", 250, 350)] {
        let gateway = Gateway::builder(policy.clone())
            .workers(1)
            .flag("--retry-budget")
            .flag(budget)
            .start()?;
        let mut client = Client::connect(gateway.addr())?;
        let mut served = 0;
        for _ in 0..400 {
            served += usize::from(client.ask("GET", "/", &[], b"")?.status == 200);
        }
        // Every second request meets the dead target first; a hundred tries are in reserve.
        assert!((least..=most).contains(&served), "budget {budget}: {served}");
        let refused = gateway.admin().metric("tollgate_retries_refused_total", &[])?;
        assert_eq!(refused > 0.0, budget == "0", "budget {budget}: {refused}");
    }
    Ok(())
}
