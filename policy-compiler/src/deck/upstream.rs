//! Upstreams, their targets and health rules.

use std::net::Ipv6Addr;

use super::entity::{
    ActiveHealthcheck, Algorithm, HashOn, HealthRules, Healthchecks, PassiveHealthcheck, Protocol, Target,
    Upstream, UpstreamIndex,
};
use super::fields::{Fields, Text};
use super::service::narrow;
use super::{Reader, defaults, row, syntax};
use crate::diagnostic::Diagnostic;
use crate::source::Span;

impl Reader<'_> {
    pub(super) fn upstreams(&mut self, file: &mut Fields<'_>) {
        for node in file.list("upstreams") {
            if let Some(fields) = Fields::open("upstream", node, self.report) {
                self.upstream(fields);
            }
        }
        for node in file.list("targets") {
            let Some(mut fields) = Fields::open("target", node, self.report) else {
                continue;
            };
            match fields.reference("upstream") {
                Some(reference) => {
                    if let Some(index) = self.upstreams.resolve(&reference, "target", self.report) {
                        self.target(fields, index);
                    }
                }
                None => fields.missing("upstream"),
            }
        }
    }

    fn upstream(&mut self, mut fields: Fields<'_>) {
        if let Some(defaults) = &self.info.defaults.upstream {
            fields.complete(defaults);
        }
        self.note_entity(&fields);
        let Some(name) = fields.required("name") else {
            return;
        };
        if syntax::host_name(&name.value).is_err() || name.value.parse::<std::net::IpAddr>().is_ok() {
            fields.refuse(
                name.span,
                "an upstream is named like a host, not by an address, and without port",
            );
        }
        let meta = self.meta(&mut fields, &name.value, Some(name.span));
        let stated = fields.text("algorithm");
        let cookie = hash_cookie(&mut fields);
        let hash_on = hash(&mut fields, &PRIMARY, &cookie);
        let fallback_span = fields.key_span(FALLBACK.on);
        let hash_fallback = hash(&mut fields, &FALLBACK, &cookie);
        if stated
            .as_ref()
            .is_some_and(|text| &*text.value == "consistent-hashing")
            && hash_on == HashOn::None
        {
            let words = "without `hash_on` every request has the same hash, and goes to the same target";
            self.report
                .push(Diagnostic::warning("same-hash", words).at(name.span));
        }
        let from = format!("upstream {}", name.value);
        let client_certificate = fields.reference("client_certificate");
        let mut upstream = Upstream {
            algorithm: algorithm(stated.as_ref(), &hash_on, &fields),
            slots: narrow(
                fields
                    .int("slots", 10..=65_536)
                    .map_or(defaults::SLOTS, |slots| slots.value),
            ),
            host_header: fields.text("host_header").map(|text| text.value),
            client_certificate: client_certificate
                .and_then(|reference| self.certificates.resolve(&reference, &from, self.report)),
            sticky_sessions: sticky_sessions(&mut fields),
            healthchecks: self.healthchecks(&mut fields),
            name: name.value,
            hash_on,
            hash_fallback,
            meta,
        };
        if let Some(span) = fallback_span {
            check_hashes(&upstream, span, &fields);
        }
        if matches!(
            upstream.algorithm,
            Algorithm::LeastConnections | Algorithm::Latency
        ) {
            (upstream.hash_on, upstream.hash_fallback) = (HashOn::None, HashOn::None);
        }
        if let Some(flag) = fields.flag_at("use_srv_name").filter(|flag| flag.value) {
            self.unsupported(
                "unsupported-field",
                flag.span,
                "`use_srv_name` is not enforced",
                "requests carry the Host header that they carry without it",
            );
        }
        let targets = fields.list("targets");
        fields.close();
        let index = UpstreamIndex(row(self.model.upstreams.len()));
        let (id, span) = (upstream.meta.id, upstream.meta.span);
        self.upstreams
            .enter(Some(&upstream.name), id, index, span, self.report);
        self.model.upstreams.push(upstream);
        for node in targets {
            if let Some(mut fields) = Fields::open("target", node, self.report) {
                fields.take("upstream");
                self.target(fields, index);
            }
        }
    }

    fn target(&mut self, mut fields: Fields<'_>, upstream: UpstreamIndex) {
        if let Some(defaults) = &self.info.defaults.target {
            fields.complete(defaults);
        }
        self.note_entity(&fields);
        let Some(text) = fields.required("target") else {
            return;
        };
        let address = address(&text.value);
        if let Err(words) = &address {
            fields.refuse(text.span, *words);
        }
        let (host, port) = address.unwrap_or_default();
        let owner = self.model[upstream].meta.id;
        let meta = self.meta(&mut fields, &format!("{owner} {host}:{port}"), Some(text.span));
        let weight = fields
            .int("weight", 0..=65_535)
            .map_or(defaults::TARGET_WEIGHT, |weight| weight.value);
        let failover = fields.flag("failover").unwrap_or(false);
        fields.close();
        let same =
            |target: &&Target| target.upstream == upstream && target.host == host && target.port == port;
        // Targets of one upstream stand next to each other, so looking back is short.
        let mine = self
            .model
            .targets
            .iter()
            .rev()
            .take_while(|target| target.upstream == upstream);
        if let Some(earlier) = mine.into_iter().find(same) {
            let finding = Diagnostic::error("duplicate-name", "this target is listed twice").at(meta.span);
            self.report.push(finding.also(earlier.meta.span, "the first one"));
        }
        self.model.targets.push(Target {
            meta,
            upstream,
            host,
            port,
            weight: narrow(weight),
            failover,
        });
    }

    fn healthchecks(&self, fields: &mut Fields<'_>) -> Healthchecks {
        let mut healthchecks = Healthchecks {
            threshold: 0.0,
            active: ActiveHealthcheck {
                protocol: Protocol::Http,
                timeout_s: defaults::HEALTH_TIMEOUT_S,
                concurrency: narrow(defaults::HEALTH_CONCURRENCY),
                http_path: "/".into(),
                https_verify_certificate: true,
                https_sni: None,
                headers: Vec::new(),
                healthy_interval_s: 0.0,
                unhealthy_interval_s: 0.0,
                rules: defaults::active_rules(),
            },
            passive: PassiveHealthcheck {
                protocol: Protocol::Http,
                rules: defaults::passive_rules(),
            },
        };
        let Some(entry) = fields.take("healthchecks") else {
            return healthchecks;
        };
        let Some(mut checks) = Fields::open("healthchecks", entry.node, self.report) else {
            return healthchecks;
        };
        healthchecks.threshold = checks.number("threshold", 0.0..=100.0).unwrap_or(0.0);
        let active = checks.take("active").map(|entry| entry.node);
        if let Some(active) = active.and_then(|node| Fields::open("active healthcheck", node, self.report)) {
            self.active(active, &mut healthchecks.active);
        }
        let passive = checks.take("passive").map(|entry| entry.node);
        if let Some(mut passive) =
            passive.and_then(|node| Fields::open("passive healthcheck", node, self.report))
        {
            healthchecks.passive.protocol = health_protocol(&mut passive);
            self.health_rules(&mut passive, &mut healthchecks.passive.rules);
            passive.close();
        }
        checks.close();
        healthchecks
    }

    fn active(&self, mut fields: Fields<'_>, active: &mut ActiveHealthcheck) {
        active.protocol = health_protocol(&mut fields);
        active.timeout_s = fields
            .number("timeout", 0.0..=65_535.0)
            .unwrap_or(active.timeout_s);
        let concurrency = fields.int("concurrency", 1..=2_147_483_648);
        active.concurrency = narrow(concurrency.map_or(defaults::HEALTH_CONCURRENCY, |n| n.value));
        if let Some(path) = fields.text("http_path") {
            if let Err(words) = syntax::service_path(path.value.split('?').next().unwrap_or_default()) {
                fields.refuse(path.span, words);
            }
            if path.value.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
                fields.refuse(path.span, "spaces and controls are escaped in a path");
            }
            active.http_path = path.value;
        }
        active.https_verify_certificate = fields.flag("https_verify_certificate").unwrap_or(true);
        let server_name = fields.text("https_sni");
        if let Some(name) = &server_name
            && let Err(words) = syntax::host_name(&name.value)
        {
            fields.refuse(name.span, words);
        }
        active.https_sni = server_name.map(|text| text.value);
        if let Some(entry) = fields.take("headers") {
            for header in entry.node.as_map().unwrap_or_default() {
                if syntax::header_name(&header.key).is_err() || is_framing(&header.key) {
                    fields.refuse(header.key_span, "a probe cannot send a header of this name");
                }
                let values = header.node.as_list().unwrap_or_default().iter();
                let values = values
                    .filter_map(|value| value.as_str().map(Into::into))
                    .collect();
                active.headers.push((header.key.as_ref().into(), values));
            }
        }
        let intervals = self.health_rules(&mut fields, &mut active.rules);
        (active.healthy_interval_s, active.unhealthy_interval_s) = intervals;
        fields.close();
    }

    /// Reads `healthy` and `unhealthy`; gives their intervals.
    fn health_rules(&self, fields: &mut Fields<'_>, rules: &mut HealthRules) -> (f64, f64) {
        let (mut healthy_interval, mut unhealthy_interval) = (0.0, 0.0);
        let healthy = fields.take("healthy").map(|entry| entry.node);
        if let Some(mut fields) = healthy.and_then(|node| Fields::open("healthy rule", node, self.report)) {
            healthy_interval = fields.number("interval", 0.0..=65_535.0).unwrap_or(0.0);
            rules.successes = counter(&mut fields, "successes");
            statuses(&mut fields, &mut rules.healthy_statuses);
            fields.close();
        }
        let unhealthy = fields.take("unhealthy").map(|entry| entry.node);
        if let Some(mut fields) = unhealthy.and_then(|node| Fields::open("unhealthy rule", node, self.report))
        {
            unhealthy_interval = fields.number("interval", 0.0..=65_535.0).unwrap_or(0.0);
            rules.http_failures = counter(&mut fields, "http_failures");
            rules.tcp_failures = counter(&mut fields, "tcp_failures");
            rules.timeouts = counter(&mut fields, "timeouts");
            statuses(&mut fields, &mut rules.unhealthy_statuses);
            fields.close();
        }
        (healthy_interval, unhealthy_interval)
    }
}

