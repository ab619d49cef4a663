//! Checks what an artifact may put on the wire: header names and values, request targets, statuses; and the
//! numbers that the gateway computes with.

use alloc::string::String;

use crate::artifact::Policy;
use crate::fault::{Fault, FaultKind};
use crate::table::{
    Ceiling, Edit, EditOp, EditPlace, HealthRules, Line, PartKind, Period, Probe, Refusal, Response, Service,
    Status, Table, Target, Text, Upstream,
};

use super::order::each;
use crate::unix;

pub(super) fn check(policy: &Policy) -> Result<(), Fault> {
    texts(policy)?;
    each(policy, |line: Line| {
        let (name, value) = (policy.text(line.name), policy.text(line.value));
        sendable(may_be_set(name) && is_value(value))
    })?;
    each(policy, |edit: Edit| edit_is_sendable(policy, edit))?;
    numbers(policy)
}

/// What a text becomes.
#[derive(Clone, Copy)]
enum Sent {
    /// A header name, or none.
    Name,
    /// A header value.
    Value,
    /// Part of a request target.
    Target,
    /// A host, or a Unix socket.
    Host,
}

/// Columns that reach a peer as they stand. Lines and edits are checked beside each other's fields.
const SENT: [(Table, &str, Sent); 26] = [
    (Table::Service, "host", Sent::Host),
    (Table::Service, "path", Sent::Target),
    (Table::Upstream, "host_header", Sent::Target),
    (Table::Upstream, "hash_name", Sent::Value),
    (Table::Upstream, "hash_fallback_name", Sent::Value),
    (Table::Upstream, "cookie_path", Sent::Value),
    (Table::Target, "host", Sent::Host),
    (Table::Probe, "path", Sent::Target),
    (Table::Probe, "server_name", Sent::Target),
    (Table::Consumer, "id", Sent::Value),
    (Table::Consumer, "username", Sent::Value),
    (Table::Consumer, "custom_id", Sent::Value),
    (Table::Consumer, "acl_header", Sent::Value),
    (Table::Group, "name", Sent::Value),
    (Table::Credential, "identifier", Sent::Value),
    (Table::Response, "content_type", Sent::Value),
    (Table::Correlation, "header", Sent::Name),
    (Table::Cors, "methods", Sent::Value),
    (Table::Cors, "headers", Sent::Value),
    (Table::Cors, "exposed", Sent::Value),
    (Table::Cors, "max_age", Sent::Value),
    (Table::Origin, "text", Sent::Value),
    (Table::Model, "auth_header", Sent::Name),
    (Table::Model, "name", Sent::Value),
    (Table::Route, "name", Sent::Value),
    (Table::Service, "name", Sent::Value),
];

fn texts(policy: &Policy) -> Result<(), Fault> {
    for (table, name, sent) in SENT {
        let before = table.columns().iter().take_while(|column| column.name != name);
        let at: usize = before.map(|column| column.shape.width()).sum();
        for row in 0..policy.count(table) {
            let words = policy.row_words(table, row);
            let text = policy.text(Text {
                offset: words[at],
                len: words[at + 1],
            });
            let fits = match sent {
                Sent::Name => text.is_empty() || may_be_set(text),
                Sent::Value => is_value(text),
                Sent::Target => is_target(text),
                Sent::Host => {
                    is_target(text) && unix::path(text).is_none_or(|path| unix::check(path).is_ok())
                }
            };
            if !fits {
                return Err(Fault {
                    section: table.name(),
                    at: u64::from(row),
                    kind: FaultKind::Sent(name),
                });
            }
        }
    }
    Ok(())
}

fn edit_is_sendable(policy: &Policy, edit: Edit) -> Result<(), FaultKind> {
    if edit.place != EditPlace::Header {
        return Ok(());
    }
    let mut parts = policy.rows(edit.value);
    let value = parts.all(|part| is_value(policy.text(part.text)));
    // A name that is made of the request's own bytes can only be judged when it is made.
    let mut parts = policy.rows(edit.value);
    let renamed = edit.op != EditOp::Rename
        || parts.any(|part| part.kind != PartKind::Literal)
        || may_be_set(
            &policy
                .rows(edit.value)
                .map(|part| policy.text(part.text))
                .collect::<String>(),
        );
    sendable(may_be_set(policy.text(edit.name)) && value && renamed)
}

fn sendable(is: bool) -> Result<(), FaultKind> {
    if is { Ok(()) } else { Err(FaultKind::HeaderLine) }
}

/// Headers that frame a message or belong to one connection are never an artifact's to set.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn may_be_set(name: &str) -> bool {
    is_token(name) && !FRAMING.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// What may stand in a request target or a `Host`: visible characters.
fn is_target(text: &str) -> bool {
    text.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}

/// RFC 9110 §5.5: no controls but HTAB.
fn is_value(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

fn numbers(policy: &Policy) -> Result<(), Fault> {
    let within = |holds: bool, column| {
        if holds {
            Ok(())
        } else {
            Err(FaultKind::Value(column))
        }
    };
    each(policy, |ceiling: Ceiling| within(ceiling.window != 0, "window"))?;
    each(policy, |period: Period| within(period.limit != 0, "limit"))?;
    each(policy, |target: Target| {
        within(target.weight <= 65_535, "weight")?;
        within(target.port <= 65_535, "port")
    })?;
    each(policy, |upstream: Upstream| {
        within((0.0..=100.0).contains(&upstream.threshold), "threshold")?;
        within(
            upstream.queue <= 10_000 && (upstream.queue == 0 || upstream.max_requests != 0),
            "queue",
        )?;
        within(
            upstream.queue == 0 || upstream.queue_timeout != 0,
            "queue_timeout",
        )?;
        within(upstream.eject_after <= 65_535, "eject_after")?;
        within(upstream.eject_after == 0 || upstream.eject_for != 0, "eject_for")?;
        within(upstream.eject_most <= 100, "eject_most")
    })?;
    each(policy, |status: Status| {
        within((100..=999).contains(&status.code), "code")
    })?;
    each(policy, |rules: HealthRules| {
        within(rules.successes <= 255, "successes")?;
        within(rules.http_failures <= 255, "http_failures")?;
        within(rules.tcp_failures <= 255, "tcp_failures")?;
        within(rules.timeouts <= 255, "timeouts")
    })?;
    each(policy, |probe: Probe| {
        within(probe.concurrency != 0, "concurrency")
    })?;
    each(policy, |service: Service| within(service.port <= 65_535, "port"))?;
    // A status below 200 is not final: the client would wait for another (RFC 9110 §15.2).
    let last = 200..=599;
    each(policy, |refusal: Refusal| {
        within(last.contains(&refusal.status), "status")
    })?;
    each(policy, |response: Response| {
        within(last.contains(&response.status), "status")
    })
}
