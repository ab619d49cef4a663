//! The header fields of a message about to be written: those received, changed in place.
//!
//! Enters: a received head, then any number of changes, each seeing the result of the one before. Leaves: fields in
//! order. Text that was received stays where it is; only what is new is copied, into memory that is kept.
//! Hop-by-hop fields never get in: each hop's framing is written by its encoder.

#[cfg(test)]
mod tests;

use policy::percent::push_escape;

use super::headers::{Header, HeaderView, Span, Text};
use super::known::KnownHeader;

/// The memory of one outgoing head. Keep one per direction of a connection.
#[derive(Debug, Default)]
pub struct OutgoingHeaders {
    list: Vec<Field>,
    written: Vec<u8>,
    /// The known names that may be in the list; those that are not here certainly are not.
    present: u128,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Text,
    value: Text,
    known: KnownHeader,
    /// Where the name's buffer has the field as a line, `name: value` and CRLF; of no bytes where it does not.
    line: Span,
}

impl Field {
    /// A field that lies in `received`.
    fn received(name: Span, value: Span, known: KnownHeader, received: &[u8]) -> Self {
        let is_line = received.get(name.end()..value.start()) == Some(b": ")
            && received.get(value.end()..value.end() + 2) == Some(b"\r\n");
        let line = if is_line {
            Span::new(name.start(), value.end() + 2)
        } else {
            Span::default()
        };
        let [name, value] = [name, value].map(Text::Received);
        Self {
            name,
            value,
            known,
            line,
        }
    }
}

impl OutgoingHeaders {
    /// Starts an upstream request from a client's fields: without hop-by-hop fields, Host, lengths and `Expect`, which
    /// are this hop's own, and without what only the gateway may say (identity, forwarding, and the underscore twins
    /// of both). `received` is the buffer that `headers` was decoded from. The result has no Host: set one.
    pub fn start_request<'a>(&'a mut self, headers: HeaderView<'_>, received: &'a [u8]) -> Outgoing<'a> {
        self.start(headers, received, |header| {
            let known = match header.known {
                KnownHeader::Other => KnownHeader::underscore_twin_of(header.name),
                known => known,
            };
            !known.is_identity()
                && !known.is_forwarding()
                && known != KnownHeader::Host
                && known != KnownHeader::Expect
        })
    }

    /// Starts a response to the client from an upstream's fields: without hop-by-hop fields and lengths.
    pub fn start_response<'a>(&'a mut self, headers: HeaderView<'_>, received: &'a [u8]) -> Outgoing<'a> {
        self.start(headers, received, |_| true)
    }

    /// Starts a message of our own, without any field.
    pub fn start_empty(&mut self) -> Outgoing<'_> {
        self.clear();
        self.resume(&[])
    }

    fn clear(&mut self) {
        self.list.clear();
        self.written.clear();
        self.present = 0;
    }

    /// Goes on changing a message; `received` as it was at its start.
    pub const fn resume<'a>(&'a mut self, received: &'a [u8]) -> Outgoing<'a> {
        Outgoing {
            fields: self,
            received,
        }
    }

    fn start<'a>(
        &'a mut self,
        headers: HeaderView<'_>,
        received: &'a [u8],
        keep: impl Fn(&Header<'_>) -> bool,
    ) -> Outgoing<'a> {
        self.clear();
        for (header, name, value) in headers.placed() {
            let known = header.known;
            let value = match known {
                KnownHeader::Te => trailers(header.value).map(|value| Span::locate(value, received)),
                _ if is_of_this_hop(known) || !keep(&header) => None,
                _ => Some(value),
            };
            if let Some(value) = value {
                self.present |= known.bit();
                self.list.push(Field::received(name, value, known, received));
            }
        }
        Outgoing {
            fields: self,
            received,
        }
    }
}

/// [`OutgoingHeaders`] together with the received bytes they point into.
#[derive(Debug)]
pub struct Outgoing<'a> {
    fields: &'a mut OutgoingHeaders,
    received: &'a [u8],
}

