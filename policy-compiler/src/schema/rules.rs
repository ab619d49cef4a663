//! Rules that look at several fields of one configuration, or at what a text says. Kong keeps them as code, not schema;
//! here they are for the plugins Tollgate enforces.

use std::net::IpAddr;

use super::PluginKind;
use crate::diagnostic::{Diagnostic, Report};
use crate::source::{Node, Span};

/// Applies the rules of the plugin `name` to its completed configuration.
pub(super) fn check(name: &str, config: &Node, at: Span, report: &Report) {
    let rules = Rules {
        name,
        config,
        at,
        report,
    };
    match PluginKind::of(name) {
        PluginKind::KeyAuth => rules.key_auth(),
        PluginKind::Acl => rules.exactly_one_of("allow", "deny"),
        PluginKind::IpRestriction => rules.ip_restriction(),
        PluginKind::RateLimiting => rules.rate_limiting(),
        PluginKind::RequestTermination => rules.request_termination(),
        PluginKind::RequestSizeLimiting => rules.positive("allowed_payload_size"),
        PluginKind::CorrelationId => rules.header_name("header_name"),
        PluginKind::RequestTransformer => rules.transformer(&["headers", "querystring", "body"]),
        PluginKind::ResponseTransformer => rules.transformer(&["headers", "json"]),
        PluginKind::FileLog => rules.file_log(),
        PluginKind::AiProxy => rules.ai_proxy(),
        PluginKind::AiRateLimitingAdvanced => rules.ai_rate_limiting_advanced(),
        PluginKind::BasicAuth | PluginKind::Cors | PluginKind::Prometheus | PluginKind::Unsupported => {}
    }
}

struct Rules<'r> {
    name: &'r str,
    config: &'r Node,
    at: Span,
    report: &'r Report,
}

/// rate-limiting's periods from short to long.
const PERIODS: [&str; 6] = ["second", "minute", "hour", "day", "month", "year"];