/// Whether a header frames a message or belongs to one connection.
fn is_framing(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn counter(fields: &mut Fields<'_>, key: &'static str) -> u8 {
    narrow(fields.int(key, 0..=255).map_or(0, |count| count.value))
}

fn statuses(fields: &mut Fields<'_>, into: &mut Vec<u16>) {
    if !fields.has("http_statuses") {
        fields.take("http_statuses");
        return;
    }
    into.clear();
    for node in fields.list("http_statuses") {
        match node.as_int() {
            Some(status @ 100..=999) => into.push(narrow(status)),
            _ => fields.refuse(node.span, "an HTTP status is a number between 100 and 999"),
        }
    }
}

fn health_protocol(fields: &mut Fields<'_>) -> Protocol {
    let Some(text) = fields.text("type") else {
        return Protocol::Http;
    };
    match &*text.value {
        "http" => Protocol::Http,
        "https" => Protocol::Https,
        "tcp" => Protocol::Tcp,
        "grpc" => Protocol::Grpc,
        "grpcs" => Protocol::Grpcs,
        _ => {
            fields.refuse(
                text.span,
                "the `type` of a healthcheck is tcp, http, https, grpc or grpcs",
            );
            Protocol::Http
        }
    }
}

/// `host:port`, `host`, `address`, `[address]:port` or a bare IPv6 address.
fn address(text: &str) -> Result<(Box<str>, u16), &'static str> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok((address.to_string().into(), defaults::TARGET_PORT));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (
            host,
            port.parse()
                .map_err(|_bad| "the port of a target is a number between 0 and 65535")?,
        ),
        _ => (text, defaults::TARGET_PORT),
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Ipv6Addr = inner.parse().map_err(|_bad| "brackets hold an IPv6 address")?;
        return Ok((address.to_string().into(), port));
    }
    syntax::host_name(host)?;
    Ok((host.into(), port))
}

