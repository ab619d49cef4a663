//! Changes to requests and responses, in the order an operator wrote them (Kong's transformers).
//!
//! Enters: one [`Edit`] after the other, values already rendered. Leaves: changed header fields, query arguments or
//! bodies; each edit sees what the one before left, whichever plugin it came from. What is not edited keeps its bytes.
//! Templates are rendered by `template`. Reading a body and choosing the edits is the corridor's business.

pub mod body;
pub mod json;
pub mod multipart;
pub mod template;

pub use policy::table::{EditOp, JsonType};

use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;
use crate::http::query::ChangingArguments;

/// One change to one name.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// What is done.
    pub op: EditOp,
    /// To what: a header, argument, form field or top-level JSON member.
    pub name: &'a [u8],
    /// The value, or the new name of a rename.
    pub value: &'a [u8],
    /// What the value is in JSON; everywhere else it is text.
    pub json_type: JsonType,
}

/// Something with named values. `present` means that at least one value has the name.
pub trait Editable {
    /// Takes the name away, with all its values.
    fn remove(&mut self, name: &[u8]);
    /// Where `from` is present: gives its values the name `to`, whose own values go.
    fn rename(&mut self, from: &[u8], to: &[u8]);
    /// Where the name is present: makes this its only value.
    fn replace(&mut self, name: &[u8], value: Value<'_>);
    /// Where the name is absent: adds the value.
    fn add(&mut self, name: &[u8], value: Value<'_>);
    /// Adds the value to those that are there.
    fn append(&mut self, name: &[u8], value: Value<'_>);
    /// Makes this the only value, present or not.
    fn set(&mut self, name: &[u8], value: Value<'_>) {
        self.remove(name);
        self.add(name, value);
    }
}

/// A rendered value.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// What it is in JSON.
    pub json_type: JsonType,
}

impl Edit<'_> {
    /// Applies this edit.
    pub fn apply(&self, target: &mut impl Editable) {
        let value = Value {
            text: self.value,
            json_type: self.json_type,
        };
        match self.op {
            EditOp::Remove => target.remove(self.name),
            EditOp::Rename => target.rename(self.name, self.value),
            EditOp::Replace => target.replace(self.name, value),
            EditOp::Add => target.add(self.name, value),
            EditOp::Append => target.append(self.name, value),
            EditOp::Set => target.set(self.name, value),
        }
    }
}

/// Host can only be replaced, and then it always is (Kong 3.x request-transformer): a request needs exactly one.
/// Fields that frame a hop cannot be written at all; see [`Outgoing`].
impl Editable for Outgoing<'_> {
    fn remove(&mut self, name: &[u8]) {
        if !is_host(name) {
            Outgoing::remove(self, name);
        }
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) {
        if !is_host(from) && !is_host(to) {
            Outgoing::rename(self, from, to);
        }
    }

    fn replace(&mut self, name: &[u8], value: Value<'_>) {
        if is_host(name) {
            Outgoing::set(self, name, value.text)
        } else {
            Outgoing::replace(self, name, value.text)
        };
    }

    fn add(&mut self, name: &[u8], value: Value<'_>) {
        if !is_host(name) {
            Outgoing::add(self, name, value.text);
        }
    }

    fn append(&mut self, name: &[u8], value: Value<'_>) {
        if !is_host(name) {
            Outgoing::append(self, name, value.text);
        }
    }

    fn set(&mut self, name: &[u8], value: Value<'_>) {
        Outgoing::set(self, name, value.text);
    }
}

fn is_host(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(KnownHeader::Host.name().as_bytes())
}

impl Editable for ChangingArguments<'_> {
    fn remove(&mut self, name: &[u8]) {
        ChangingArguments::remove(self, name);
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) {
        ChangingArguments::rename(self, from, to);
    }

    fn replace(&mut self, name: &[u8], value: Value<'_>) {
        ChangingArguments::replace(self, name, value.text);
    }

    fn add(&mut self, name: &[u8], value: Value<'_>) {
        ChangingArguments::add(self, name, value.text);
    }

    fn append(&mut self, name: &[u8], value: Value<'_>) {
        ChangingArguments::append(self, name, value.text);
    }
}

#[cfg(test)]
mod tests;
