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
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Text,
    value: Text,
    known: KnownHeader,
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
        self.list.clear();
        self.written.clear();
        self.resume(&[])
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
        self.list.clear();
        self.written.clear();
        for header in headers.iter() {
            let of_this_hop = header.known.is_hop_by_hop() || header.known == KnownHeader::ContentLength;
            let value = match header.known {
                KnownHeader::Te => trailers(header.value),
                _ if of_this_hop || !keep(&header) => None,
                _ => Some(header.value),
            };
            if let Some(value) = value {
                let [name, value] =
                    [header.name, value].map(|text| Text::Received(Span::locate(text, received)));
                let known = header.known;
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
        let (received, written) = (self.received, &self.fields.written);
        let before = self.fields.list.len();
        self.fields
            .list
            .retain(|field| !named.is(field, received, written));
        self.fields.list.len() != before
    }

    /// Gives every field named `from` the name `to`, and removes those that had it before. Nothing happens, and the
    /// answer is false, when there is no `from` or `to` is not a token or frames this hop.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        if !is_writable(to) || !self.contains(from) {
            return false;
        }
        let old = Named::new(from);
        if !from.eq_ignore_ascii_case(to) {
            self.remove(to);
        }
        let (name, known) = (self.write_name(to), KnownHeader::of(to));
        let (received, fields) = (self.received, &mut *self.fields);
        for field in &mut fields.list {
            if old.is(field, received, &fields.written) {
                (field.name, field.known) = (name, known);
            }
        }
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
        let Some(new) = self.field(name, write) else {
            return false;
        };
        let named = Named::new(name);
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
            fields.list.push(new);
        }
        true
    }

    /// Adds `name: value` at the end if there is no field of that name. False when there is one.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> bool {
        !self.contains(name) && self.append(name, value)
    }

    /// Adds `name: value` at the end. False when `name` is not a token or frames this hop.
    pub fn append(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Some(new) = self.field(name, |text| text.extend_from_slice(value)) else {
            return false;
        };
        self.fields.list.push(new);
        true
    }

    /// True when a field has that name.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Value of the first field named `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let named = Named::new(name);
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
            name: field.name.of(received, written),
            value: field.value.of(received, written),
            known: field.known,
        })
    }

    fn field(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> Option<Field> {
        if !is_writable(name) {
            return None;
        }
        let name_text = self.write_name(name);
        let value = Text::write_with(&mut self.fields.written, |written| {
            let start = written.len();
            write(written);
            escape_controls(written, start);
        });
        let known = KnownHeader::of(name);
        Some(Field {
            name: name_text,
            value,
            known,
        })
    }

    fn write_name(&mut self, name: &[u8]) -> Text {
        Text::write(name, &mut self.fields.written)
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
}

/// `trailers`, the only member of TE that is passed on.
fn trailers(te: &[u8]) -> Option<&[u8]> {
    te.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .find(|it| it.eq_ignore_ascii_case(b"trailers"))
}

/// A token, and not the name of a field that only an encoder writes.
fn is_writable(name: &[u8]) -> bool {
    let known = KnownHeader::of(name);
    let of_this_hop = known.is_hop_by_hop() || known == KnownHeader::ContentLength;
    !of_this_hop && !name.is_empty() && name.iter().all(|byte| super::h1::is_token_byte(*byte))
}

/// A value may be made of a client's query or captures: a line end in it would start another field. Control
/// characters are percent-encoded, as OpenResty does.
fn escape_controls(written: &mut Vec<u8>, start: usize) {
    let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    if !written[start..].iter().any(|byte| is_control(*byte)) {
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
