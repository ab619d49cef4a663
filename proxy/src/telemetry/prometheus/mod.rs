//! The metrics page: what Kong's prometheus plugin exports, under its names, labels and buckets (Kong 3.9 to 3.15),
//! and under `tollgate_` what only this gateway has.
//!
//! Enters: the added-up counters and the gauges of the moment. Leaves: text format 0.0.4. Cold: made for one scrape.

mod own;
mod text;

use super::counter::{
    Code, KONG_LATENCY_MS, LATENCY_MS, ModelSum, OVERFLOW, PROVIDER_LATENCY_MS, RouteSum, SessionSum, Source,
    Sums, Tally,
};
use super::decimal::Millionths;
use text::{Text, Type};

/// Content-Type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=UTF-8";

const WORKSPACE: (&str, &str) = ("workspace", "default");

/// What is read at the moment of the scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges<'g> {
    /// The node's id.
    pub node_id: &'g str,
    /// The gateway's version.
    pub version: &'g str,
    /// Client connections that wait for a request.
    pub connections_waiting: u64,
    /// Number of the epoch that new exchanges get.
    pub epoch: u64,
    /// Hexadecimal digest of its artifact.
    pub artifact_digest: &'g str,
    /// Reloads that were refused.
    pub reloads_refused: u64,
    /// Workers by what drives them: `io_uring`, `epoll`.
    pub drivers: &'g [(&'g str, u64)],
    /// Health of each address, when any plugin asks for it.
    pub targets: &'g [TargetHealth<'g>],
    /// What upstreams with extensions count.
    pub upstreams: &'g [UpstreamCounts<'g>],
    /// Lines that no room was found for, and lines that could not be written.
    pub log: super::access_log::LogCounts,
    /// Reservations that are not settled yet, and the sum of what they hold.
    pub reservations: (u64, u64),
    /// Times a key was counted in its limit's overflow counter.
    pub quota_overflowed: u64,
    /// Whether files are confined by Landlock, and system calls by seccomp.
    pub confined: (bool, bool),
    /// Descriptors that are open, where the kernel tells, and that may be.
    pub descriptors: (Option<u64>, u64),
    /// How often each limit was reached.
    pub limits: &'g [(&'static str, u64)],
    /// How late each worker is, and what it does about it.
    pub late: &'g [Lateness],
    /// Memory in use, and the most there may be, in bytes.
    pub memory: (Option<u64>, Option<u64>),
    /// Idle connections to upstreams that no worker has, and how many workers took instead of opening one.
    pub parked: (u64, u64),
    /// Bytes of the quota table.
    pub quota_bytes: u64,
    /// What the resolver counted.
    pub dns: DnsCounts,
}

/// What the resolver counted since start.
#[derive(Clone, Copy, Debug, Default)]
pub struct DnsCounts {
    /// Questions sent.
    pub questions: u64,
    /// Look-ups without an answer.
    pub failures: u64,
    /// Those after which an answer beyond its time stayed in use.
    pub stale: u64,
}

/// What an upstream with extensions counts.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamCounts<'g> {
    /// Its name.
    pub upstream: &'g str,
    /// Requests that wait for room, and those that had none, where that is bounded.
    pub waiting: Option<(u64, u64)>,
    /// Addresses that are ejected, and ejections since start, where there are any.
    pub ejected: Option<(u64, u64)>,
}

/// How late a worker is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lateness {
    /// How late its last tick came.
    pub late: std::time::Duration,
    /// Share of requests that it turns away, 0 to 1.
    pub shed: f64,
}

/// State of an address of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct TargetHealth<'g> {
    /// Name of the upstream.
    pub upstream: &'g str,
    /// The target as configured, `host:port`.
    pub target: &'g str,
    /// Its address, `ip:port`; empty for a name that has none.
    pub address: &'g str,
    /// How it is.
    pub state: HealthState,
}

/// How an address of an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Nobody checks.
    ChecksOff,
    /// Gets traffic.
    Healthy,
    /// Gets none.
    Unhealthy,
    /// Its name has no address.
    DnsError,
}

