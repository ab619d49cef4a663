//! What tags add to upstreams: slow start, requests at a time and who waits, outliers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tests::{Client, Dns, Gateway, Origin, Reply, Script, Step};

use crate::balancing::pool;
use crate::dns::{asking as asking_dns, local};
use crate::eventually;

fn tagged(origins: &[Origin], tags: &[&str]) -> String {
    pool(origins, &format!("tags: [{}],", tags.join(", ")))
}

fn get(gateway: &Gateway) -> Result<u16> {
    Ok(Client::get(gateway.addr(), "/", &[])?.status)
}

/// Requests that an origin got of so many.
fn share(gateway: &Gateway, origin: &Origin, requests: usize) -> Result<usize> {
    let before = origin.requests().len();
    for _ in 0..requests {
        assert_eq!(get(gateway)?, 200);
    }
    Ok(origin.requests().len() - before)
}

#[test]
fn a_new_target_and_one_that_is_back_get_little_at_first() -> Result<()> {
    let origins = [Origin::echo()?, Origin::echo()?];
    let tags = ["\"tollgate:slow_start=4s\""];
    let fields = format!(
        "tags: [{}], healthchecks: {{passive: {{unhealthy: {{tcp_failures: 1}}}}}},",
        tags[0]
    );
    let mut gateway = Gateway::builder(pool(&origins[..1], &fields))
        .workers(1)
        .start()?;
    gateway.replace_policy(pool(&origins, &fields))?;
    assert_eq!(gateway.admin().reload()?.status, 200);
    let came = Instant::now();
    let few = share(&gateway, &origins[1], 33)?;
    if came.elapsed() < Duration::from_secs(1) {
        assert!((1..=7).contains(&few), "a new target got {few} of 33");
    }
    std::thread::sleep(Duration::from_millis(4300).saturating_sub(came.elapsed()));
    let half = share(&gateway, &origins[1], 40)?;
    assert!((18..=22).contains(&half), "a warm target got {half} of 40");
    for state in ["unhealthy", "healthy"] {
        let path = format!("/upstreams/pool/targets/{}/{state}", origins[1].addr());
        assert_eq!(gateway.admin().call("PUT", &path)?.status, 200);
    }
    let back = Instant::now();
    let few = share(&gateway, &origins[1], 33)?;
    if back.elapsed() < Duration::from_secs(1) {
        assert!((1..=7).contains(&few), "a target that is back got {few} of 33");
    }
    Ok(())
}

#[test]
fn targets_that_are_there_from_the_start_are_warm() -> Result<()> {
    let origins = [Origin::echo()?, Origin::echo()?];
    let gateway = Gateway::builder(tagged(&origins, &["\"tollgate:slow_start=1h\""]))
        .workers(1)
        .start()?;
    assert_eq!(share(&gateway, &origins[1], 20)?, 10);
    Ok(())
}

/// An origin that works for a moment on each request, and remembers on how many at most.
struct Busy {
    origin: Origin,
    most: Arc<AtomicUsize>,
}

fn busy(work: Duration) -> Result<Busy> {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let origin = Origin::start(move |_| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let now = Arc::clone(&now);
        Script::default()
            .then(Step::Pause(work))
            .then(Step::Then(Arc::new(move || {
                now.fetch_sub(1, Ordering::SeqCst);
            })))
            .then(Step::Send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
            ))
    })?;
    Ok(Busy { origin, most })
}

#[test]
fn no_target_serves_more_than_it_may_and_everybody_who_waits_is_served() -> Result<()> {
    let busy = [busy(Duration::from_millis(5))?, busy(Duration::from_millis(15))?];
    let policy = pool(
        &[],
        "tags: [\"tollgate:max_requests=2\", \"tollgate:queue=1000\", \"tollgate:queue_timeout=30s\"],",
    );
    let targets: Vec<String> = busy
        .iter()
        .map(|it| format!("{{target: '{}'}}", it.origin.addr()))
        .collect();
    let policy = policy.replace("targets: []", &format!("targets: [{}]", targets.join(",")));
    let gateway = Gateway::builder(policy).workers(3).start()?;
    let clients: Vec<_> = (0..24)
        .map(|_| {
            let addr = gateway.addr();
            std::thread::spawn(move || -> Result<()> {
                for _ in 0..8 {
                    assert_eq!(Client::get(addr, "/", &[])?.status, 200);
                }
                Ok(())
            })
        })
        .collect();
    for client in clients {
        client.join().expect("a client")?;
    }
    for it in &busy {
        assert_eq!(
            it.most.load(Ordering::SeqCst),
            2,
            "as many as it may, and no more"
        );
    }
    let metric = |name| gateway.admin().metric(name, &["upstream=\"pool\""]);
    assert_eq!(metric("tollgate_upstream_waiting")?, 0.0);
    assert_eq!(metric("tollgate_upstream_busy_total")?, 0.0);
    let status = gateway.admin().status()?;
    let address = &status["upstreams"][0]["targets"][0]["addresses"][0];
    assert_eq!(address["running"], 0, "{status}");
    Ok(())
}

