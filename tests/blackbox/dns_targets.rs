//! Targets that are names: a peer for each address, with Kong's weights, health of its own, and changes under load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tests::{Asked, Client, Data, Dns, Gateway, Origin, Reply, Scratch, Script};

use crate::dns::{asking, local, origins};
use crate::eventually;

/// A policy whose service goes to an upstream with these fields and targets (flow style).
fn pool(fields: &str, targets: &str) -> String {
    format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, host: pool, routes: [{{name: a, paths: [/]}}]}}\n\
         upstreams:\n- {{name: pool, {fields} targets: [{targets}]}}\n"
    )
}

/// A gateway with one worker for this policy, once the targets have so many addresses together.
fn balancing(dns: &Dns, policy: String, count: usize) -> Result<(Gateway, Scratch)> {
    let (builder, scratch) = asking(dns, policy, "")?;
    let gateway = builder.workers(1).start()?;
    eventually("the names are known", || {
        (states(&gateway).ok()?.len() == count).then_some(())
    });
    // What was known to the node is known to its worker soon after.
    std::thread::sleep(Duration::from_millis(50));
    Ok((gateway, scratch))
}

/// Health by address, as operators see it.
fn states(gateway: &Gateway) -> Result<BTreeMap<String, String>> {
    let status = gateway.admin().status()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let targets = status["upstreams"][0]["targets"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let addresses = targets
        .iter()
        .flat_map(|target| target["addresses"].as_array().cloned().unwrap_or_default());
    Ok(addresses
        .map(|it| (text(&it["address"]), text(&it["health"])))
        .collect())
}

/// How many of so many requests each origin answered, by what it answers with.
fn shares(gateway: &Gateway, count: usize) -> Result<BTreeMap<String, usize>> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        let response = Client::get(gateway.addr(), "/", &[])?;
        assert_eq!(response.status, 200, "{}", response.text());
        *shares.entry(response.text()).or_insert(0) += 1;
    }
    Ok(shares)
}

