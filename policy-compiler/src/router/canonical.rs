//! Plain paths in the canonical form that the gateway gives to request paths before it matches them.
//!
//! Escapes of unreserved characters are decoded once, all others kept in upper case; characters that a request
//! cannot carry as they are get escaped; dot segments are resolved and runs of `/` merged.

use policy::percent::{self, hex_digit, is_delimiter, is_unreserved};

/// The canonical form of a plain path that starts with `/`.
///
/// Idempotent, and ASCII. `%` that begins no escape is itself escaped.
pub fn canonical(path: &str) -> String {
    let escaped = escape_literal(path.as_bytes());
    let mut segments: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in escaped.split('/').skip(1) {
        open = match segment {
            "" | "." => true,
            ".." => {
                segments.pop();
                true
            }
            name => {
                segments.push(name);
                false
            }
        };
    }
    let mut out = String::with_capacity(escaped.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if open || out.is_empty() {
        out.push('/');
    }
    out
}

/// Why the gateway refuses every request with this canonical path in front, if it does: it hides separators or
/// parameters from one reader and not from the next.
pub(super) fn refusal(canonical: &str) -> Option<&'static str> {
    let holds = |pieces: &[&str]| pieces.iter().any(|piece| canonical.contains(piece));
    if holds(&[";", "%00"]) {
        Some("no request that is served has `;` or `%00` in its path")
    } else if holds(&["%2F", "%5C"]) {
        Some("`%2F` and `%5C` are refused, unless the gateway runs with `--encoded-slashes keep`")
    } else {
        None
    }
}

/// Text that stands for itself, as it is spelled inside a canonical path.
pub fn escape_literal(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%'
            && let Some(code) = escape(after)
        {
            rest = &after[2..];
            push(&mut out, code, is_unreserved(code));
        } else {
            push(&mut out, byte, is_path_char(byte));
        }
    }
    out
}

/// Whether a byte stands for itself in a canonical path (RFC 3986 §3.3 `pchar`, and the separator).
pub(super) fn is_path_char(byte: u8) -> bool {
    is_unreserved(byte) || is_delimiter(byte) || matches!(byte, b';' | b'/')
}

/// The byte that two hexadecimal digits at the start stand for.
fn escape(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = *digits else { return None };
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

fn push(out: &mut String, byte: u8, plain: bool) {
    if plain {
        out.push(char::from(byte));
    } else {
        out.extend(percent::escape(byte).map(char::from));
    }
}
