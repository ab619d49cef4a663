//! The exchange as policy sees it: the decoded head, the canonical path, the peer. Implements
//! [`policy::field::Exchange`]; counters are asked through [`super::gate`].

use policy::field::{self, Found, Method, Span, Taken};
use policy::table::{Budget, Id, Quota};
use policy::vm::State;
use serde_json::Value;

use super::gate::Gate;
use super::quota::Caller;
use crate::edit::body::BodyType;
use crate::edit::multipart::Parts;
use crate::http::body::BodyLength;
use crate::http::head::{self, RequestHead};
use crate::http::headers::HeaderView;
use crate::http::known::KnownHeader;
use crate::http::query;

const SOURCE_HEAD: u8 = 0;
const SOURCE_SCRATCH: u8 = 1;

/// Facts about the connection that a request came on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer<'p> {
    /// Whether it came over TLS.
    pub secure: bool,
    /// Server name of the handshake, lower case; empty without one.
    pub server_name: &'p [u8],
    /// The client's address, IPv4 mapped.
    pub client: Option<u128>,
}

/// One request, its body if it was read, and what its programs may count on.
pub(super) struct View<'v> {
    /// The head.
    pub head: &'v RequestHead,
    /// The bytes that the head points into.
    pub received: &'v [u8],
    /// Canonical path.
    pub path: &'v [u8],
    /// Lower-case host without port.
    pub host: &'v [u8],
    /// Port of the Host header, or of the listener.
    pub port: u16,
    /// The connection.
    pub peer: Peer<'v>,
    /// The whole body, once it was read.
    pub body: Option<&'v [u8]>,
    /// Memory for decoded values.
    pub scratch: &'v mut Vec<u8>,
    /// Quotas and budgets.
    pub(super) gate: Gate<'v>,
}

impl<'v> View<'v> {
    /// Who asks, as counters tell callers apart.
    const fn caller<'c>(&self, state: &'c State) -> Caller<'c>
    where
        'v: 'c,
    {
        Caller {
            state,
            headers: self.head.headers.on(self.received),
            path: self.path,
            address: self.peer.client,
        }
    }

    const fn headers(&self) -> HeaderView<'_> {
        self.head.headers.on(self.received)
    }

    fn in_head(&self, part: &[u8]) -> Span {
        let place = crate::http::headers::Span::locate(part, self.received);
        span(SOURCE_HEAD, place.start(), place.len())
    }

    fn decoded(&mut self, find: impl Fn(&mut Vec<u8>) -> Occurrences) -> Found {
        let start = self.scratch.len();
        let occurrences = find(self.scratch);
        let value = span(SOURCE_SCRATCH, start, self.scratch.len() - start);
        match occurrences {
            Occurrences::None => Found::Absent,
            Occurrences::One => Found::Once(value),
            Occurrences::Several => Found::Several(value),
        }
    }
}

enum Occurrences {
    None,
    One,
    Several,
}

fn span(source: u8, start: usize, len: usize) -> Span {
    // Heads and scratch are bounded far below 4 GiB.
    Span {
        source,
        offset: u32::try_from(start).unwrap_or(0),
        len: u32::try_from(len).unwrap_or(0),
    }
}

/// Appends the first value and tells how many there are.
fn copy<'a>(mut values: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> Occurrences {
    let Some(first) = values.next() else {
        return Occurrences::None;
    };
    out.extend_from_slice(first);
    if values.next().is_none() {
        Occurrences::One
    } else {
        Occurrences::Several
    }
}

/// Appends the decoded first value of a name to `out` and tells how many there are.
fn collect<'a>(
    pairs: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    name: &[u8],
    out: &mut Vec<u8>,
) -> Occurrences {
    let mut seen = Occurrences::None;
    for (key, value) in pairs {
        // A name without a value says nothing.
        let Some(value) = value else { continue };
        if !query::decodes_to(key, name) {
            continue;
        }
        match seen {
            Occurrences::None => {
                query::decode(value, out);
                seen = Occurrences::One;
            }
            _ => return Occurrences::Several,
        }
    }
    seen
}