fn counted(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

fn only_a(asked: &Asked, ttl: u32, lasts: &[u8]) -> Vec<Reply> {
    let all: Vec<_> = lasts.iter().map(|last| local(*last)).collect();
    match &*asked.kind {
        "A" => vec![Reply::addresses(asked, ttl, &all)],
        _ => vec![Reply::nothing(ttl)],
    }
}

#[test]
fn every_address_of_a_target_has_the_targets_weight() -> Result<()> {
    let origins = origins(&[1, 2, 3])?;
    let port = origins[0].addr().port();
    let dns = Dns::start(|asked| only_a(asked, 60, &[1, 2]))?;
    let targets =
        format!("{{target: 'many.test:{port}', weight: 10}}, {{target: '127.0.0.3:{port}', weight: 20}}");
    let (gateway, _scratch) = balancing(&dns, pool("", &targets), 3)?;
    assert_eq!(shares(&gateway, 40)?, counted(&[("1", 10), ("2", 10), ("3", 20)]));
    Ok(())
}

#[test]
fn srv_records_bring_their_own_weights_and_ports() -> Result<()> {
    let origins: Vec<Origin> = ["a", "b", "c"]
        .iter()
        .map(|name| Origin::always(Script::respond(200, &[], name)))
        .collect::<Result<_>>()?;
    let ports: Vec<u16> = origins.iter().map(|origin| origin.addr().port()).collect();
    let services = ports.clone();
    let dns = Dns::start(move |asked| match &*asked.kind {
        "SRV" => {
            let service = |weight, port| {
                (
                    asked.name.clone(),
                    60,
                    Data::Srv(0, weight, port, "host.test".to_owned()),
                )
            };
            let answers = vec![service(3, services[0]), service(0, services[1])];
            vec![Reply {
                answers,
                ..Reply::default()
            }]
        }
        _ => only_a(asked, 60, &[1]),
    })?;
    let targets = format!(
        "{{target: _http._tcp.shop.test}}, {{target: '127.0.0.1:{}', weight: 4}}",
        ports[2]
    );
    let (gateway, _scratch) = balancing(&dns, pool("", &targets), 3)?;
    assert_eq!(shares(&gateway, 16)?, counted(&[("a", 6), ("b", 2), ("c", 8)]));
    Ok(())
}

#[test]
fn each_address_has_health_of_its_own() -> Result<()> {
    let bad = Arc::new(AtomicBool::new(true));
    let is_bad = Arc::clone(&bad);
    let good = Origin::always(Script::respond(200, &[], "1"))?;
    let moody = Origin::start_at((local(2), good.addr().port()).into(), move |_| {
        Script::respond(if is_bad.load(Ordering::Acquire) { 500 } else { 200 }, &[], "2")
    })?;
    let dns = Dns::start(|asked| only_a(asked, 1, &[1, 2]))?;
    let target = format!("{{target: 'many.test:{}'}}", good.addr().port());
    let fields = "healthchecks: {passive: {unhealthy: {http_failures: 1}}, \
                  active: {http_path: /probe, healthy: {interval: 1, successes: 1}, unhealthy: {interval: 1}}},";
    let (gateway, _scratch) = balancing(&dns, pool(fields, &target), 2)?;
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(Client::get(gateway.addr(), "/", &[])?.status == 500);
    }
    assert!(failed <= 1, "{failed}");
    let (good_at, bad_at) = (good.addr().to_string(), moody.addr().to_string());
    let shown = |good: &str, bad: &str| {
        BTreeMap::from([
            (good_at.clone(), good.to_owned()),
            (bad_at.clone(), bad.to_owned()),
        ])
    };
    eventually("one is out", || {
        (states(&gateway).ok()? == shown("HEALTHY", "UNHEALTHY")).then_some(())
    });
    // Refreshes of the name do not bring it back.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(states(&gateway)?, shown("HEALTHY", "UNHEALTHY"));
    assert_eq!(shares(&gateway, 10)?, counted(&[("1", 10)]));
    let log = gateway.log();
    assert!(
        log.contains(&format!("at {} of upstream pool is unhealthy", moody.addr())),
        "{log}"
    );
    bad.store(false, Ordering::Release);
    eventually("a probe brings it back", || {
        (states(&gateway).ok()? == shown("HEALTHY", "HEALTHY")).then_some(())
    });
    assert_eq!(shares(&gateway, 10)?, counted(&[("1", 5), ("2", 5)]));
    for origin in [&good, &moody] {
        let probes = origin
            .requests()
            .iter()
            .filter(|it| it.target == "/probe")
            .count();
        assert!(probes > 0, "{} was not probed", origin.addr());
    }
    let path = format!(
        "/upstreams/pool/targets/many.test:{}/unhealthy",
        good.addr().port()
    );
    bad.store(true, Ordering::Release);
    assert_eq!(gateway.admin().call("PUT", &path)?.status, 200);
    assert!(states(&gateway)?.values().all(|state| state == "UNHEALTHY"));
    Ok(())
}

#[test]
fn addresses_come_and_go_without_a_failed_request() -> Result<()> {
    let origins = origins(&[1, 2, 3])?;
    let port = origins[0].addr().port();
    let first = Arc::new(AtomicU8::new(1));
    let begins = Arc::clone(&first);
    let dns = Dns::start(move |asked| {
        let first = begins.load(Ordering::Acquire);
        only_a(asked, 1, &[first, first + 1])
    })?;
    let targets = format!("{{target: 'many.test:{port}'}}");
    let (builder, _scratch) = asking(&dns, pool("", &targets), "")?;
    let gateway = builder.workers(2).start()?;
    let ask = || -> Result<String> {
        let response = Client::get(gateway.addr(), "/", &[])?;
        assert_eq!(response.status, 200);
        Ok(response.text())
    };
    // Connections go to either worker, so a run of them shows both.
    let seen = || -> Option<Vec<String>> {
        let seen: BTreeSet<String> = (0..24)
            .map(|_| ask())
            .collect::<Result<_>>()
            .expect("no request fails");
        Some(seen.into_iter().collect())
    };
    eventually("both are used", || seen().filter(|seen| *seen == ["1", "2"]));
    first.store(2, Ordering::Release);
    eventually("one went, one came", || seen().filter(|seen| *seen == ["2", "3"]));
    Ok(())
}

