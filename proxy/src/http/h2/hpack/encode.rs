//! Writes header blocks: whole entries and names of the static table, everything else as literal text that is put into no
//! table.

use crate::http::known::KnownHeader;

/// Appends what makes the peer's view of our table empty. To be the first of a connection's first block: a peer that
/// allows less than the initial size waits for it (RFC 9113 §4.3.1).
pub fn no_table(out: &mut Vec<u8>) {
    out.push(0x20);
}

/// Appends `:status`.
pub fn status(status: u16, out: &mut Vec<u8>) {
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            let mut digits = itoa::Buffer::new();
            return with_name(8, digits.format(status).as_bytes(), out);
        }
    };
    out.push(0x80 | index);
}

/// Appends `:method`.
pub fn method(name: &[u8], out: &mut Vec<u8>) {
    match name {
        b"GET" => out.push(0x82),
        b"POST" => out.push(0x83),
        _ => with_name(2, name, out),
    }
}

/// Appends `:scheme`.
pub fn scheme(secure: bool, out: &mut Vec<u8>) {
    out.push(if secure { 0x87 } else { 0x86 });
}

/// Appends `:authority`.
pub fn authority(value: &[u8], out: &mut Vec<u8>) {
    with_name(1, value, out);
}

/// Appends `:path` with its query.
pub fn path(path: &[u8], query: Option<&[u8]>, out: &mut Vec<u8>) {
    literal_name(4, 0x00, out);
    let more = query.map_or(0, |query| query.len() + 1);
    length(path.len() + more, out);
    out.extend_from_slice(path);
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

/// Appends any other field; the name is written in lower case. What identifies somebody is marked never to be put into a
/// table, here and further on (RFC 7541 §7.1.3).
pub fn field(name: &[u8], known: KnownHeader, value: &[u8], out: &mut Vec<u8>) {
    let kind = if is_secret(known) { 0x10 } else { 0x00 };
    match name_index(known) {
        Some(index) => literal_name(index, kind, out),
        None => {
            out.push(kind);
            length(name.len(), out);
            out.extend(name.iter().map(u8::to_ascii_lowercase));
        }
    }
    string(value, out);
}

fn with_name(index: u8, value: &[u8], out: &mut Vec<u8>) {
    literal_name(index, 0x00, out);
    string(value, out);
}

fn literal_name(index: u8, kind: u8, out: &mut Vec<u8>) {
    if index < 15 {
        out.push(kind | index);
    } else {
        out.extend_from_slice(&[kind | 15, index - 15]);
    }
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    length(text.len(), out);
    out.extend_from_slice(text);
}

/// The length of a literal string, as an integer with a prefix of seven bits.
fn length(length: usize, out: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(0x7f) else {
        return out.push(low_bits(length));
    };
    out.push(0x7f);
    while rest >= 0x80 {
        out.push(low_bits(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low_bits(rest));
}

const fn low_bits(number: usize) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

const fn is_secret(known: KnownHeader) -> bool {
    matches!(
        known,
        KnownHeader::Authorization
            | KnownHeader::ProxyAuthorization
            | KnownHeader::Apikey
            | KnownHeader::XApiKey
            | KnownHeader::Cookie
            | KnownHeader::SetCookie
    )
}

/// Index of a name in the static table.
const fn name_index(known: KnownHeader) -> Option<u8> {
    Some(match known {
        KnownHeader::Accept => 19,
        KnownHeader::AcceptEncoding => 16,
        KnownHeader::Authorization => 23,
        KnownHeader::CacheControl => 24,
        KnownHeader::ContentDisposition => 25,
        KnownHeader::ContentEncoding => 26,
        KnownHeader::ContentLength => 28,
        KnownHeader::ContentRange => 30,
        KnownHeader::ContentType => 31,
        KnownHeader::Cookie => 32,
        KnownHeader::Date => 33,
        KnownHeader::Etag => 34,
        KnownHeader::Expect => 35,
        KnownHeader::LastModified => 44,
        KnownHeader::Location => 46,
        KnownHeader::ProxyAuthenticate => 48,
        KnownHeader::ProxyAuthorization => 49,
        KnownHeader::Range => 50,
        KnownHeader::Referer => 51,
        KnownHeader::RetryAfter => 53,
        KnownHeader::Server => 54,
        KnownHeader::SetCookie => 55,
        KnownHeader::UserAgent => 58,
        KnownHeader::Vary => 59,
        KnownHeader::Via => 60,
        KnownHeader::WwwAuthenticate => 61,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h2::hpack::table::Table;

    #[test]
    fn every_name_index_is_that_name() {
        let table = Table::new(0);
        for (name, _) in (1..=61).filter_map(|index| table.get(index)) {
            if let Some(index) = name_index(KnownHeader::of(name)) {
                assert_eq!(table.get(index.into()).map(|it| it.0), Some(name));
            }
        }
    }
}
