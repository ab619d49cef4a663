//! Kong's log object (file-log of Kong 3.9 to 3.15), written from borrowed facts.

use std::fmt::Display;
use std::io::Write as _;
use std::net::IpAddr;

use super::fields::{Fields, write_headers, write_query, write_uri};
use super::json::{self, Scope};
use super::redaction::Redaction;
use crate::http::write::push_decimal;
use crate::telemetry::counter::{Mode, Source};
use crate::telemetry::decimal::Millionths;
use crate::tls::PeerCertificate;
use crate::worker::Address;

/// One finished exchange.
#[derive(Clone, Copy)]
pub struct LogEntry<'e> {
    /// What the client sent.
    pub request: LogRequest<'e>,
    /// What it got.
    pub response: LogResponse<'e>,
    /// Path and query sent to the upstream; empty when not proxied.
    pub upstream_uri: &'e [u8],
    /// Status of each try's response, in order.
    pub upstream_status: &'e [u16],
    /// Where the time went.
    pub latencies: Latencies,
    /// Every try to reach the upstream.
    pub tries: &'e [LogTry],
    /// Id of the credential that was accepted, and of the consumer it belongs to.
    pub authenticated: Option<(&'e str, Option<&'e str>)>,
    /// The route as JSON, made once per snapshot.
    pub route: Option<&'e str>,
    /// The service as JSON.
    pub service: Option<&'e str>,
    /// The consumer as JSON.
    pub consumer: Option<&'e str>,
    /// The client's address; `None` on a Unix socket.
    pub client_ip: Option<IpAddr>,
    /// When the request began, in Unix milliseconds.
    pub started_at_ms: u64,
    /// Who made the response.
    pub source: Source,
    /// Set by the correlation-id plugin.
    pub correlation_id: Option<&'e [u8]>,
    /// The call of a model, when it is to be logged.
    pub ai: Option<LogCall<'e>>,
    /// The certificate that the client showed.
    pub certificate: Option<LogCertificate<'e>>,
    /// The epoch that judged the request.
    pub epoch: u64,
}

/// Who a client proved to be by its certificate.
#[derive(Clone, Copy)]
pub struct LogCertificate<'e> {
    /// The subject (RFC 4514).
    pub subject: &'e str,
    /// SHA-256 of the certificate.
    pub fingerprint: &'e [u8; 32],
}

impl<'e> LogCertificate<'e> {
    /// What the log says of a certificate.
    pub fn of(certificate: &'e PeerCertificate) -> Self {
        Self {
            subject: &certificate.subject,
            fingerprint: &certificate.fingerprint,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = Scope::object(out);
        object.text("subject", self.subject.as_bytes());
        let fingerprint = object.member(b"sha256");
        fingerprint.push(b'"');
        for byte in self.fingerprint {
            for digit in [byte >> 4, byte & 15] {
                fingerprint.push(b"0123456789abcdef"[usize::from(digit)]);
            }
        }
        fingerprint.push(b'"');
        object.end();
    }
}

/// The request of a [`LogEntry`].
#[derive(Clone, Copy)]
pub struct LogRequest<'e> {
    /// Its id.
    pub id: &'e str,
    /// Its method.
    pub method: &'e [u8],
    /// `http` or `https`.
    pub scheme: &'e str,
    /// Host without port.
    pub host: &'e [u8],
    /// Port.
    pub port: u16,
    /// Path as received.
    pub path: &'e [u8],
    /// Query as received, without `?`.
    pub query: Option<&'e [u8]>,
    /// Header fields as received.
    pub headers: &'e dyn Fields,
    /// Bytes of head and body.
    pub size: u64,
    /// The TLS session, on https.
    pub tls: Option<LogTls<'e>>,
}

/// The TLS session of a [`LogRequest`].
#[derive(Clone, Copy)]
pub struct LogTls<'e> {
    /// `TLSv1.3`
    pub version: &'e str,
    /// Cipher suite.
    pub cipher: &'e str,
    /// `NONE`, `SUCCESS` or `FAILED`.
    pub client_verify: &'e str,
}

/// The response of a [`LogEntry`].
#[derive(Clone, Copy)]
pub struct LogResponse<'e> {
    /// Status sent.
    pub status: u16,
    /// Header fields sent.
    pub headers: &'e dyn Fields,
    /// Bytes of head and body.
    pub size: u64,
}

