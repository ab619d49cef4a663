//! What only this gateway has: `tollgate_*`.

use super::text::{Text, Type};
use super::{Gauges, UpstreamCounts, code_labels};
use crate::telemetry::counter::{Sums, Tally};

/// Counts without labels.
const TALLIES: [(Tally, &str, &str); 8] = [
    (
        Tally::Malformed,
        "tollgate_malformed_requests_total",
        "Requests refused before a route was looked for",
    ),
    (
        Tally::SessionsUnmatched,
        "tollgate_unmatched_sessions_total",
        "Connections that no stream route fits",
    ),
    (
        Tally::HandshakesFailed,
        "tollgate_tls_handshakes_failed_total",
        "TLS handshakes that failed",
    ),
    (
        Tally::ProxyHeadersRefused,
        "tollgate_proxy_headers_refused_total",
        "Connections of trusted peers without a PROXY header",
    ),
    (
        Tally::RetriesRefused,
        "tollgate_retries_refused_total",
        "Tries that the retry budget did not allow",
    ),
    (
        Tally::StreamsRefused,
        "tollgate_streams_refused_total",
        "HTTP/2 streams refused because the worker had as many exchanges as it takes",
    ),
    (
        Tally::Panics,
        "tollgate_panics_total",
        "Tasks that panicked and lost their connection",
    ),
    (
        Tally::AcceptPaused,
        "tollgate_accept_paused_total",
        "Times accepting paused for want of descriptors, memory, or places on the worker",
    ),
];

/// Counts of `tollgate_hedges_total` by result.
const HEDGES: [(&str, Tally); 6] = [
    ("won", Tally::HedgesWon),
    ("lost", Tally::HedgesLost),
    ("failed", Tally::HedgesFailed),
    ("abandoned", Tally::HedgesAbandoned),
    ("no_target", Tally::HedgesNowhere),
    ("no_budget", Tally::HedgesRefused),
];

pub(super) fn write(text: &mut Text, sums: &Sums, gauges: &Gauges<'_>) {
    policy(text, gauges);
    text.family(
        "tollgate_unmatched_requests_total",
        Type::Counter,
        "Requests that matched no route",
    );
    for (code, count) in &sums.unmatched {
        text.sample(&[("code", &code_labels(*code).0)], count);
    }
    for (tally, name, help) in TALLIES {
        text.single(name, Type::Counter, help, sums.tally(tally));
    }
    hedges(text, sums);
    shed(text, sums, gauges);
    text.family(
        "tollgate_limit_reached_total",
        Type::Counter,
        "Times that a peer reached a limit; docs/limits.md says what happens then",
    );
    for (limit, count) in gauges.limits {
        text.sample(&[("limit", limit)], count);
    }
    process(text, gauges);
    upstreams(text, gauges.upstreams);
    parked(text, gauges.parked);
    let log = gauges.log;
    for (name, help, count) in [
        (
            "tollgate_access_log_written_total",
            "Log lines written",
            log.written,
        ),
        (
            "tollgate_access_log_dropped_total",
            "Log lines without room to wait",
            log.dropped,
        ),
        (
            "tollgate_access_log_lost_total",
            "Log lines that could not be written",
            log.lost,
        ),
        (
            "tollgate_quota_overflowed_total",
            "Keys counted with others of their limit",
            gauges.quota_overflowed,
        ),
        (
            "tollgate_dns_questions_total",
            "Questions sent to DNS servers",
            gauges.dns.questions,
        ),
        (
            "tollgate_dns_failures_total",
            "Look-ups that no DNS server could answer",
            gauges.dns.failures,
        ),
        (
            "tollgate_dns_stale_answers_total",
            "Of these, those after which an answer beyond its time stayed in use",
            gauges.dns.stale,
        ),
    ] {
        text.single(name, Type::Counter, help, count);
    }
    quotas(text, gauges);
}

/// What quotas hold.
fn quotas(text: &mut Text, gauges: &Gauges<'_>) {
    let (reservations, held) = gauges.reservations;
    for (name, help, value) in [
        (
            "tollgate_reservations_in_flight",
            "Reservations not settled yet",
            reservations,
        ),
        ("tollgate_reserved", "Tokens and micro-units they hold", held),
        (
            "tollgate_quota_table_bytes",
            "Memory of the quota table",
            gauges.quota_bytes,
        ),
    ] {
        text.single(name, Type::Gauge, help, value);
    }
}

