//! The plain reference: what Kong's rules say about a request, straight from the model.
//!
//! Routes are scanned one by one, plugins looked up one by one, configurations read as they stand. It shares nothing
//! with the router, the scope tables or the lowering, so that either of them being wrong shows. Slow on purpose.

use std::cmp::Ordering;
use std::net::IpAddr;

use uuid::Uuid;

use super::Request;
use crate::deck::entity::{
    ConsumerGroupIndex, ConsumerIndex, HeaderMatch, Model, Password, Plugin, PluginIndex, Protocol, Route,
    RouteIndex, RoutePath,
};
use crate::plugin::Config;
use crate::router::{SUBROUTE_NAMESPACE, canonical, routable};
use crate::schema::PluginKind;

/// How a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No route matches: 404.
    Unmatched,
    /// The route only takes TLS: the status that says so.
    HttpsRequired(u16),
    /// No plugin answers and there is no service: 503.
    NoService,
    /// It goes to the service.
    Forwarded,
    /// A plugin refuses it: instance, status, message.
    Refused(PluginIndex, u32, String),
    /// A plugin answers it.
    Answered(PluginIndex),
    /// It is a preflight that a cors plugin answers.
    Preflight(PluginIndex),
}

/// What the rules say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The route.
    pub route: Option<RouteIndex>,
    /// How the request ends.
    pub outcome: Outcome,
    /// The caller.
    pub consumer: Option<ConsumerIndex>,
    /// Whether the caller is an anonymous consumer.
    pub anonymous: bool,
    /// Instances that ran or would run, by plugin name in running order, whatever they do in their phases.
    pub collected: Vec<PluginIndex>,
    /// Quotas that were asked about the request.
    pub counted: Vec<PluginIndex>,
    /// Budgets that were asked about the call.
    pub reserved: Vec<PluginIndex>,
}

/// Judges a request by the rules alone.
pub fn judge(model: &Model, request: &Request) -> Judgement {
    let route = find(model, request);
    let mut walk = Walk {
        model,
        request,
        route,
        consumer: None,
        proven: false,
        anonymous: false,
        counted: Vec::new(),
    };
    let mut names: Vec<&Plugin> = Vec::new();
    for plugin in &model.plugins {
        let runs = plugin.enabled && plugin.enforced && plugin.kind != PluginKind::Unsupported;
        if runs && names.iter().all(|known| known.name != plugin.name) {
            names.push(plugin);
        }
    }
    names.sort_by(|left, right| (right.priority, &right.name).cmp(&(left.priority, &left.name)));
    let mut collected = Vec::new();
    let mut outcome = match route.map(|route| &model[route]) {
        None => Outcome::Unmatched,
        Some(route) if !request.secure && !route.protocols.iter().any(|p| is_plaintext(*p)) => {
            // Nothing was looked up for the route: only global instances run their later phases.
            walk.route = None;
            Outcome::HttpsRequired(route.https_redirect_status_code)
        }
        Some(_) => Outcome::Forwarded,
    };
    for name in names {
        let Some(index) = walk.most_specific(&name.name) else {
            continue;
        };
        collected.push(index);
        if outcome == Outcome::Forwarded {
            outcome = walk.access(index);
        }
    }
    // What a call may cost is known once its body is, so budgets come after everything else.
    let is = |kind| move |index: &&PluginIndex| model[**index].kind == kind;
    let mut reserved = Vec::new();
    if outcome == Outcome::Forwarded && collected.iter().any(|index| is(PluginKind::AiProxy)(&index)) {
        for index in collected.iter().filter(is(PluginKind::AiRateLimitingAdvanced)) {
            reserved.push(*index);
            if request.spent && outcome == Outcome::Forwarded {
                let config = Config(&model[*index].config);
                let message = config
                    .text("error_message")
                    .unwrap_or("AI token rate limit exceeded for provider(s): ");
                let status = config.status("error_code", 429).unwrap_or(429);
                outcome = Outcome::Refused(*index, status, message.to_owned());
            }
        }
    }
    if outcome == Outcome::Forwarded && route.is_some_and(|route| model[route].service.is_none()) {
        outcome = Outcome::NoService;
    }
    Judgement {
        route,
        outcome,
        consumer: walk.consumer,
        anonymous: walk.anonymous,
        collected,
        counted: walk.counted,
        reserved,
    }
}

