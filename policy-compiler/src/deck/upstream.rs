//! Upstreams, targets and health rules.

use super::collect::{Collected, owner};
use super::entity::{
    ActiveHealthcheck, Algorithm, HashOn, HealthRules, Healthchecks, Model, PassiveHealthcheck, Protocol,
    Target, Upstream, UpstreamIndex,
};
use super::fields::Fields;
use super::identity::meta;
use super::{Reader, Tables, row, tls};
use crate::source::Node;

const FIELDS: [&str; 25] = [
    "name",
    "algorithm",
    "hash_on",
    "hash_fallback",
    "hash_on_header",
    "hash_fallback_header",
    "hash_on_cookie",
    "hash_on_cookie_path",
    "hash_on_query_arg",
    "hash_fallback_query_arg",
    "hash_on_uri_capture",
    "hash_fallback_uri_capture",
    "slots",
    "host_header",
    "client_certificate",
    "use_srv_name",
    "healthchecks",
    "targets",
    "sticky_sessions_cookie",
    "sticky_sessions_cookie_path",
    "service",
    "disabled",
    "weight",
    "plugins",
    "latency",
];

pub(super) fn read(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &mut Tables) {
    let defaults = all.root.and_then(|root| reader.defaults(root, "upstream"));
    for raw in &all.upstreams {
        let fields = Fields::new(reader, "upstream", raw.node).with_defaults(defaults);
        fields.only(&FIELDS);
        if !fields.require("name") {
            continue;
        }
        let Some(name) = fields.text("name") else { continue };
        let index = row(model.upstreams.len());
        let meta = meta(reader, &fields, "upstream", name);
        names
            .upstreams
            .add(reader, "upstream", "name", name, index, meta.span);
        names
            .upstreams
            .add(reader, "upstream", "id", &meta.id.to_string(), index, meta.span);
        names.upstreams.place(raw.node, index);
        if fields.flag("use_srv_name") == Some(true) {
            reader.unsupported(
                meta.span,
                "`use_srv_name` is not enforced",
                "the target's own name is sent as Host",
            );
        }
        let upstream = upstream(reader, &fields, names, meta, name);
        model.upstreams.push(upstream);
    }
    let defaults = all.root.and_then(|root| reader.defaults(root, "target"));
    for raw in &all.targets {
        let fields = Fields::new(reader, "target", raw.node).with_defaults(defaults);
        fields.only(&["target", "weight", "upstream", "failover"]);
        if !fields.require("target") {
            continue;
        }
        let Some(text) = fields.text("target") else {
            continue;
        };
        let owner = owner(reader, *raw, "upstream", &["name", "id"], &names.upstreams);
        let Some(upstream) = owner.map(UpstreamIndex) else {
            continue;
        };
        let Some((host, port)) = address(text) else {
            fields.refuse(
                "invalid-target",
                fields.span(),
                format!("`{text}` is not `host:port`"),
            );
            continue;
        };
        let key = format!("{}:{text}", model[upstream].name);
        model.targets.push(Target {
            meta: meta(reader, &fields, "target", &key),
            upstream,
            host: host.into(),
            port,
            weight: fields.number("weight", 0, 65_535).unwrap_or(100),
            failover: fields.flag("failover").unwrap_or(false),
        });
    }
}

/// `host`, `host:port`, an IPv6 address, or one in brackets with a port. Without a port it is 8000.
fn address(text: &str) -> Option<(&str, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = if port.is_empty() {
            8000
        } else {
            port.strip_prefix(':')?.parse().ok()?
        };
        return Some((host, port));
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => Some((text, 8000)),
        Some((host, port)) if !host.is_empty() => Some((host, port.parse().ok()?)),
        Some(_) => None,
        None => (!text.is_empty()).then_some((text, 8000)),
    }
}

fn upstream(
    reader: &Reader<'_>,
    fields: &Fields<'_, '_>,
    names: &Tables,
    meta: super::entity::Meta,
    name: &str,
) -> Upstream {
    let hash_on = hash(fields, "hash_on");
    let algorithm = fields.choice(
        "algorithm",
        &[
            ("round-robin", Algorithm::RoundRobin),
            ("consistent-hashing", Algorithm::ConsistentHashing),
            ("least-connections", Algorithm::LeastConnections),
            ("latency", Algorithm::Latency),
            ("sticky-sessions", Algorithm::StickySessions),
        ],
    );
    let hashed = !matches!(hash_on, HashOn::None);
    let cookie = fields.text("sticky_sessions_cookie");
    let path = fields.text("sticky_sessions_cookie_path").unwrap_or("/");
    Upstream {
        meta,
        name: name.into(),
        algorithm: algorithm.unwrap_or(if hashed {
            Algorithm::ConsistentHashing
        } else {
            Algorithm::RoundRobin
        }),
        hash_fallback: hash(fields, "hash_fallback"),
        hash_on,
        slots: fields.number("slots", 10, 65_536).unwrap_or(10_000),
        host_header: fields.text("host_header").map(Into::into),
        client_certificate: tls::client(reader, fields, names),
        sticky_sessions: cookie.map(|cookie| (cookie.into(), path.into())),
        healthchecks: healthchecks(reader, fields.get("healthchecks")),
    }
}