/// Where the time of a [`LogEntry`] went, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latencies {
    /// In the gateway.
    pub kong_ms: u64,
    /// Until the upstream's response head; `None` when not proxied.
    pub proxy_ms: Option<u64>,
    /// All of it.
    pub request_ms: u64,
    /// From the upstream's response head to its last byte.
    pub receive_ms: u64,
}

/// A try to reach the upstream.
#[derive(Clone, Copy, Debug)]
pub struct LogTry {
    /// The address that was chosen.
    pub address: Address,
    /// When it was chosen, in Unix nanoseconds.
    pub began_unix_ns: u64,
    /// How long choosing took, in nanoseconds.
    pub took_ns: u64,
    /// How it ended, if not with an answer.
    pub lost: Option<LostTry>,
    /// Whether it was made while an earlier one was still waited for.
    pub hedge: bool,
}

/// How a try ended without an answer. The status is 504 for a timeout, 499 for a client that left, 502 otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTry {
    /// It failed, and another one is made: Kong's `next`.
    Next(u16),
    /// It failed, and was the last: Kong's `failed`.
    Failed(u16),
    /// Another one answered first: `cancelled`, which Kong does not have.
    Cancelled,
}

/// A call of a model: Kong's `ai.proxy`.
#[derive(Clone, Copy)]
pub struct LogCall<'e> {
    /// Id of the plugin.
    pub plugin_id: &'e str,
    /// Provider.
    pub provider: &'e str,
    /// Model that was asked for.
    pub request_model: &'e [u8],
    /// Model that answered.
    pub response_model: &'e [u8],
    /// Until the provider's response was complete, in milliseconds.
    pub latency_ms: u64,
    /// How.
    pub mode: Mode,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the completion.
    pub completion_tokens: u64,
    /// Millionths of the currency.
    pub cost_micros: u64,
}

impl LogEntry<'_> {
    /// Appends the object and a line break. Credentials are written as `REDACTED`, wherever they
    /// stand. `scratch` is memory for decoded arguments.
    pub fn write(&self, redaction: &Redaction, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        let mut line = Scope::object(out);
        self.write_request(redaction, scratch, line.member(b"request"));
        if self.latencies.proxy_ms.is_some() {
            let uri = line.member(b"upstream_uri");
            uri.push(b'"');
            let question = memchr::memchr(b'?', self.upstream_uri);
            let (path, encoded) = self
                .upstream_uri
                .split_at(question.unwrap_or(self.upstream_uri.len()));
            write_uri(uri, path, encoded.get(1..), redaction);
            uri.push(b'"');
            write_statuses(line.member(b"upstream_status"), self.upstream_status);
        }
        let mut response = Scope::object(line.member(b"response"));
        response.number("status", u64::from(self.response.status));
        write_headers(response.member(b"headers"), self.response.headers, redaction);
        response.number("size", self.response.size);
        response.end();
        self.write_latencies(line.member(b"latencies"));
        let mut tries = Scope::array(line.member(b"tries"));
        self.tries.iter().for_each(|made| made.write(tries.element()));
        tries.end();
        if let Some((credential, consumer)) = self.authenticated {
            let mut entity = Scope::object(line.member(b"authenticated_entity"));
            entity.text("id", credential.as_bytes());
            if let Some(consumer) = consumer {
                entity.text("consumer_id", consumer.as_bytes());
            }
            entity.end();
        }
        for (name, entity) in [
            ("route", self.route),
            ("service", self.service),
            ("consumer", self.consumer),
        ] {
            if let Some(json) = entity {
                line.raw(name, json);
            }
        }
        write_client(line.member(b"client_ip"), self.client_ip);
        line.number("started_at", self.started_at_ms);
        line.text(
            "source",
            if self.source == Source::Upstream {
                b"upstream"
            } else {
                b"kong"
            },
        );
        line.text("workspace", b"default");
        line.text("workspace_name", b"default");
        if let Some(id) = self.correlation_id {
            line.text("correlation_id", id);
        }
        if let Some(call) = &self.ai {
            call.write(line.member(b"ai"));
        }
        let mut own = Scope::object(line.member(b"tollgate"));
        own.number("epoch", self.epoch);
        if let Some(certificate) = &self.certificate {
            certificate.write(own.member(b"client_certificate"));
        }
        own.end();
        line.end();
        out.push(b'\n');
    }

    fn write_request(&self, redaction: &Redaction, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        let request = &self.request;
        let mut object = Scope::object(out);
        object.text("id", request.id.as_bytes());
        object.text("method", request.method);
        let uri = object.member(b"uri");
        uri.push(b'"');
        write_uri(uri, request.path, request.query, redaction);
        uri.push(b'"');
        let url = object.member(b"url");
        url.push(b'"');
        json::lossy(url, request.scheme.as_bytes());
        url.extend_from_slice(b"://");
        json::lossy(url, request.host);
        url.push(b':');
        push_decimal(u64::from(request.port), url);
        write_uri(url, request.path, request.query, redaction);
        url.push(b'"');
        write_query(
            object.member(b"querystring"),
            request.query.unwrap_or_default(),
            redaction,
            scratch,
        );
        write_headers(object.member(b"headers"), request.headers, redaction);
        object.number("size", request.size);
        if let Some(tls) = request.tls {
            tls.write(object.member(b"tls"));
        }
        object.end();
    }

    fn write_latencies(&self, out: &mut Vec<u8>) {
        let mut latencies = Scope::object(out);
        latencies.number("kong", self.latencies.kong_ms);
        match self.latencies.proxy_ms {
            Some(proxy_ms) => latencies.number("proxy", proxy_ms),
            None => latencies.raw("proxy", "-1"),
        }
        latencies.number("request", self.latencies.request_ms);
        latencies.number("receive", self.latencies.receive_ms);
        latencies.end();
    }
}

