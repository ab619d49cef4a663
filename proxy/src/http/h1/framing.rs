//! What the framing fields of a head mean together: Content-Length, Transfer-Encoding, Connection.
//!
//! One reading or none (RFC 9112 §6): a head that two programs could frame differently is an error.

use memchr::memchr;

use super::HeadError;
use crate::http::body::BodyLength;
use crate::http::head::Version;
use crate::http::headers::{Header, Headers, Span};
use crate::http::known::KnownHeader;
use crate::limits;

/// Fields of a request that must stand alone beside those of framing: a backend could believe another one than policy
/// did. In a response they are the client's to judge.
pub(in crate::http) const ONCE_IN_REQUESTS: u128 =
    KnownHeader::Authorization.bit() | KnownHeader::ContentType.bit() | KnownHeader::Expect.bit();

/// Adds the field to `headers`, unless its name or its repetition makes the head ambiguous. `once` are known names that
/// may not be repeated.
pub(in crate::http) fn push(
    headers: &mut Headers,
    bytes: &[u8],
    (name, value): (Span, Span),
    once: u128,
) -> Result<(), HeadError> {
    let text = name.of(bytes);
    let known = KnownHeader::of(text);
    match known {
        KnownHeader::Other if KnownHeader::underscore_twin_of(text).is_framing() => {
            return Err(HeadError::UnderscoreTwin);
        }
        KnownHeader::Host if headers.contains(known) => return Err(HeadError::Host),
        KnownHeader::ContentLength if headers.contains(known) => return Err(HeadError::ContentLength),
        KnownHeader::TransferEncoding if headers.contains(known) => return Err(HeadError::TransferEncoding),
        known if once & known.bit() != 0 && headers.contains(known) => return Err(HeadError::Repeated),
        _ => {}
    }
    headers.push(name, value, known);
    Ok(())
}

/// What Content-Length and Transfer-Encoding say together; `None` where neither is there.
pub(super) fn body_length(
    headers: &Headers,
    bytes: &[u8],
    version: Version,
) -> Result<Option<BodyLength>, HeadError> {
    let fields = headers.on(bytes);
    let length = fields
        .get(KnownHeader::ContentLength)
        .map(content_length)
        .transpose()?;
    let coding = fields.get(KnownHeader::TransferEncoding);
    match (length, coding) {
        (Some(_), Some(_)) => Err(HeadError::TwoLengths),
        (None, Some(coding)) if version == Version::Http11 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Some(BodyLength::Chunked))
        }
        (None, Some(_)) => Err(HeadError::TransferEncoding),
        (Some(0), None) => Ok(Some(BodyLength::None)),
        (Some(length), None) => Ok(Some(BodyLength::Length(length))),
        (None, None) => Ok(None),
    }
}

pub(in crate::http) fn content_length(text: &[u8]) -> Result<u64, HeadError> {
    const DIGITS: usize = 16;
    let digits = match text {
        [] | [b'0', _, ..] => return Err(HeadError::ContentLength),
        digits if digits.len() > DIGITS => return Err(HeadError::ContentLength),
        digits => digits,
    };
    let mut length = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(HeadError::ContentLength);
        }
        length = length * 10 + u64::from(digit);
    }
    if length <= limits::CONTENT_LENGTH {
        Ok(length)
    } else {
        Err(HeadError::ContentLength)
    }
}

/// Where the name and the value of a field lie in `bytes`.
pub(super) fn place(field: &httparse::Header<'_>, bytes: &[u8]) -> (Span, Span) {
    (
        Span::locate(field.name.as_bytes(), bytes),
        Span::locate(field.value, bytes),
    )
}

/// What `Connection` asks of this hop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Connection {
    /// Reads every `Connection` field, and removes the fields it names from `headers`: from here on policy and the
    /// other side see the same message. Framing fields stay whatever it names; hop-by-hop fields stay until a head
    /// is written.
    pub(super) fn take(headers: &mut Headers, bytes: &[u8]) -> Result<Self, HeadError> {
        let mut options = Self::default();
        if !headers.contains(KnownHeader::Connection) {
            return Ok(options);
        }
        let mut named = [Span::default(); limits::CONNECTION_OPTIONS];
        let mut names = 0;
        for value in headers.on(bytes).get_all(KnownHeader::Connection) {
            for option in value
                .split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii)
                .filter(|it| !it.is_empty())
            {
                match option {
                    it if it.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
                    it if it.eq_ignore_ascii_case(b"close") => options.close = true,
                    it if it.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
                    name if !is_token(name) => return Err(HeadError::Connection),
                    name => {
                        *named.get_mut(names).ok_or(HeadError::Connection)? = Span::locate(name, bytes);
                        names += 1;
                    }
                }
            }
        }
        let named = &named[..names];
        if !named.is_empty() {
            headers.retain(bytes, |header| {
                !is_removable(&header) || !named.iter().any(|name| names_same(name.of(bytes), &header))
            });
        }
        Ok(options)
    }

    /// Whether the sender will use the connection again (RFC 9112 §9.3).
    pub(super) const fn is_kept(self, version: Version) -> bool {
        !self.close && (matches!(version, Version::Http11) || self.keep_alive)
    }

    /// Whether the sender asks for, or agrees to, another protocol (RFC 9110 §7.8).
    pub(super) fn upgrades(self, headers: &Headers, version: Version) -> bool {
        self.upgrade && version == Version::Http11 && headers.contains(KnownHeader::Upgrade)
    }
}

fn is_removable(header: &Header<'_>) -> bool {
    !header.known.is_framing() && !header.known.is_hop_by_hop()
}

fn names_same(name: &[u8], header: &Header<'_>) -> bool {
    name.eq_ignore_ascii_case(header.name)
}

/// One or more `tchar`, as RFC 9110 §5.6.2 says.
pub(in crate::http) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// `tchar` of RFC 9110 §5.6.2.
pub(in crate::http) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// The error for a head that httparse refused.
pub(super) fn refused(error: httparse::Error, head: &[u8]) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::HeaderName,
        httparse::Error::HeaderValue if has_bare_carriage_return(head) => HeadError::BareCarriageReturn,
        httparse::Error::HeaderValue => HeadError::HeaderValue,
        httparse::Error::NewLine => HeadError::BareCarriageReturn,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => HeadError::StartLine,
    }
}

fn has_bare_carriage_return(head: &[u8]) -> bool {
    let mut rest = head;
    while let Some(at) = memchr(b'\r', rest) {
        if rest.get(at + 1) != Some(&b'\n') {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
