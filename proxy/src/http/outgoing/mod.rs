//! The header fields of a message about to be written: those received, changed in place.
//!
//! Enters: a received head, then any number of changes, each seeing the result of the one before. Leaves: fields in
//! order. Text that was received stays where it is; only what is new is copied, into memory that is kept.
//! Hop-by-hop fields never get in: each hop's framing is written by its encoder.

#[cfg(test)]
mod tests;

use super::headers::{Header, HeaderView, Span, Text};
use super::known::KnownHeader;
use super::write::push_escape;

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
    /// `None` for the usual spelling of a known name.
    name: Option<Text>,
    value: Text,
    known: KnownHeader,
}

impl Field {
    fn name<'a>(&self, received: &'a [u8], written: &'a [u8]) -> &'a [u8] {
        self.name
            .map_or(self.known.name().as_bytes(), |name| name.of(received, written))
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
        for header in headers.iter() {
            let of_this_hop = is_of_this_hop(header.known);
            let value = match header.known {
                KnownHeader::Te => trailers(header.value),
                _ if of_this_hop || !keep(&header) => None,
                _ => Some(header.value),
            };
            if let Some(value) = value {
                let [name, value] =
                    [header.name, value].map(|text| Text::Received(Span::locate(text, received)));
                let (name, known) = (Some(name), header.known);
                self.present |= known.bit();
                self.list.push(Field { name, value, known });
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
        let name = Some(Text::write(to, &mut self.fields.written));
        let (received, fields) = (self.received, &mut *self.fields);
        for field in &mut fields.list {
            if old.is(field, received, &fields.written) {
                (field.name, field.known) = (name, new.known);
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

    /// [`Outgoing::put`] with a value that `write` appends to the buffer it is given.
    pub fn put_with(&mut self, known: KnownHeader, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(known != KnownHeader::Other && !is_of_this_hop(known));
        let value = Text::write_with(&mut self.fields.written, write);
        debug_assert!(
            !value
                .of(self.received, &self.fields.written)
                .iter()
                .any(|byte| is_control(*byte)),
            "a value of the gateway's own is clean"
        );
        let name = known.name().as_bytes();
        let field = Field {
            name: None,
            value,
            known,
        };
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

    /// All fields in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Header<'_>> {
        let (received, written) = (self.received, &self.fields.written[..]);
        self.fields.list.iter().map(move |field| Header {
            name: field.name(received, written),
            value: field.value.of(received, written),
            known: field.known,
        })
    }

    fn may_have(&self, named: &Named<'_>) -> bool {
        named.known == KnownHeader::Other || self.fields.present & named.known.bit() != 0
    }

    /// Makes `new` the only field of its name.
    fn place(&mut self, named: &Named<'_>, new: Field) {
        if !self.may_have(named) {
            self.push(new);
            return;
        }
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
        if !named.is_writable() {
            return None;
        }
        let name = Some(Text::write(named.name, &mut self.fields.written));
        let value = self.value(write);
        let known = named.known;
        Some(Field { name, value, known })
    }

    fn value(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Text {
        Text::write_with(&mut self.fields.written, |written| {
            let start = written.len();
            write(written);
            escape_controls(written, start);
        })
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
                || field.name(received, written).eq_ignore_ascii_case(self.name))
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