impl LogTry {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = Scope::object(out);
        match self.address {
            Address::Ip(address) => {
                write_quoted(object.member(b"ip"), address.ip());
                object.number("port", u64::from(address.port()));
            }
            Address::Unix(_) => write_quoted(object.member(b"ip"), self.address),
        }
        object.number("balancer_start", self.began_unix_ns / 1_000_000);
        object.number("balancer_start_ns", self.began_unix_ns);
        object.number("balancer_latency", self.took_ns / 1_000_000);
        object.number("balancer_latency_ns", self.took_ns);
        if let Some(lost) = self.lost {
            let (state, code): (&[u8], _) = match lost {
                LostTry::Next(code) => (b"next", Some(code)),
                LostTry::Failed(code) => (b"failed", Some(code)),
                LostTry::Cancelled => (b"cancelled", None),
            };
            object.text("state", state);
            if let Some(code) = code {
                object.number("code", u64::from(code));
            }
        }
        if self.hedge {
            object.raw("hedge", "true");
        }
        object.end();
    }
}

impl LogCall<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut ai = Scope::object(out);
        let mut proxy = Scope::object(ai.member(b"proxy"));
        let mut meta = Scope::object(proxy.member(b"meta"));
        meta.text("plugin_id", self.plugin_id.as_bytes());
        meta.text("provider_name", self.provider.as_bytes());
        meta.text("request_model", self.request_model);
        meta.text("response_model", self.response_model);
        meta.number("llm_latency", self.latency_ms);
        let mode: &[u8] = match self.mode {
            Mode::Oneshot => b"oneshot",
            Mode::Stream => b"stream",
            Mode::Realtime => b"realtime",
        };
        meta.text("request_mode", mode);
        meta.end();
        let mut usage = Scope::object(proxy.member(b"usage"));
        usage.number("prompt_tokens", self.prompt_tokens);
        usage.number("completion_tokens", self.completion_tokens);
        usage.number(
            "total_tokens",
            self.prompt_tokens.saturating_add(self.completion_tokens),
        );
        let each_ns = self.latency_ms.saturating_mul(1_000_000) / self.completion_tokens.max(1);
        write_number(usage.member(b"time_per_token"), Millionths(each_ns));
        write_number(usage.member(b"cost"), Millionths(self.cost_micros));
        usage.end();
        proxy.end();
        ai.end();
    }
}

fn write_statuses(out: &mut Vec<u8>, statuses: &[u16]) {
    out.push(b'"');
    for (index, status) in statuses.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        push_decimal(u64::from(*status), out);
    }
    out.push(b'"');
}

fn write_number(out: &mut Vec<u8>, number: impl Display) {
    // Writing to a Vec does not fail.
    let _never_fails = write!(out, "{number}");
}

/// A client's address; `unix:` for one on a Unix socket, as nginx has it.
pub(super) fn write_client(out: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        Some(address) => write_quoted(out, address),
        None => write_quoted(out, policy::unix::PREFIX),
    }
}

/// What needs no escapes.
fn write_quoted(out: &mut Vec<u8>, plain: impl Display) {
    out.push(b'"');
    write_number(out, plain);
    out.push(b'"');
}
