//! More than can be served: the important is served in time, the rest is told when to come again, and it passes by itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::{Client, Gateway, Nginx, Origin, Response};

use crate::eventually;

/// Connections that ask without a pause.
const FLOOD: usize = 256;

/// A service with a route for each priority, and `plugins` (YAML list items in flow style) on all.
fn policy(url: &str, plugins: &str) -> String {
    let route = |name: &str| {
        format!("{{name: {name}, paths: [/{name}], tags: [team-a, \"tollgate:priority={name}\"]}}")
    };
    let names = ["low", "high", "critical"].map(route).join(", ");
    format!(
        "_format_version: \"3.0\"\nservices:\n- name: origin\n  url: {url}\n  plugins: [{plugins}]\n  \
         routes: [{names}, {{name: plain, paths: [/plain]}}]\n"
    )
}

/// Asks for `/low` until `stop`. Who is refused comes again, much sooner than it is told to.
fn flood(gateway: &Gateway, stop: &AtomicBool, served: &AtomicUsize, shed: &AtomicUsize) -> Result<()> {
    let mut client = Client::connect(gateway.addr())?;
    while !stop.load(Ordering::Relaxed) {
        let answer = client.ask("GET", "/low", &[], b"")?;
        match answer.status {
            200 => served.fetch_add(1, Ordering::Relaxed),
            503 => {
                is_told_when_to_come_again(&answer)?;
                std::thread::sleep(Duration::from_millis(50));
                shed.fetch_add(1, Ordering::Relaxed)
            }
            other => anyhow::bail!("status {other}"),
        };
    }
    Ok(())
}

fn is_told_when_to_come_again(answer: &Response) -> Result<()> {
    let seconds: u32 = answer.header("retry-after").parse().context("Retry-After")?;
    ensure!((1..=8).contains(&seconds), "Retry-After: {seconds}");
    ensure!(answer.json()["message"] == "The gateway is overloaded, try again later");
    Ok(())
}

/// Floods a gateway for a while, whose worker gets little time: how many requests were served and shed. Those that matter are all
/// served meanwhile.
fn under_flood(gateway: &Gateway) -> Result<(usize, usize)> {
    let (stop, served, shed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let floods: Vec<_> = (0..FLOOD)
            .map(|_| scope.spawn(|| flood(gateway, &stop, &served, &shed)))
            .collect();
        let slowed = scope.spawn(|| slow(gateway, &stop));
        let asked = ask(gateway);
        stop.store(true, Ordering::Relaxed);
        slowed.join().expect("no panic")?;
        for flood in floods {
            flood.join().expect("no panic")?;
        }
        asked
    })?;
    Ok((served.load(Ordering::Relaxed), shed.load(Ordering::Relaxed)))
}

/// Takes most of the gateway's time away until `stop`, so that its worker is late on any machine.
fn slow(gateway: &Gateway, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        gateway.signal(Signal::STOP)?;
        std::thread::sleep(Duration::from_millis(60));
        gateway.signal(Signal::CONT)?;
        std::thread::sleep(Duration::from_millis(15));
    }
    Ok(())
}