impl Outgoing<'_> {
    /// Removes every field named `name`. False when there was none.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let named = Named::new(name);
        if !self.may_have(&named) {
            return false;
        }
        let (received, written) = (self.received, &self.fields.written);
        let before = self.fields.list.len();
        self.fields
            .list
            .retain(|field| !named.is(field, received, written));
        self.fields.present &= !named.known.bit();
        self.fields.list.len() != before
    }

    /// Gives every field named `from` the name `to`, and removes those that had it before. Nothing happens, and the
    /// answer is false, when there is no `from` or `to` is not a token or frames this hop.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        let (old, new) = (Named::new(from), Named::new(to));
        if !new.is_writable() || !self.contains(from) {
            return false;
        }
        if !from.eq_ignore_ascii_case(to) {
            self.remove(to);
        }
        let name = Text::write(to, &mut self.fields.written);
        let (received, fields) = (self.received, &mut *self.fields);
        for field in &mut fields.list {
            if old.is(field, received, &fields.written) {
                (field.name, field.known, field.line) = (name, new.known, Span::default());
            }
        }
        fields.present = fields.present & !old.known.bit() | new.known.bit();
        true
    }

    /// Makes `name: value` the only field of its name, at the place of the first one, if there is one. False when not.
    pub fn replace(&mut self, name: &[u8], value: &[u8]) -> bool {
        if !self.contains(name) {
            return false;
        }
        self.set(name, value)
    }

    /// Makes `name: value` the only field of its name, at the place of the first one or at the end. False, and
    /// nothing done, when `name` is not a token or frames this hop.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.set_with(name, |text| text.extend_from_slice(value))
    }

    /// [`Outgoing::set`] with a value that `write` appends to the buffer it is given.
    pub fn set_with(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let named = Named::new(name);
        let Some(new) = self.field(&named, write) else {
            return false;
        };
        self.place(&named, new);
        true
    }

    /// [`Outgoing::set`] for a name and a value of the gateway's own: the usual spelling, no control characters.
    pub fn put(&mut self, known: KnownHeader, value: &[u8]) {
        self.put_with(known, |text| text.extend_from_slice(value));
    }

    /// [`Outgoing::put`] with a number.
    pub fn put_number(&mut self, known: KnownHeader, value: u64) {
        self.put(known, itoa::Buffer::new().format(value).as_bytes());
    }

    /// [`Outgoing::put`] with a value that `write` appends to the buffer it is given.
    pub fn put_with(&mut self, known: KnownHeader, write: impl FnOnce(&mut Vec<u8>)) {
        self.put_line(known, |written| {
            let start = written.len();
            write(written);
            debug_assert!(!written[start..].iter().any(|byte| is_control(*byte)));
        });
    }

    /// [`Outgoing::put`] for a value that an operator wrote: it may hold control characters.
    pub fn put_text(&mut self, known: KnownHeader, value: &[u8]) {
        self.put_line(known, |written| {
            let start = written.len();
            written.extend_from_slice(value);
            escape_controls(written, start);
        });
    }

    fn put_line(&mut self, known: KnownHeader, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(known != KnownHeader::Other && !is_of_this_hop(known));
        let field = self.line([known.line_start().as_bytes(), b""], known, write);
        let name = known.name().as_bytes();
        self.place(&Named { name, known }, field);
    }

    /// Adds `name: value` at the end if there is no field of that name. False when there is one.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> bool {
        !self.contains(name) && self.append(name, value)
    }

    /// Adds `name: value` at the end. False when `name` is not a token or frames this hop.
    pub fn append(&mut self, name: &[u8], value: &[u8]) -> bool {
        let named = Named::new(name);
        let Some(new) = self.field(&named, |text| text.extend_from_slice(value)) else {
            return false;
        };
        self.push(new);
        true
    }

    /// True when a field has that name.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Value of the first field named `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let named = Named::new(name);
        if !self.may_have(&named) {
            return None;
        }
        let found = self
            .fields
            .list
            .iter()
            .find(|field| named.is(field, self.received, &self.fields.written))?;
        Some(found.value.of(self.received, &self.fields.written))
    }

    /// Appends all fields in order, as HTTP/1 writes them. Most lie in one of the two buffers as they go out, many in a
    /// row.
    pub fn write_lines(&self, out: &mut Vec<u8>) {
        let (received, written) = (self.received, &self.fields.written[..]);
        let mut ready = Text::Written(Span::default());
        for field in &self.fields.list {
            let line = field.line;
            let joined = match (ready, field.name) {
                _ if line.is_empty() => None,
                (Text::Received(lines), Text::Received(_)) if lines.end() == line.start() => {
                    Some(Text::Received(Span::new(lines.start(), line.end())))
                }
                (Text::Written(lines), Text::Written(_)) if lines.end() == line.start() => {
                    Some(Text::Written(Span::new(lines.start(), line.end())))
                }
                _ => None,
            };
            if let Some(joined) = joined {
                ready = joined;
                continue;
            }
            out.extend_from_slice(ready.of(received, written));
            ready = match field.name {
                Text::Received(_) => Text::Received(line),
                Text::Written(_) => Text::Written(line),
            };
            if line.is_empty() {
                out.extend_from_slice(field.name.of(received, written));
                out.extend_from_slice(b": ");
                out.extend_from_slice(field.value.of(received, written));
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(ready.of(received, written));
    }

    /// All fields in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Header<'_>> {
        let (received, written) = (self.received, &self.fields.written[..]);
        self.fields.list.iter().map(move |field| Header {
            name: field.name.of(received, written),
            value: field.value.of(received, written),
            known: field.known,
        })
    }

    fn may_have(&self, named: &Named<'_>) -> bool {
        named.known == KnownHeader::Other || self.fields.present & named.known.bit() != 0
    }

    /// Makes `new` the only field of its name.
    #[inline]
    fn place(&mut self, named: &Named<'_>, new: Field) {
        if self.may_have(named) {
            self.replace_all(named, new);
        } else {
            self.push(new);
        }
    }

    fn replace_all(&mut self, named: &Named<'_>, new: Field) {
        let (received, fields) = (self.received, &mut *self.fields);
        let mut placed = false;
        fields.list.retain_mut(|field| {
            let same = named.is(field, received, &fields.written);
            let keep = !same || !placed;
            if same && keep {
                *field = new;
                placed = true;
            }
            keep
        });
        if !placed {
            self.push(new);
        }
    }

    fn push(&mut self, new: Field) {
        self.fields.present |= new.known.bit();
        self.fields.list.push(new);
    }

    fn field(&mut self, named: &Named<'_>, write: impl FnOnce(&mut Vec<u8>)) -> Option<Field> {
        let writable = named.is_writable();
        writable.then(|| {
            self.line([named.name, b": "], named.known, |written| {
                let start = written.len();
                write(written);
                escape_controls(written, start);
            })
        })
    }

    /// Writes a field as the line that it may become. The two parts of `start` are its name and `: `.
    #[inline]
    fn line(&mut self, start: [&[u8]; 2], known: KnownHeader, write: impl FnOnce(&mut Vec<u8>)) -> Field {
        let written = &mut self.fields.written;
        let begin = written.len();
        for part in start {
            written.extend_from_slice(part);
        }
        let colon = written.len() - b": ".len();
        let value = Text::write_with(written, write);
        written.extend_from_slice(b"\r\n");
        let [name, line] = [colon, written.len()].map(|end| Span::new(begin, end));
        let name = Text::Written(name);
        Field {
            name,
            value,
            known,
            line,
        }
    }
}

