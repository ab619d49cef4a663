//! Writes what the upstream gets: path, query, identity, edits, forwarding fields, credentials for a model.

use std::rc::Rc;

use policy::table::{Acl, Correlation, EditList};

use super::Exchange;
use super::forward::Leg;
use super::refusal::{PRODUCT, Refusal};
use crate::http::forwarding::Forwarding;
use crate::http::h1::encode::{self, Connection, Framing};
use crate::http::h2;
use crate::http::headers::Span;
use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;
use crate::http::upstream_path;
use crate::node::address_of;
use crate::snapshot::Endpoint;
use crate::wire::Wire;

/// How the request goes out.
pub(super) struct Sending {
    /// The body is in memory, whole.
    pub(super) whole: bool,
    /// Where the received head names the protocol that the upstream is asked for.
    pub(super) upgrade: Option<Span>,
    framing: Framing,
}

impl Sending {
    /// Whether the body goes out in chunks.
    pub(super) fn is_chunked(&self, wire: &Wire) -> bool {
        self.framing == Framing::Chunked && matches!(wire, Wire::Bytes(_))
    }
}

impl Exchange<'_> {
    /// Prepares the upstream request, all but `Host`, which depends on the target.
    pub(super) fn write_request(&mut self, endpoint: &Endpoint) -> Result<Sending, Refusal> {
        let epoch = Rc::clone(&self.epoch);
        let policy = &epoch.snapshot.policy;
        let route = policy.get(self.scratch.state.route.ok_or(Refusal::NoRoute)?);
        let stripped = route.strip_path.then_some(self.record.matched_len as usize);
        upstream_path::join(
            endpoint.path.as_bytes(),
            &self.scratch.path,
            stripped,
            &mut self.scratch.upstream_path,
        );
        self.scratch.upstream_query.clear();
        let request = self.scratch.head.on(&self.scratch.received);
        if let Some(query) = request.query() {
            self.scratch.upstream_query.extend_from_slice(query);
            self.record.has_query = true;
        }
        let mut outgoing = std::mem::take(&mut self.scratch.outgoing);
        let received = std::mem::take(&mut self.scratch.received);
        let mut fields = outgoing.start_request(self.scratch.head.headers.on(&received), &received);
        let edited = self.apply_request(&mut fields, &received);
        let headers = self.scratch.head.headers.on(&received);
        let prefix = stripped.and_then(|length| upstream_path::stripped_prefix(&self.scratch.path, length));
        let named = self
            .record
            .client
            .filter(|_| self.record.client != self.client.peer.address);
        let named = named.map(|client| address_of(client).to_string());
        Forwarding {
            peer: &self.client.peer.address_text,
            client: named.as_deref().unwrap_or(&self.client.peer.address_text),
            peer_is_trusted: self.context.node.trusts(self.client.peer.address),
            scheme: if self.client.peer.tls.is_some() {
                "https"
            } else {
                "http"
            },
            host: &self.scratch.host,
            port: self.client.peer.local_port,
            path: self.scratch.head.on(&received).raw_path(),
            prefix,
            request_id: Some(&self.record.id),
            version: self.scratch.head.version,
            product: PRODUCT,
        }
        .write(headers, &mut fields);
        self.scratch.outgoing = outgoing;
        self.scratch.received = received;
        edited?;
        let whole = self.record.body_read;
        let framing = if whole && (self.record.body_edited || !self.scratch.body.is_empty()) {
            Framing::Length(self.scratch.body.len() as u64)
        } else {
            Framing::of_request(&self.scratch.head, self.upstream_method())
        };
        Ok(Sending {
            whole,
            upgrade: self.asked_protocol(endpoint, framing),
            framing,
        })
    }

    /// Applies what the request entry decided, in its order.
    fn apply_request(&mut self, fields: &mut Outgoing<'_>, received: &[u8]) -> Result<(), Refusal> {
        self.write_identity(fields);
        let epoch = Rc::clone(&self.epoch);
        let policy = &epoch.snapshot.policy;
        let Some(effects) = self.scratch.effects else {
            return Ok(());
        };
        for effect in effects.iter() {
            if let Some(id) = effect.id::<Correlation>() {
                let own = self.record.correlation.as_deref().unwrap_or_default();
                fields.set(policy.bytes(policy.get(id).header), own);
            } else if let Some(id) = effect.id::<Acl>() {
                self.write_groups(&policy.get(id), fields);
            } else if let Some(id) = effect.id::<EditList>() {
                self.edit_request(id, fields, received)?;
            }
        }
        self.write_model_request(fields)
    }

    /// Who the caller is, as Kong tells upstreams.
    fn write_identity(&self, fields: &mut Outgoing<'_>) {
        let policy = &self.epoch.snapshot.policy;
        let state = &self.scratch.state;
        let Some(consumer) = state.consumer.map(|id| policy.get(id)) else {
            return;
        };
        fields.put(KnownHeader::XConsumerId, policy.bytes(consumer.id));
        if !consumer.custom_id.is_empty() {
            fields.put_text(KnownHeader::XConsumerCustomId, policy.bytes(consumer.custom_id));
        }
        if !consumer.username.is_empty() {
            fields.put_text(KnownHeader::XConsumerUsername, policy.bytes(consumer.username));
        }
        if let Some(credential) = state.credential {
            let identifier = policy.get(credential).identifier;
            fields.put_text(KnownHeader::XCredentialIdentifier, policy.bytes(identifier));
        }
        if state.anonymous {
            fields.put(KnownHeader::XAnonymousConsumer, b"true");
        }
    }

    fn write_groups(&self, acl: &Acl, fields: &mut Outgoing<'_>) {
        let policy = &self.epoch.snapshot.policy;
        let groups = self.scratch.state.consumer.map(|id| policy.get(id).acl_header);
        if let Some(groups) = groups.filter(|groups| !groups.is_empty() && !acl.hide_groups_header) {
            fields.put_text(KnownHeader::XConsumerGroups, policy.bytes(groups));
        }
    }

    /// The method, as the upstream gets it.
    pub(super) fn upstream_method(&self) -> &[u8] {
        let received = self.scratch.head.method.name(&self.scratch.received);
        self.record.method.as_deref().unwrap_or(received)
    }

    /// Sends the head for one target, or appends it to what is sent next.
    pub(super) fn write_head(
        &mut self,
        authority: &str,
        sending: &Sending,
        leg: &mut Leg,
        output: &mut Vec<u8>,
    ) {
        let policy = &self.epoch.snapshot.policy;
        let preserve = self
            .scratch
            .state
            .route
            .is_some_and(|route| policy.get(route).preserve_host);
        let scratch = &mut *self.scratch;
        let mut fields = scratch.outgoing.resume(&scratch.received);
        if !self.record.host_edited {
            let client = scratch.head.authority.of(&scratch.received);
            if preserve && !client.is_empty() {
                fields.put(KnownHeader::Host, client);
            } else {
                fields.put(KnownHeader::Host, authority.as_bytes());
            }
        }
        let method = self
            .record
            .method
            .as_ref()
            .map_or(scratch.head.method.name(&scratch.received), Vec::as_slice);
        let path = &scratch.upstream_path;
        let query = self.record.has_query.then_some(scratch.upstream_query.as_slice());
        let secure = leg.key.tls.is_some();
        let trailers = self
            .client
            .wire
            .frames()
            .is_some_and(|frames| frames.has_trailers());
        let Some(frames) = leg.leased.wire.frames() else {
            let connection = sending.upgrade.map_or(Connection::KeepAlive, |protocol| {
                Connection::Upgrade(protocol.of(&scratch.received))
            });
            encode::write_request(method, path, query, &fields, sending.framing, connection, output);
            return;
        };
        let bodiless = match sending.whole {
            true => scratch.body.is_empty() && !trailers,
            false => self.body.is_ended(),
        };
        let request = h2::encode::Request {
            method,
            secure,
            path,
            query,
        };
        frames.send_head(bodiless, |out| {
            h2::encode::request(&request, &fields, sending.framing, out);
        });
    }
}
