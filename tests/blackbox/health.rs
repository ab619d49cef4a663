//! Health checks of upstreams: who is taken out, who comes back, and what operators see of it.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Result;
use serde_json::Value;
use tests::{Authority, Client, Gateway, Nginx, Origin, Script, Step};

use crate::balancing::pool;
use crate::eventually;

/// An origin that answers with the status that stands there.
fn moody(status: &Arc<AtomicU16>) -> Result<Origin> {
    let status = Arc::clone(status);
    Origin::start(move |_| Script::respond(status.load(Ordering::Acquire), &[], "own"))
}

fn status(status: u16) -> Arc<AtomicU16> {
    Arc::new(AtomicU16::new(status))
}

fn get(gateway: &Gateway) -> Result<u16> {
    Ok(Client::get(gateway.addr(), "/", &[])?.status)
}

/// Requests to the data path; probes are to `/probe`.
fn served(origin: &Origin) -> usize {
    let requests = origin.requests();
    requests.iter().filter(|request| request.target == "/").count()
}

/// `health` of an upstream and of its targets, as `GET /status` has them.
fn health(gateway: &Gateway) -> Result<(String, Vec<String>)> {
    let status = gateway.admin().status()?;
    let upstream = &status["upstreams"][0];
    let word = |it: &Value| it["health"].as_str().unwrap_or_default().to_owned();
    let targets = upstream["targets"]
        .as_array()
        .map(|all| all.iter().map(word).collect());
    Ok((word(upstream), targets.unwrap_or_default()))
}

fn becomes(gateway: &Gateway, expected: &[&str]) {
    eventually(&format!("{expected:?}"), || {
        let (_, targets) = health(gateway).ok()?;
        (targets == expected).then_some(())
    });
}

#[test]
fn a_target_that_fails_live_traffic_is_passed_over_by_every_worker() -> Result<()> {
    let bad = status(500);
    let origins = [moody(&bad)?, Origin::echo()?];
    let fields = "healthchecks: {passive: {unhealthy: {http_failures: 3}}},";
    let gateway = Gateway::builder(pool(&origins, fields)).workers(2).start()?;
    assert_eq!(
        health(&gateway)?,
        ("HEALTHY".to_owned(), vec!["HEALTHY".to_owned(); 2])
    );
    let mut failed = 0;
    for _ in 0..60 {
        failed += usize::from(get(&gateway)? == 500);
    }
    assert_eq!(
        (failed, served(&origins[0])),
        (3, 3),
        "three failures, whoever counted them"
    );
    assert_eq!(health(&gateway)?.1, ["UNHEALTHY", "HEALTHY"]);
    bad.store(200, Ordering::Release);
    for _ in 0..20 {
        assert_eq!(get(&gateway)?, 200);
    }
    assert_eq!(
        served(&origins[0]),
        3,
        "nothing but a probe or an operator brings it back"
    );
    let path = format!("/upstreams/pool/targets/{}/healthy", origins[0].addr());
    assert_eq!(gateway.admin().call("PUT", &path)?.status, 200);
    for _ in 0..20 {
        assert_eq!(get(&gateway)?, 200);
    }
    assert!(served(&origins[0]) > 3);
    let unknown = gateway
        .admin()
        .call("PUT", "/upstreams/pool/targets/nobody:1/healthy")?;
    assert_eq!(unknown.status, 404);
    Ok(())
}

#[test]
fn successes_between_failures_keep_a_target_in() -> Result<()> {
    let mood = status(500);
    let origins = [moody(&mood)?];
    let fields = "healthchecks: {passive: {healthy: {successes: 1}, unhealthy: {http_failures: 2}}},";
    let gateway = Gateway::start(pool(&origins, fields))?;
    for _ in 0..4 {
        mood.store(500, Ordering::Release);
        assert_eq!(get(&gateway)?, 500);
        mood.store(200, Ordering::Release);
        assert_eq!(get(&gateway)?, 200);
        mood.store(404, Ordering::Release);
        assert_eq!(get(&gateway)?, 404, "in neither list");
    }
    Ok(())
}

#[test]
fn nobody_left_is_told_in_kongs_words() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let dead = listener.local_addr()?;
    drop(listener);
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, host: pool, retries: 0, routes: [{{name: a, paths: [/]}}]}}\n\
         upstreams:\n- {{name: pool, targets: [{{target: '{dead}'}}], \
         healthchecks: {{passive: {{unhealthy: {{tcp_failures: 2}}}}}}}}\n"
    );
    let gateway = Gateway::start(policy)?;
    assert_eq!([get(&gateway)?, get(&gateway)?], [502, 502]);
    let answer = Client::get(gateway.addr(), "/", &[("Accept", "application/json")])?;
    assert_eq!(
        (answer.status, answer.json()["message"].as_str()),
        (503, Some("failure to get a peer from the ring-balancer"))
    );
    assert_eq!(
        health(&gateway)?,
        ("UNHEALTHY".to_owned(), vec!["UNHEALTHY".to_owned()])
    );
    eventually("the log says so", || {
        let line = format!("target {dead} of upstream pool is unhealthy");
        gateway.log().contains(&line).then_some(())
    });
    Ok(())
}