fn is_plaintext(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Http | Protocol::Grpc | Protocol::Ws)
}

/// The first route in Kong's order that matches.
pub fn find(model: &Model, request: &Request) -> Option<RouteIndex> {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for (index, route) in (0..).map(RouteIndex).zip(&model.routes) {
        if routable(model, route) {
            candidates.extend(split(index, route));
        }
    }
    candidates.sort_by(Candidate::order);
    candidates
        .iter()
        .find(|candidate| candidate.matches(model, request))
        .map(|candidate| candidate.index)
}

/// A route with one group of its paths.
struct Candidate<'m> {
    index: RouteIndex,
    route: &'m Route,
    id: Uuid,
    paths: Vec<&'m RoutePath>,
}

fn split(index: RouteIndex, route: &Route) -> Vec<Candidate<'_>> {
    let mut groups: Vec<(Option<usize>, Vec<&RoutePath>)> = Vec::new();
    for path in &route.paths {
        let key = match &path.value {
            RoutePath::Prefix(prefix) => Some(canonical(prefix).len()),
            RoutePath::Regex(_) => None,
        };
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, paths)) => paths.push(&path.value),
            None => groups.push((key, vec![&path.value])),
        }
    }
    // Groups are numbered as they come, the regexes last.
    groups.sort_by_key(|(key, _)| key.is_none());
    if groups.is_empty() {
        groups.push((None, Vec::new()));
    }
    let several = groups.len() > 1;
    (1..)
        .zip(groups)
        .map(|(number, (_, paths))| Candidate {
            index,
            route,
            id: if several {
                Uuid::new_v5(
                    &SUBROUTE_NAMESPACE,
                    format!("{}#{number}", route.meta.id).as_bytes(),
                )
            } else {
                route.meta.id
            },
            paths,
        })
        .collect()
}

impl Candidate<'_> {
    fn order(left: &Self, right: &Self) -> Ordering {
        right.rank().cmp(&left.rank())
    }

    /// Greater is tried earlier: kinds of matchers, plain hosts, headers, regex, its priority, length, id.
    fn rank(&self) -> (usize, bool, usize, bool, i64, usize, Uuid) {
        let route = self.route;
        let kinds = [
            route.methods.len(),
            route.hosts.len(),
            route.headers.len(),
            route.snis.len(),
            route.paths.len(),
        ];
        let plain = !route.hosts.is_empty() && !route.hosts.iter().any(|host| host.value.contains('*'));
        let (regex, length) = match self.paths.first() {
            Some(RoutePath::Regex(_)) => (true, 0),
            Some(RoutePath::Prefix(prefix)) => (false, canonical(prefix).len()),
            None => (false, 0),
        };
        (
            kinds.iter().filter(|count| **count > 0).count(),
            plain,
            route.headers.len(),
            regex,
            if regex { route.regex_priority } else { 0 },
            length,
            self.id,
        )
    }

    fn matches(&self, model: &Model, request: &Request) -> bool {
        let route = self.route;
        let methods =
            route.methods.is_empty() || route.methods.iter().any(|method| **method == *request.method);
        let hosts = route.hosts.is_empty() || route.hosts.iter().any(|host| host_fits(&host.value, request));
        let snis = route.snis.is_empty()
            || !request.secure
            || route
                .snis
                .iter()
                .any(|sni| wildcard_fits(sni.value.trim_end_matches('.'), &request.server_name));
        let headers = route.headers.iter().all(|header| header_fits(header, request));
        let paths = self.paths.is_empty() || self.paths.iter().any(|path| path_fits(path, &request.path));
        debug_assert!((self.index.0 as usize) < model.routes.len());
        methods && hosts && snis && headers && paths
    }
}

