//! Percent-encoding (RFC 3986 §2.1), as paths and queries are spelled: escapes in upper case.

use alloc::vec::Vec;

/// Appends `%` and two upper-case hexadecimal digits.
pub fn push_escape(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&escape(byte));
}

/// `%` and two upper-case hexadecimal digits.
pub const fn escape(byte: u8) -> [u8; 3] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [b'%', DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]
}

/// The value of one hexadecimal digit in either case.
pub const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether a byte means the same escaped or not (RFC 3986 §2.3).
pub const fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
}

/// Whether a byte stands for itself in a segment of a path although its escape is another path (RFC 3986 §3.3
/// `pchar`), `;` left out: it is handled apart.
pub const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@'
    )
}
