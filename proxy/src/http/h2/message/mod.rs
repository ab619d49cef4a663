//! What the fields of a block mean: a request, a response, or trailers (RFC 9113 §8).
//!
//! As strict as HTTP/1 is read here, and stricter where this head may go out as HTTP/1: no name or value passes that would
//! be another line there.

use memchr::{memchr, memchr3};

use super::hpack::{Excess, Fields};
use crate::http::authority::Authority;
use crate::http::body::BodyLength;
use crate::http::h1::HeadError;
use crate::http::h1::framing;
use crate::http::h1::head::parse_method;
use crate::http::head::{Method, RequestHead, ResponseHead, Target, TargetForm, Version};
use crate::http::headers::Span;
use crate::http::known::KnownHeader;
use crate::settable;

/// Reads a request; `ended` when no body follows. `head`'s offsets count from the start of `fields.bytes`, to which what
/// HTTP/2 leaves out may be added.
///
/// # Errors
/// The request must be refused; the connection is in order.
pub fn request(fields: &mut Fields, ended: bool, head: &mut RequestHead) -> Result<(), HeadError> {
    head.clear();
    check_excess(fields)?;
    let pseudo = read_pseudo(fields, &[b":method", b":scheme", b":authority", b":path"])?;
    push_all(fields, pseudo.count, &mut head.headers, framing::ONCE_IN_REQUESTS)?;
    let [Some(method), Some(scheme), authority, Some(path)] = pseudo.values else {
        return Err(HeadError::Pseudo);
    };
    head.version = Version::Http2;
    head.keep_alive = true;
    head.method = parse_method(method.of(&fields.bytes), &fields.bytes)?;
    if !framing::is_token(method.of(&fields.bytes)) {
        return Err(HeadError::StartLine);
    }
    let default_port = match scheme.of(&fields.bytes) {
        scheme if scheme.eq_ignore_ascii_case(b"http") => 80,
        scheme if scheme.eq_ignore_ascii_case(b"https") => 443,
        _ => return Err(HeadError::Pseudo),
    };
    head.target = target(path, &fields.bytes, head.method)?;
    find_host(fields, authority, default_port, head)?;
    join_cookies(fields, head);
    head.body = body_length(fields, ended, head)?;
    let expect = head.headers.on(&fields.bytes).get(KnownHeader::Expect);
    head.expect_continue = !ended && expect.is_some_and(|it| it.eq_ignore_ascii_case(b"100-continue"));
    Ok(())
}

/// Reads the response to a request of `method`; `ended` when no body follows.
///
/// # Errors
/// The upstream broke RFC 9113.
pub fn response(
    fields: &Fields,
    ended: bool,
    method: Method,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    head.clear();
    check_excess(fields)?;
    head.status = status(fields).ok_or(HeadError::Pseudo)?;
    push_all(fields, 1, &mut head.headers, 0)?;
    head.version = Version::Http2;
    let announced = head
        .headers
        .on(&fields.bytes)
        .get(KnownHeader::ContentLength)
        .map(framing::content_length)
        .transpose()?;
    let described = matches!(head.status, 204 | 304) || method == Method::Head;
    head.body = match announced {
        _ if described => BodyLength::None,
        Some(1..) if ended => return Err(HeadError::ContentLength),
        _ if ended => BodyLength::None,
        Some(length @ 1..) => BodyLength::Length(length),
        // A length of nothing, or none: the end is marked.
        _ => BodyLength::UntilClose,
    };
    head.keep_alive = true;
    Ok(())
}

/// The length that a head announces for the body that follows it.
pub fn announced(body: BodyLength, headers: &crate::http::headers::Headers, fields: &Fields) -> Option<u64> {
    let length = headers.on(&fields.bytes).get(KnownHeader::ContentLength);
    match body {
        BodyLength::None => None,
        _ => length.and_then(|length| framing::content_length(length).ok()),
    }
}

/// The status of a block that begins a response. 101 is none: this protocol is not changed (§8.6).
pub fn status(fields: &Fields) -> Option<u16> {
    let (name, value) = fields.iter().next()?;
    let [hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', units @ b'0'..=b'9'] = *value else {
        return None;
    };
    let number = [hundreds, tens, units]
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    (name == b":status" && number != 101).then_some(number)
}

/// Whether a block announces a response that is yet to come.
pub fn is_interim(fields: &Fields) -> bool {
    matches!(status(fields), Some(100..200))
}

/// Checks trailers: ordinary fields only.
///
/// # Errors
/// The message they end is malformed.
pub fn check_trailers(fields: &Fields) -> Result<(), HeadError> {
    check_excess(fields)?;
    fields
        .iter()
        .try_for_each(|(name, value)| check_field(name, value))
}

fn check_excess(fields: &Fields) -> Result<(), HeadError> {
    Err(match fields.excess {
        None => return Ok(()),
        Some(Excess::Path) => HeadError::UriTooLong,
        Some(Excess::Field) => HeadError::HeaderTooLong,
        Some(Excess::Fields) => HeadError::TooManyHeaders,
        Some(Excess::Bytes) => HeadError::HeadTooLong,
    })
}

struct Pseudo {
    values: [Option<Span>; 4],
    count: usize,
}