#[test]
fn requests_that_come_before_a_name_is_known_are_bounded_too() -> Result<()> {
    let busy = busy(Duration::from_millis(400))?;
    let dns = Dns::start(|asked| {
        std::thread::sleep(Duration::from_millis(200));
        match &*asked.kind {
            "A" => vec![Reply::addresses(asked, 60, &[local(1)])],
            _ => vec![Reply::nothing(60)],
        }
    })?;
    let target = format!("{{target: 'one.test:{}'}}", busy.origin.addr().port());
    let policy = pool(&[], "tags: [\"tollgate:max_requests=1\"],");
    let policy = policy.replace("targets: []", &format!("targets: [{target}]"));
    let (builder, _scratch) = asking_dns(&dns, policy, "")?;
    let gateway = builder.workers(2).start()?;
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let addr = gateway.addr();
            std::thread::spawn(move || Client::get(addr, "/", &[]).map(|answer| answer.status))
        })
        .collect();
    let mut statuses = Vec::new();
    for client in clients {
        statuses.push(client.join().expect("a client")?);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503, 503, 503, 503, 503]);
    assert_eq!(busy.most.load(Ordering::SeqCst), 1);
    Ok(())
}

/// An origin that holds requests while the gate is closed.
fn gated(open: &Arc<AtomicBool>) -> Result<Origin> {
    let open = Arc::clone(open);
    Origin::start(move |_| {
        if open.load(Ordering::Acquire) {
            Script::respond(200, &[], "ok")
        } else {
            Script::default().then(Step::Hold)
        }
    })
}

/// A client whose request was sent, and is not answered yet.
fn asking(gateway: &Gateway) -> Result<Client> {
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    Ok(client)
}

fn waiting(gateway: &Gateway, count: u64) {
    eventually(&format!("{count} wait"), || {
        let status = gateway.admin().status().ok()?;
        (status["upstreams"][0]["waiting"] == count).then_some(())
    });
}

#[test]
fn who_finds_the_queue_full_or_waits_in_vain_is_told_when_to_come_again() -> Result<()> {
    let open = Arc::new(AtomicBool::new(false));
    let origins = [gated(&open)?];
    let tags = [
        "\"tollgate:max_requests=1\"",
        "\"tollgate:queue=1\"",
        "\"tollgate:queue_timeout=1500ms\"",
    ];
    let gateway = Gateway::builder(tagged(&origins, &tags)).workers(2).start()?;
    let _held = asking(&gateway)?;
    origins[0].wait_for(1, Duration::from_secs(5))?;
    let began = Instant::now();
    let mut waits = asking(&gateway)?;
    waiting(&gateway, 1);
    let full = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!((full.status, full.header("retry-after")), (503, "2"));
    assert_eq!(full.json()["message"], "all targets of the upstream are busy");
    assert!(began.elapsed() < Duration::from_millis(1400), "it does not wait");
    let vain = waits.response("GET")?;
    assert_eq!((vain.status, vain.header("retry-after")), (503, "2"));
    assert!(began.elapsed() >= Duration::from_millis(1500));
    waiting(&gateway, 0);
    assert_eq!(origins[0].requests().len(), 1, "neither was sent");
    let refused = gateway
        .admin()
        .metric("tollgate_upstream_busy_total", &["upstream=\"pool\""])?;
    assert_eq!(refused, 2.0);
    Ok(())
}

#[test]
fn without_a_queue_nobody_waits() -> Result<()> {
    let open = Arc::new(AtomicBool::new(false));
    let origins = [gated(&open)?];
    let gateway = Gateway::start(tagged(&origins, &["\"tollgate:max_requests=1\""]))?;
    let held = asking(&gateway)?;
    origins[0].wait_for(1, Duration::from_secs(5))?;
    assert_eq!(get(&gateway)?, 503);
    open.store(true, Ordering::Release);
    drop(held);
    eventually("the client that left gave its place back", || {
        (get(&gateway).ok()? == 200).then_some(())
    });
    Ok(())
}

#[test]
fn a_client_that_leaves_gives_back_what_it_has_and_its_place_in_the_queue() -> Result<()> {
    let open = Arc::new(AtomicBool::new(false));
    let origins = [gated(&open)?];
    let tags = [
        "\"tollgate:max_requests=1\"",
        "\"tollgate:queue=2\"",
        "\"tollgate:queue_timeout=1m\"",
    ];
    let gateway = Gateway::builder(tagged(&origins, &tags)).workers(2).start()?;
    let held = asking(&gateway)?;
    origins[0].wait_for(1, Duration::from_secs(5))?;
    let first = asking(&gateway)?;
    waiting(&gateway, 1);
    let mut second = asking(&gateway)?;
    waiting(&gateway, 2);
    drop(first);
    waiting(&gateway, 1);
    open.store(true, Ordering::Release);
    drop(held);
    assert_eq!(second.response("GET")?.status, 200);
    waiting(&gateway, 0);
    assert_eq!(origins[0].requests().len(), 2, "who left was never sent");
    Ok(())
}