fn upstreams(text: &mut Text, upstreams: &[UpstreamCounts<'_>]) {
    type Read = fn(&UpstreamCounts<'_>) -> Option<u64>;
    let families: [(&str, Type, &str, Read); 4] = [
        (
            "tollgate_upstream_waiting",
            Type::Gauge,
            "Requests that wait for a target with room",
            |counts| counts.waiting.map(|(waiting, _)| waiting),
        ),
        (
            "tollgate_upstream_busy_total",
            Type::Counter,
            "Requests refused because no target had room",
            |counts| counts.waiting.map(|(_, refused)| refused),
        ),
        (
            "tollgate_upstream_ejected",
            Type::Gauge,
            "Addresses that are left out as outliers",
            |counts| counts.ejected.map(|(now, _)| now),
        ),
        (
            "tollgate_upstream_ejections_total",
            Type::Counter,
            "Times that an address was left out as an outlier",
            |counts| counts.ejected.map(|(_, all)| all),
        ),
    ];
    for (name, kind, help, read) in families {
        text.family(name, kind, help);
        for counts in upstreams {
            if let Some(value) = read(counts) {
                text.sample(&[("upstream", counts.upstream)], value);
            }
        }
    }
}

/// Idle connections that no worker has.
fn parked(text: &mut Text, (parked, adopted): (u64, u64)) {
    text.single(
        "tollgate_upstream_connections_parked",
        Type::Gauge,
        "Idle connections to upstreams that any worker may take",
        parked,
    );
    text.single(
        "tollgate_upstream_connections_adopted_total",
        Type::Counter,
        "Such connections that a worker took instead of opening one",
        adopted,
    );
}

/// Second tries that were due while a first one was silent, and what became of them.
fn hedges(text: &mut Text, sums: &Sums) {
    text.family(
        "tollgate_hedges_total",
        Type::Counter,
        "Second tries that were due while a first one was silent, by what became of them",
    );
    for (result, tally) in HEDGES {
        text.sample(&[("result", result)], sums.tally(tally));
    }
}

/// What is turned away, and what for.
fn shed(text: &mut Text, sums: &Sums, gauges: &Gauges<'_>) {
    text.family(
        "tollgate_requests_shed_total",
        Type::Counter,
        "Requests turned away because there was too much to do",
    );
    for (reason, tally) in [("late", Tally::ShedLate), ("memory", Tally::ShedMemory)] {
        text.sample(&[("reason", reason)], sums.tally(tally));
    }
    text.family(
        "tollgate_worker_late_seconds",
        Type::Gauge,
        "How late a worker's last tick came",
    );
    for (number, worker) in (0_u32..).zip(gauges.late) {
        text.sample(&[("worker", &number.to_string())], worker.late.as_secs_f64());
    }
    text.family(
        "tollgate_worker_shed_ratio",
        Type::Gauge,
        "Share of requests, other than critical ones, that a worker turns away",
    );
    for (number, worker) in (0_u32..).zip(gauges.late) {
        text.sample(&[("worker", &number.to_string())], worker.shed);
    }
    let (used, most) = gauges.memory;
    for (name, help, bytes) in [
        ("process_resident_memory_bytes", "Resident memory", used),
        (
            "tollgate_memory_most_bytes",
            "Memory beyond which all but critical requests are turned away",
            most,
        ),
    ] {
        if let Some(bytes) = bytes {
            text.single(name, Type::Gauge, help, bytes);
        }
    }
}

/// By the names that Prometheus' own clients use.
fn process(text: &mut Text, gauges: &Gauges<'_>) {
    let (open, limit) = gauges.descriptors;
    if let Some(open) = open {
        text.single("process_open_fds", Type::Gauge, "Open descriptors", open);
    }
    text.single("process_max_fds", Type::Gauge, "Descriptors there may be", limit);
    text.family(
        "tollgate_confined",
        Type::Gauge,
        "Whether the process is confined",
    );
    let (files, calls) = gauges.confined;
    text.sample(&[("by", "landlock")], u64::from(files));
    text.sample(&[("by", "seccomp")], u64::from(calls));
}

fn policy(text: &mut Text, gauges: &Gauges<'_>) {
    text.single(
        "tollgate_epoch",
        Type::Gauge,
        "Number of the policy that new requests get",
        gauges.epoch,
    );
    text.family("tollgate_artifact_info", Type::Gauge, "Digest of that policy");
    text.sample(&[("digest", gauges.artifact_digest)], 1);
    let refused = gauges.reloads_refused;
    text.single(
        "tollgate_reloads_refused_total",
        Type::Counter,
        "Policies refused at reload",
        refused,
    );
    text.family(
        "tollgate_workers",
        Type::Gauge,
        "Workers by what drives their I/O",
    );
    for (driver, workers) in gauges.drivers {
        text.sample(&[("driver", driver)], workers);
    }
}
