//! The plain reference: what Kong's rules say about a request, straight from the model.
//!
//! Routes are scanned one by one, plugins looked up one by one, configurations read as they stand. It shares nothing
//! with the router, the scope tables or the lowering, so that either of them being wrong shows. Slow on purpose.
//! `route` finds the route; `identity`, `security` and `traffic` hold the plugins, by family.

mod identity;
mod route;
mod security;
mod traffic;

pub use route::find;

use super::Request;
use crate::deck::entity::{
    ConsumerGroupIndex, ConsumerIndex, Model, Plugin, PluginIndex, Protocol, Route, RouteIndex,
};
use crate::plugin::Config;
use crate::schema::PluginKind;

/// How a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No route matches: 404.
    Unmatched,
    /// The route only takes TLS: the status that says so.
    HttpsRequired(u32),
    /// The route only takes WebSocket handshakes: the status that says so.
    HandshakeRequired(u32),
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
    let mut outcome = match route.map(|route| answer(&model[route], request)) {
        None => Outcome::Unmatched,
        Some(None) => Outcome::Forwarded,
        Some(Some(outcome)) => {
            // Nothing was looked up for the route: only global instances run their later phases.
            walk.route = None;
            outcome
        }
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
            if outcome == Outcome::Forwarded {
                outcome = walk.ai_rate_limiting_advanced(*index, Config(&model[*index].config));
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

/// What the gateway answers where the route does not speak the request's protocol.
fn answer(route: &Route, request: &Request) -> Option<Outcome> {
    let is_websocket = |protocol: &Protocol| matches!(protocol, Protocol::Ws | Protocol::Wss);
    if !request.secure && !route.protocols.iter().any(|p| is_plaintext(*p)) {
        return Some(Outcome::HttpsRequired(route.https_redirect_status_code.into()));
    }
    if !route.protocols.iter().all(is_websocket) {
        return None;
    }
    let (status, _) = request.opens_websocket().err()?;
    Some(Outcome::HandshakeRequired(status))
}

fn is_plaintext(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Http | Protocol::Grpc | Protocol::Ws)
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
        match plugin.kind {
            PluginKind::KeyAuth => self.key_auth(index, config),
            PluginKind::BasicAuth => self.basic_auth(index, config),
            PluginKind::Acl => self.acl(index, config),
            PluginKind::IpRestriction => self.ip_restriction(index, config),
            PluginKind::Cors => self.cors(index, config),
            PluginKind::RateLimiting => self.rate_limiting(index, config),
            PluginKind::RequestSizeLimiting => self.request_size_limiting(index, config),
            PluginKind::RequestTermination => self.request_termination(index, config),
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
}

fn refuse(index: PluginIndex, status: u32, message: &str) -> Outcome {
    Outcome::Refused(index, status, message.to_owned())
}