/// Writes the page.
pub fn render(sums: &Sums, gauges: &Gauges<'_>) -> String {
    let mut text = Text::default();
    node(&mut text, sums, gauges);
    requests(&mut text, &sums.routes);
    latencies(&mut text, &sums.routes);
    sessions(&mut text, &sums.sessions);
    bandwidth(&mut text, sums);
    target_health(&mut text, gauges.targets);
    models(&mut text, &sums.models);
    own::write(&mut text, sums, gauges);
    text.finish()
}

fn node(text: &mut Text, sums: &Sums, gauges: &Gauges<'_>) {
    let accepted = sums.tally(Tally::ConnectionsAccepted);
    // Read apart, so a connection may be seen closed that is not yet seen accepted.
    let active = accepted.saturating_sub(sums.tally(Tally::ConnectionsClosed));
    let waiting = gauges.connections_waiting.min(active);
    text.family(
        "kong_nginx_connections_total",
        Type::Gauge,
        "Client connections by state",
    );
    for (state, count) in [
        ("accepted", accepted),
        ("active", active),
        ("handled", accepted),
        ("reading", 0),
        ("total", sums.tally(Tally::Requests)),
        ("waiting", waiting),
        ("writing", active - waiting),
    ] {
        text.sample(
            &[
                ("node_id", gauges.node_id),
                ("subsystem", "http"),
                ("state", state),
            ],
            count,
        );
    }
    text.family("kong_nginx_requests_total", Type::Gauge, "Requests received");
    text.sample(
        &[("node_id", gauges.node_id), ("subsystem", "http")],
        sums.tally(Tally::Requests),
    );
    text.single(
        "kong_nginx_metric_errors_total",
        Type::Counter,
        "Errors while counting; always 0 here",
        0,
    );
    text.family("kong_node_info", Type::Gauge, "This node and its version");
    text.sample(&[("node_id", gauges.node_id), ("version", gauges.version)], 1);
}

fn requests(text: &mut Text, routes: &[RouteSum]) {
    text.family(
        "kong_http_requests_total",
        Type::Counter,
        "Responses by service, route, status and consumer",
    );
    for route in routes {
        for ((consumer, code), count) in &route.responses {
            let (code, source) = code_labels(*code);
            text.sample(
                &[
                    ("service", &route.service),
                    ("route", &route.route),
                    ("code", &code),
                    ("source", source),
                    WORKSPACE,
                    ("consumer", consumer),
                ],
                count,
            );
        }
    }
}

fn code_labels(code: Code) -> (String, &'static str) {
    match code {
        Some((code, Source::Upstream)) => (code.to_string(), "service"),
        Some((code, Source::Gateway)) => (code.to_string(), "kong"),
        None => (OVERFLOW.to_owned(), OVERFLOW),
    }
}

fn latencies(text: &mut Text, routes: &[RouteSum]) {
    fn labels(route: &RouteSum) -> [(&str, &str); 3] {
        [("service", &route.service), ("route", &route.route), WORKSPACE]
    }
    text.family(
        "kong_kong_latency_ms",
        Type::Histogram,
        "Time spent in the gateway and its plugins",
    );
    for route in routes.iter().filter(|route| route.kong.count() > 0) {
        text.histogram(&labels(route), &KONG_LATENCY_MS, &route.kong);
    }
    text.family(
        "kong_upstream_latency_ms",
        Type::Histogram,
        "Time until the upstream's response head",
    );
    for route in routes.iter().filter(|route| route.upstream.count() > 0) {
        text.histogram(&labels(route), &LATENCY_MS, &route.upstream);
    }
    text.family(
        "kong_request_latency_ms",
        Type::Histogram,
        "Time from the first byte in to the last byte out",
    );
    for route in routes.iter().filter(|route| route.request.count() > 0) {
        text.histogram(&labels(route), &LATENCY_MS, &route.request);
    }
}

fn sessions(text: &mut Text, routes: &[SessionSum]) {
    text.family(
        "kong_stream_sessions_total",
        Type::Counter,
        "Sessions by service, route and status",
    );
    for route in routes {
        for (code, count) in &route.ends {
            let (code, source) = code_labels(*code);
            let labels = [
                ("service", &*route.service),
                ("route", &*route.route),
                ("code", &*code),
                ("source", source),
                WORKSPACE,
            ];
            text.sample(&labels, count);
        }
    }
    text.family(
        "kong_session_duration_ms",
        Type::Histogram,
        "Time from the first byte of a session to its last",
    );
    for route in routes.iter().filter(|route| route.duration.count() > 0) {
        let labels = [("service", &*route.service), ("route", &*route.route), WORKSPACE];
        text.histogram(&labels, &LATENCY_MS, &route.duration);
    }
}

