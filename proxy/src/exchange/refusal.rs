//! The one door by which every answer leaves that the gateway makes itself.

use std::fmt::Write as _;
use std::rc::Rc;

use policy::isa::Entry;
use policy::table::{self, BodyShape, Cors, Id, MessageTail, Size};
use policy::unix;

use super::relay::is_silent;
use super::{Exchange, Vanished};
use crate::http::h1::encode::{Connection, Framing};
use crate::http::head::Version;
use crate::http::known::KnownHeader;
use crate::http::refusal_body::{self, BodyType};
use crate::http::status;
use crate::http::upgrade::HandshakeFault;
use crate::node::address_of;
use crate::settable::{self, Limit};

/// How the gateway calls itself in `Server` and `Via`.
pub(super) const PRODUCT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));

/// Why the gateway answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Policy says so.
    Policy(Id<table::Refusal>),
    /// An operator wrote the answer.
    Respond(Id<table::Response>),
    /// A CORS preflight.
    Preflight(Id<Cors>),
    /// No route fits.
    NoRoute,
    /// The route has no service.
    NoService,
    /// The route wants TLS.
    UseHttps,
    /// The route wants TLS, and says where.
    Redirect(u16),
    /// A gRPC route got another request.
    NotGrpc,
    /// A gRPC route got a request over HTTP/1.
    UseHttp2,
    /// A gRPC route wants TLS.
    UseGrpcs,
    /// The route wants a WebSocket handshake, and a good one.
    Handshake(HandshakeFault),
    /// The request cannot be understood.
    Malformed(u16),
    /// The body is longer than is read.
    BodyTooLarge,
    /// There is too much to do: seconds after which the client may come again.
    Overloaded(u32),
    /// A template of an edit cannot be rendered.
    Template,
    /// The upstream's name has no address.
    Unresolved,
    /// The upstream has no target.
    NoTarget,
    /// Every target serves as many requests as it may, and this one may not wait longer. After so many seconds it may
    /// come again.
    Busy(u64),
    /// The upstream cannot be reached, broke off, or did not answer in time: 502, 503 or 504.
    Upstream(u16),
    /// A model call is refused with a message of its own.
    Model(super::model::ModelRefusal),
}

/// Which of Kong's two bodies an answer has, or none.
enum Body {
    Error(u16, Option<&'static str>),
    BelowPlugins(u16),
    Exit(u16),
    AiError(u16),
    Ready(u16),
}

impl Exchange<'_> {
    /// Sends an answer of the gateway's own, with the response phases that apply to it.
    pub(super) async fn refuse(&mut self, refusal: Refusal) -> Result<(), Vanished> {
        self.discard_body().await?;
        self.record.answered = Some(crate::worker::clock::now());
        let client_version = self.scratch.head.version;
        // Response phases see the refusal as they would see an upstream's answer.
        self.run(Entry::Response);
        let mut outgoing = std::mem::take(&mut self.scratch.outgoing);
        let mut text = std::mem::take(&mut self.scratch.text);
        text.clear();
        let status = {
            let mut fields = outgoing.start_empty();
            let status = self.write_refusal(refusal, &mut fields, &mut text);
            self.write_own_headers(&mut fields);
            self.edit_own_body(&fields, &mut text);
            self.apply_response_headers(&mut fields);
            self.record.status = status;
            let framing = match status {
                100..200 | 204 | 304 => Framing::Nothing,
                _ => Framing::Length(text.len() as u64),
            };
            let connection = match refusal.wants() {
                Some(protocol) if self.keep_alive => Connection::Upgrade(protocol),
                _ if self.keep_alive && client_version != Version::Http10 => Connection::KeepAlive,
                _ => Connection::Close,
            };
            if connection == Connection::Close {
                self.keep_alive = false;
            }
            let silent = is_silent(self.scratch.head.method, framing);
            self.client.begin(status, &fields, framing, connection, silent);
            if !silent {
                self.client.piece(&text, framing);
                self.client.end(framing);
            }
            status
        };
        self.record.status = status;
        self.scratch.outgoing = outgoing;
        self.scratch.text = text;
        self.send().await
    }

