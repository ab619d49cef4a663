use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::telemetry::counter::{Mode, Source};

const REQUEST_HEADERS: &[(&[u8], &[u8])] = &[
    (b"Host", b"api.example"),
    (b"Authorization", b"Bearer top-secret"),
    (b"X-Api-Key", b"top-secret"),
    (b"Accept", b"a"),
    (b"accept", b"b \"quoted\""),
    (b"proxy-authorization", b"top-secret"),
];

const RESPONSE_HEADERS: &[(&[u8], &[u8])] = &[(b"Content-Type", b"text/plain")];

fn entry() -> LogEntry<'static> {
    LogEntry {
        request: LogRequest {
            id: "0af7651916cd43dd8448eb211c80319c",
            method: b"GET",
            scheme: "https",
            host: b"api.example",
            port: 8443,
            path: b"/v1/items",
            query: Some(b"a=1&flag&a=%32+3&apikey=top-secret&ap%69key=top-secret"),
            headers: &REQUEST_HEADERS,
            size: 321,
            tls: Some(LogTls {
                version: "TLSv1.3",
                cipher: "TLS_AES_128_GCM_SHA256",
                client_verify: "NONE",
            }),
        },
        response: LogResponse {
            status: 200,
            headers: &RESPONSE_HEADERS,
            size: 456,
        },
        upstream_uri: b"/items?apikey=top-secret&b",
        upstream_status: &[502, 200],
        latencies: Latencies {
            kong_ms: 1,
            proxy_ms: Some(12),
            request_ms: 14,
            receive_ms: 1,
        },
        tries: &[],
        authenticated: Some(("credential-1", Some("consumer-1"))),
        route: Some(r#"{"id":"r1","name":"items"}"#),
        service: Some(r#"{"id":"s1"}"#),
        consumer: None,
        client_ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
        started_at_ms: 1_709_208_000_123,
        source: Source::Upstream,
        correlation_id: None,
        ai: None,
        certificate: None,
        epoch: 3,
    }
}

fn redaction() -> Redaction {
    Redaction::new(["apikey", "x-api-key"])
}

fn written(entry: &LogEntry<'_>) -> Value {
    let mut out = Vec::new();
    entry.write(&redaction(), &mut Vec::new(), &mut out);
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
    assert_eq!(out.last(), Some(&b'\n'));
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn a_try_says_whether_it_was_a_second_one_and_how_it_ended() {
    let made = |lost, hedge| {
        let mut out = Vec::new();
        LogTry {
            address: "10.0.0.1:80".parse::<SocketAddr>().unwrap().into(),
            began_unix_ns: 0,
            took_ns: 0,
            lost,
            hedge,
        }
        .write(&mut out);
        let object: Value = serde_json::from_slice(&out).unwrap();
        (
            object["state"].clone(),
            object["code"].clone(),
            object["hedge"].clone(),
        )
    };
    let none = Value::Null;
    assert_eq!(made(None, false), (none.clone(), none.clone(), none.clone()));
    assert_eq!(
        made(Some(LostTry::Cancelled), false),
        (json!("cancelled"), none.clone(), none.clone())
    );
    assert_eq!(
        made(Some(LostTry::Failed(504)), true),
        (json!("failed"), json!(504), json!(true))
    );
    assert_eq!(
        made(Some(LostTry::Next(502)), false),
        (json!("next"), json!(502), none)
    );
}

#[test]
fn a_line_is_kongs_object() {
    let tries = [
        LogTry {
            address: "10.0.0.1:80".parse::<SocketAddr>().unwrap().into(),
            began_unix_ns: 1_709_208_000_124_500_000,
            took_ns: 3_000,
            lost: Some(LostTry::Next(502)),
            hedge: false,
        },
        LogTry {
            address: "[2001:db8::1]:80".parse::<SocketAddr>().unwrap().into(),
            began_unix_ns: 5,
            took_ns: 2_000_000,
            lost: None,
            hedge: false,
        },
    ];
    let entry = LogEntry {
        tries: &tries,
        correlation_id: Some(b"abc#1"),
        ..entry()
    };
    let expected = json!({
        "request": {
            "id": "0af7651916cd43dd8448eb211c80319c",
            "method": "GET",
            "uri": "/v1/items?a=1&flag&a=%32+3&apikey=REDACTED&ap%69key=REDACTED",
            "url": "https://api.example:8443/v1/items?a=1&flag&a=%32+3&apikey=REDACTED&ap%69key=REDACTED",
            "querystring": {"a": ["1", "2 3"], "flag": true, "apikey": ["REDACTED", "REDACTED"]},
            "headers": {
                "host": "api.example",
                "authorization": "REDACTED",
                "x-api-key": "REDACTED",
                "accept": ["a", "b \"quoted\""],
                "proxy-authorization": "REDACTED",
            },
            "size": 321,
            "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "client_verify": "NONE"},
        },
        "upstream_uri": "/items?apikey=REDACTED&b",
        "upstream_status": "502, 200",
        "response": {"status": 200, "headers": {"content-type": "text/plain"}, "size": 456},
        "latencies": {"kong": 1, "proxy": 12, "request": 14, "receive": 1},
        "tries": [
            {
                "ip": "10.0.0.1", "port": 80, "balancer_start": 1_709_208_000_124u64,
                "balancer_start_ns": 1_709_208_000_124_500_000u64, "balancer_latency": 0,
                "balancer_latency_ns": 3000, "state": "next", "code": 502,
            },
            {
                "ip": "2001:db8::1", "port": 80, "balancer_start": 0, "balancer_start_ns": 5,
                "balancer_latency": 2, "balancer_latency_ns": 2_000_000,
            },
        ],
        "authenticated_entity": {"id": "credential-1", "consumer_id": "consumer-1"},
        "route": {"id": "r1", "name": "items"},
        "service": {"id": "s1"},
        "client_ip": "192.0.2.7",
        "started_at": 1_709_208_000_123u64,
        "source": "upstream",
        "workspace": "default",
        "workspace_name": "default",
        "correlation_id": "abc#1",
        "tollgate": {"epoch": 3},
    });
    assert_eq!(written(&entry), expected);
}

#[test]
fn a_request_that_went_nowhere_says_so() {
    let plain = entry();
    let line = written(&LogEntry {
        latencies: Latencies {
            proxy_ms: None,
            ..plain.latencies
        },
        request: LogRequest {
            query: None,
            tls: None,
            ..plain.request
        },
        upstream_uri: b"",
        upstream_status: &[],
        authenticated: None,
        route: None,
        service: None,
        source: Source::Gateway,
        ..plain
    });
    assert_eq!(line["latencies"]["proxy"], json!(-1));
    assert_eq!(
        (&line["source"], &line["request"]["uri"]),
        (&json!("kong"), &json!("/v1/items"))
    );
    assert_eq!(line["request"]["querystring"], json!({}));
    for absent in [
        "upstream_uri",
        "upstream_status",
        "authenticated_entity",
        "route",
        "service",
        "consumer",
        "ai",
    ] {
        assert_eq!(line.get(absent), None, "{absent}");
    }
}

#[test]
fn a_model_call_is_logged_as_by_ai_proxy() {
    let call = LogCall {
        plugin_id: "p1",
        provider: "openai",
        request_model: b"gpt",
        response_model: b"gpt-4o",
        latency_ms: 900,
        mode: Mode::Stream,
        prompt_tokens: 10,
        completion_tokens: 40,
        cost_micros: 1_250,
    };
    let expected = json!({"proxy": {
        "meta": {
            "plugin_id": "p1", "provider_name": "openai", "request_model": "gpt", "response_model": "gpt-4o",
            "llm_latency": 900, "request_mode": "stream",
        },
        "usage": {
            "prompt_tokens": 10, "completion_tokens": 40, "total_tokens": 50, "time_per_token": 22.5,
            "cost": 0.00125,
        },
    }});
    assert_eq!(
        written(&LogEntry {
            ai: Some(call),
            ..entry()
        })["ai"],
        expected
    );
}

proptest! {
    /// Whatever a client sends: one line, valid JSON, no secret in it.
    #[test]
    fn no_bytes_of_a_client_break_a_line(
        path in prop::collection::vec(any::<u8>(), 0..40),
        query in prop::collection::vec(any::<u8>(), 0..60),
        headers in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..8), prop::collection::vec(any::<u8>(), 0..8)), 0..200),
    ) {
        let fields: Vec<(&[u8], &[u8])> = headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let fields = &fields[..];
        let query = [&query[..], b"&%61pikey=top-secret&apikey=top-secret"].concat();
        let plain = entry();
        let entry = LogEntry {
            request: LogRequest { path: &path, query: Some(&query), headers: &fields, ..plain.request },
            upstream_uri: &query,
            ..plain
        };
        let mut out = Vec::new();
        entry.write(&redaction(), &mut Vec::new(), &mut out);
        prop_assert!(serde_json::from_slice::<Value>(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
        prop_assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 1);
        let uri = serde_json::from_slice::<Value>(&out).unwrap()["request"].to_string();
        prop_assert!(!uri.contains("top-secret"), "{uri}");
    }
}

