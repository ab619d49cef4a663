//! The request head decoder.
//!
//! Enters: what a client sent since its last request ended, in as many reads as it likes. Leaves: one
//! [`RequestHead`] whose framing can be read in one way only, or the reason to refuse and close.
//! httparse checks the tokens; this file adds what RFC 9112 leaves to the recipient, always the strict choice.

use std::mem::MaybeUninit;

use memchr::{memchr, memchr2};

use super::scan::{LineScan, Rules};
use super::{HeadError, framing};
use crate::http::authority::Authority;
use crate::http::body::BodyLength;
use crate::http::head::{Method, RequestHead, Target, TargetForm, Version};
use crate::http::headers::Span;
use crate::http::known::KnownHeader;
use crate::limits;
use crate::settable;

#[inline]
fn rules() -> Rules {
    Rules {
        leading_empty_lines: 1,
        start_line_bytes: limits::METHOD_BYTES + " ".len() + settable::uri_bytes() + " HTTP/1.1".len(),
        start_line_error: HeadError::UriTooLong,
        start_line: |line| line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"),
    }
}

/// Decodes one request head after the other from one connection.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    scan: LineScan,
}

impl RequestDecoder {
    /// Tries to decode a head at the start of `bytes`: everything received since the last message ended. Between
    /// calls that return `None`, `bytes` may only grow (it may move).
    ///
    /// `Some(length)` is the head's length in bytes; `head`'s offsets count from `bytes[0]`, and the decoder is ready
    /// for the next head. An empty line before the head is part of it.
    ///
    /// # Errors
    /// The head must be refused with [`HeadError::status`] and the connection closed. The same bytes give the same
    /// error however they were split.
    pub fn decode(&mut self, bytes: &[u8], head: &mut RequestHead) -> Result<Option<usize>, HeadError> {
        let Some((start, end)) = self.scan.advance(bytes, &rules())? else {
            return Ok(None);
        };
        *self = Self::default();
        head.clear();
        parse(bytes, start, end, head)?;
        Ok(Some(end))
    }
}

fn parse(bytes: &[u8], start: usize, end: usize, head: &mut RequestHead) -> Result<(), HeadError> {
    let text = &bytes[start..end];
    let mut fields = [const { MaybeUninit::uninit() }; limits::HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request
        .parse_with_uninit_headers(text, &mut fields)
        .map_err(|error| framing::refused(error, text))?;
    let (httparse::Status::Complete(length), Some(method), Some(target)) =
        (parsed, request.method, request.path)
    else {
        return Err(HeadError::StartLine);
    };
    // Two parsers looked for the end of this head; if they ever disagree, so could two programs.
    if length != text.len() {
        return Err(HeadError::BareLineFeed);
    }
    head.version = if request.version == Some(1) {
        Version::Http11
    } else {
        Version::Http10
    };
    head.method = parse_method(method.as_bytes(), bytes)?;
    for field in request.headers.iter() {
        framing::push(
            &mut head.headers,
            bytes,
            framing::place(field, bytes),
            framing::ONCE_IN_REQUESTS,
        )?;
    }
    if request.headers.len() > settable::headers() {
        return Err(HeadError::TooManyHeaders);
    }
    let authority = parse_target(target.as_bytes(), bytes, head)?;
    (head.authority, head.host) = check_host(head, authority, bytes)?;
    finish(head, bytes)
}

pub(in crate::http) fn parse_method(name: &[u8], bytes: &[u8]) -> Result<Method, HeadError> {
    Ok(match name {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"POST" => Method::Post,
        b"PUT" => Method::Put,
        b"PATCH" => Method::Patch,
        b"DELETE" => Method::Delete,
        b"OPTIONS" => Method::Options,
        b"CONNECT" | b"TRACE" => return Err(HeadError::MethodNotAllowed),
        other if other.len() > limits::METHOD_BYTES => return Err(HeadError::StartLine),
        other => Method::Other(Span::locate(other, bytes)),
    })
}

/// Sets `head.target`; gives the authority of an absolute-form target with its scheme's default port.
fn parse_target<'a>(
    target: &'a [u8],
    bytes: &[u8],
    head: &mut RequestHead,
) -> Result<Option<(&'a [u8], u16)>, HeadError> {
    if target.len() > settable::uri_bytes() {
        return Err(HeadError::UriTooLong);
    }
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(HeadError::Target);
    }
    let (form, authority, rest) = match target {
        b"*" if head.method == Method::Options => (TargetForm::Asterisk, None, target),
        [b'/', ..] => (TargetForm::Origin, None, target),
        _ => {
            let (rest, port) = strip_scheme(target).ok_or(HeadError::Target)?;
            let (authority, rest) = rest.split_at(memchr2(b'/', b'?', rest).unwrap_or(rest.len()));
            (TargetForm::Absolute, Some((authority, port)), rest)
        }
    };
    let (path, query) = match memchr(b'?', rest) {
        Some(mark) => (&rest[..mark], Some(Span::locate(&rest[mark + 1..], bytes))),
        None => (rest, None),
    };
    head.target = Target {
        form,
        path: Span::locate(path, bytes),
        query,
    };
    Ok(authority)
}

fn strip_scheme(target: &[u8]) -> Option<(&[u8], u16)> {
    [(&b"http://"[..], 80), (b"https://", 443)]
        .into_iter()
        .find_map(|(scheme, port)| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some((rest, port))
        })
}

/// Host is there (it may be missing in HTTP/1.0), valid, and the same as the target's own authority.
/// Where it stands, and its parts.
fn check_host(
    head: &RequestHead,
    target: Option<(&[u8], u16)>,
    bytes: &[u8],
) -> Result<(Span, (Span, Option<u16>)), HeadError> {
    let host = head.headers.on(bytes).get(KnownHeader::Host);
    let text = match (host, target) {
        (Some(host), Some((authority, default_port))) => {
            let host = Authority::parse(host).ok_or(HeadError::Host)?;
            let same = Authority::parse(authority).is_some_and(|it| it.equals(host, default_port));
            if same {
                authority
            } else {
                return Err(HeadError::Host);
            }
        }
        (Some(text), None) => text,
        (None, _) if head.version == Version::Http11 => return Err(HeadError::Host),
        (None, Some((authority, _))) => authority,
        (None, None) => return Ok(<_>::default()),
    };
    let parts = Authority::parse(text).ok_or(HeadError::Host)?;
    let host = Span::locate(parts.host, bytes);
    Ok((Span::locate(text, bytes), (host, parts.port)))
}

fn finish(head: &mut RequestHead, bytes: &[u8]) -> Result<(), HeadError> {
    head.body = framing::body_length(&head.headers, bytes, head.version)?.unwrap_or(BodyLength::None);
    let connection = framing::Connection::take(&mut head.headers, bytes)?;
    head.keep_alive = connection.is_kept(head.version);
    head.upgrade = connection.upgrades(&head.headers, head.version);
    let expect = head.headers.on(bytes).get(KnownHeader::Expect);
    head.expect_continue = head.version == Version::Http11
        && head.body != BodyLength::None
        && expect.is_some_and(|it| it.eq_ignore_ascii_case(b"100-continue"));
    Ok(())
}
