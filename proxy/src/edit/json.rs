//! Edits of a JSON object's top-level members.
//!
//! Enters: a body. Leaves: the object with some members changed; every value that is not edited keeps its bytes,
//! whatever its numbers look like, and members keep their order. A body that is no object is left alone.

use std::fmt;

use policy::table::JsonType;
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Editable, Value};
use crate::http::headers::{Span, Text};
use crate::http::refusal_body::push_json;

/// The memory of an object that is being changed. Keep one per connection.
#[derive(Debug, Default)]
pub struct JsonMembers {
    list: Vec<Member>,
    written: Vec<u8>,
    changed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    /// Without quotes and escapes.
    name: Text,
    /// As JSON.
    value: Text,
}

impl JsonMembers {
    /// Starts with the members of `body`; an empty body is an empty object. `None` when `body` is not valid JSON or
    /// not an object: pass it on as it is. Only names with escapes are copied.
    pub fn start<'a>(&'a mut self, body: &'a [u8]) -> Option<ChangingMembers<'a>> {
        self.list.clear();
        self.written.clear();
        self.changed = false;
        if !body.trim_ascii().is_empty() {
            let mut deserializer = serde_json::Deserializer::from_slice(body);
            deserializer
                .deserialize_map(Collect { members: self, body })
                .ok()?;
            deserializer.end().ok()?;
        }
        Some(ChangingMembers {
            members: self,
            received: body,
        })
    }
}

struct Collect<'c> {
    members: &'c mut JsonMembers,
    body: &'c [u8],
}

impl<'de> Visitor<'de> for Collect<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Name<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            let name = match name.0 {
                std::borrow::Cow::Borrowed(name) => Text::Received(Span::locate(name.as_bytes(), self.body)),
                std::borrow::Cow::Owned(name) => Text::write(name.as_bytes(), &mut self.members.written),
            };
            let value = Text::Received(Span::locate(value.get().as_bytes(), self.body));
            self.members.list.push(Member { name, value });
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'n>(#[serde(borrow)] std::borrow::Cow<'n, str>);

/// [`JsonMembers`] together with the body they were read from.
#[derive(Debug)]
pub struct ChangingMembers<'a> {
    members: &'a mut JsonMembers,
    received: &'a [u8],
}

impl ChangingMembers<'_> {
    /// True when the members are no longer those received. If not, pass the body on as it is.
    pub const fn is_changed(&self) -> bool {
        self.members.changed
    }

    /// Appends the object, without whitespace between members.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let (received, written) = (self.received, &self.members.written[..]);
        out.push(b'{');
        for (nth, member) in self.members.list.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            push_string(member.name.of(received, written), out);
            out.push(b':');
            out.extend_from_slice(member.value.of(received, written));
        }
        out.push(b'}');
    }

    fn contains(&self, name: &[u8]) -> bool {
        let (received, written) = (self.received, &self.members.written);
        self.members
            .list
            .iter()
            .any(|member| member.is(name, received, written))
    }

    /// The value as JSON. `None` for what is not of its type: Kong sets nothing then.
    fn write(&mut self, value: Value<'_>) -> Option<Text> {
        let text = value.text.trim_ascii();
        let written = &mut self.members.written;
        match value.json_type {
            JsonType::String => Some(Text::write_with(written, |out| push_string(value.text, out))),
            JsonType::Boolean if text == b"true" => Some(Text::write(b"true", written)),
            JsonType::Boolean => Some(Text::write(b"false", written)),
            JsonType::Number => is_number(text).then(|| Text::write(text, written)),
        }
    }

    fn push(&mut self, name: &[u8], value: Text) {
        let name = Text::write(name, &mut self.members.written);
        self.members.list.push(Member { name, value });
        self.members.changed = true;
    }
}

impl Editable for ChangingMembers<'_> {
    fn remove(&mut self, name: &[u8]) {
        let (received, written) = (self.received, &self.members.written);
        let before = self.members.list.len();
        self.members
            .list
            .retain(|member| !member.is(name, received, written));
        self.members.changed |= self.members.list.len() != before;
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) {
        if from == to || !self.contains(from) {
            return;
        }
        self.remove(to);
        let name = Text::write(to, &mut self.members.written);
        let (received, members) = (self.received, &mut *self.members);
        for member in &mut members.list {
            if member.is(from, received, &members.written) {
                member.name = name;
            }
        }
        members.changed = true;
    }

    fn replace(&mut self, name: &[u8], value: Value<'_>) {
        let Some(value) = self.write(value) else {
            return;
        };
        let (received, members) = (self.received, &mut *self.members);
        let mut placed = false;
        members.list.retain_mut(|member| {
            let same = member.is(name, received, &members.written);
            let keep = !same || !placed;
            if same && keep {
                member.value = value;
                placed = true;
            }
            keep
        });
        members.changed |= placed;
    }

    fn add(&mut self, name: &[u8], value: Value<'_>) {
        if !self.contains(name)
            && let Some(value) = self.write(value)
        {
            self.push(name, value);
        }
    }

    /// Makes a list, as Kong does: a string becomes the first of two, an array gets one more, any other scalar is
    /// replaced by a list of one. An object becomes the first of two, where Kong fails.
    fn append(&mut self, name: &[u8], value: Value<'_>) {
        let Some(value) = self.write(value) else {
            return;
        };
        let (received, members) = (self.received, &mut *self.members);
        let written = &mut members.written;
        let nth = members
            .list
            .iter()
            .position(|member| member.is(name, received, written));
        let kept = nth.and_then(|nth| kept_items(members.list[nth].value, received, written));
        let list = Text::write_with(written, |out| {
            out.push(b'[');
            if let Some(kept) = kept {
                kept.copy(received, out);
                out.push(b',');
            }
            value.copy(received, out);
            out.push(b']');
        });
        match nth {
            Some(nth) => {
                members.list[nth].value = list;
                members.changed = true;
            }
            None => self.push(name, list),
        }
    }
}

impl Member {
    fn is(&self, name: &[u8], received: &[u8], written: &[u8]) -> bool {
        self.name.of(received, written) == name
    }
}

/// What of an old value becomes the first items of a list.
fn kept_items(old: Text, received: &[u8], written: &[u8]) -> Option<Text> {
    let items = match old.of(received, written) {
        [b'[', items @ .., b']'] => items.trim_ascii(),
        whole @ [b'"' | b'{', ..] => whole,
        _ => b"",
    };
    (!items.is_empty()).then(|| old.part(items, received, written))
}

/// A JSON string; bytes that are no UTF-8 become U+FFFD.
fn push_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        push_json(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// `number` of RFC 8259 §6.
fn is_number(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'-' | b'0'..=b'9')) && serde_json::from_slice::<&RawValue>(text).is_ok()
}
