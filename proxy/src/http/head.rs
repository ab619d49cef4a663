//! Neutral message heads: what a request or a response says before its body, whatever the wire format.
//!
//! Enters: offsets that a decoder found. Leaves: method, target, framing and header fields, read from the buffer
//! they arrived in. A head owns no text: the caller keeps that buffer in place for as long as the exchange lasts.

use super::authority::Authority;
use super::body::BodyLength;
use super::headers::{HeaderView, Headers, Span};
use super::known::KnownHeader;

/// A request method, case-sensitive (RFC 9110 §9.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any other token, as received.
    Other(Span),
}

impl Method {
    /// The method's text; `bytes` is the buffer the head was decoded from.
    pub fn name(self, bytes: &[u8]) -> &[u8] {
        match self {
            Self::Get => b"GET",
            Self::Head => b"HEAD",
            Self::Post => b"POST",
            Self::Put => b"PUT",
            Self::Patch => b"PATCH",
            Self::Delete => b"DELETE",
            Self::Options => b"OPTIONS",
            Self::Other(span) => span.of(bytes),
        }
    }

    /// May be sent again without harm when the first answer was lost (RFC 9110 §9.2.2).
    pub const fn is_idempotent(self) -> bool {
        matches!(
            self,
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options
        )
    }
}

/// The protocol version a message was received in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As `Via` spells it (RFC 9110 §7.6.3).
    pub const fn number(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// The form of a request target (RFC 9112 §3.2). `CONNECT`'s authority-form never gets here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://authority/path?query`, whose authority equals Host
    Absolute,
    /// `*`, of `OPTIONS` only
    Asterisk,
}

/// A request target, taken apart but not yet canonical: see `path`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target {
    /// How it was written.
    pub form: TargetForm,
    /// From the first `/` to the query. Empty for `http://a`; `*` in asterisk-form.
    pub path: Span,
    /// What follows the first `?`. `Some` of nothing for `/x?`.
    pub query: Option<Span>,
}

/// The head of one request. Reuse it: [`RequestHead::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The request target.
    pub target: Target,
    /// As received.
    pub version: Version,
    /// The valid `host` or `host:port` this request is for: Host, `:authority` or, in HTTP/1.0, the target's own.
    /// Empty only in HTTP/1.0.
    pub authority: Span,
    /// The host in it, without a trailing dot, and the port.
    pub host: (Span, Option<u16>),
    /// End-to-end and hop-by-hop fields. Those that `Connection` named are already gone, so that policy and
    /// upstream see the same request.
    pub headers: Headers,
    /// Where the body ends.
    pub body: BodyLength,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The client will use the connection again.
    pub keep_alive: bool,
    /// `Connection: upgrade` and an `Upgrade` field are both there.
    pub upgrade: bool,
}

impl RequestHead {
    /// Back to an empty head, with its memory.
    pub fn clear(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        *self = Self {
            headers,
            ..Self::default()
        };
    }

    /// This head read from the buffer it was decoded from.
    pub const fn on<'a>(&'a self, bytes: &'a [u8]) -> Request<'a> {
        Request { head: self, bytes }
    }
}

/// A [`RequestHead`] together with the bytes it points into.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The offsets.
    pub head: &'a RequestHead,
    bytes: &'a [u8],
}

impl<'a> Request<'a> {
    /// The method's text.
    pub fn method(self) -> &'a [u8] {
        self.head.method.name(self.bytes)
    }

    /// The target's path as received: escapes, dots and all. `/` where the target has none.
    pub fn raw_path(self) -> &'a [u8] {
        match self.head.target.path {
            path if path.is_empty() => b"/",
            path => path.of(self.bytes),
        }
    }

    /// The query as received, without the `?`.
    pub fn query(self) -> Option<&'a [u8]> {
        self.head.target.query.map(|query| query.of(self.bytes))
    }

    /// Host and port this request is for; `None` for an HTTP/1.0 request without one.
    pub fn authority(self) -> Option<Authority<'a>> {
        let (host, port) = self.head.host;
        let host = host.of(self.bytes);
        (!host.is_empty()).then_some(Authority { host, port })
    }

    /// The header fields.
    pub const fn headers(self) -> HeaderView<'a> {
        self.head.headers.on(self.bytes)
    }

    /// Shorthand for `headers().get(known)`.
    pub fn header(self, known: KnownHeader) -> Option<&'a [u8]> {
        self.headers().get(known)
    }
}

/// The head of one response. Reuse it: [`ResponseHead::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: u16,
    /// As received.
    pub version: Version,
    /// The reason phrase as received; often empty.
    pub reason: Span,
    /// All fields but those that `Connection` named.
    pub headers: Headers,
    /// Where the body ends, with the request's method taken into account.
    pub body: BodyLength,
    /// The upstream will take another request on this connection once the body has ended.
    pub keep_alive: bool,
    /// `Connection: upgrade` and an `Upgrade` field are both there.
    pub upgrade: bool,
}

impl ResponseHead {
    /// Back to an empty head, with its memory.
    pub fn clear(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        *self = Self {
            headers,
            ..Self::default()
        };
    }

    /// Another head follows for the same request (RFC 9110 §15.2). `101` is final: the protocol changes after it.
    pub const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}