/// The fields of the first and of the second choice of what to hash.
struct HashFields {
    on: &'static str,
    header: &'static str,
    query_arg: &'static str,
    uri_capture: &'static str,
}

const PRIMARY: HashFields = HashFields {
    on: "hash_on",
    header: "hash_on_header",
    query_arg: "hash_on_query_arg",
    uri_capture: "hash_on_uri_capture",
};

const FALLBACK: HashFields = HashFields {
    on: "hash_fallback",
    header: "hash_fallback_header",
    query_arg: "hash_fallback_query_arg",
    uri_capture: "hash_fallback_uri_capture",
};

/// Name and path of the cookie, of which Kong keeps one for both choices.
fn hash_cookie(fields: &mut Fields<'_>) -> (Option<Text>, Box<str>) {
    let name = fields.text("hash_on_cookie");
    if let Some(name) = &name
        && syntax::header_name(&name.value).is_err()
    {
        fields.refuse(name.span, "this is not the name of a cookie (RFC 6265)");
    }
    let path = fields.text("hash_on_cookie_path");
    (name, path.map_or_else(|| "/".into(), |path| path.value))
}

fn hash(fields: &mut Fields<'_>, names: &HashFields, cookie: &(Option<Text>, Box<str>)) -> HashOn {
    let on = fields.text(names.on);
    let header = fields.text(names.header);
    let query_arg = fields.text(names.query_arg);
    let uri_capture = fields.text(names.uri_capture);
    let Some(on) = on else { return HashOn::None };
    let need = |value: Option<Text>, field: &str, fields: &Fields<'_>| {
        if value.is_none() {
            fields.refuse(on.span, format!("this choice needs `{field}`"));
        }
        value.map(|text| text.value).unwrap_or_default()
    };
    match &*on.value {
        "none" => HashOn::None,
        "consumer" => HashOn::Consumer,
        "ip" => HashOn::Ip,
        "path" => HashOn::Path,
        "header" => HashOn::Header(need(header, names.header, fields)),
        "query_arg" => HashOn::QueryArg(need(query_arg, names.query_arg, fields)),
        "uri_capture" => HashOn::UriCapture(need(uri_capture, names.uri_capture, fields)),
        "cookie" => {
            let (name, path) = cookie;
            HashOn::Cookie {
                name: need(name.clone(), "hash_on_cookie", fields),
                path: path.clone(),
            }
        }
        _ => {
            let known = "none, consumer, ip, header, cookie, path, query_arg or uri_capture";
            fields.refuse(on.span, format!("`{}` is {known}", names.on));
            HashOn::None
        }
    }
}