    /// Writes body and special fields; gives the status.
    fn write_refusal(
        &mut self,
        refusal: Refusal,
        fields: &mut crate::http::outgoing::Outgoing<'_>,
        text: &mut Vec<u8>,
    ) -> u16 {
        let epoch = Rc::clone(&self.epoch);
        let policy = &epoch.snapshot.policy;
        let mut message = String::new();
        let body = match refusal {
            Refusal::Policy(id) => {
                let row = policy.get(id);
                message.push_str(policy.text(row.message));
                if row.tail == MessageTail::ClientAddress {
                    match self.record.client {
                        Some(client) => {
                            let _ = write!(message, "{}", address_of(client));
                        }
                        None => message.push_str(unix::PREFIX),
                    }
                }
                for line in policy.rows(row.headers) {
                    fields.set(policy.bytes(line.name), policy.bytes(line.value));
                }
                self.write_budget_refusal(fields, &mut message);
                let status = u16::try_from(row.status).unwrap_or(500);
                match row.shape {
                    BodyShape::Error => Body::Error(status, None),
                    BodyShape::Exit => Body::Exit(status),
                    BodyShape::AiError => Body::AiError(status),
                }
            }
            Refusal::Respond(id) => {
                let row = policy.get(id);
                let status = u16::try_from(row.status).unwrap_or(503);
                self.write_response_row(&row, fields, text, status)
            }
            Refusal::Preflight(cors) => {
                self.write_preflight(cors, fields);
                Body::Ready(200)
            }
            Refusal::Model(refusal) => {
                self.write_model_refusal(refusal, &mut message);
                Body::AiError(super::model::ModelRefusal::STATUS)
            }
            Refusal::Overloaded(seconds) => {
                fields.put_number(KnownHeader::RetryAfter, seconds.into());
                Body::Error(503, Some(super::shed::MESSAGE))
            }
            Refusal::Template => Body::Error(500, Some("An unexpected error occurred")),
            Refusal::NoRoute => Body::Error(404, Some("no Route matched with those values")),
            Refusal::NoService => Body::Error(503, Some("no Service found with those values")),
            Refusal::Unresolved => Body::Error(503, Some("name resolution failed")),
            Refusal::NoTarget => Body::Error(503, Some("failure to get a peer from the ring-balancer")),
            Refusal::Busy(seconds) => {
                fields.put_number(KnownHeader::RetryAfter, seconds);
                Body::Error(503, Some("all targets of the upstream are busy"))
            }
            Refusal::UseHttps => Body::Error(426, Some("Please use HTTPS protocol")),
            Refusal::NotGrpc => Body::Error(415, Some("Non-gRPC request matched gRPC route")),
            Refusal::UseHttp2 => Body::Error(426, Some("Please use HTTP2 protocol")),
            Refusal::UseGrpcs => {
                fields.put(KnownHeader::ContentType, BodyType::Grpc.content_type().as_bytes());
                fields.put_number(KnownHeader::GrpcStatus, 1);
                fields.put(KnownHeader::GrpcMessage, b"gRPC request matched gRPCs route");
                Body::Ready(200)
            }
            Refusal::Handshake(fault) => handshake_refusal(fault, fields),
            Refusal::Redirect(status) => {
                self.write_location(fields);
                Body::Ready(status)
            }
            Refusal::BodyTooLarge => Body::BelowPlugins(413),
            Refusal::Malformed(status) | Refusal::Upstream(status) => Body::BelowPlugins(status),
        };
        self.write_body(&body, &message, fields, text)
    }

