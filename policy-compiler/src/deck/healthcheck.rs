//! Health checks of an upstream: when its targets are taken out and put back.

use super::entity::{ActiveHealthcheck, HealthRules, Healthchecks, PassiveHealthcheck, Protocol};
use super::fields::Fields;
use super::service::narrow;
use super::{Reader, defaults, syntax};

impl Reader<'_> {
    pub(super) fn healthchecks(&self, fields: &mut Fields<'_>) -> Healthchecks {
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
            let (own, query) = path.value.split_once('?').unwrap_or((&path.value, ""));
            if let Err(words) = syntax::service_path(own) {
                fields.refuse(path.span, words);
            } else if query.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
                fields.refuse(path.span, "a query holds no spaces and no controls");
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
