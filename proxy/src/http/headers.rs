//! A list of header fields that does not own their text: offsets into the bytes they arrived in.
//!
//! Enters: one field after the other, in wire order. Leaves: look-ups without regard to case, and iteration.
//! The same list serves any wire format: HTTP/1 points into the receive buffer, HTTP/2 into its decoded block.

use super::known::KnownHeader;

/// A half-open byte range of the buffer that a head was decoded from. Heads are far below 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The range `start..end`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "limits::HEAD_BYTES and body bounds are far below 4 GiB"
    )]
    pub const fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// Where `part`, a sub-slice of `whole`, lies in it.
    ///
    /// # Panics
    /// When `part` does not lie inside `whole`.
    pub fn locate(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        assert!(
            start <= whole.len() && part.len() <= whole.len() - start,
            "part of another buffer"
        );
        Self::new(start, start + part.len())
    }

    /// The bytes of this range.
    ///
    /// # Panics
    /// When `bytes` is shorter than the buffer this range was made for.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// First byte of the range.
    pub const fn start(self) -> usize {
        self.start as usize
    }

    /// One past the last byte.
    pub const fn end(self) -> usize {
        self.end as usize
    }

    /// Number of bytes.
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// True for a range of no bytes.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Bytes of a message that is being changed: still where they were received, or newly written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// In the buffer the message was received in.
    Received(Span),
    /// In the buffer that holds what was written since.
    Written(Span),
}

impl Text {
    /// The bytes, from one buffer or the other.
    pub fn of<'a>(self, received: &'a [u8], written: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Received(span) => span.of(received),
            Self::Written(span) => span.of(written),
        }
    }

    /// `part`, which lies in this text, as a text of its own.
    pub fn part(self, part: &[u8], received: &[u8], written: &[u8]) -> Self {
        match self {
            Self::Received(_) => Self::Received(Span::locate(part, received)),
            Self::Written(_) => Self::Written(Span::locate(part, written)),
        }
    }

    /// Appends a copy of this text to `written`.
    pub fn copy(self, received: &[u8], written: &mut Vec<u8>) {
        match self {
            Self::Received(span) => written.extend_from_slice(span.of(received)),
            Self::Written(span) => written.extend_from_within(span.start()..span.end()),
        }
    }

    /// Appends `bytes` to `written`.
    pub fn write(bytes: &[u8], written: &mut Vec<u8>) -> Self {
        Self::write_with(written, |written| written.extend_from_slice(bytes))
    }

    /// Keeps what `write` appends to `written`.
    pub fn write_with(written: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let start = written.len();
        write(written);
        Self::Written(Span::new(start, written.len()))
    }
}

#[derive(Clone, Copy, Debug)]
struct HeaderSpan {
    name: Span,
    value: Span,
    known: KnownHeader,
}

/// Header fields in wire order, as offsets. Keep one per connection and `clear` it: the list then never allocates.
#[derive(Debug, Default)]
pub struct Headers {
    list: Vec<HeaderSpan>,
    present: u128,
}

/// One field of a [`HeaderView`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// As received, in any case.
    pub name: &'a [u8],
    /// Without surrounding whitespace.
    pub value: &'a [u8],
    /// The name's id.
    pub known: KnownHeader,
}

impl Headers {
    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.present = 0;
    }

    /// Adds a field at the end; `known` must be [`KnownHeader::of`] its name.
    pub fn push(&mut self, name: Span, value: Span, known: KnownHeader) {
        self.present |= known.bit();
        self.list.push(HeaderSpan { name, value, known });
    }

    /// Removes every field for which `keep` is false.
    pub fn retain(&mut self, bytes: &[u8], mut keep: impl FnMut(Header<'_>) -> bool) {
        self.present = 0;
        let present = &mut self.present;
        self.list.retain(|span| {
            let kept = keep(span.on(bytes));
            *present |= if kept { span.known.bit() } else { 0 };
            kept
        });
    }

    /// True when a field with this id is in the list. Always false for [`KnownHeader::Other`].
    pub const fn contains(&self, known: KnownHeader) -> bool {
        self.present & known.bit() != 0
    }

    /// These fields read from the buffer they were decoded from.
    pub const fn on<'a>(&'a self, bytes: &'a [u8]) -> HeaderView<'a> {
        HeaderView { headers: self, bytes }
    }

    /// Number of fields.
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// True without any field.
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// [`Headers`] together with the bytes they point into.
#[derive(Clone, Copy, Debug)]
pub struct HeaderView<'a> {
    headers: &'a Headers,
    bytes: &'a [u8],
}

