//! More than can be served: the important is served in time, the rest is told when to come again, and it passes by itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
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

/// Floods a gateway for a while. Gives the median and the longest time
/// that a request of high priority took meanwhile, and how many of the others were served and shed.
fn under_flood(gateway: &Gateway) -> Result<(Duration, Duration, usize, usize)> {
    let (stop, served, shed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let times = std::thread::scope(|scope| {
        let floods: Vec<_> = (0..FLOOD)
            .map(|_| scope.spawn(|| flood(gateway, &stop, &served, &shed)))
            .collect();
        let times = asked(gateway);
        stop.store(true, Ordering::Relaxed);
        for flood in floods {
            flood.join().expect("no panic")?;
        }
        times
    });
    let mut times = times?;
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    Ok((
        median,
        longest,
        served.load(Ordering::Relaxed),
        shed.load(Ordering::Relaxed),
    ))
}

/// Times of requests that matter, for four seconds. One before that is left for the gateway to notice what is going on.
fn asked(gateway: &Gateway) -> Result<Vec<Duration>> {
    let mut client = Client::connect(gateway.addr())?;
    let begin = Instant::now();
    let mut times = Vec::new();
    while begin.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        let path = if times.len() % 2 == 0 {
            "/high"
        } else {
            "/critical"
        };
        let answer = client.ask("GET", path, &[], b"")?;
        let took = asked.elapsed();
        ensure!(answer.status == 200, "{path}: {}", answer.status);
        if begin.elapsed() > Duration::from_secs(1) {
            times.push(took);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(times)
}

#[test]
fn what_matters_is_served_in_time_whatever_else_comes() -> Result<()> {
    let nginx = Nginx::start("location / { return 200 hello; }")?;
    let policy = policy(&format!("http://{}", nginx.addr()), "");
    let start = |flags: [&str; 2]| {
        let builder = Gateway::builder(policy.clone()).workers(1);
        builder.flag(flags[0]).flag(flags[1]).start()
    };
    let off = start(["--shed-after", "0"])?;
    let (slow, _, _, shed) = under_flood(&off)?;
    assert_eq!(shed, 0, "it is off");
    drop(off);
    let gateway = start(["--shed-after", "10"])?;
    let (median, longest, served, shed) = under_flood(&gateway)?;
    eprintln!("{slow:?} without, {median:?} with, longest {longest:?}; {served} served, {shed} shed");
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
