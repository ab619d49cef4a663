//! One request against an artifact, with the search and the VM of the gateway.

use policy::Policy;
use policy::isa::Entry;
use policy::route::{self, Match};
use policy::table::{Consumer, Credential, EditList, HttpsRedirect, Id, Model, Quota, Route, Table};
use policy::vm::{self, Effect, State, Verdict};

use super::{Asked, InMemory, Malformed, Request};

/// What an artifact makes of a request.
pub struct Judgement {
    /// The route, if any matched.
    pub matched: Option<Match>,
    /// How it ends.
    pub ending: Ending,
    /// Whether the body has to be read for that.
    pub body_read: bool,
    /// The caller.
    pub consumer: Option<Id<Consumer>>,
    /// What the caller proved its identity with.
    pub credential: Option<Id<Credential>>,
    /// Whether the caller is an anonymous consumer.
    pub anonymous: bool,
    /// What the exchange would apply, in order.
    pub applied: Vec<Applied>,
    /// Quotas that were asked.
    pub quotas: Vec<Id<Quota>>,
    /// The model that is called, where its name is made of parts of the request.
    pub model_name: Option<String>,
    /// Budgets that were asked.
    pub budgets: Vec<Asked>,
}

/// How a request ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The gateway answers 400 to it, and no plugin sees it.
    Malformed(Malformed),
    /// No route matched: the gateway answers 404.
    NoRoute,
    /// The route only takes requests over TLS: the gateway answers so.
    HttpsRequired(HttpsRedirect),
    /// A gRPC route got another request: the gateway answers 415.
    NotGrpc,
    /// A gRPC route only takes requests over TLS: the gateway answers with a gRPC status.
    GrpcsRequired,
    /// The route only takes WebSocket handshakes: the gateway answers with this status and message.
    Handshake(u32, &'static str),
    /// No plugin answered, and there is no service: the gateway answers 503.
    NoService,
    /// The name of the model looks up what the request does not have: the gateway answers 500.
    Unrendered(Id<Model>),
    /// As the route's program says; never a question.
    Verdict(Verdict),
}

/// One effect and the phase that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The phase.
    pub entry: Entry,
    /// The effect.
    pub effect: Effect,
}

/// Judges a request, with a plain answer of the upstream in mind.
pub fn judge(policy: &Policy, request: &Request) -> Judgement {
    if let Some(malformed) = request.malformed {
        return Judgement {
            matched: None,
            ending: Ending::Malformed(malformed),
            body_read: false,
            consumer: None,
            credential: None,
            anonymous: false,
            applied: Vec::new(),
            quotas: Vec::new(),
            model_name: None,
            budgets: Vec::new(),
        };
    }
    let mut exchange = request.exchange(policy);
    let mut state = State::default();
    let matched = route::find(policy, &exchange);
    let mut applied = Vec::new();
    let mut body_read = false;
    let found = matched.map(|found| (found.route, policy.get(found.route)));
    let missed = found
        .as_ref()
        .map_or(Some(Ending::NoRoute), |(_, route)| misses(route, request));
    let (ending, later) = match (missed, found) {
        (Some(ending), _) => (ending, policy.meta().unmatched),
        (None, None) => (Ending::NoRoute, policy.meta().unmatched),
        (None, Some((id, route))) => {
            exchange.matched = matched;
            let ending = access(
                policy,
                id,
                &mut state,
                &mut exchange,
                &mut body_read,
                &mut applied,
            );
            let ending = match ending {
                Ending::Verdict(Verdict::Forward) if route.service.is_none() => Ending::NoService,
                ending => ending,
            };
            (ending, id)
        }
    };
    if ending != Ending::Verdict(Verdict::Forward) {
        // Nothing is sent, so nothing of the request is edited.
        applied.clear();
    }
    for entry in [Entry::Response, Entry::End] {
        vm::run(policy, later, entry, &mut state, &mut exchange);
        collect(entry, &state, &mut applied);
    }
    Judgement {
        matched,
        ending,
        body_read,
        consumer: state.consumer,
        credential: state.credential,
        anonymous: state.anonymous,
        applied,
        quotas: exchange.quotas,
        model_name: exchange.model_name,
        budgets: exchange.budgets,
    }
}

/// Bits of the protocols that need no TLS.
const PLAINTEXT: u32 = 1 | 4 | 16;
/// Bits of gRPC's protocols.
const GRPC: u32 = 4 | 8;
/// Bits of WebSockets' protocols.
const WEBSOCKET: u32 = 16 | 32;

/// How a request ends whose protocol is not one of its route's. One for a gRPC route is taken to come over HTTP/2.
fn misses(route: &Route, request: &Request) -> Option<Ending> {
    let content_type = request.headers.iter().find(|(name, _)| name == "content-type");
    let is_grpc = content_type.is_some_and(|(_, value)| value.starts_with("application/grpc"));
    let secure = request.secure || route.protocols & PLAINTEXT != 0;
    match (route.protocols & GRPC != 0, is_grpc, secure) {
        (true, false, _) => Some(Ending::NotGrpc),
        (true, true, false) => Some(Ending::GrpcsRequired),
        (false, _, false) => Some(Ending::HttpsRequired(route.https_redirect)),
        _ if route.protocols & WEBSOCKET != 0 && route.protocols & !WEBSOCKET == 0 => {
            let (status, message) = request.opens_websocket().err()?;
            Some(Ending::Handshake(status, message))
        }
        _ => None,
    }
}

/// Runs what judges the request: its head, then its body if something asks for it.
fn access(
    policy: &Policy,
    route: Id<Route>,
    state: &mut State,
    exchange: &mut InMemory<'_>,
    body_read: &mut bool,
    applied: &mut Vec<Applied>,
) -> Ending {
    for entry in [Entry::Request, Entry::Body] {
        let mut verdict = vm::run(policy, route, entry, state, exchange);
        while let Verdict::Wait(vm::Question::Body) = verdict {
            *body_read = true;
            verdict = vm::resume(policy, state, exchange);
        }
        collect(entry, state, applied);
        if verdict != Verdict::Forward {
            return Ending::Verdict(verdict);
        }
        *body_read |= applied.iter().any(|applied| match applied.effect.table {
            Table::Model => true,
            Table::EditList => applied
                .effect
                .id()
                .is_some_and(|id| policy.get::<EditList>(id).needs_body),
            _ => false,
        });
        if let Some(model) = applied.iter().find_map(|applied| applied.effect.id())
            && !exchange.call(model)
        {
            return Ending::Unrendered(model);
        }
    }
    Ending::Verdict(Verdict::Forward)
}

fn collect(entry: Entry, state: &State, out: &mut Vec<Applied>) {
    out.extend(state.effects().iter().map(|effect| Applied { entry, effect }));
}
