//! prometheus: Kong's metric names, with counts that add up.

use anyhow::Result;
use tests::{Client, Gateway, Origin};

use crate::{eventually, one_route};

const ALL: &str = "plugins: [{name: prometheus, config: {per_consumer: true, status_code_metrics: true, \
    latency_metrics: true, bandwidth_metrics: true, upstream_health_metrics: true}}]\n\
    consumers: [{username: ada, keyauth_credentials: [{key: ada-key}]}]\n";

#[test]
fn requests_are_counted_by_service_route_code_and_consumer() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "{name: key-auth}", ALL))?;
    for _ in 0..3 {
        Client::get(gateway.addr(), "/", &[("apikey", "ada-key")])?;
    }
    for _ in 0..2 {
        Client::get(gateway.addr(), "/", &[])?;
    }
    let count = |labels: &[&str]| gateway.admin().metric("kong_http_requests_total", labels);
    let ok = [
        "service=\"origin\"",
        "route=\"all\"",
        "code=\"200\"",
        "source=\"service\"",
        "consumer=\"ada\"",
    ];
    eventually("the last request is counted", || {
        (count(&ok).ok()? >= 3.0).then_some(())
    });
    assert!((count(&ok)? - 3.0).abs() < 0.1);
    assert!((count(&["code=\"401\"", "source=\"kong\"", "consumer=\"\""])? - 2.0).abs() < 0.1);
    for histogram in ["kong_kong_latency_ms_count", "kong_request_latency_ms_count"] {
        assert!(
            (gateway.admin().metric(histogram, &["route=\"all\""])? - 5.0).abs() < 0.1,
            "{histogram}"
        );
    }
    assert!(
        (gateway
            .admin()
            .metric("kong_upstream_latency_ms_count", &["route=\"all\""])?
            - 3.0)
            .abs()
            < 0.1
    );
    for direction in ["direction=\"ingress\"", "direction=\"egress\""] {
        assert!(
            gateway.admin().metric("kong_bandwidth_bytes", &[direction])? > 100.0,
            "{direction}"
        );
    }
    Ok(())
}

#[test]
fn the_exposition_is_well_formed() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ALL))?;
    Client::get(gateway.addr(), "/", &[])?;
    let text = gateway.admin().metrics()?;
    let mut seen = std::collections::HashSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_default();
        assert!(seen.insert(series), "{series} is there twice");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let typed = |family: &str| text.contains(&format!("# TYPE {family} "));
        assert!(typed(family) || typed(name), "{name} has no TYPE line");
    }
    assert!(!seen.is_empty());
    Ok(())
}

#[test]
fn requests_without_a_route_are_counted_too() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(crate::routes(&origin.url(), "{name: a, paths: [/a]}") + ALL)?;
    assert_eq!(Client::get(gateway.addr(), "/b", &[])?.status, 404);
    eventually("the 404 is counted", || {
        (gateway
            .admin()
            .metric("tollgate_unmatched_requests_total", &[])
            .ok()?
            >= 1.0)
            .then_some(())
    });
    Ok(())
}
