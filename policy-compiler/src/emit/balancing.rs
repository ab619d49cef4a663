//! Rows of upstreams: their targets, how one is chosen, and when one is taken out.

use policy::table::{
    Algorithm as AlgorithmRow, HashOn as HashOnRow, HealthRules, Id, Line, Probe, ProbeKind, Status, Target,
    Upstream,
};

use crate::deck::entity::{
    ActiveHealthcheck, Algorithm, HashOn, HealthRules as RulesEntity, PassiveHealthcheck, Protocol,
    Upstream as UpstreamEntity,
};
use crate::extension;
use crate::lower::Context;

/// Writes upstreams in the order of the model, each with its targets.
pub(super) fn write(context: &mut Context<'_>) {
    let model = context.model;
    let mut targets: Vec<Vec<Target>> = vec![Vec::new(); model.upstreams.len()];
    for target in &model.targets {
        if target.failover {
            context.unsupported(
                target.meta.span,
                "`failover` targets are not kept in reserve",
                "the target takes its share of the requests",
            );
        }
        let name = if policy::unix::path(&target.host).is_some() {
            target.host.to_string()
        } else if target.host.contains(':') {
            format!("[{}]:{}", target.host, target.port)
        } else {
            format!("{}:{}", target.host, target.port)
        };
        targets[target.upstream.0 as usize].push(Target {
            host: context.text(&target.host),
            port: u32::from(target.port),
            weight: u32::from(target.weight),
            name: context.text(&name),
        });
    }
    for (upstream, targets) in model.upstreams.iter().zip(targets) {
        refuse_upstream(context, upstream);
        let sticky = upstream.algorithm == Algorithm::StickySessions;
        let said = |tag: &extension::Tag, default| upstream.meta.extensions.value(tag).unwrap_or(default);
        let cookie = upstream.sticky_sessions.as_ref().filter(|_| sticky);
        let row = Upstream {
            id: context.text(&upstream.meta.id.to_string()),
            name: context.text(&upstream.name),
            source: context.source(upstream.meta.span),
            algorithm: algorithm(upstream.algorithm),
            hash_on: hash_on(&upstream.hash_on),
            hash_name: context.text(cookie.map_or(hash_name(&upstream.hash_on), |(name, _)| name)),
            hash_fallback: hash_on(&upstream.hash_fallback),
            hash_fallback_name: context.text(hash_name(&upstream.hash_fallback)),
            cookie_path: context.text(cookie.map_or(cookie_path(upstream), |(_, path)| path)),
            host_header: context.text(upstream.host_header.as_deref().unwrap_or_default()),
            client_certificate: upstream.client_certificate.map(|index| Id::new(index.0)),
            threshold: upstream.healthchecks.threshold,
            passive: passive(context, &upstream.healthchecks.passive),
            active: active(context, &upstream.healthchecks.active),
            slow_start: said(&extension::SLOW_START, 0),
            max_requests: said(&extension::MAX_REQUESTS, 0),
            queue: said(&extension::QUEUE, 0),
            queue_timeout: said(&extension::QUEUE_TIMEOUT, extension::QUEUE_TIMEOUT_MS),
            eject_after: said(&extension::EJECT_AFTER, 0),
            eject_for: said(&extension::EJECT_FOR, extension::EJECT_FOR_MS),
            eject_most: said(&extension::EJECT_MOST, extension::EJECT_MOST_PERCENT),
            targets: context.builder.unique_list(&targets),
        };
        context.builder.row(&row);
    }
}

const fn algorithm(algorithm: Algorithm) -> AlgorithmRow {
    match algorithm {
        Algorithm::RoundRobin => AlgorithmRow::RoundRobin,
        Algorithm::StickySessions => AlgorithmRow::StickySessions,
        Algorithm::ConsistentHashing => AlgorithmRow::ConsistentHashing,
        Algorithm::LeastConnections => AlgorithmRow::LeastConnections,
        Algorithm::Latency => AlgorithmRow::Latency,
    }
}

const fn hash_on(hash: &HashOn) -> HashOnRow {
    match hash {
        HashOn::None => HashOnRow::None,
        HashOn::Consumer => HashOnRow::Consumer,
        HashOn::Ip => HashOnRow::Ip,
        HashOn::Header(_) => HashOnRow::Header,
        HashOn::Cookie { .. } => HashOnRow::Cookie,
        HashOn::Path => HashOnRow::Path,
        HashOn::QueryArg(_) => HashOnRow::QueryArg,
        HashOn::UriCapture(_) => HashOnRow::UriCapture,
    }
}