#[test]
fn an_upstream_that_breaks_off_gives_its_place_to_who_waits() -> Result<()> {
    let calls = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |_| {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            Script::default()
                .then(Step::Pause(Duration::from_millis(500)))
                .then(Step::Reset)
        } else {
            Script::respond(200, &[], "ok")
        }
    })?;
    let origins = [origin];
    let tags = [
        "\"tollgate:max_requests=1\"",
        "\"tollgate:queue=2\"",
        "\"tollgate:queue_timeout=1m\"",
    ];
    let policy = tagged(&origins, &tags).replace("host: pool,", "host: pool, retries: 0,");
    let gateway = Gateway::builder(policy).workers(2).start()?;
    let mut broken = asking(&gateway)?;
    origins[0].wait_for(1, Duration::from_secs(5))?;
    let mut next = asking(&gateway)?;
    assert_eq!(broken.response("GET")?.status, 502);
    assert_eq!(next.response("GET")?.status, 200);
    Ok(())
}

#[test]
fn a_drain_ends_the_wait() -> Result<()> {
    let open = Arc::new(AtomicBool::new(false));
    let origins = [gated(&open)?];
    let tags = [
        "\"tollgate:max_requests=1\"",
        "\"tollgate:queue=2\"",
        "\"tollgate:queue_timeout=10m\"",
    ];
    let mut gateway = Gateway::builder(tagged(&origins, &tags))
        .flag("--grace=1")
        .start()?;
    let _held = asking(&gateway)?;
    origins[0].wait_for(1, Duration::from_secs(5))?;
    let mut waits = asking(&gateway)?;
    waiting(&gateway, 1);
    gateway.terminate()?;
    assert_eq!(waits.response("GET")?.status, 503);
    assert!(gateway.wait(Duration::from_secs(10))?.success());
    Ok(())
}

/// An origin that answers with the status that stands there.
fn moody(status: &Arc<AtomicU16>) -> Result<Origin> {
    let status = Arc::clone(status);
    Origin::start(move |_| Script::respond(status.load(Ordering::Acquire), &[], "own"))
}

#[test]
fn a_target_that_fails_in_a_row_is_left_out_for_a_while() -> Result<()> {
    let mood = Arc::new(AtomicU16::new(500));
    let origins = [moody(&mood)?, Origin::echo()?];
    let tags = ["\"tollgate:eject_after=3\"", "\"tollgate:eject_for=2s\""];
    let gateway = Gateway::builder(tagged(&origins, &tags))
        .workers(2)
        .metrics()
        .start()?;
    let began = Instant::now();
    let failed = (0..60)
        .map(|_| get(&gateway))
        .filter(|status| matches!(status, Ok(500)))
        .count();
    if began.elapsed() < Duration::from_millis(1900) {
        assert_eq!(
            (failed, origins[0].requests().len()),
            (3, 3),
            "three, whoever counted them"
        );
    }
    let metric = |name| gateway.admin().metric(name, &["upstream=\"pool\""]);
    assert!(metric("tollgate_upstream_ejections_total")? >= 1.0);
    let status = gateway.admin().status()?;
    let pool = &status["upstreams"][0];
    assert_eq!(pool["health"], "HEALTHCHECKS_OFF", "checks are another matter");
    mood.store(200, Ordering::Release);
    let before = origins[0].requests().len();
    eventually("it is back", || {
        (get(&gateway).ok()? == 200 && origins[0].requests().len() > before).then_some(())
    });
    eventually("it is told", || {
        gateway.log().contains("is ejected for").then_some(())
    });
    assert_eq!(metric("tollgate_upstream_ejected")?, 0.0);
    Ok(())
}

#[test]
fn the_last_one_is_never_ejected() -> Result<()> {
    let mood = Arc::new(AtomicU16::new(500));
    let origins = [moody(&mood)?, moody(&mood)?];
    let tags = [
        "\"tollgate:eject_after=1\"",
        "\"tollgate:eject_for=1h\"",
        "\"tollgate:eject_most=100%\"",
    ];
    let gateway = Gateway::builder(tagged(&origins, &tags)).workers(2).start()?;
    for _ in 0..20 {
        assert_eq!(get(&gateway)?, 500, "it is an answer, not a refusal");
    }
    let metric = |name| gateway.admin().metric(name, &["upstream=\"pool\""]);
    assert_eq!(metric("tollgate_upstream_ejected")?, 1.0);
    let counts: Vec<usize> = origins.iter().map(|origin| origin.requests().len()).collect();
    assert_eq!(counts.iter().min(), Some(&1), "{counts:?}");
    for origin in &origins {
        let path = format!("/upstreams/pool/targets/{}/healthy", origin.addr());
        assert_eq!(gateway.admin().call("PUT", &path)?.status, 200);
    }
    assert_eq!(metric("tollgate_upstream_ejected")?, 0.0, "an operator ended it");
    Ok(())
}