fn hash(fields: &Fields<'_, '_>, key: &str) -> HashOn {
    let detail =
        |suffix: &str| -> Box<str> { fields.text(&format!("{key}_{suffix}")).unwrap_or_default().into() };
    const WORDS: [(&str, u8); 8] = [
        ("none", 0),
        ("consumer", 1),
        ("ip", 2),
        ("header", 3),
        ("cookie", 4),
        ("path", 5),
        ("query_arg", 6),
        ("uri_capture", 7),
    ];
    match fields.choice(key, &WORDS).unwrap_or(0) {
        1 => HashOn::Consumer,
        2 => HashOn::Ip,
        3 => HashOn::Header(detail("header")),
        4 => HashOn::Cookie {
            name: fields.text("hash_on_cookie").unwrap_or_default().into(),
            path: fields.text("hash_on_cookie_path").unwrap_or("/").into(),
        },
        5 => HashOn::Path,
        6 => HashOn::QueryArg(detail("query_arg")),
        7 => HashOn::UriCapture(detail("uri_capture")),
        _ => HashOn::None,
    }
}

fn healthchecks(reader: &Reader<'_>, node: Option<&Node>) -> Healthchecks {
    let empty = Node {
        span: crate::source::Span::default(),
        value: crate::source::Value::Map(Box::default()),
    };
    let node = node.unwrap_or(&empty);
    let whole = Fields::new(reader, "healthchecks", node);
    whole.only(&["active", "passive", "threshold"]);
    let active = node
        .get("active")
        .filter(|node| !node.is_null())
        .unwrap_or(&empty);
    let passive = node
        .get("passive")
        .filter(|node| !node.is_null())
        .unwrap_or(&empty);
    let fields = Fields::new(reader, "active healthcheck", active);
    fields.only(&[
        "type",
        "timeout",
        "concurrency",
        "http_path",
        "https_verify_certificate",
        "https_sni",
        "headers",
        "healthy",
        "unhealthy",
    ]);
    let interval = |key: &str| {
        active
            .get(key)
            .and_then(|node| node.get("interval"))
            .and_then(Node::as_float)
    };
    Healthchecks {
        threshold: whole.float("threshold").unwrap_or(0.0),
        active: ActiveHealthcheck {
            protocol: probe(&fields),
            timeout_s: fields.float("timeout").unwrap_or(1.0),
            concurrency: fields.number("concurrency", 1, i64::from(u32::MAX)).unwrap_or(10),
            http_path: fields.text("http_path").unwrap_or("/").into(),
            https_verify_certificate: fields.flag("https_verify_certificate").unwrap_or(true),
            https_sni: fields.text("https_sni").map(Into::into),
            headers: headers(active.get("headers")),
            healthy_interval_s: interval("healthy").unwrap_or(0.0),
            unhealthy_interval_s: interval("unhealthy").unwrap_or(0.0),
            rules: rules(reader, active, &empty),
        },
        passive: PassiveHealthcheck {
            protocol: probe(&Fields::new(reader, "passive healthcheck", passive)),
            rules: rules(reader, passive, &empty),
        },
    }
}

fn probe(fields: &Fields<'_, '_>) -> Protocol {
    let words = [
        ("http", Protocol::Http),
        ("https", Protocol::Https),
        ("tcp", Protocol::Tcp),
        ("grpc", Protocol::Grpc),
        ("grpcs", Protocol::Grpcs),
    ];
    fields.choice("type", &words).unwrap_or(Protocol::Http)
}

fn headers(node: Option<&Node>) -> Vec<(Box<str>, Vec<Box<str>>)> {
    let entries = node.and_then(Node::as_map).unwrap_or_default().iter();
    entries
        .map(|entry| {
            let values = entry
                .node
                .as_list()
                .unwrap_or_default()
                .iter()
                .filter_map(Node::as_str);
            (Box::from(&*entry.key), values.map(Into::into).collect())
        })
        .collect()
}

fn rules(reader: &Reader<'_>, node: &Node, empty: &Node) -> HealthRules {
    let part = |key: &str| node.get(key).filter(|node| !node.is_null()).unwrap_or(empty);
    let healthy = Fields::new(reader, "healthy rule", part("healthy"));
    let unhealthy = Fields::new(reader, "unhealthy rule", part("unhealthy"));
    healthy.only(&["interval", "successes", "http_statuses"]);
    unhealthy.only(&[
        "interval",
        "http_statuses",
        "http_failures",
        "tcp_failures",
        "timeouts",
    ]);
    let statuses = |fields: &Fields<'_, '_>| -> Vec<u16> {
        let list = fields.list("http_statuses").iter();
        list.filter_map(|node| node.as_int().and_then(|status| u16::try_from(status).ok()))
            .collect()
    };
    let count = |fields: &Fields<'_, '_>, key: &str| fields.number::<u8>(key, 0, 255).unwrap_or(0);
    HealthRules {
        healthy_statuses: statuses(&healthy),
        successes: count(&healthy, "successes"),
        unhealthy_statuses: statuses(&unhealthy),
        http_failures: count(&unhealthy, "http_failures"),
        tcp_failures: count(&unhealthy, "tcp_failures"),
        timeouts: count(&unhealthy, "timeouts"),
    }
}
