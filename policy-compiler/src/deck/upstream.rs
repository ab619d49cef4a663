//! Upstreams and their targets.

use std::net::Ipv6Addr;

use policy::unix;

use super::entity::{Algorithm, HashOn, Target, Upstream, UpstreamIndex};
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
        if upstream.algorithm == Algorithm::StickySessions && upstream.sticky_sessions.is_none() {
            let place = stated.as_ref().map_or(upstream.meta.span, |text| text.span);
            fields.refuse(place, "this algorithm needs `sticky_sessions_cookie`");
        }
        if upstream.algorithm == Algorithm::ConsistentHashing && upstream.hash_on == HashOn::None {
            let words = "without `hash_on` every request has the same hash, and goes to the same target";
            self.report
                .push(Diagnostic::warning("same-hash", words).at(upstream.meta.span));
        }
        if matches!(
            upstream.algorithm,
            Algorithm::LeastConnections | Algorithm::Latency | Algorithm::StickySessions
        ) {
            (upstream.hash_on, upstream.hash_fallback) = (HashOn::None, HashOn::None);
        }
        self.srv_name(&mut fields);
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

    fn srv_name(&self, fields: &mut Fields<'_>) {
        if let Some(flag) = fields.flag_at("use_srv_name").filter(|flag| flag.value) {
            self.unsupported(
                "unsupported-field",
                flag.span,
                "`use_srv_name` is not enforced",
                "requests carry the Host header that they carry without it",
            );
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
}

/// `host:port`, `host`, `address`, `[address]:port` or a bare IPv6 address; or `unix:/path`, which has no port.
fn address(text: &str) -> Result<(Box<str>, u16), &'static str> {
    if let Some(path) = unix::path(text) {
        return unix::check(path).map(|()| (text.into(), 0));
    }
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
    let name = cookie_name(fields, "hash_on_cookie");
    let path = fields.text("hash_on_cookie_path");
    (name, path.map_or_else(|| "/".into(), |path| path.value))
}

/// A cookie's name, which is a token as a header's is (RFC 6265 §4.1.1).
fn cookie_name(fields: &mut Fields<'_>, field: &'static str) -> Option<Text> {
    let name = fields.text(field)?;
    if syntax::header_name(&name.value).is_err() {
        fields.refuse(name.span, "this is not the name of a cookie");
    }
    Some(name)
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
    let cookie = cookie_name(fields, "sticky_sessions_cookie");
    let path = fields.text("sticky_sessions_cookie_path");
    cookie.map(|cookie| (cookie.value, path.map_or_else(|| "/".into(), |path| path.value)))
}