fn wait_for(what: impl Fn() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
    let now = Instant::now;
    let begin = now();
    while !what() {
        assert!(now() - begin < Duration::from_secs(20), "it never came");
        thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn lines_of_all_workers_reach_their_files_promptly() {
    let directory = tempfile::tempdir().unwrap();
    let log = AccessLog::start(4).unwrap();
    let files =
        ["a.log", "b.log"].map(|name| log.file(&directory.path().join(name), name == "b.log").unwrap());
    assert_eq!(
        log.file(&directory.path().join("a.log"), false),
        Some(files[0]),
        "known by its path"
    );
    thread::scope(|scope| {
        for worker in 0..4 {
            let mut sender = log.sender(worker).unwrap();
            assert!(log.sender(worker).is_none());
            scope.spawn(move || {
                for line in 0..500 {
                    sender.write(files[line % 2], &entry(), &redaction());
                }
            });
        }
    });
    wait_for(|| log.counts().written == 2000);
    for name in ["a.log", "b.log"] {
        let text = fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(text.lines().count(), 1000);
        assert!(
            text.lines()
                .all(|line| serde_json::from_str::<Value>(line).is_ok())
        );
    }
    assert_eq!(
        log.counts(),
        LogCounts {
            written: 2000,
            dropped: 0,
            lost: 0
        }
    );
}

#[test]
fn what_was_handed_over_is_written_before_the_log_closes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let log = AccessLog::start(1).unwrap();
    let file = log.file(&path, false).unwrap();
    let mut sender = log.sender(0).unwrap();
    (0..100).for_each(|_| sender.write(file, &entry(), &redaction()));
    drop(log);
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 100);
}