#[test]
fn keys_stay_with_the_addresses_that_stay() -> Result<()> {
    let origins = origins(&[1, 2, 3])?;
    let port = origins[0].addr().port();
    let fewer = Arc::new(AtomicBool::new(false));
    let are_fewer = Arc::clone(&fewer);
    let dns = Dns::start(move |asked| {
        let lasts: &[u8] = if are_fewer.load(Ordering::Acquire) {
            &[1, 2]
        } else {
            &[1, 2, 3]
        };
        only_a(asked, 1, lasts)
    })?;
    let target = format!("{{target: 'many.test:{port}'}}");
    let policy = pool("hash_on: header, hash_on_header: k,", &target);
    let (gateway, _scratch) = balancing(&dns, policy, 3)?;
    let homes = || -> Result<Vec<String>> {
        let home = |key: usize| Ok(Client::get(gateway.addr(), "/", &[("k", &key.to_string())])?.text());
        (0..24).map(home).collect()
    };
    let before = homes()?;
    assert_eq!(before, homes()?);
    for origin in ["1", "2", "3"] {
        assert!(before.iter().any(|home| home == origin), "{before:?}");
    }
    fewer.store(true, Ordering::Release);
    eventually("one is gone", || {
        (states(&gateway).ok()?.len() == 2).then_some(())
    });
    std::thread::sleep(Duration::from_millis(50));
    for (before, now) in before.iter().zip(homes()?) {
        assert!(before == "3" && now != "3" || *before == now, "{before} → {now}");
    }
    Ok(())
}

#[test]
fn a_target_without_an_address_takes_no_traffic() -> Result<()> {
    let origins = origins(&[1])?;
    let port = origins[0].addr().port();
    let exists = Arc::new(AtomicBool::new(false));
    let there = Arc::clone(&exists);
    let dns = Dns::start(move |asked| {
        if there.load(Ordering::Acquire) {
            only_a(asked, 60, &[1])
        } else {
            vec![Reply::no_such_name(1)]
        }
    })?;
    let both = format!("{{target: 'gone.test:{port}'}}, {{target: '127.0.0.1:{port}'}}");
    let (gateway, _scratch) = balancing(&dns, pool("", &both), 1)?;
    assert_eq!(shares(&gateway, 10)?, counted(&[("1", 10)]));
    let alone = format!("{{target: 'gone.test:{port}'}}");
    let (gateway, _scratch) = balancing(&dns, pool("", &alone), 0)?;
    let refused = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!(refused.status, 503);
    assert!(
        refused
            .text()
            .contains("failure to get a peer from the ring-balancer"),
        "{}",
        refused.text()
    );
    let health = gateway.admin().status()?["upstreams"][0]["targets"][0]["health"].clone();
    assert_eq!(health, "DNS_ERROR");
    exists.store(true, Ordering::Release);
    eventually("it has come", || {
        (Client::get(gateway.addr(), "/", &[]).ok()?.status == 200).then_some(())
    });
    Ok(())
}

#[test]
fn a_retry_goes_to_another_address_of_the_target() -> Result<()> {
    let origins = origins(&[1, 3])?;
    let port = origins[0].addr().port();
    let dns = Dns::start(|asked| only_a(asked, 60, &[1, 2, 3]))?;
    let target = format!("{{target: 'many.test:{port}'}}");
    for algorithm in [
        "round-robin",
        "least-connections",
        "latency",
        "consistent-hashing",
    ] {
        let fields = format!("algorithm: {algorithm},");
        let fields = match algorithm {
            "consistent-hashing" => format!("{fields} hash_on: ip,"),
            _ => fields,
        };
        let (gateway, _scratch) = balancing(&dns, pool(&fields, &target), 3)?;
        assert_eq!(shares(&gateway, 12)?.values().sum::<usize>(), 12, "{algorithm}");
    }
    Ok(())
}

#[test]
fn a_session_stays_with_its_address() -> Result<()> {
    let origins = origins(&[1, 2, 3])?;
    let port = origins[0].addr().port();
    let dns = Dns::start(|asked| only_a(asked, 1, &[1, 2, 3]))?;
    let target = format!("{{target: 'many.test:{port}'}}");
    let fields = "algorithm: sticky-sessions, sticky_sessions_cookie: home,";
    let (gateway, _scratch) = balancing(&dns, pool(fields, &target), 3)?;
    let first = Client::get(gateway.addr(), "/", &[])?;
    let pair = first
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    let asked = dns.asked().len();
    eventually("the name is asked again", || {
        (dns.asked().len() > asked).then_some(())
    });
    for _ in 0..12 {
        let again = Client::get(gateway.addr(), "/", &[("Cookie", &pair)])?;
        assert_eq!((again.text(), again.header("set-cookie")), (first.text(), ""));
    }
    Ok(())
}