#[test]
fn silence_counts_as_a_timeout() -> Result<()> {
    let origins = [
        Origin::always(Script::default().then(Step::Hold))?,
        Origin::echo()?,
    ];
    let fields = "healthchecks: {passive: {unhealthy: {timeouts: 1, tcp_failures: 200}}},";
    let policy = pool(&origins, fields).replace("name: s,", "name: s, read_timeout: 200,");
    let gateway = Gateway::builder(policy).workers(1).start()?;
    for _ in 0..10 {
        assert_eq!(get(&gateway)?, 200, "a GET is repeated elsewhere");
    }
    assert_eq!(served(&origins[0]), 1);
    Ok(())
}

#[test]
fn the_upstream_is_out_when_too_little_is_healthy() -> Result<()> {
    let origins = [moody(&status(500))?, Origin::echo()?];
    let fields = "healthchecks: {threshold: 50, passive: {unhealthy: {http_failures: 1}}},";
    let gateway = Gateway::builder(pool(&origins, fields)).workers(1).start()?;
    let first: Vec<u16> = (0..2).map(|_| get(&gateway)).collect::<Result<_>>()?;
    assert!(first.contains(&500));
    for _ in 0..4 {
        assert_eq!(get(&gateway)?, 503);
    }
    Ok(())
}

const ACTIVE: &str = "healthchecks: {active: {http_path: '/probe?deep=1', timeout: 0.5, headers: {x-probe: [a, b]}, \
    healthy: {interval: 0.1, successes: 2}, unhealthy: {interval: 0.1, http_failures: 2, tcp_failures: 1, timeouts: 1}}},";