/// Sends requests that matter, for five seconds.
fn ask(gateway: &Gateway) -> Result<()> {
    let mut client = Client::connect(gateway.addr())?;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        for path in ["/high", "/critical"] {
            let answer = client.ask("GET", path, &[], b"")?;
            ensure!(answer.status == 200, "{path}: {}", answer.status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn what_matters_is_served_whatever_else_comes() -> Result<()> {
    let nginx = Nginx::start("location / { return 200 hello; }")?;
    let policy = policy(&format!("http://{}", nginx.addr()), "");
    let start = |after: &str| {
        let builder = Gateway::builder(policy.clone()).workers(1);
        builder.flag("--shed-after").flag(after).start()
    };
    let (served, shed) = under_flood(&start("0")?)?;
    assert!(served > 0 && shed == 0, "it is off: {served} served, {shed} shed");
    let gateway = start("10")?;
    let (served, shed) = under_flood(&gateway)?;
    assert!(served > 0 && shed > 0, "{served} served, {shed} shed");
    let counted = gateway
        .admin()
        .metric("tollgate_requests_shed_total", &["reason=\"late\""])?;
    assert!((counted - shed as f64).abs() < 0.5, "{counted} of {shed}");
    eventually("everything is served again", || {
        let status = gateway.admin().status().ok()?;
        (status["workers"][0]["shed"] == 0.0).then_some(())
    });
    assert_eq!(Client::get(gateway.addr(), "/low", &[])?.status, 200);
    Ok(())
}

#[test]
fn short_of_memory_only_the_critical_is_served_until_there_is_some() -> Result<()> {
    let origin = Origin::echo()?;
    let sizes = "{name: request-size-limiting, config: {allowed_payload_size: 8}}";
    let gateway = Gateway::builder(policy(&origin.url(), sizes))
        .workers(1)
        .flag("--memory-most")
        .flag("160MiB")
        .start()?;
    let mut critical = Client::connect(gateway.addr())?;
    let mut plain = Client::connect(gateway.addr())?;
    assert_eq!(critical.ask("GET", "/critical", &[], b"")?.status, 200);
    assert_eq!(plain.ask("GET", "/plain", &[], b"")?.status, 200);
    let bodies = hoard(&gateway, 26)?;
    eventually("the bound is reached", || {
        (gateway.admin().status().ok()?["memory"]["full"] == true).then_some(())
    });
    eventually("requests are turned away", || {
        let answer = plain.ask("GET", "/plain", &[], b"").ok()?;
        (answer.status == 503).then(|| is_told_when_to_come_again(&answer).expect("Retry-After"))
    });
    assert_eq!(critical.ask("GET", "/critical", &[], b"")?.status, 200);
    let grpc = plain.ask("POST", "/plain", &[("Content-Type", "application/grpc")], b"")?;
    assert_eq!((grpc.status, grpc.header("grpc-status")), (200, "14"));
    let shed = gateway
        .admin()
        .metric("tollgate_requests_shed_total", &["reason=\"memory\""])?;
    assert!(shed >= 2.0, "{shed}");
    // Connections that come now wait until there is room, but for the one that an accept waited for already.
    let mut late = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(gateway.addr())?;
        client.send(&client.request("GET", "/plain", &[], b""))?;
        late.push(client);
    }
    std::thread::sleep(Duration::from_millis(400));
    let held = gateway.admin().status()?["workers"][0]["connections"].clone();
    assert!(held == 28 || held == 29, "{held} were accepted");
    assert!(gateway.admin().metric("tollgate_accept_paused_total", &[])? >= 1.0);
    drop(bodies);
    eventually("it has room again", || {
        let answer = plain.ask("GET", "/plain", &[], b"").ok()?;
        (answer.status == 200).then_some(())
    });
    for mut client in late {
        assert!(matches!(client.response("GET")?.status, 200 | 503));
    }
    Ok(())
}

/// Clients that have most of a large body read and do not send the rest.
fn hoard(gateway: &Gateway, clients: usize) -> Result<Vec<Client>> {
    let megabyte = [b"100000\r\n".as_slice(), &[b'x'; 1 << 20], b"\r\n"].concat();
    let mut all = Vec::new();
    for _ in 0..clients {
        let mut client = Client::connect(gateway.addr())?;
        client.send(b"POST /critical HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        all.push(client);
    }
    for _ in 0..7 {
        for client in &mut all {
            client.send(&megabyte)?;
        }
    }
    Ok(all)
}

#[test]
fn a_priority_that_does_not_exist_is_refused() -> Result<()> {
    let origin = Origin::echo()?;
    let route = "{name: a, paths: [/], tags: [\"tollgate:priority=hihg\"]}";
    let error = Gateway::start(crate::routes(&origin.url(), route))
        .err()
        .context("it started")?;
    assert!(format!("{error:#}").contains("hihg"), "{error:#}");
    Ok(())
}
