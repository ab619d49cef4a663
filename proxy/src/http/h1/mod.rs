//! HTTP/1.0 and HTTP/1.1 on the wire, read strictly (RFC 9112) and written in one way only.
//!
//! What two programs could read differently is refused, not repaired: that is what request smuggling lives on.

pub mod chunked;
pub mod encode;
pub(super) mod framing;
pub mod head;
pub mod response;
mod scan;
#[cfg(test)]
mod tests;

pub(super) use framing::is_token;

use crate::settable::Limit;

/// Why a head was refused. Nothing of it may be forwarded, and the connection must close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// More than one empty line before the request line.
    EmptyLines,
    /// Not `method SP target SP HTTP/1.0` or `1.1`, or not a status line.
    StartLine,
    /// `CONNECT` or `TRACE`, which this gateway does not serve (nor does nginx beneath Kong).
    MethodNotAllowed,
    /// The request target is in no form that RFC 9112 §3.2 allows for this method.
    Target,
    /// The request target is longer than `limits::URI_BYTES`.
    UriTooLong,
    /// A line ended with LF alone.
    BareLineFeed,
    /// CR that does not end a line.
    BareCarriageReturn,
    /// An empty name, a byte that is no token character, folding, or space around the name.
    HeaderName,
    /// A control character other than HTAB in a value.
    HeaderValue,
    /// One header line is longer than `limits::HEADER_BYTES`.
    HeaderTooLong,
    /// The head is longer than `limits::HEAD_BYTES`.
    HeadTooLong,
    /// More than `limits::HEADERS` header lines.
    TooManyHeaders,
    /// Host is missing, repeated or not `host[:port]`, or differs from the target's authority.
    Host,
    /// Content-Length is not one plain number of at most 2^53.
    ContentLength,
    /// Transfer-Encoding is not exactly one `chunked`, or the message is HTTP/1.0.
    TransferEncoding,
    /// Both Content-Length and Transfer-Encoding.
    TwoLengths,
    /// A header that must stand alone is repeated.
    Repeated,
    /// A framing header spelt with underscores, which some backends take for the real one.
    UnderscoreTwin,
    /// `Connection` is not a list of tokens, or names more than `limits::CONNECTION_OPTIONS`.
    Connection,
    /// Fields of HTTP/2 that begin with a colon: one is missing, repeated, unknown, out of place or not what it may be.
    Pseudo,
    /// A field of this hop's own in HTTP/2, which has none (RFC 9113 §8.2.2).
    HopByHop,
    /// A response that must not have a body announces one.
    ForbiddenBody,
    /// More than `limits::INTERIM_RESPONSES` interim responses to one request.
    TooManyInterim,
}

impl HeadError {
    /// The limit that was reached, if it was one that operators set.
    pub const fn limit(self) -> Option<Limit> {
        match self {
            Self::UriTooLong => Some(Limit::UriBytes),
            Self::HeaderTooLong => Some(Limit::HeaderBytes),
            Self::HeadTooLong => Some(Limit::HeadBytes),
            Self::TooManyHeaders => Some(Limit::Headers),
            Self::TooManyInterim => Some(Limit::InterimResponses),
            _ => None,
        }
    }

    /// The status that tells a client; every error of an upstream's head is a 502 instead.
    pub const fn status(self) -> u16 {
        match self {
            Self::MethodNotAllowed => 405,
            Self::UriTooLong => 414,
            Self::HeaderTooLong | Self::HeadTooLong | Self::TooManyHeaders => 431,
            _ => 400,
        }
    }
}