#[test]
fn probes_take_a_target_out_and_bring_it_back() -> Result<()> {
    let mood = status(503);
    let origins = [moody(&mood)?, Origin::echo()?];
    let metrics = "plugins: [{name: prometheus, config: {upstream_health_metrics: true}}]\n";
    let gateway = Gateway::start(pool(&origins, ACTIVE) + metrics)?;
    becomes(&gateway, &["UNHEALTHY", "HEALTHY"]);
    for _ in 0..10 {
        assert_eq!(get(&gateway)?, 200);
    }
    assert_eq!(served(&origins[0]), 0);
    let address = origins[0].addr().to_string();
    let gauge = |state: &str| {
        let labels = [
            "upstream=\"pool\"",
            &format!("target=\"{address}\""),
            &format!("address=\"{address}\""),
            &format!("state=\"{state}\""),
        ];
        gateway.admin().metric("kong_upstream_target_health", &labels)
    };
    assert!((gauge("unhealthy")? - 1.0).abs() < 0.1);
    assert!(gauge("healthy")?.abs() < 0.1);
    mood.store(200, Ordering::Release);
    becomes(&gateway, &["HEALTHY", "HEALTHY"]);
    assert!((gauge("healthy")? - 1.0).abs() < 0.1);
    for _ in 0..10 {
        assert_eq!(get(&gateway)?, 200);
    }
    assert_eq!(served(&origins[0]), 5);
    let probe = origins[0].requests().remove(0);
    assert_eq!((&*probe.method, &*probe.target), ("GET", "/probe?deep=1"));
    assert_eq!(
        (probe.header("host"), probe.header("connection")),
        (&*address, "close")
    );
    let sent: Vec<&str> = probe
        .headers
        .0
        .iter()
        .filter(|(name, _)| name == "x-probe")
        .map(|(_, value)| &**value)
        .collect();
    assert_eq!(sent, ["a", "b"]);
    assert_eq!(origins[0].violations(), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_silent_target_and_one_that_is_gone_fail_their_probes() -> Result<()> {
    let silent = Origin::always(Script::default().then(Step::Hold))?;
    let gone = Origin::echo()?;
    let origins = [silent, gone, Origin::echo()?];
    let gateway = Gateway::start(pool(&origins, ACTIVE))?;
    let [silent, gone, _fine] = origins;
    drop(gone);
    becomes(&gateway, &["UNHEALTHY", "UNHEALTHY", "HEALTHY"]);
    eventually("probes that timed out are let go", || {
        (silent.connections() >= 4 && silent.open_connections() <= 1).then_some(())
    });
    Ok(())
}

#[test]
fn a_reload_keeps_the_health_of_targets_that_stay() -> Result<()> {
    let mood = status(500);
    let origins = [moody(&mood)?, Origin::echo()?];
    let policy = pool(
        &origins,
        "healthchecks: {passive: {unhealthy: {http_failures: 1}}},",
    );
    let mut gateway = Gateway::start(policy.clone())?;
    eventually("it was asked", || (get(&gateway).ok()? == 500).then_some(()));
    becomes(&gateway, &["UNHEALTHY", "HEALTHY"]);
    mood.store(200, Ordering::Release);
    // Probes begin with the reload, and bring it back.
    gateway.replace_policy(policy.replace("name: s,", "name: s, tags: [new],"))?;
    gateway.admin().reload()?;
    assert_eq!(gateway.admin().epoch()?, 2);
    assert_eq!(health(&gateway)?.1, ["UNHEALTHY", "HEALTHY"]);
    gateway.replace_policy(pool(&origins, ACTIVE))?;
    gateway.admin().reload()?;
    becomes(&gateway, &["HEALTHY", "HEALTHY"]);
    gateway.replace_policy(pool(&origins, ""))?;
    gateway.admin().reload()?;
    becomes(&gateway, &["HEALTHCHECKS_OFF", "HEALTHCHECKS_OFF"]);
    Ok(())
}

#[test]
fn a_tcp_check_asks_for_a_connection_only() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let origins = [moody(&status(500))?];
    let fields = "healthchecks: {active: {type: tcp, healthy: {interval: 0.1, successes: 1}, \
                  unhealthy: {interval: 0.1, tcp_failures: 1, http_failures: 1}}},";
    let policy = pool(&origins, fields).replace(
        "targets: [",
        &format!("targets: [{{target: '{}'}},", listener.local_addr()?),
    );
    let gateway = Gateway::start(policy)?;
    eventually("the origin saw three probes", || {
        (origins[0].connections() >= 3).then_some(())
    });
    assert_eq!(health(&gateway)?.1, ["HEALTHY", "HEALTHY"]);
    assert_eq!(origins[0].requests().len(), 0);
    drop(listener);
    becomes(&gateway, &["UNHEALTHY", "HEALTHY"]);
    Ok(())
}

#[test]
fn https_probes_verify_unless_told_otherwise() -> Result<()> {
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let good = Nginx::start_tls(
        "location / { return 200 secure; }",
        &authority.issue(&["localhost"])?,
    )?;
    let bad = Nginx::start_tls(
        "location / { return 200 secure; }",
        &stranger.issue(&["localhost"])?,
    )?;
    let target = |nginx: &Nginx| {
        let port = nginx.tls_addr().map_or(0, |addr| addr.port());
        format!("{{target: 'localhost:{port}'}}")
    };
    let policy = |verify: bool| {
        format!(
            "_format_version: \"3.0\"\nupstreams:\n- name: pool\n  targets: [{}, {}]\n  healthchecks: {{active: \
             {{type: https, https_verify_certificate: {verify}, healthy: {{interval: 0.1, successes: 1}}, \
             unhealthy: {{interval: 0.1, tcp_failures: 1}}}}}}\n",
            target(&good),
            target(&bad)
        )
    };
    let mut gateway = Gateway::builder(policy(true)).quiet().start()?;
    // The system's authorities do not know either of them.
    becomes(&gateway, &["UNHEALTHY", "UNHEALTHY"]);
    gateway.replace_policy(policy(false))?;
    gateway.admin().reload()?;
    becomes(&gateway, &["HEALTHY", "HEALTHY"]);
    let trusted = gateway.scratch().write("authority.pem", authority.pem())?;
    let trusting = Gateway::builder(policy(true))
        .flag("--ca-file")
        .flag(&trusted.display().to_string())
        .start()?;
    becomes(&trusting, &["HEALTHY", "UNHEALTHY"]);
    Ok(())
}

#[test]
fn requests_and_probes_show_the_upstreams_certificate() -> Result<()> {
    let authority = Authority::new()?;
    let server = "ssl_verify_client optional_no_ca; location / { if ($ssl_client_s_dn = '') { return 503; } return 200 shown; }";
    let nginx = Nginx::start_tls(server, &authority.issue(&["localhost"])?)?;
    let port = nginx.tls_addr().map_or(0, |addr| addr.port());
    let shown = authority.issue(&["gateway.internal"])?;
    let id = "00000000-0000-4000-8000-000000000001";
    let block = |pem: &str| {
        pem.lines()
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    let policy = |certificate: &str| {
        format!(
            "_format_version: \"3.0\"\ncertificates:\n- id: {id}\n  cert: |\n{}  key: |\n{}services:\n- {{name: s, \
             protocol: https, host: pool, routes: [{{name: a, paths: [/]}}]}}\nupstreams:\n- {{name: pool, {certificate} \
             targets: [{{target: 'localhost:{port}'}}], healthchecks: {{active: {{type: https, \
             https_verify_certificate: false, healthy: {{interval: 0.1, successes: 1}}, \
             unhealthy: {{interval: 0.1, http_failures: 1}}}}}}}}\n",
            block(&shown.certificate),
            block(&shown.key)
        )
    };
    let certified = Gateway::start(policy(&format!("client_certificate: {{id: {id}}},")))?;
    eventually("it was probed", || {
        (nginx.access_log().ok()?.lines().count() >= 3).then_some(())
    });
    assert_eq!(health(&certified)?.1, ["HEALTHY"]);
    assert_eq!(get(&certified)?, 200);
    drop(certified);
    let nameless = Gateway::start(policy(""))?;
    becomes(&nameless, &["UNHEALTHY"]);
    Ok(())
}
