use std::time::Duration;

use super::*;
use crate::telemetry::access_log::LogCounts;
use crate::telemetry::counter::{Call, Counters, Groups, Mode, Request};

const ALL: Groups = Groups {
    per_consumer: true,
    status_code: true,
    latency: true,
    bandwidth: true,
    ai: true,
};

fn page() -> String {
    let counters = Counters::new(2);
    let route = counters.route("billing", "quoted \"route\"\\\n");
    let request = Request {
        route,
        consumer: None,
        code: 200,
        source: Source::Upstream,
        kong: Duration::from_micros(300),
        upstream: Some(Duration::from_millis(60)),
        request: Duration::from_millis(61),
        ingress_bytes: 10,
        egress_bytes: 20,
    };
    for (worker, code, source) in [
        (0, 200, Source::Upstream),
        (1, 200, Source::Upstream),
        (1, 429, Source::Gateway),
    ] {
        let recorder = counters.recorder(worker).unwrap();
        recorder.tally(Tally::ConnectionsAccepted);
        recorder.request(
            &Request {
                code,
                source,
                ..request
            },
            ALL,
        );
    }
    let recorder = counters.recorder(0).unwrap();
    recorder.tally(Tally::ConnectionsClosed);
    recorder.unmatched(404);
    let consumer = Some(counters.consumer("alice"));
    recorder.request(&Request { consumer, ..request }, ALL);
    let call = Call {
        model: counters.model("openai", "gpt-4o"),
        consumer,
        mode: Mode::Oneshot,
        prompt_tokens: 10,
        completion_tokens: 5,
        cost_micros: 1_500_000,
        provider: Duration::from_millis(600),
    };
    recorder.call(&call, ALL);
    let targets = [TargetHealth {
        upstream: "pool",
        target: "api.example:80",
        address: "192.0.2.1:80",
        state: HealthState::ChecksOff,
    }];
    let gauges = Gauges {
        node_id: "n1",
        version: "0.1.0",
        connections_waiting: 1,
        epoch: 3,
        artifact_digest: "abcd",
        drivers: &[("io_uring", 2)],
        targets: &targets,
        log: LogCounts {
            written: 4,
            dropped: 2,
            lost: 1,
        },
        reservations: (1, 500),
        ..Gauges::default()
    };
    render(&counters.sums(), &gauges)
}

#[test]
fn the_page_has_kongs_names_labels_and_buckets() {
    let page = page();
    let route = r#"service="billing",route="quoted \"route\"\\\n""#;
    for line in [
        format!(r#"kong_http_requests_total{{{route},code="200",source="service",workspace="default",consumer=""}} 2"#),
        format!(r#"kong_http_requests_total{{{route},code="429",source="kong",workspace="default",consumer=""}} 1"#),
        format!(r#"kong_http_requests_total{{{route},code="200",source="service",workspace="default",consumer="alice"}} 1"#),
        format!(r#"kong_kong_latency_ms_bucket{{{route},workspace="default",le="1"}} 4"#),
        format!(r#"kong_kong_latency_ms_bucket{{{route},workspace="default",le="6000"}} 4"#),
        format!(r#"kong_kong_latency_ms_sum{{{route},workspace="default"}} 1.2"#),
        format!(r#"kong_upstream_latency_ms_bucket{{{route},workspace="default",le="50"}} 0"#),
        format!(r#"kong_upstream_latency_ms_bucket{{{route},workspace="default",le="80"}} 4"#),
        format!(r#"kong_request_latency_ms_bucket{{{route},workspace="default",le="+Inf"}} 4"#),
        format!(r#"kong_request_latency_ms_count{{{route},workspace="default"}} 4"#),
        format!(r#"kong_bandwidth_bytes{{{route},direction="ingress",workspace="default",consumer=""}} 30"#),
        format!(r#"kong_bandwidth_bytes{{{route},direction="egress",workspace="default",consumer="alice"}} 20"#),
        r#"kong_upstream_target_health{upstream="pool",target="api.example:80",address="192.0.2.1:80",state="healthchecks_off",subsystem="http"} 1"#.into(),
        r#"kong_upstream_target_health{upstream="pool",target="api.example:80",address="192.0.2.1:80",state="healthy",subsystem="http"} 0"#.into(),
        r#"kong_nginx_connections_total{node_id="n1",subsystem="http",state="active"} 2"#.into(),
        r#"kong_nginx_connections_total{node_id="n1",subsystem="http",state="writing"} 1"#.into(),
        r#"kong_nginx_requests_total{node_id="n1",subsystem="http"} 5"#.into(),
        ai("requests", r#","request_mode="oneshot""#, "1"),
        ai("tokens", r#","token_type="total_tokens""#, "15"),
        ai("cost", "", "1.5"),
        r#"tollgate_unmatched_requests_total{code="404"} 1"#.into(),
        "tollgate_epoch 3".into(),
        r#"tollgate_artifact_info{digest="abcd"} 1"#.into(),
        r#"tollgate_workers{driver="io_uring"} 2"#.into(),
        "tollgate_access_log_dropped_total 2".into(),
        "tollgate_access_log_lost_total 1".into(),
        "tollgate_reservations_in_flight 1".into(),
        "tollgate_reserved 500".into(),
        "tollgate_panics_total 0".into(),
    ] {
        assert!(page.lines().any(|have| have == line), "no line {line} in\n{page}");
    }
}

fn ai(what: &str, more: &str, value: &str) -> String {
    let more = more.trim_start_matches(",\"");
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(",{more}")
    };
    format!(
        r#"kong_ai_llm_{what}_total{{ai_provider="openai",ai_model="gpt-4o",cache_status="",vector_db="",embeddings_provider="",embeddings_model="",workspace="default",consumer="alice"{more}}} {value}"#
    )
}

#[test]
fn every_line_is_well_formed_and_every_family_is_announced_once() {
    let label = r#"[a-z_]+="(?:[^"\\\n]|\\[\\"n])*""#;
    let sample = regex::Regex::new(&format!(
        r"^([a-z_]+)(\{{{label}(,{label})*\}})? [0-9]+(\.[0-9]+)?$"
    ))
    .unwrap();
    let page = page();
    let mut families = Vec::new();
    for line in page.lines() {
        if let Some(announced) = line.strip_prefix("# TYPE ") {
            let (name, kind) = announced.split_once(' ').unwrap();
            assert!(!families.iter().any(|(known, _)| *known == name), "{name} twice");
            families.push((name, kind));
        } else if !line.starts_with("# HELP ") {
            let name = sample
                .captures(line)
                .unwrap_or_else(|| panic!("{line}"))
                .get(1)
                .unwrap()
                .as_str();
            let (family, kind) = families.last().unwrap();
            let suffixes = if *kind == "histogram" {
                &["_bucket", "_count", "_sum"][..]
            } else {
                &[""]
            };
            assert!(
                suffixes.iter().any(|suffix| format!("{family}{suffix}") == name),
                "{line} under {family}"
            );
        }
    }
    assert!(families.len() >= 20);
    assert!(page.ends_with('\n'));
}

#[test]
fn a_family_without_samples_is_not_announced() {
    let page = render(&Sums::default(), &Gauges::default());
    assert!(!page.contains("kong_http_requests_total") && !page.contains("kong_upstream_target_health"));
}
