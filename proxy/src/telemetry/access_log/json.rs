//! JSON into a buffer, without a tree.

use crate::http::write::push_decimal;

/// An object or array that is being written. Ends with [`end`](Self::end).
#[derive(Debug)]
pub(super) struct Scope<'o> {
    out: &'o mut Vec<u8>,
    close: u8,
    first: bool,
}

impl<'o> Scope<'o> {
    pub(super) fn object(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            close: b'}',
            first: true,
        }
    }

    pub(super) fn array(out: &'o mut Vec<u8>) -> Self {
        out.push(b'[');
        Self {
            out,
            close: b']',
            first: true,
        }
    }

    pub(super) fn end(self) {
        self.out.push(self.close);
    }

    /// Place for the next element of an array.
    pub(super) fn element(&mut self) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out
    }

    /// Place for the value of the next member.
    pub(super) fn member(&mut self, name: &[u8]) -> &mut Vec<u8> {
        self.element();
        text(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub(super) fn text(&mut self, name: &str, value: &[u8]) {
        text(self.member(name.as_bytes()), value);
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        push_decimal(value, self.member(name.as_bytes()));
    }

    /// A value that is JSON already.
    pub(super) fn raw(&mut self, name: &str, json: &str) {
        self.member(name.as_bytes()).extend_from_slice(json.as_bytes());
    }
}

/// A string. What is not UTF-8 becomes U+FFFD.
pub(super) fn text(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    lossy(out, value);
    out.push(b'"');
}

/// The inside of a string. What is not UTF-8 becomes U+FFFD.
pub(super) fn lossy(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        escaped(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// The inside of a string of UTF-8 text.
fn escaped(out: &mut Vec<u8>, value: &[u8]) {
    let mut plain = 0;
    for (index, byte) in value.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f | 0x7f => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(&value[plain..index]);
                let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
                plain = index + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&value[plain..index]);
        out.extend_from_slice(escape);
        plain = index + 1;
    }
    out.extend_from_slice(&value[plain..]);
}