impl Rules<'_> {
    fn node(&self, path: &str) -> Option<&Node> {
        self.config.at(path).filter(|node| !node.is_null())
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.node(path)?.as_str()
    }

    fn refuse(&self, span: Span, words: impl Into<String>) {
        self.report
            .push(Diagnostic::error("plugin-config", words).at(span));
    }

    fn exactly_one_of(&self, first: &str, second: &str) {
        match (self.node(first), self.node(second)) {
            (None, None) => self.refuse(self.at, format!("{} needs `{first}` or `{second}`", self.name)),
            (Some(a), Some(b)) => {
                let words = format!("{} takes only one of `{first}` and `{second}`", self.name);
                self.report.push(
                    Diagnostic::error("plugin-config", words)
                        .at(b.span)
                        .also(a.span, "the other one"),
                );
            }
            _ => {}
        }
    }

    fn needs(&self, because: &str, path: &str) {
        if self.node(path).is_none() {
            self.refuse(self.at, format!("{} needs `{path}` when {because}", self.name));
        }
    }

    fn positive(&self, path: &str) {
        if let Some(node) = self
            .node(path)
            .filter(|node| node.as_float().is_some_and(|n| n <= 0.0))
        {
            self.refuse(
                node.span,
                format!("`{path}` of {} must be greater than 0", self.name),
            );
        }
    }

    fn header_name(&self, path: &str) {
        if let Some(node) = self
            .node(path)
            .filter(|node| node.as_str().is_some_and(|name| !is_token(name)))
        {
            self.refuse(
                node.span,
                format!("`{path}` of {} is not a header name", self.name),
            );
        }
    }

    fn key_auth(&self) {
        for name in self.node("key_names").and_then(Node::as_list).unwrap_or_default() {
            let is_good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
            if !name
                .as_str()
                .is_some_and(|text| !text.is_empty() && text.bytes().all(is_good))
            {
                self.refuse(name.span, "a key name holds letters, digits, `_` and `-` only");
            }
        }
    }

    fn ip_restriction(&self) {
        if self.node("allow").is_none() && self.node("deny").is_none() {
            self.refuse(self.at, "ip-restriction needs `allow`, `deny` or both");
        }
        for list in ["allow", "deny"] {
            for entry in self.node(list).and_then(Node::as_list).unwrap_or_default() {
                if !entry.as_str().is_some_and(is_ip_or_cidr) {
                    self.refuse(entry.span, "not an IP address or CIDR range");
                }
            }
        }
        if let Some(status) = self
            .node("status")
            .filter(|n| !n.as_int().is_some_and(|s| (100..=599).contains(&s)))
        {
            self.refuse(
                status.span,
                "`status` of ip-restriction must be between 100 and 599",
            );
        }
    }

    fn rate_limiting(&self) {
        let limits: Vec<(&str, &Node)> = PERIODS.iter().filter_map(|p| Some((*p, self.node(p)?))).collect();
        if limits.is_empty() {
            self.refuse(
                self.at,
                format!("rate-limiting needs a limit: one of {}", PERIODS.join(", ")),
            );
        }
        for (period, _) in &limits {
            self.positive(period);
        }
        for pair in limits.windows(2) {
            let [(short, low), (long, high)] = pair else {
                continue;
            };
            if high.as_float() < low.as_float() {
                let words = format!("the limit for {long} cannot be lower than the limit for {short}");
                self.report.push(
                    Diagnostic::error("plugin-config", words)
                        .at(high.span)
                        .also(low.span, "higher"),
                );
            }
        }
        match self.text("limit_by") {
            Some("header") => self.needs("`limit_by` is header", "header_name"),
            Some("path") => self.needs("`limit_by` is path", "path"),
            _ => {}
        }
        self.header_name("header_name");
        let is_redis = self.text("policy") == Some("redis");
        if is_redis {
            self.needs("`policy` is redis", "redis.host");
        }
        let sync_rate = self.node("sync_rate");
        let asks_sync = |node: &&Node| node.as_float().is_some_and(|rate| rate.total_cmp(&-1.0).is_ne());
        if let Some(node) = sync_rate.filter(asks_sync) {
            if !is_redis {
                self.refuse(node.span, "`sync_rate` can only be used with the redis policy");
            } else if node.as_float().is_some_and(|rate| rate < 0.02) {
                self.refuse(node.span, "`sync_rate` must be -1 or at least 0.02 seconds");
            }
        }
    }

    fn request_termination(&self) {
        let (message, body, content_type) =
            (self.node("message"), self.node("body"), self.node("content_type"));
        if let (Some(message), Some(other)) = (message, body.or(content_type)) {
            let words = "`message` of request-termination cannot be used with `content_type` or `body`";
            self.report.push(
                Diagnostic::error("plugin-config", words)
                    .at(message.span)
                    .also(other.span, "used here"),
            );
        }
        if let (Some(content_type), None) = (content_type, body) {
            self.refuse(
                content_type.span,
                "`content_type` of request-termination requires a `body`",
            );
        }
    }

    /// `remove` holds names, `rename` holds `old:new`, the others `name:value`.
    fn transformer(&self, places: &[&str]) {
        for action in ["remove", "rename", "replace", "add", "append"] {
            for place in places {
                for entry in self
                    .node(&format!("{action}.{place}"))
                    .and_then(Node::as_list)
                    .unwrap_or_default()
                {
                    self.transformation(action, place, entry);
                }
            }
        }
    }

    fn transformation(&self, action: &str, place: &str, entry: &Node) {
        let Some(text) = entry.as_str() else { return };
        let (name, value) = match text.split_once(':') {
            Some((name, value)) if action != "remove" => (name, Some(value)),
            _ => (text, None),
        };
        if value.is_none() && matches!(action, "rename" | "add" | "append") {
            let form = if action == "rename" {
                "old:new"
            } else {
                "name:value"
            };
            self.refuse(
                entry.span,
                format!("`{action}.{place}` of {} takes entries `{form}`", self.name),
            );
        }
        let is_template = name.contains("$(");
        if place == "headers" && !is_template && !is_token(name) {
            self.refuse(
                entry.span,
                format!("`{action}.{place}` of {}: not a header name", self.name),
            );
        }
        if action == "rename" && place == "headers" && value.is_some_and(|new| !is_token(new)) {
            self.refuse(
                entry.span,
                format!(
                    "`{action}.{place}` of {}: the new name is not a header name",
                    self.name
                ),
            );
        }
    }

    fn file_log(&self) {
        let Some(path) = self.node("path") else { return };
        if path
            .as_str()
            .is_some_and(|text| text.is_empty() || text.contains(['*', '&', '%', '\\', '`']))
        {
            self.refuse(
                path.span,
                "not a file name: `*`, `&`, `%`, `\\` and backticks are not allowed",
            );
        }
    }

    fn ai_proxy(&self) {
        if self.node("auth.header_name").is_some() != self.node("auth.header_value").is_some() {
            self.refuse(
                self.at,
                "`auth.header_name` and `auth.header_value` of ai-proxy go together",
            );
        }
        let parameter = ["auth.param_name", "auth.param_value", "auth.param_location"];
        let given = parameter.iter().filter(|path| self.node(path).is_some()).count();
        if given != 0 && given != parameter.len() {
            self.refuse(
                self.at,
                format!("of ai-proxy, {} go together", parameter.join(", ")),
            );
        }
        let because = |provider| format!("`model.provider` is {provider}");
        match self.text("model.provider") {
            Some("anthropic") => self.needs(&because("anthropic"), "model.options.anthropic_version"),
            Some("azure") => {
                self.needs(&because("azure"), "model.options.azure_instance");
                self.needs(&because("azure"), "model.options.azure_deployment_id");
            }
            Some("llama2") => {
                self.needs(&because("llama2"), "model.options.llama2_format");
                self.needs(&because("llama2"), "model.options.upstream_url");
            }
            Some("mistral") => self.needs(&because("mistral"), "model.options.mistral_format"),
            _ => {}
        }
    }

    fn ai_rate_limiting_advanced(&self) {
        self.exactly_one_of("llm_providers", "policies");
        for provider in self
            .node("llm_providers")
            .and_then(Node::as_list)
            .unwrap_or_default()
        {
            let (limits, windows) = (provider.get("limit"), provider.get("window_size"));
            let len = |node: Option<&Node>| node.and_then(Node::as_list).map_or(0, <[Node]>::len);
            if len(limits) != len(windows) {
                self.refuse(
                    provider.span,
                    "You must provide the same number of windows and limits",
                );
            }
            self.all_positive(limits.and_then(Node::as_list), "limit");
            self.all_positive(windows.and_then(Node::as_list), "window_size");
        }
        for policy in self.node("policies").and_then(Node::as_list).unwrap_or_default() {
            for limit in policy.get("limits").and_then(Node::as_list).unwrap_or_default() {
                self.all_positive(limit.get("limit").map(std::slice::from_ref), "limit");
                self.all_positive(limit.get("window_size").map(std::slice::from_ref), "window_size");
            }
        }
        match self.text("identifier") {
            Some("header") => self.needs("`identifier` is header", "header_name"),
            Some("path") => self.needs("`identifier` is path", "path"),
            _ => {}
        }
    }

    fn all_positive(&self, numbers: Option<&[Node]>, what: &str) {
        for number in numbers.unwrap_or_default() {
            if number.as_float().is_some_and(|n| n <= 0.0) {
                self.refuse(
                    number.span,
                    format!("`{what}` of {} must be greater than 0", self.name),
                );
            }
        }
    }
}

/// RFC 9110 §5.6.2 token, which a field name is.
fn is_token(name: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(is_good)
}

fn is_ip_or_cidr(text: &str) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|prefix| prefix <= bits))
}