fn check_hashes(upstream: &Upstream, span: Span, fields: &Fields<'_>) {
    let (on, fallback) = (&upstream.hash_on, &upstream.hash_fallback);
    if *fallback == HashOn::None {
        return;
    }
    match on {
        HashOn::None => fields.refuse(span, "`hash_fallback` must be none when `hash_on` is none"),
        HashOn::Cookie { .. } => fields.refuse(span, "`hash_fallback` must be none when `hash_on` is cookie"),
        on if on == fallback => fields.refuse(span, "`hash_on` and `hash_fallback` must differ"),
        _ => {}
    }
}

fn algorithm(stated: Option<&Text>, hash_on: &HashOn, fields: &Fields<'_>) -> Algorithm {
    match stated.map(|text| (&*text.value, text.span)) {
        // In Kong, choosing what to hash chooses consistent hashing.
        None | Some(("round-robin", _)) if *hash_on != HashOn::None => Algorithm::ConsistentHashing,
        None | Some(("round-robin", _)) => Algorithm::RoundRobin,
        Some(("consistent-hashing", _)) => Algorithm::ConsistentHashing,
        Some(("least-connections", _)) => Algorithm::LeastConnections,
        Some(("latency", _)) => Algorithm::Latency,
        Some(("sticky-sessions", _)) => Algorithm::StickySessions,
        Some((_, span)) => {
            let known = "round-robin, consistent-hashing, least-connections, latency or sticky-sessions";
            fields.refuse(span, format!("`algorithm` is {known}"));
            Algorithm::RoundRobin
        }
    }
}

fn sticky_sessions(fields: &mut Fields<'_>) -> Option<(Box<str>, Box<str>)> {
    let cookie = fields.text("sticky_sessions_cookie");
    let path = fields.text("sticky_sessions_cookie_path");
    cookie.map(|cookie| (cookie.value, path.map_or_else(|| "/".into(), |path| path.value)))
}
