//! The response head decoder: an upstream is trusted no more than a client.
//!
//! Enters: what an upstream sent since the last message ended, and whether the request was HEAD. Leaves: one
//! [`ResponseHead`] framed in one way only, or the reason to answer 502 and close that connection.

use std::mem::MaybeUninit;

use super::scan::{LineScan, Rules};
use super::{HeadError, framing};
use crate::http::body::BodyLength;
use crate::http::head::{Method, ResponseHead, Version};
use crate::http::headers::Span;
use crate::http::known::KnownHeader;
use crate::limits;
use crate::settable;

#[inline]
fn rules() -> Rules {
    Rules {
        leading_empty_lines: 0,
        start_line_bytes: settable::header_bytes(),
        start_line_error: HeadError::HeaderTooLong,
        start_line: |line| line.starts_with(b"HTTP/1.1 ") || line.starts_with(b"HTTP/1.0 "),
    }
}

/// Decodes the heads that answer one request: any interim ones, then the final one.
#[derive(Debug, Default)]
pub struct ResponseDecoder {
    scan: LineScan,
    interim: usize,
}

impl ResponseDecoder {
    /// Tries to decode a head at the start of `bytes`: everything received since the last message ended. Between
    /// calls that return `None`, `bytes` may only grow (it may move). `method` is that of the request answered.
    ///
    /// `Some(length)` is the head's length in bytes. After an interim head ([`ResponseHead::is_interim`]) call again
    /// with the bytes behind it; after a final one the decoder is ready for the next exchange.
    ///
    /// # Errors
    /// The upstream broke RFC 9112: answer 502 and close its connection.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        method: Method,
        head: &mut ResponseHead,
    ) -> Result<Option<usize>, HeadError> {
        let Some((start, end)) = self.scan.advance(bytes, &rules())? else {
            return Ok(None);
        };
        self.scan = LineScan::default();
        head.clear();
        parse(bytes, start, end, method, head)?;
        self.interim = if head.is_interim() { self.interim + 1 } else { 0 };
        if self.interim > settable::interim_responses() {
            Err(HeadError::TooManyInterim)
        } else {
            Ok(Some(end))
        }
    }
}

fn parse(
    bytes: &[u8],
    start: usize,
    end: usize,
    method: Method,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    let text = &bytes[start..end];
    let mut fields = [const { MaybeUninit::uninit() }; limits::HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, text, &mut fields)
        .map_err(|error| framing::refused(error, text))?;
    let (httparse::Status::Complete(length), Some(status @ 100..)) = (parsed, response.code) else {
        return Err(HeadError::StartLine);
    };
    // As for requests: two parsers must agree where the head ends.
    if length != text.len() {
        return Err(HeadError::BareLineFeed);
    }
    head.status = status;
    head.version = if response.version == Some(1) {
        Version::Http11
    } else {
        Version::Http10
    };
    head.reason = response
        .reason
        .filter(|it| !it.is_empty())
        .map_or_else(Span::default, |it| Span::locate(it.as_bytes(), bytes));
    if response.headers.len() > settable::headers() {
        return Err(HeadError::TooManyHeaders);
    }
    for field in response.headers.iter() {
        framing::push(&mut head.headers, bytes, framing::place(field, bytes), 0)?;
    }
    finish(head, method, bytes)
}

/// RFC 9112 §6.3, with the cases it lets a recipient repair refused instead.
fn finish(head: &mut ResponseHead, method: Method, bytes: &[u8]) -> Result<(), HeadError> {
    let announced = framing::body_length(&head.headers, bytes, head.version)?;
    let bodiless = matches!(head.status, 100..200 | 204);
    if bodiless && !matches!(announced, None | Some(BodyLength::None)) {
        return Err(HeadError::ForbiddenBody);
    }
    head.body = match announced {
        // HEAD and 304 describe the body that another request would have got.
        _ if bodiless || head.status == 304 || method == Method::Head => BodyLength::None,
        Some(length) => length,
        None => BodyLength::UntilClose,
    };
    let connection = framing::Connection::take(&mut head.headers, bytes)?;
    head.keep_alive = connection.is_kept(head.version) && head.body != BodyLength::UntilClose;
    head.upgrade = connection.upgrades(&head.headers, head.version);
    if head.status == 101 && !head.headers.contains(KnownHeader::Upgrade) {
        return Err(HeadError::Connection);
    }
    Ok(())
}