fn host_fits(pattern: &str, request: &Request) -> bool {
    match pattern.split_once(':') {
        Some((name, port)) => port == request.port.to_string() && wildcard_fits(name, &request.host),
        None => wildcard_fits(pattern, &request.host),
    }
}

fn wildcard_fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    if let Some(suffix) = pattern.strip_prefix('*') {
        name.ends_with(suffix)
    } else if let Some(prefix) = pattern.strip_suffix('*') {
        name.starts_with(prefix)
    } else {
        name == pattern
    }
}

fn header_fits(test: &HeaderMatch, request: &Request) -> bool {
    request.values(&test.name).any(|value| {
        test.values
            .iter()
            .any(|wanted| match wanted.value.strip_prefix("~*") {
                Some(pattern) => regex_fits(&format!("(?i){pattern}"), value),
                None => wanted.value.eq_ignore_ascii_case(value),
            })
    })
}

fn path_fits(path: &RoutePath, request: &str) -> bool {
    match path {
        RoutePath::Prefix(prefix) => request.starts_with(&canonical(prefix)),
        RoutePath::Regex(pattern) => regex_fits(&format!("^(?:{pattern})"), request),
    }
}

fn regex_fits(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

struct Walk<'w> {
    model: &'w Model,
    request: &'w Request,
    route: Option<RouteIndex>,
    consumer: Option<ConsumerIndex>,
    proven: bool,
    anonymous: bool,
    counted: Vec<PluginIndex>,
}

