//! Runs policy on a request: canonical path, route, program, and the body if a program asks for it.

use policy::isa::Entry;
use policy::path;
use policy::route;
use policy::table::{HttpsRedirect, Model, Route, Size};
use policy::vm::{self, Question, Verdict};

use super::gate::Gate;
use super::refusal::Refusal;
use super::view::{Peer, View};
use super::{Exchange, Vanished};
use crate::http::head::{TargetForm, Version};
use crate::http::known::KnownHeader;
use crate::http::upgrade;
use crate::node::address_bits;
use crate::settable;

/// Protocol bits of a route: those of HTTP and WebSockets without TLS and with, those of HTTP, of WebSockets, of gRPC.
const PLAIN: u32 = 1 | 16;
const SECURE: u32 = 2 | 32;
const HTTP: u32 = 1 | 2;
const WEBSOCKET: u32 = 16 | 32;
const GRPC: u32 = 4;
const GRPCS: u32 = 8;

/// What policy came to.
pub(super) enum Judgement {
    /// The request goes on.
    Forward,
    /// It does not.
    Refuse(Refusal),
}

impl Exchange<'_> {
    pub(super) async fn judge(&mut self) -> Result<Judgement, Vanished> {
        if let Err(refusal) = self.prepare() {
            return Ok(Judgement::Refuse(refusal));
        }
        #[cfg(debug_assertions)]
        super::fault::occur_at(&self.scratch.path);
        let Some(route) = self.find_route() else {
            return Ok(Judgement::Refuse(Refusal::NoRoute));
        };
        if let Some(refusal) = self.check_protocol(route) {
            return Ok(Judgement::Refuse(refusal));
        }
        if let Some(refusal) = self.shed(route) {
            return Ok(Judgement::Refuse(refusal));
        }
        let mut verdict = self.run(Entry::Request);
        while let Verdict::Wait(Question::Body) = verdict {
            if let Err(refusal) = self.read_whole_body(settable::body_bytes()).await? {
                self.keep_effects();
                return Ok(Judgement::Refuse(refusal));
            }
            verdict = self.resume();
        }
        let refusal = match verdict {
            Verdict::Forward | Verdict::Wait(_) => None,
            Verdict::Refuse(refusal) => Some(Refusal::Policy(refusal)),
            Verdict::Respond(response) => Some(Refusal::Respond(response)),
            Verdict::Preflight(cors) => Some(Refusal::Preflight(cors)),
        };
        if let Verdict::Respond(response) = verdict
            && self.epoch.snapshot.policy.get(response).echo
        {
            // A body that is too long to be told back is left out.
            let _ = self.read_whole_body(settable::body_bytes()).await?;
        }
        self.keep_effects();
        if let Some(refusal) = refusal {
            return Ok(Judgement::Refuse(refusal));
        }
        self.judge_body().await
    }

    /// What the entry decided so far holds for a refusal too: its response phases still run.
    fn keep_effects(&mut self) {
        self.scratch.effects = Some(*self.scratch.state.effects());
        self.correlate();
        self.remember_caller();
    }

    /// Reads the whole body where an effect or the body entry needs it, and runs that entry.
    async fn judge_body(&mut self) -> Result<Judgement, Vanished> {
        if let Some(bound) = self.body_bound()
            && let Err(refusal) = self.read_whole_body(bound).await?
        {
            return Ok(Judgement::Refuse(refusal));
        }
        if let Some(refusal) = self.prepare_model() {
            return Ok(Judgement::Refuse(refusal));
        }
        match self.run(Entry::Body) {
            Verdict::Refuse(refusal) => Ok(Judgement::Refuse(Refusal::Policy(refusal))),
            _ => Ok(Judgement::Forward),
        }
    }

    /// The bound of the body, if it must be read whole: for a size limit on a body of unknown length, for a model,
    /// for edits of the body, or for the route's body entry.
    fn body_bound(&self) -> Option<usize> {
        let policy = &self.epoch.snapshot.policy;
        let route = policy.get(self.scratch.state.route?);
        let mut bound = route.on_body.0.map(|_start| settable::body_bytes());
        for effect in self.scratch.effects.iter().flat_map(|effects| effects.iter()) {
            if let Some(size) = effect.id::<Size>() {
                let limit = usize::try_from(policy.get(size).limit).unwrap_or(settable::body_bytes());
                bound = Some(bound.unwrap_or(settable::body_bytes()).min(limit));
            }
            if effect.id::<Model>().is_some()
                || effect
                    .id()
                    .is_some_and(|list| policy.get::<policy::table::EditList>(list).needs_body)
            {
                bound = Some(bound.unwrap_or(settable::body_bytes()));
            }
        }
        bound
    }

    /// Canonical path, host, and who the client is.
    fn prepare(&mut self) -> Result<(), Refusal> {
        self.find_client();
        let scratch = &mut *self.scratch;
        let request = scratch.head.on(&scratch.received);
        if scratch.head.target.form == TargetForm::Asterisk {
            scratch.path.extend_from_slice(b"/");
        } else {
            path::canonicalise(request.raw_path(), self.context.node.paths, &mut scratch.path)
                .map_err(|_error| Refusal::Malformed(400))?;
        }
        if let Some(authority) = request.authority() {
            scratch
                .host
                .extend(authority.host.iter().map(u8::to_ascii_lowercase));
            self.record.port = authority.port;
        }
        Ok(())
    }

    /// The client is the peer, or who a trusted peer says it is; its side is encrypted here, or before that peer.
    fn find_client(&mut self) {
        if !self.context.node.trusts(self.client.peer.address) {
            return;
        }
        let headers = self.scratch.head.headers.on(&self.scratch.received);
        self.record.secure |= headers.get(KnownHeader::XForwardedProto) == Some(b"https");
        let named = headers
            .get(KnownHeader::XRealIp)
            .and_then(|value| str::from_utf8(value).ok());
        if let Some(address) = named.and_then(|text| text.parse().ok()) {
            self.record.client = Some(address_bits(address));
        }
    }

    fn find_route(&mut self) -> Option<policy::table::Id<Route>> {
        self.record.sought = true;
        let epoch = std::rc::Rc::clone(&self.epoch);
        let (view, state) = self.view();
        let found = route::find(&epoch.snapshot.policy, &view)?;
        state.route = Some(found.route);
        self.record.matched_len = found.matched_len;
        self.record.subroute = Some(found.subroute);
        Some(found.route)
    }

    fn check_protocol(&self, route: policy::table::Id<Route>) -> Option<Refusal> {
        let route = self.epoch.snapshot.policy.get(route);
        if route.protocols & (GRPC | GRPCS) != 0 {
            return self.check_grpc(route.protocols);
        }
        if route.protocols & PLAIN != 0 || self.record.secure || route.protocols & SECURE == 0 {
            return self.check_handshake(route.protocols);
        }
        Some(match route.https_redirect {
            HttpsRedirect::S426 => Refusal::UseHttps,
            HttpsRedirect::S301 => Refusal::Redirect(301),
            HttpsRedirect::S302 => Refusal::Redirect(302),
            HttpsRedirect::S307 => Refusal::Redirect(307),
            HttpsRedirect::S308 => Refusal::Redirect(308),
        })
    }

    /// Whether a gRPC route can take the request, asked in Kong's order.
    fn check_grpc(&self, protocols: u32) -> Option<Refusal> {
        let head = &self.scratch.head;
        let content_type = head
            .headers
            .on(&self.scratch.received)
            .get(KnownHeader::ContentType);
        match content_type {
            Some(content_type) if content_type.starts_with(b"application/grpc") => {}
            _ => return Some(Refusal::NotGrpc),
        }
        match (head.version, self.record.secure || protocols & GRPC != 0) {
            (Version::Http2, true) => None,
            (Version::Http2, false) => Some(Refusal::UseGrpcs),
            _ => Some(Refusal::UseHttp2),
        }
    }

    /// A route for WebSockets alone takes their handshakes and nothing else.
    fn check_handshake(&self, protocols: u32) -> Option<Refusal> {
        if protocols & WEBSOCKET == 0 || protocols & HTTP != 0 {
            return None;
        }
        let handshake = upgrade::websocket(&self.scratch.head, &self.scratch.received);
        handshake.err().map(Refusal::Handshake)
    }

    /// Runs an entry of the request's route.
    pub(super) fn run(&mut self, entry: Entry) -> Verdict {
        let epoch = std::rc::Rc::clone(&self.epoch);
        let route = self
            .scratch
            .state
            .route
            .unwrap_or(epoch.snapshot.policy.meta().unmatched);
        let (mut view, state) = self.view();
        vm::run(&epoch.snapshot.policy, route, entry, state, &mut view)
    }

    fn resume(&mut self) -> Verdict {
        let epoch = std::rc::Rc::clone(&self.epoch);
        let (mut view, state) = self.view();
        vm::resume(&epoch.snapshot.policy, state, &mut view)
    }

    fn view(&mut self) -> (View<'_>, &mut vm::State) {
        let secure = self.record.secure;
        let scratch = &mut *self.scratch;
        let view = View {
            head: &scratch.head,
            received: &scratch.received,
            path: &scratch.path,
            host: &scratch.host,
            port: self.record.port.unwrap_or(self.client.peer.local_port),
            peer: Peer {
                secure,
                server_name: self.client.peer.server_name.as_bytes(),
                client: self.record.client,
            },
            body: self.record.body_read.then_some(scratch.body.as_slice()),
            scratch: &mut scratch.decoded,
            gate: Gate {
                epoch: &self.epoch,
                context: self.context,
                ledger: &mut self.record.ledger,
            },
        };
        (view, &mut scratch.state)
    }
}