impl<'a> HeaderView<'a> {
    /// Value of the first field with this id. [`KnownHeader::Other`] finds nothing: use [`HeaderView::find`].
    pub fn get(self, known: KnownHeader) -> Option<&'a [u8]> {
        if !self.headers.contains(known) {
            return None;
        }
        let field = self.headers.list.iter().find(|field| field.known == known)?;
        Some(field.value.of(self.bytes))
    }

    /// Values of all fields with this id, in wire order.
    pub fn get_all(self, known: KnownHeader) -> impl Iterator<Item = &'a [u8]> {
        let looked_at = if self.contains(known) { usize::MAX } else { 0 };
        self.iter()
            .take(looked_at)
            .filter(move |header| header.known == known)
            .map(|header| header.value)
    }

    /// Value of the first field named `name`, in any case.
    pub fn find(self, name: &[u8]) -> Option<&'a [u8]> {
        self.find_all(name).next()
    }

    /// Values of all fields named `name`, in any case, in wire order.
    pub fn find_all(self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let known = KnownHeader::of(name);
        let may_be = known == KnownHeader::Other || self.contains(known);
        self.iter()
            .take(if may_be { usize::MAX } else { 0 })
            .filter(move |header| header.is(name, known))
            .map(|header| header.value)
    }

    /// True when a field with this id is present.
    pub const fn contains(self, known: KnownHeader) -> bool {
        self.headers.contains(known)
    }

    /// All fields in wire order, with the places of name and value.
    pub fn placed(self) -> impl ExactSizeIterator<Item = (Header<'a>, Span, Span)> {
        let bytes = self.bytes;
        let list = self.headers.list.iter();
        list.map(move |span| (span.on(bytes), span.name, span.value))
    }

    /// All fields in wire order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Header<'a>> {
        self.headers.list.iter().map(move |span| span.on(self.bytes))
    }
}

impl Header<'_> {
    /// True when this field has that name. `known` must be [`KnownHeader::of`] `name`; it saves most comparisons.
    pub fn is(&self, name: &[u8], known: KnownHeader) -> bool {
        self.known == known && (known != KnownHeader::Other || self.name.eq_ignore_ascii_case(name))
    }
}

impl HeaderSpan {
    fn on<'a>(&self, bytes: &'a [u8]) -> Header<'a> {
        Header {
            name: self.name.of(bytes),
            value: self.value.of(bytes),
            known: self.known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bytes: &[u8]) -> Headers {
        let mut headers = Headers::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let colon = line.iter().position(|byte| *byte == b':').unwrap();
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            headers.push(
                Span::locate(name, bytes),
                Span::locate(value, bytes),
                KnownHeader::of(name),
            );
        }
        headers
    }

    #[test]
    fn look_ups_ignore_case_and_keep_wire_order() {
        let bytes = b"X-A:1\nhost:h\nx-a:2\nCookie:c\n";
        let headers = list(bytes);
        let view = headers.on(bytes);
        assert_eq!(view.get(KnownHeader::Host), Some(&b"h"[..]));
        assert_eq!(view.find(b"HOST"), Some(&b"h"[..]));
        assert_eq!(view.find_all(b"x-A").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(view.get(KnownHeader::Other), None);
        assert_eq!(view.find(b"x-b"), None);
        assert_eq!(view.iter().len(), 4);
    }

    #[test]
    fn a_removed_field_is_no_longer_present() {
        let bytes = b"Host:h\nCookie:a\nCookie:b\n";
        let mut headers = list(bytes);
        headers.retain(bytes, |header| header.known != KnownHeader::Cookie);
        assert!(!headers.contains(KnownHeader::Cookie));
        assert!(headers.contains(KnownHeader::Host));
        assert_eq!(headers.len(), 1);
    }

    #[test]
    #[should_panic(expected = "part of another buffer")]
    fn a_slice_of_another_buffer_has_no_place_here() {
        let (one, other) = (*b"abc", *b"abc");
        Span::locate(&one, &other);
    }
}