impl Walk<'_> {
    /// The instance of a name that fits the request best, by Kong's table of twelve.
    fn most_specific(&self, name: &str) -> Option<PluginIndex> {
        let service = self.route.and_then(|route| self.model[route].service);
        let groups = self.groups();
        let mut best: Option<(usize, usize, PluginIndex)> = None;
        for (index, plugin) in (0..).map(PluginIndex).zip(&self.model.plugins) {
            let scope = plugin.scope;
            let fits = *plugin.name == *name
                && plugin.enabled
                && plugin.enforced
                && (scope.service.is_none() || scope.service == service)
                && (scope.route.is_none() || scope.route == self.route)
                && (scope.consumer.is_none() || scope.consumer == self.consumer);
            let group = match scope.consumer_group {
                None => Some(0),
                Some(group) => groups.iter().position(|known| *known == group),
            };
            let (true, Some(group)) = (fits, group) else {
                continue;
            };
            let (c, g) = (scope.consumer.is_some(), scope.consumer_group.is_some());
            let (s, r) = (scope.service.is_some(), scope.route.is_some());
            let level = match (c, g, s, r) {
                (true, false, true, true) => 1,
                (false, true, true, true) => 2,
                (true, false, false, true) => 3,
                (true, false, true, false) => 4,
                (false, true, false, true) => 5,
                (false, true, true, false) => 6,
                (false, false, true, true) => 7,
                (true, false, false, false) => 8,
                (false, true, false, false) => 9,
                (false, false, false, true) => 10,
                (false, false, true, false) => 11,
                (false, false, false, false) => 12,
                (true, true, _, _) => continue,
            };
            if best.is_none_or(|(known, rank, _)| (level, group) < (known, rank)) {
                best = Some((level, group, index));
            }
        }
        best.map(|(_, _, index)| index)
    }

    /// The caller's groups in the order of their names.
    fn groups(&self) -> Vec<ConsumerGroupIndex> {
        let mut groups = self
            .consumer
            .map(|consumer| self.model[consumer].groups.clone())
            .unwrap_or_default();
        groups.sort_by_key(|group| &self.model[*group].name);
        groups
    }

    fn access(&mut self, index: PluginIndex) -> Outcome {
        let plugin = &self.model[index];
        let config = Config(&plugin.config);
        let refuse = |status, message: &str| Outcome::Refused(index, status, message.to_owned());
        match plugin.kind {
            PluginKind::KeyAuth => self.key_auth(index, config),
            PluginKind::BasicAuth => self.basic_auth(index, config),
            PluginKind::Acl => self.acl(index, config),
            PluginKind::IpRestriction => self.ip_restriction(index, config),
            PluginKind::RateLimiting => {
                self.counted.push(index);
                if self.request.spent {
                    let message = config.text("error_message").unwrap_or("API rate limit exceeded");
                    refuse(config.status("error_code", 429).unwrap_or(429), message)
                } else {
                    Outcome::Forwarded
                }
            }
            PluginKind::RequestSizeLimiting => {
                let unit = match config.text("size_unit") {
                    Some("bytes") => 1,
                    Some("kilobytes") => 1024,
                    _ => 1024 * 1024,
                };
                let limit = config.count("allowed_payload_size").unwrap_or(128) * unit;
                let chunked = self.request.values("transfer-encoding").next().is_some();
                match &self.request.body {
                    Some(_) if chunked => Outcome::Forwarded,
                    Some(body) if body.len() as u64 > limit => refuse(413, "Request size limit exceeded"),
                    None if config.flag("require_content_length") => {
                        refuse(411, "A valid Content-Length header is required")
                    }
                    _ => Outcome::Forwarded,
                }
            }
            PluginKind::RequestTermination => match config.text("trigger") {
                Some(trigger)
                    if self
                        .request
                        .values(&trigger.to_ascii_lowercase())
                        .next()
                        .is_none()
                        && !self.request.has_argument(trigger) =>
                {
                    Outcome::Forwarded
                }
                _ => Outcome::Answered(index),
            },
            PluginKind::Cors => {
                let asked = |name| self.request.values(name).next().is_some();
                let preflight = self.request.method == "OPTIONS"
                    && asked("origin")
                    && asked("access-control-request-method");
                if preflight && !config.flag("preflight_continue") {
                    Outcome::Preflight(index)
                } else {
                    Outcome::Forwarded
                }
            }
            PluginKind::CorrelationId
            | PluginKind::RequestTransformer
            | PluginKind::ResponseTransformer
            | PluginKind::Prometheus
            | PluginKind::FileLog
            | PluginKind::AiProxy
            | PluginKind::AiRateLimitingAdvanced
            | PluginKind::Unsupported => Outcome::Forwarded,
        }
    }

    fn fail(&mut self, index: PluginIndex, config: Config<'_>, message: &str) -> Outcome {
        let Some(name) = config.text("anonymous").filter(|name| !name.is_empty()) else {
            return Outcome::Refused(index, 401, message.to_owned());
        };
        let named = (0..)
            .map(ConsumerIndex)
            .zip(&self.model.consumers)
            .find(|(_, consumer)| {
                consumer.meta.id.to_string() == name || consumer.username.as_deref() == Some(name)
            });
        self.consumer = named.map(|(index, _)| index);
        self.anonymous = true;
        Outcome::Forwarded
    }

    fn identify(&mut self, consumer: ConsumerIndex) -> Outcome {
        self.consumer = Some(consumer);
        self.proven = true;
        self.anonymous = false;
        Outcome::Forwarded
    }

    fn key_auth(&mut self, index: PluginIndex, config: Config<'_>) -> Outcome {
        if !config.flag_or("run_on_preflight", true) && self.request.method == "OPTIONS" {
            return Outcome::Forwarded;
        }
        if self.proven && config.text("anonymous").is_some() {
            return Outcome::Forwarded;
        }
        let mut key = None;
        for (name, _) in config.texts("key_names") {
            let mut values: Vec<String> = Vec::new();
            if config.flag_or("key_in_header", true) {
                let lower = name.to_ascii_lowercase();
                values = self.request.values(&lower).map(str::to_owned).collect();
            }
            if values.is_empty() && config.flag_or("key_in_query", true) {
                values = self.request.arguments(name);
            }
            if values.is_empty() && config.flag("key_in_body") {
                values = self.request.members(name);
            }
            match values.as_slice() {
                [] => {}
                [value] => {
                    key = Some(value.clone());
                    break;
                }
                _ => return self.fail(index, config, "Duplicate API key found"),
            }
        }
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return self.fail(index, config, "No API key found in request");
        };
        let known = self
            .model
            .keyauth_credentials
            .iter()
            .find(|c| c.key.expose() == key);
        match known {
            Some(credential) => self.identify(credential.consumer),
            None => self.fail(index, config, "Unauthorized"),
        }
    }

    fn basic_auth(&mut self, index: PluginIndex, config: Config<'_>) -> Outcome {
        if self.proven && config.text("anonymous").is_some() {
            return Outcome::Forwarded;
        }
        for header in ["proxy-authorization", "authorization"] {
            let Some(value) = self.request.values(header).next() else {
                continue;
            };
            let known = self.model.basicauth_credentials.iter().find(|credential| {
                let Password::Plain(password) = &credential.password else {
                    return false;
                };
                let pair = format!("{}:{}", credential.username, password.expose());
                value == format!("Basic {}", base64(pair.as_bytes()))
            });
            if let Some(credential) = known {
                return self.identify(credential.consumer);
            }
        }
        self.fail(index, config, "Unauthorized")
    }

    fn acl(&self, index: PluginIndex, config: Config<'_>) -> Outcome {
        let refuse = |status, message: &str| Outcome::Refused(index, status, message.to_owned());
        let Some(consumer) = self.consumer else {
            return refuse(401, "Unauthorized");
        };
        let mut groups: Vec<&str> = self
            .model
            .acls
            .iter()
            .filter(|acl| acl.consumer == consumer)
            .map(|acl| &*acl.group)
            .collect();
        if config.flag("include_consumer_groups") {
            groups.extend(self.groups().iter().map(|group| &*self.model[*group].name));
        }
        let without = groups.is_empty();
        let allow = config.has("allow");
        let listed = config
            .texts(if allow { "allow" } else { "deny" })
            .any(|(name, _)| groups.contains(&name));
        match (listed == allow, allow && self.anonymous && without) {
            (true, _) => Outcome::Forwarded,
            (false, true) => refuse(401, "Unauthorized"),
            (false, false) => refuse(403, "You cannot consume this service"),
        }
    }

    fn ip_restriction(&self, index: PluginIndex, config: Config<'_>) -> Outcome {
        let within =
            |field: &str, address: IpAddr| config.texts(field).any(|(range, _)| in_range(range, address));
        let passes = self.request.client.is_some_and(|address| {
            !within("deny", address) && (config.list("allow").is_empty() || within("allow", address))
        });
        if passes {
            return Outcome::Forwarded;
        }
        let message = config.text("message").unwrap_or("IP address not allowed: ");
        Outcome::Refused(
            index,
            config.status("status", 403).unwrap_or(403),
            message.to_owned(),
        )
    }
}

fn in_range(range: &str, address: IpAddr) -> bool {
    let (network, prefix) = range.split_once('/').unwrap_or((range, "128"));
    let Ok(prefix) = prefix.parse::<u32>() else {
        return false;
    };
    let same = |left: &[u8], right: &[u8]| {
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        (0..left.len() * 8)
            .take_while(|at| *at < prefix as usize)
            .all(|at| bit(left, at) == bit(right, at))
    };
    match (network.parse(), address) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(address)) => same(&network.octets(), &address.octets()),
        (Ok(IpAddr::V6(network)), IpAddr::V6(address)) => same(&network.octets(), &address.octets()),
        _ => false,
    }
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                out.push(char::from(ALPHABET[(word >> (18 - 6 * place) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}
