//! Idle upstream connections that pass from one worker to another.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::{Authority, Client, Gateway, Nginx, Origin, Script, Step};

use crate::{eventually, on_each_worker, one_route};

/// What `GET /status` counts.
fn count(gateway: &Gateway, what: &str) -> u64 {
    let status = gateway.admin().status().expect("the gateway runs");
    status["upstream_connections"][what].as_u64().expect("a count")
}

fn eventually_parked(gateway: &Gateway, count_of_them: u64) {
    eventually(&format!("{count_of_them} are parked"), || {
        (count(gateway, "parked") == count_of_them).then_some(())
    });
}

#[test]
fn one_connection_serves_all_workers_in_turn() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(4)
        .start()?;
    let mut clients = on_each_worker(&gateway, 4)?;
    for _ in 0..2 {
        for client in &mut clients {
            assert_eq!(client.ask("POST", "/", &[], b"once")?.status, 200);
            eventually_parked(&gateway, 1);
        }
    }
    assert_eq!((origin.requests().len(), origin.connections()), (8, 1));
    assert_eq!(count(&gateway, "adopted"), 7);
    let metric = |name| gateway.admin().metric(name, &[]);
    assert_eq!(metric("tollgate_upstream_connections_adopted_total")?, 7.0);
    assert_eq!(metric("tollgate_upstream_connections_parked")?, 1.0);
    Ok(())
}

#[test]
fn a_busy_worker_keeps_its_connection() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(2)
        .start()?;
    let mut clients = on_each_worker(&gateway, 2)?;
    assert_eq!(clients[1].ask("GET", "/", &[], b"")?.status, 200);
    eventually_parked(&gateway, 1);
    // Taken at the first request, and needed at all others.
    let (end, mut asked) = (Instant::now() + Duration::from_millis(800), 0);
    while Instant::now() < end {
        assert_eq!(clients[0].ask("GET", "/", &[], b"")?.status, 200);
        asked += 1;
    }
    let adopted = count(&gateway, "adopted");
    // More than once where the machine had other things to do for so long.
    assert!(
        adopted >= 1 && adopted * 10 < asked,
        "{adopted} times in {asked} requests"
    );
    assert_eq!(origin.connections(), 1);
    Ok(())
}

#[test]
fn what_the_origin_closed_while_it_was_parked_is_never_used() -> Result<()> {
    let patience = Duration::from_millis(1200);
    let origin = Origin::always(
        Script::respond(200, &[], "own")
            .then(Step::Pause(patience))
            .then(Step::Fin),
    )?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(2)
        .start()?;
    let mut clients = on_each_worker(&gateway, 2)?;
    for round in 1..3 {
        for client in &mut clients {
            // A POST that was sent is not repeated: one connection that is used in vain is a 502.
            assert_eq!(client.ask("POST", "/", &[], b"once")?.status, 200);
            eventually_parked(&gateway, 1);
            // Nobody asks for it, and its descriptor does not stay.
            eventually_parked(&gateway, 0);
        }
        assert_eq!(
            (origin.requests().len(), origin.connections()),
            (2 * round, 2 * round)
        );
    }
    origin.wait_closed(Duration::from_secs(5))
}

#[test]
fn a_session_of_tls_passes_on_and_serves_its_own_service_alone() -> Result<()> {
    let authority = Authority::new()?;
    let nginx = Nginx::start_tls(
        "location / { return 200 $connection; }",
        &authority.issue(&["localhost"])?,
    )?;
    let port = nginx.tls_addr().map_or(0, |addr| addr.port());
    let id = "00000000-0000-4000-8000-000000000001";
    let service = |name: &str, verify: bool| {
        format!(
            "- name: {name}\n  url: https://localhost:{port}\n  tls_verify: {verify}\n  ca_certificates: [{id}]\n  \
             routes: [{{name: {name}, paths: [/{name}]}}]\n"
        )
    };
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n{}{}ca_certificates:\n- id: {id}\n  cert: |\n{}",
        service("verified", true),
        service("unverified", false),
        crate::tls::indented(&authority.pem())
    );
    let gateway = Gateway::builder(policy).workers(2).start()?;
    let mut clients = on_each_worker(&gateway, 2)?;
    let mut ask = |worker: usize, path: &str| -> Result<String> {
        let answer = clients[worker].ask("GET", path, &[], b"")?;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        Ok(answer.text())
    };
    let verified = ask(0, "/verified")?;
    eventually_parked(&gateway, 1);
    let unverified = ask(1, "/unverified")?;
    assert_ne!(
        unverified, verified,
        "a server that was verified, and one that is not"
    );
    eventually_parked(&gateway, 2);
    assert_eq!(
        ask(1, "/verified")?,
        verified,
        "the same session, from another worker"
    );
    assert_eq!(ask(0, "/unverified")?, unverified);
    assert_eq!(count(&gateway, "adopted"), 2);
    Ok(())
}

#[test]
fn a_drain_gives_back_what_is_parked() -> Result<()> {
    let origin = Origin::start(|request| {
        if request.target != "/slow" {
            return Script::respond(200, &[], "quick");
        }
        Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
            .then(Step::Pause(Duration::from_millis(2500)))
            .then(Step::Send(b"two".to_vec()))
    })?;
    let mut gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(2)
        .start()?;
    let mut clients = on_each_worker(&gateway, 2)?;
    let mut stream = clients.remove(0).stream("GET", "/slow", &[], b"")?;
    assert_eq!(stream.piece()?.as_deref(), Some(&b"one"[..]));
    assert_eq!(clients[0].ask("GET", "/", &[], b"")?.status, 200);
    eventually_parked(&gateway, 1);
    assert_eq!(origin.open_connections(), 2);
    gateway.terminate()?;
    eventually("only what is at work is left", || {
        (origin.open_connections() == 1).then_some(())
    });
    assert_eq!(stream.rest()?, b"two", "the running request is finished");
    assert!(gateway.wait(Duration::from_secs(10))?.success());
    Ok(())
}

#[test]
fn a_worker_alone_parks_nothing() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(1)
        .start()?;
    for _ in 0..2 {
        assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(count(&gateway, "parked"), 0);
    }
    assert_eq!((origin.connections(), count(&gateway, "adopted")), (1, 0));
    Ok(())
}