fn bandwidth(text: &mut Text, sums: &Sums) {
    text.family(
        "kong_bandwidth_bytes",
        Type::Counter,
        "Bytes received from and sent to clients",
    );
    let requests = sums.routes.iter().flat_map(|route| {
        let all = route.bandwidth.iter();
        all.map(|(consumer, bytes)| (&*route.service, &*route.route, &**consumer, bytes))
    });
    let sessions = sums.sessions.iter().filter(|route| route.bandwidth != [0, 0]);
    let sessions = sessions.map(|route| (&*route.service, &*route.route, "", &route.bandwidth));
    for (service, route, consumer, bytes) in requests.chain(sessions) {
        for (direction, bytes) in ["ingress", "egress"].into_iter().zip(bytes) {
            text.sample(
                &[
                    ("service", service),
                    ("route", route),
                    ("direction", direction),
                    WORKSPACE,
                    ("consumer", consumer),
                ],
                bytes,
            );
        }
    }
}

fn target_health(text: &mut Text, targets: &[TargetHealth<'_>]) {
    text.family(
        "kong_upstream_target_health",
        Type::Gauge,
        "1 for the state that a target's address is in",
    );
    for target in targets {
        for (state, name) in [
            (HealthState::ChecksOff, "healthchecks_off"),
            (HealthState::Healthy, "healthy"),
            (HealthState::Unhealthy, "unhealthy"),
            (HealthState::DnsError, "dns_error"),
        ] {
            text.sample(
                &[
                    ("upstream", target.upstream),
                    ("target", target.target),
                    ("address", target.address),
                    ("state", name),
                    ("subsystem", "http"),
                ],
                u8::from(state == target.state),
            );
        }
    }
}

fn models(text: &mut Text, models: &[ModelSum]) {
    fn labels<'m>(model: &'m ModelSum, consumer: &'m str) -> [(&'m str, &'m str); 8] {
        [
            ("ai_provider", &model.provider),
            ("ai_model", &model.model),
            ("cache_status", ""),
            ("vector_db", ""),
            ("embeddings_provider", ""),
            ("embeddings_model", ""),
            WORKSPACE,
            ("consumer", consumer),
        ]
    }
    fn with<'m>(labels: [(&'m str, &'m str); 8], more: (&'m str, &'m str)) -> [(&'m str, &'m str); 9] {
        let mut all = [more; 9];
        all[..8].copy_from_slice(&labels);
        all
    }
    let usages = || {
        models
            .iter()
            .flat_map(|model| model.usage.iter().map(move |(who, usage)| (model, who, usage)))
    };
    text.family("kong_ai_llm_requests_total", Type::Counter, "Calls of a model");
    for (model, consumer, usage) in usages() {
        for (mode, calls) in ["oneshot", "stream", "realtime"].into_iter().zip(usage.calls) {
            if calls > 0 {
                text.sample(&with(labels(model, consumer), ("request_mode", mode)), calls);
            }
        }
    }
    text.family("kong_ai_llm_cost_total", Type::Counter, "Cost of a model's calls");
    for (model, consumer, usage) in usages() {
        text.sample(&labels(model, consumer), Millionths(usage.cost_micros));
    }
    text.family(
        "kong_ai_llm_tokens_total",
        Type::Counter,
        "Tokens of a model's calls",
    );
    for (model, consumer, usage) in usages() {
        let [prompt, completion] = usage.tokens;
        for (kind, tokens) in [
            ("prompt_tokens", prompt),
            ("completion_tokens", completion),
            ("total_tokens", prompt + completion),
        ] {
            text.sample(&with(labels(model, consumer), ("token_type", kind)), tokens);
        }
    }
    text.family(
        "kong_ai_llm_provider_latency_ms",
        Type::Histogram,
        "Time until a provider's response was complete",
    );
    for model in models.iter().filter(|model| model.latency.count() > 0) {
        text.histogram(&labels(model, ""), &PROVIDER_LATENCY_MS, &model.latency);
    }
}

#[cfg(test)]
mod tests;