    fn write_body(
        &self,
        body: &Body,
        message: &str,
        fields: &mut crate::http::outgoing::Outgoing<'_>,
        text: &mut Vec<u8>,
    ) -> u16 {
        let headers = self.scratch.head.headers.on(&self.scratch.received);
        let (accept, content_type) = (
            headers.get(KnownHeader::Accept),
            headers.get(KnownHeader::ContentType),
        );
        let mut fallback = Vec::new();
        let mut negotiated =
            |kind: BodyType, status: u16, message: &str, fields: &mut crate::http::outgoing::Outgoing<'_>| {
                let message = match (message, status::default_message(status)) {
                    ("", Some(default)) => default,
                    ("", None) => {
                        refusal_body::write_unknown_status(status, &mut fallback);
                        str::from_utf8(&fallback).unwrap_or_default()
                    }
                    (message, _) => message,
                };
                fields.put(KnownHeader::ContentType, kind.content_type().as_bytes());
                if kind == BodyType::Grpc {
                    fields.put_number(KnownHeader::GrpcStatus, status::grpc_status(status).into());
                    fields.set(b"grpc-message", message.as_bytes());
                }
                kind.write(message, self.record.id_text(), text);
            };
        match *body {
            Body::Error(status, fixed) => {
                let kind = BodyType::negotiate(accept, content_type);
                negotiated(kind, status, fixed.unwrap_or(message), fields);
                if kind == BodyType::Grpc { 200 } else { status }
            }
            Body::BelowPlugins(status) => {
                let kind = BodyType::negotiate_below_plugins(accept, content_type);
                negotiated(kind, status, message, fields);
                if kind == BodyType::Grpc { 200 } else { status }
            }
            Body::Exit(status) | Body::AiError(status) => {
                fields.put(KnownHeader::ContentType, b"application/json; charset=utf-8");
                if matches!(body, Body::Exit(_)) {
                    refusal_body::write_message(message, text);
                } else {
                    refusal_body::write_error_message(message, text);
                }
                status
            }
            Body::Ready(status) => status,
        }
    }

    /// request-termination's answer.
    fn write_response_row(
        &self,
        row: &table::Response,
        fields: &mut crate::http::outgoing::Outgoing<'_>,
        text: &mut Vec<u8>,
        status: u16,
    ) -> Body {
        let policy = &self.epoch.snapshot.policy;
        if row.echo {
            fields.put(KnownHeader::ContentType, b"application/json; charset=utf-8");
            self.write_echo(policy.text(row.message), text);
        } else if !row.body.is_empty() {
            let content_type = policy.text(row.content_type);
            let content_type = if content_type.is_empty() {
                "application/json; charset=utf-8"
            } else {
                content_type
            };
            fields.set(b"Content-Type", content_type.as_bytes());
            text.extend_from_slice(policy.bytes(row.body));
        } else if !row.message.is_empty() {
            fields.put(KnownHeader::ContentType, b"application/json; charset=utf-8");
            refusal_body::write_message(policy.text(row.message), text);
        }
        Body::Ready(status)
    }

    fn write_location(&self, fields: &mut crate::http::outgoing::Outgoing<'_>) {
        let request = self.scratch.head.on(&self.scratch.received);
        fields.put_with(KnownHeader::Location, |out| {
            out.extend_from_slice(b"https://");
            out.extend_from_slice(&self.scratch.host);
            out.extend_from_slice(request.raw_path());
            if let Some(query) = request.query() {
                out.push(b'?');
                out.extend_from_slice(query);
            }
        });
    }

    /// What Kong adds to answers of its own.
    fn write_own_headers(&self, fields: &mut crate::http::outgoing::Outgoing<'_>) {
        let took = crate::worker::clock::now() - self.record.began;
        fields.put_number(KnownHeader::XKongResponseLatency, milliseconds(took));
        self.write_date(fields);
        fields.put(KnownHeader::Server, PRODUCT.as_bytes());
        fields.put(KnownHeader::XKongRequestId, &self.record.id);
    }

    pub(super) fn write_date(&self, fields: &mut crate::http::outgoing::Outgoing<'_>) {
        self.context.date.with(crate::worker::clock::unix_ms(), |date| {
            fields.put(KnownHeader::Date, date);
        });
    }

    /// The refusal for a body that is longer than is allowed.
    pub(super) fn too_large(&self) -> Refusal {
        let policy = &self.epoch.snapshot.policy;
        let effects = self.scratch.effects.as_ref();
        let limited = effects.and_then(|effects| {
            effects
                .iter()
                .filter_map(|effect| effect.id::<Size>())
                .map(|size| policy.get(size))
                .find(|size| size.limit < settable::body_bytes() as u64)
        });
        let Some(size) = limited else {
            settable::reached(Limit::BodyBytes);
            return Refusal::BodyTooLarge;
        };
        Refusal::Policy(size.too_large)
    }
}

impl Refusal {
    /// What a 426 tells the client to upgrade to.
    const fn wants(self) -> Option<&'static [u8]> {
        match self {
            Self::UseHttps => Some(b"TLS/1.2, HTTP/1.1"),
            Self::UseHttp2 => Some(b"HTTP/2"),
            Self::Handshake(HandshakeFault::NotOne) => Some(b"websocket"),
            _ => None,
        }
    }
}

/// RFC 6455 §4.2.2: who asks for another version is told which one there is.
fn handshake_refusal(fault: HandshakeFault, fields: &mut crate::http::outgoing::Outgoing<'_>) -> Body {
    match fault {
        HandshakeFault::NotOne => Body::Error(426, Some("Please use WebSocket protocol")),
        HandshakeFault::Key => Body::Error(400, Some("Sec-WebSocket-Key is missing")),
        HandshakeFault::Version => {
            fields.put(KnownHeader::SecWebsocketVersion, b"13");
            Body::Error(400, Some("Sec-WebSocket-Version is not 13"))
        }
    }
}

/// Whole milliseconds.
pub(super) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