fn hash_name(hash: &HashOn) -> &str {
    match hash {
        HashOn::None | HashOn::Consumer | HashOn::Ip | HashOn::Path => "",
        HashOn::Header(name)
        | HashOn::QueryArg(name)
        | HashOn::UriCapture(name)
        | HashOn::Cookie { name, .. } => name,
    }
}

fn cookie_path(upstream: &UpstreamEntity) -> &str {
    match (&upstream.hash_on, &upstream.hash_fallback) {
        (HashOn::Cookie { path, .. }, _) | (_, HashOn::Cookie { path, .. }) => path,
        _ => "",
    }
}

fn refuse_upstream(context: &Context<'_>, upstream: &UpstreamEntity) {
    let refuse = |what: String, instead| context.unsupported(upstream.meta.span, what, instead);
    let name = &upstream.name;
    let active = &upstream.healthchecks.active;
    if is_active(active) && probe_kind(active.protocol).is_none() {
        refuse(
            format!("upstream `{name}` is not probed by gRPC"),
            "its targets are never probed",
        );
    }
}

/// An interval of 0 switches a check off, a counter of 0 a rule.
fn is_active(check: &ActiveHealthcheck) -> bool {
    check.healthy_interval_s > 0.0 || check.unhealthy_interval_s > 0.0
}

fn is_passive(check: &PassiveHealthcheck) -> bool {
    let rules = &check.rules;
    [
        rules.successes,
        rules.http_failures,
        rules.tcp_failures,
        rules.timeouts,
    ]
    .iter()
    .any(|count| *count > 0)
}

const fn probe_kind(protocol: Protocol) -> Option<ProbeKind> {
    match protocol {
        Protocol::Http => Some(ProbeKind::Http),
        Protocol::Https => Some(ProbeKind::Https),
        Protocol::Tcp => Some(ProbeKind::Tcp),
        _ => None,
    }
}

fn passive(context: &mut Context<'_>, check: &PassiveHealthcheck) -> Option<Id<HealthRules>> {
    is_passive(check).then(|| rules(context, &check.rules, check.protocol))
}

fn active(context: &mut Context<'_>, check: &ActiveHealthcheck) -> Option<Id<Probe>> {
    let kind = probe_kind(check.protocol).filter(|_| is_active(check))?;
    let mut headers = Vec::new();
    for (name, values) in &check.headers {
        for value in values {
            headers.push(Line {
                name: context.text(name),
                value: context.text(value),
            });
        }
    }
    let probe = Probe {
        kind,
        path: context.text(&check.http_path),
        timeout: milliseconds(check.timeout_s),
        concurrency: check.concurrency,
        verify: check.https_verify_certificate,
        server_name: context.text(check.https_sni.as_deref().unwrap_or_default()),
        headers: context.builder.list(&headers),
        healthy_interval: milliseconds(check.healthy_interval_s),
        unhealthy_interval: milliseconds(check.unhealthy_interval_s),
        rules: rules(context, &check.rules, check.protocol),
    };
    Some(context.builder.row(&probe))
}

/// The rules; those of a TCP check ask for no status.
fn rules(context: &mut Context<'_>, rules: &RulesEntity, protocol: Protocol) -> Id<HealthRules> {
    let mut statuses = |codes: &[u16]| {
        let rows: Vec<Status> = codes
            .iter()
            .filter(|_| protocol != Protocol::Tcp)
            .map(|code| Status {
                code: u32::from(*code),
            })
            .collect();
        context.builder.list(&rows)
    };
    let row = HealthRules {
        healthy_statuses: statuses(&rules.healthy_statuses),
        successes: u32::from(rules.successes),
        unhealthy_statuses: statuses(&rules.unhealthy_statuses),
        http_failures: u32::from(rules.http_failures),
        tcp_failures: u32::from(rules.tcp_failures),
        timeouts: u32::from(rules.timeouts),
    };
    context.builder.row(&row)
}

/// Seconds of a decK file, 0..=65535; the smallest that is not 0 is a millisecond.
fn milliseconds(seconds: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range by the check of the field"
    )]
    let whole = (seconds * 1000.0).ceil() as u32;
    whole
}
