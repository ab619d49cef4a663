//! What a program may ask of the exchange that it judges.
//!
//! The gateway and `tollc eval` both implement [`Exchange`]; the VM knows nothing else of a request.

use crate::table::{Budget, Id, Quota};
use crate::vm::State;

/// Most header lines of a message that a gateway may let through.
pub const HEADERS_MAX: u32 = 100;
/// Longest head that a gateway may let through, in bytes: the start line and every header line.
pub const HEAD_MAX: u32 = 64 * 1024;
/// Longest header line that a gateway may let through, in bytes.
pub const HEADER_MAX: u32 = 8 * 1024;

/// An HTTP method as a bit, so that sets of methods are masks (RFC 9110 §9; PATCH is RFC 5789).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method(pub u32);

impl Method {
    /// Names in bit order.
    pub const NAMES: [&'static str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    /// GET.
    pub const GET: Self = Self(1);
    /// HEAD.
    pub const HEAD: Self = Self(1 << 1);
    /// OPTIONS.
    pub const OPTIONS: Self = Self(1 << 6);
    /// Every method that has no bit of its own.
    pub const OTHER: Self = Self(1 << 31);

    /// The bit of a method name; [`Method::OTHER`] if it has none.
    pub fn from_name(name: &[u8]) -> Self {
        match Self::NAMES.iter().position(|known| known.as_bytes() == name) {
            Some(bit) => Self(1 << bit),
            None => Self::OTHER,
        }
    }
}

/// A piece of the exchange's bytes. What the source number means is the exchange's own business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// Which buffer, at most [`Span::SOURCE_MAX`].
    pub source: u8,
    /// First byte.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

impl Span {
    /// Highest source number.
    pub const SOURCE_MAX: u8 = 0x7f;
}

/// What a look-up by name found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or a name without a value.
    Absent,
    /// One value.
    Once(Span),
    /// Several values; the first of them.
    Several(Span),
}

/// What the request head says about the body's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No body.
    None,
    /// `Content-Length`.
    Known(u64),
    /// Chunked, or an HTTP/2 stream without a length.
    Unknown,
}

/// The answer of a quota or budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Within the limit, and now counted.
    Admitted,
    /// Over the limit; nothing was counted.
    Denied,
}

/// One exchange, as programs see it.
pub trait Exchange {
    /// The request method.
    fn method(&self) -> Method;
    /// The request method's name.
    fn method_name(&self) -> &[u8];
    /// Lower-case host without a port; empty when there is none.
    fn host(&self) -> &[u8];
    /// Port of the Host header, or of the listener.
    fn port(&self) -> u16;
    /// Canonical path, without the query.
    fn path(&self) -> &[u8];
    /// Whether the request came over TLS.
    fn secure(&self) -> bool;
    /// Server name of the TLS handshake, lower case; empty when there is none.
    fn server_name(&self) -> &[u8];
    /// Looks a request header up by its lower-case name.
    fn header(&self, name: &str) -> Found;
    /// Calls `test` with every value of a header until it says true; whether it did.
    fn any_header(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
    /// Looks a query argument up by its decoded name; the value is decoded.
    fn query(&mut self, name: &str) -> Found;
    /// Whether a query argument is there, with or without a value.
    fn has_argument(&self, name: &str) -> bool;
    /// Looks a top-level member of a form or JSON body up, after [`crate::vm::Question::Body`] was answered.
    fn body_argument(&mut self, name: &str) -> Found;
    /// The bytes of a span that this exchange gave out.
    fn bytes(&self, span: Span) -> &[u8];
    /// The client's address as 128 bits, IPv4 mapped; `None` for peers without one.
    fn client_address(&self) -> Option<u128>;
    /// What the head says about the body.
    fn body_length(&self) -> BodyLength;
    /// Whether the client waits for `100 Continue`.
    fn expects_continue(&self) -> bool;
    /// Checks and takes one request from a quota, in one step.
    fn take(&mut self, quota: Id<Quota>, state: &State) -> Taken;
    /// Reserves the call's upper bound from a budget, on all its limits or none.
    fn reserve(&mut self, budget: Id<Budget>, state: &State) -> Taken;
}
