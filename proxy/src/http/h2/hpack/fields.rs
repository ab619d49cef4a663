//! The fields of one decoded block, in one piece of memory.

use crate::http::headers::Span;
use crate::settable;

/// What each field costs beside its text (RFC 9113 §6.5.2), so that empty ones are not free.
const FIELD_OVERHEAD: usize = 32;

/// Where one field lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: Span,
    /// Its value.
    pub value: Span,
}

/// Why a head is more than is read. The block was decoded to its end: the connection is in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// More than [`settable::headers`] fields.
    Fields,
    /// One field has more than [`settable::header_bytes`].
    Field,
    /// The `:path` has more than [`settable::uri_bytes`].
    Path,
    /// All fields together, each with 32 bytes more, have more than [`settable::head_bytes`].
    Bytes,
}

/// A decoded block. Reuse it: [`Fields::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct Fields {
    /// Each field as the line that HTTP/1 would have: `name: value` and CRLF. Whether it may be one is checked later.
    pub bytes: Vec<u8>,
    /// Where they lie, in the order they came.
    pub list: Vec<Field>,
    /// What there was too much of; what came after it is not here.
    pub excess: Option<Excess>,
    size: usize,
}

impl Fields {
    /// Back to nothing, with its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
        self.excess = None;
        self.size = 0;
    }

    /// Bytes of memory that it keeps.
    #[cfg(test)]
    pub const fn capacity(&self) -> usize {
        self.bytes.capacity() + self.list.capacity() * size_of::<Field>()
    }

    /// Name and value of all fields.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bytes = &self.bytes[..];
        self.list
            .iter()
            .map(move |field| (field.name.of(bytes), field.value.of(bytes)))
    }

    /// Adds a field, unless there is too much already.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        if self.excess.is_some() {
            return;
        }
        self.size += name.len() + value.len() + FIELD_OVERHEAD;
        let bound = match name {
            b":path" => (settable::uri_bytes(), Excess::Path),
            _ => (settable::header_bytes(), Excess::Field),
        };
        self.excess = match name.len() + value.len() {
            length if length > bound.0 + name.len() => Some(bound.1),
            _ if self.list.len() >= settable::headers() => Some(Excess::Fields),
            _ if self.size > settable::head_bytes() => Some(Excess::Bytes),
            _ => None,
        };
        if self.excess.is_some() {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let name = Span::new(start, self.bytes.len());
        self.bytes.extend_from_slice(b": ");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let value = Span::new(start, self.bytes.len());
        self.bytes.extend_from_slice(b"\r\n");
        self.list.push(Field { name, value });
    }
}
