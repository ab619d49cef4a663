//! Black-box tests: the built `tollc` and `tollgate`, real clients, and peers that record every byte.
//!
//! In: decK files, as an operator writes them. Out: what came over the wire, held against what Kong's documentation
//! says of such a file. Every test has its own gateway and peers and can run beside any other. `cargo xtask test`
//! runs all of them on io_uring and again on epoll (`TOLLGATE_TEST_DRIVER`).
#![expect(
    clippy::disallowed_methods,
    reason = "tests are ordinary blocking code on their own threads, not the data path"
)]

mod acl;
mod admin;
mod balancing;
mod basic_auth;
mod budget;
mod confine;
mod connection_limits;
mod correlation_id;
mod cors;
mod dns;
mod dns_targets;
mod drain;
mod framing;
mod grpc;
mod health;
mod hedge;
mod http;
mod http2;
mod http2_attacks;
mod http2_conformance;
mod http2_goodbye;
mod http2_relay;
mod http2_upstream;
mod http_version;
mod ip_restriction;
mod key_auth;
mod large_bodies;
mod limits;
mod llm;
mod logging;
mod message_limits;
mod metrics;
mod openai;
mod overload;
mod panic;
mod parked;
mod peers;
mod process;
mod proxy_header;
mod proxy_protocol;
mod rate_limiting;
mod refusal;
mod reload;
mod request_transformer;
mod response_transformer;
mod routing;
mod size;
mod slow_bodies;
mod stream;
mod take_over;
mod targets;
mod termination;
mod tls;
mod tls_identity;
mod tunnel;
mod unix_listeners;
mod unix_targets;
mod upgrade;
mod upstream;
mod websocket;

use std::time::{Duration, Instant};

use tests::{Client, Gateway};

/// A policy with one service `origin` on `url` and one route `all` on `/` that carries `plugins` (YAML list items in
/// flow style); `rest` is more top-level YAML.
fn one_route(url: &str, plugins: &str, rest: &str) -> String {
    format!(
        "_format_version: \"3.0\"\nservices:\n- name: origin\n  url: {url}\n  routes:\n  - name: all\n    \
         paths: [/]\n    plugins: [{plugins}]\n{rest}"
    )
}

/// A policy with one service `origin` on `url`, with `routes` (YAML list items in flow style).
fn routes(url: &str, routes: &str) -> String {
    format!("_format_version: \"3.0\"\nservices:\n- name: origin\n  url: {url}\n  routes: [{routes}]\n")
}

/// Polls until `probe` gives something; fails after ten seconds.
fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A client on each worker. The kernel spreads connections over them by their ports.
fn on_each_worker(gateway: &Gateway, workers: usize) -> anyhow::Result<Vec<Client>> {
    let held = || -> anyhow::Result<Vec<u64>> {
        let status = gateway.admin().status()?;
        let workers = status["workers"].as_array().cloned().unwrap_or_default();
        Ok(workers
            .iter()
            .filter_map(|worker| worker["connections"].as_u64())
            .collect())
    };
    let mut clients: Vec<Option<Client>> = (0..workers).map(|_| None).collect();
    while clients.iter().any(Option::is_none) {
        let before = held()?;
        let client = Client::connect(gateway.addr())?;
        let worker = eventually("a worker takes the connection", || {
            let after = held().ok()?;
            (0..workers).find(|&worker| after[worker] > before[worker])
        });
        if clients[worker].is_none() {
            clients[worker] = Some(client);
        } else {
            drop(client);
            eventually("it is closed again", || (held().ok()? == before).then_some(()));
        }
    }
    Ok(clients.into_iter().flatten().collect())
}

/// The value an echoing origin saw for a header, or nothing. Several values are joined by `|`.
fn echoed(view: &serde_json::Value, header: &str) -> Option<String> {
    let lines = view["headers"]
        .as_array()?
        .iter()
        .filter_map(|line| Some((line[0].as_str()?, line[1].as_str()?)));
    let values: Vec<&str> = lines
        .filter(|(name, _)| name.eq_ignore_ascii_case(header))
        .map(|(_, value)| value)
        .collect();
    (!values.is_empty()).then(|| values.join("|"))
}