/// The fields with a colon: each known, each once, before all others.
fn read_pseudo(fields: &Fields, names: &[&[u8]; 4]) -> Result<Pseudo, HeadError> {
    let mut pseudo = Pseudo {
        values: [None; 4],
        count: 0,
    };
    for field in &fields.list {
        let name = field.name.of(&fields.bytes);
        if name.first() != Some(&b':') {
            break;
        }
        let known = names.iter().position(|it| *it == name).ok_or(HeadError::Pseudo)?;
        if pseudo.values[known].replace(field.value).is_some() {
            return Err(HeadError::Pseudo);
        }
        pseudo.count += 1;
    }
    Ok(pseudo)
}

fn push_all(
    fields: &Fields,
    skipped: usize,
    headers: &mut crate::http::headers::Headers,
    once: u128,
) -> Result<(), HeadError> {
    for field in fields.list.iter().skip(skipped) {
        check_field(field.name.of(&fields.bytes), field.value.of(&fields.bytes))?;
        framing::push(headers, &fields.bytes, (field.name, field.value), once)?;
    }
    Ok(())
}

/// §8.2.1 and §8.2.2.
fn check_field(name: &[u8], value: &[u8]) -> Result<(), HeadError> {
    if name.first() == Some(&b':') {
        return Err(HeadError::Pseudo);
    }
    let is_lower = |byte: &u8| framing::is_token_byte(*byte) && !byte.is_ascii_uppercase();
    if name.is_empty() || !name.iter().all(is_lower) {
        return Err(HeadError::HeaderName);
    }
    let padded = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_text = |byte: &u8| !byte.is_ascii_control() || *byte == b'\t';
    if memchr3(b'\r', b'\n', 0, value).is_some()
        || padded(value.first())
        || padded(value.last())
        || !value.iter().all(is_text)
    {
        return Err(HeadError::HeaderValue);
    }
    match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            Err(HeadError::HopByHop)
        }
        b"te" if value != b"trailers" => Err(HeadError::HopByHop),
        _ => Ok(()),
    }
}

fn target(path: Span, bytes: &[u8], method: Method) -> Result<Target, HeadError> {
    let text = path.of(bytes);
    if text.len() > settable::uri_bytes() {
        return Err(HeadError::UriTooLong);
    }
    let form = match text {
        b"*" if method == Method::Options => TargetForm::Asterisk,
        [b'/', ..] => TargetForm::Origin,
        _ => return Err(HeadError::Target),
    };
    if !text.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(HeadError::Target);
    }
    let (path, query) = match memchr(b'?', text) {
        Some(mark) => (&text[..mark], Some(Span::locate(&text[mark + 1..], bytes))),
        None => (text, None),
    };
    Ok(Target {
        form,
        path: Span::locate(path, bytes),
        query,
    })
}

/// Host and `:authority` name the same place, or one of them is there. A request without Host gets one: policy and
/// upstream read it there.
fn find_host(
    fields: &mut Fields,
    authority: Option<Span>,
    default_port: u16,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    let bytes = &mut fields.bytes;
    let host = head.headers.on(bytes).get(KnownHeader::Host);
    let host = host.map(|host| Span::locate(host, bytes));
    let text = authority.or(host).ok_or(HeadError::Host)?;
    let parts = Authority::parse(text.of(bytes)).ok_or(HeadError::Host)?;
    if let Some(host) = host {
        let same = Authority::parse(host.of(bytes)).is_some_and(|host| host.equals(parts, default_port));
        if !same {
            return Err(HeadError::Host);
        }
    }
    head.authority = text;
    head.host = (Span::locate(parts.host, bytes), parts.port);
    if host.is_none() {
        let name = append(bytes, |bytes| bytes.extend_from_slice(b"host"));
        head.headers.push(name, text, KnownHeader::Host);
    }
    Ok(())
}

/// A client may send its cookies one by one, for the sake of compression; HTTP/1 knows one field of them (§8.2.3).
fn join_cookies(fields: &mut Fields, head: &mut RequestHead) {
    let cookies = || {
        fields
            .list
            .iter()
            .filter(|field| field.name.of(&fields.bytes) == b"cookie")
    };
    if cookies().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<Span> = cookies().map(|field| field.value).collect();
    head.headers
        .retain(&fields.bytes, |header| header.known != KnownHeader::Cookie);
    let name = append(&mut fields.bytes, |bytes| bytes.extend_from_slice(b"cookie: "));
    let value = append(&mut fields.bytes, |bytes| {
        for (number, crumb) in crumbs.iter().enumerate() {
            if number > 0 {
                bytes.extend_from_slice(b"; ");
            }
            bytes.extend_from_within(crumb.start()..crumb.end());
        }
    });
    fields.bytes.extend_from_slice(b"\r\n");
    let name = Span::new(name.start(), name.end() - b": ".len());
    head.headers.push(name, value, KnownHeader::Cookie);
}

fn append(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Span {
    let start = bytes.len();
    write(bytes);
    Span::new(start, bytes.len())
}

fn body_length(fields: &Fields, ended: bool, head: &RequestHead) -> Result<BodyLength, HeadError> {
    let announced = head.headers.on(&fields.bytes).get(KnownHeader::ContentLength);
    let announced = announced.map(framing::content_length).transpose()?;
    Ok(match announced {
        Some(1..) if ended => return Err(HeadError::ContentLength),
        _ if ended => BodyLength::None,
        Some(length @ 1..) => BodyLength::Length(length),
        _ => BodyLength::UntilClose,
    })
}

#[cfg(test)]
mod tests;