/// A name to look for, with its id.
struct Named<'a> {
    name: &'a [u8],
    known: KnownHeader,
}

impl<'a> Named<'a> {
    fn new(name: &'a [u8]) -> Self {
        Self {
            name,
            known: KnownHeader::of(name),
        }
    }

    fn is(&self, field: &Field, received: &[u8], written: &[u8]) -> bool {
        field.known == self.known
            && (self.known != KnownHeader::Other
                || field.name.of(received, written).eq_ignore_ascii_case(self.name))
    }

    /// A token, and not the name of a field that only an encoder writes.
    fn is_writable(&self) -> bool {
        match self.known {
            KnownHeader::Other => super::h1::is_token(self.name),
            known => !is_of_this_hop(known),
        }
    }
}

/// `trailers`, the only member of TE that is passed on.
fn trailers(te: &[u8]) -> Option<&[u8]> {
    te.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .find(|it| it.eq_ignore_ascii_case(b"trailers"))
}

/// Only an encoder writes it.
fn is_of_this_hop(known: KnownHeader) -> bool {
    known.is_hop_by_hop() || known == KnownHeader::ContentLength
}

/// A value may be made of a client's query or captures: a line end in it would start another field. Control
/// characters are percent-encoded, as OpenResty does.
fn escape_controls(written: &mut Vec<u8>, start: usize) {
    // Without an early end this compares many bytes at once, and nearly always finds nothing.
    let any = |bytes: &[u8]| bytes.iter().fold(false, |any, byte| any | is_control(*byte));
    if !any(&written[start..]) {
        return;
    }
    let end = written.len();
    for at in start..end {
        match written[at] {
            byte if is_control(byte) => push_escape(byte, written),
            byte => written.push(byte),
        }
    }
    written.drain(start..end);
}

const fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}