#[test]
fn a_rotated_file_is_left_alone_after_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let [path, rotated, always] = ["log", "log.1", "always"].map(|name| directory.path().join(name));
    let log = AccessLog::start(1).unwrap();
    let file = log.file(&path, false).unwrap();
    let reopened = log.file(&always, true).unwrap();
    let mut sender = log.sender(0).unwrap();
    sender.write(file, &entry(), &redaction());
    wait_for(|| log.counts().written == 1);
    fs::rename(&path, &rotated).unwrap();
    sender.write(file, &entry(), &redaction());
    wait_for(|| log.counts().written == 2);
    assert!(!path.exists(), "still the old file");
    log.reopen();
    sender.write(file, &entry(), &redaction());
    wait_for(|| log.counts().written == 3);
    assert_eq!(fs::read_to_string(&rotated).unwrap().lines().count(), 2);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    for lines in 4..6 {
        sender.write(reopened, &entry(), &redaction());
        wait_for(|| log.counts().written == lines);
        fs::remove_file(&always).unwrap();
    }
}

#[test]
fn a_full_disk_loses_lines_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let log = AccessLog::start(1).unwrap();
    let full = log.file(Path::new("/dev/full"), false).unwrap();
    let missing = log.file(&directory.path().join("later/log"), false).unwrap();
    let good = log.file(&directory.path().join("log"), false).unwrap();
    let mut sender = log.sender(0).unwrap();
    for file in [full, missing, good] {
        sender.write(file, &entry(), &redaction());
    }
    wait_for(|| {
        log.counts()
            == LogCounts {
                written: 1,
                dropped: 0,
                lost: 2,
            }
    });
    fs::create_dir(directory.path().join("later")).unwrap();
    sender.write(missing, &entry(), &redaction());
    wait_for(|| log.counts().written == 2);
}

#[test]
fn a_writer_that_is_behind_costs_lines_not_time() {
    let shared = Arc::new(Shared::new(1));
    let mut sender = LogSender {
        shared: Arc::clone(&shared),
        writer: thread::current(),
        number: 0,
        scratch: Vec::new(),
    };
    for _ in 0..limits::LOG_LINES + 10 {
        sender.write(LogFile(0), &entry(), &redaction());
    }
    assert_eq!(shared.queues[0].dropped.load(Ordering::Relaxed), 10);
    assert!(settable::count(Limit::LogLines) >= 10);
}
