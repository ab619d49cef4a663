//! The bodies of responses the gateway makes itself, byte for byte as Kong 3.x writes them.
//!
//! Enters: a message, the request id, and what the client accepts. Leaves: content type and body. Two shapes: the
//! negotiated error page, and the bare JSON of `kong.response.exit`. Unlike Kong's, messages are escaped: a quote in
//! one does not break the JSON, and markup stays text.

#[cfg(test)]
mod tests;

use super::write::push_decimal;

/// The forms of the negotiated error page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyType {
    /// `application/json`
    Json,
    /// `text/plain`
    Plain,
    /// `application/xml`
    Xml,
    /// `text/html`
    Html,
    /// No body: `grpc-status` and `grpc-message` fields say it.
    Grpc,
}

impl BodyType {
    /// What a refusal by a plugin, the router or the balancer uses, from the request's `Accept` and `Content-Type`.
    pub fn negotiate(accept: Option<&[u8]>, content_type: Option<&[u8]>) -> Self {
        if is_grpc(content_type) {
            Self::Grpc
        } else {
            accept.map_or(Self::Json, choose)
        }
    }

    /// What an error below the plugins uses (a malformed request, a failed upstream): `Accept`, else the request's own
    /// `Content-Type`, else plain text.
    pub fn negotiate_below_plugins(accept: Option<&[u8]>, content_type: Option<&[u8]>) -> Self {
        if is_grpc(content_type) {
            Self::Grpc
        } else {
            accept.or(content_type).map_or(Self::Plain, choose)
        }
    }

    /// The `Content-Type` to send.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Plain => "text/plain; charset=utf-8",
            Self::Xml => "application/xml; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Grpc => "application/grpc",
        }
    }

    /// Appends the error page. Nothing for gRPC.
    pub fn write(self, message: &str, request_id: &str, out: &mut Vec<u8>) {
        match self {
            Self::Json => {
                out.extend_from_slice(b"{\n  \"message\":\"");
                push_json(message, out);
                out.extend_from_slice(b"\",\n  \"request_id\":\"");
                push_json(request_id, out);
                out.extend_from_slice(b"\"\n}");
            }
            Self::Plain => {
                for part in [message, "\nrequest_id: ", request_id, "\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            Self::Xml => {
                out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>");
                push_markup(message, out);
                out.extend_from_slice(b"</message>\n  <requestid>");
                push_markup(request_id, out);
                out.extend_from_slice(b"</requestid>\n</error>\n");
            }
            Self::Html => {
                out.extend_from_slice(
                    b"<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  \
                      </head>\n  <body>\n    <h1>Error</h1>\n    <p>",
                );
                push_markup(message, out);
                out.extend_from_slice(b".</p>\n    <p>request_id: ");
                push_markup(request_id, out);
                out.extend_from_slice(b"</p>\n  </body>\n</html>\n");
            }
            Self::Grpc => {}
        }
    }
}

/// Appends `{"message":"…"}`: jwt, request-termination.
pub fn write_message(message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"message\":\"");
    push_json(message, out);
    out.extend_from_slice(b"\"}");
}

/// Appends `{"error":{"message":"…"}}`: the AI plugins.
pub fn write_error_message(message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":");
    write_message(message, out);
    out.push(b'}');
}

/// Appends the message for a status without a default one.
pub fn write_unknown_status(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"The upstream server responded with ");
    push_decimal(status.into(), out);
}

fn is_grpc(content_type: Option<&[u8]>) -> bool {
    content_type.is_some_and(|it| it.starts_with(b"application/grpc"))
}

/// The media type with the highest quality, of equals the first. What is not known is JSON.
fn choose(accept: &[u8]) -> BodyType {
    let mut best = (0, BodyType::Json);
    for range in accept.split(|byte| *byte == b',') {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(quality_thousandths).unwrap_or(1000);
        if quality > best.0 && name.contains(&b'/') {
            best = (quality, media_type(name));
        }
    }
    best.1
}

fn media_type(name: &[u8]) -> BodyType {
    match name {
        it if it.eq_ignore_ascii_case(b"text/html") => BodyType::Html,
        it if it.eq_ignore_ascii_case(b"application/xml") => BodyType::Xml,
        it if it.eq_ignore_ascii_case(b"text/plain") || it.eq_ignore_ascii_case(b"text/*") => BodyType::Plain,
        _ => BodyType::Json,
    }
}

/// `q=0.8` → 800 (RFC 9110 §12.4.2). `None` for another parameter; 0 for a malformed weight.
fn quality_thousandths(parameter: &[u8]) -> Option<u32> {
    let [b'q' | b'Q', b'=', weight @ ..] = parameter else {
        return None;
    };
    let (whole, fraction) = match weight {
        [digit] => (digit, &b""[..]),
        [digit, b'.', fraction @ ..] if fraction.len() <= 3 => (digit, fraction),
        _ => return Some(0),
    };
    if !matches!(whole, b'0' | b'1') || !fraction.iter().all(u8::is_ascii_digit) {
        return Some(0);
    }
    let digits = fraction.iter().chain(b"000").take(3);
    let thousandths = digits.fold(u32::from(whole - b'0'), |sum, digit| {
        sum * 10 + u32::from(digit - b'0')
    });
    Some(thousandths.min(1000))
}

/// Appends `text` as the inside of a JSON string (RFC 8259 §7).
pub fn push_json(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                let digits = policy::percent::escape(byte);
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits[1..]);
            }
            _ => out.push(byte),
        }
    }
}

fn push_markup(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            _ => out.push(byte),
        }
    }
}