impl field::Exchange for View<'_> {
    fn method(&self) -> Method {
        match self.head.method {
            head::Method::Get => Method::GET,
            head::Method::Head => Method::HEAD,
            head::Method::Options => Method::OPTIONS,
            other => Method::from_name(other.name(self.received)),
        }
    }

    fn method_name(&self) -> &[u8] {
        self.head.method.name(self.received)
    }

    fn host(&self) -> &[u8] {
        self.host
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn secure(&self) -> bool {
        self.peer.secure
    }

    fn server_name(&self) -> &[u8] {
        self.peer.server_name
    }

    fn header(&self, name: &str) -> Found {
        let mut values = self.headers().find_all(name.as_bytes());
        match (values.next(), values.next()) {
            (None, _) => Found::Absent,
            (Some(value), None) => Found::Once(self.in_head(value)),
            (Some(value), Some(_)) => Found::Several(self.in_head(value)),
        }
    }

    fn any_header(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers().find_all(name.as_bytes()).any(test)
    }

    fn query(&mut self, name: &str) -> Found {
        let (head, received) = (self.head, self.received);
        let Some(query) = head.target.query else {
            return Found::Absent;
        };
        self.decoded(|out| collect(query::pairs(query.of(received)), name.as_bytes(), out))
    }

    fn has_argument(&self, name: &str) -> bool {
        let query = self.head.target.query.map(|query| query.of(self.received));
        query::pairs(query.unwrap_or_default()).any(|(it, _)| query::decodes_to(it, name.as_bytes()))
    }

    fn body_argument(&mut self, name: &str) -> Found {
        let Some(body) = self.body else {
            return Found::Absent;
        };
        let headers = self.head.headers.on(self.received);
        let content_type = headers.get(KnownHeader::ContentType).unwrap_or_default();
        match BodyType::of(content_type) {
            Some(BodyType::Json) => self.decoded(|out| json_member(body, name, out)),
            Some(BodyType::Multipart(boundary)) => {
                let mut parts = Parts::default();
                let parts = parts.start(body, boundary);
                let values = parts.iter().flat_map(|parts| parts.values(name.as_bytes()));
                self.decoded(|out| copy(values.clone(), out))
            }
            Some(BodyType::Form) | None => {
                self.decoded(|out| collect(query::pairs(body), name.as_bytes(), out))
            }
        }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        let source = if span.source == SOURCE_HEAD {
            self.received
        } else {
            self.scratch.as_slice()
        };
        let start = span.offset as usize;
        source.get(start..start + span.len as usize).unwrap_or_default()
    }

    fn client_address(&self) -> Option<u128> {
        self.peer.client
    }

    fn body_length(&self) -> field::BodyLength {
        match self.head.body {
            BodyLength::None => field::BodyLength::None,
            BodyLength::Length(length) => field::BodyLength::Known(length),
            BodyLength::Chunked | BodyLength::UntilClose => field::BodyLength::Unknown,
        }
    }

    fn expects_continue(&self) -> bool {
        self.head.expect_continue
    }

    fn take(&mut self, quota: Id<Quota>, state: &State) -> Taken {
        let caller = self.caller(state);
        self.gate.take(quota, &caller)
    }

    fn reserve(&mut self, budget: Id<Budget>, state: &State) -> Taken {
        let caller = self.caller(state);
        self.gate.reserve(budget, &caller)
    }
}

/// Appends a top-level text member of a JSON body. A list or object counts as several values, as Kong's tables do.
fn json_member(body: &[u8], name: &str, out: &mut Vec<u8>) -> Occurrences {
    let parsed: Result<serde_json::Map<String, Value>, _> = serde_json::from_slice(body);
    match parsed.ok().as_ref().and_then(|object| object.get(name)) {
        Some(Value::String(value)) => {
            out.extend_from_slice(value.as_bytes());
            Occurrences::One
        }
        Some(Value::Array(_) | Value::Object(_)) => Occurrences::Several,
        _ => Occurrences::None,
    }
}
