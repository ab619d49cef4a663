//! Edits of a whole body, by what its `Content-Type` says it is.
//!
//! Enters: the content type and the body, read to its end. Leaves: the changed body in the caller's buffer, or the
//! answer that the original goes on as it is: nothing matched, or it is not what its type claims.

use super::json::{ChangingMembers, JsonMembers};
use super::multipart::{self, ChangingParts, Parts};
use super::{Editable, Value};
use crate::http::query::{Arguments, ChangingArguments};

/// The body types that can be edited (Kong 3.x request-transformer; its response twin edits JSON alone).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyType<'a> {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
    /// `multipart/form-data`, with its boundary.
    Multipart(&'a [u8]),
}

impl<'a> BodyType<'a> {
    /// The type that a `Content-Type` names, whatever its parameters. `None` for every other.
    pub fn of(content_type: &'a [u8]) -> Option<Self> {
        let name = content_type
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        match name {
            it if it.eq_ignore_ascii_case(b"application/json") => Some(Self::Json),
            it if it.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") => Some(Self::Form),
            _ => multipart::boundary(content_type).map(Self::Multipart),
        }
    }
}

/// The memory for editing bodies. Keep one per connection.
#[derive(Debug, Default)]
pub struct BodyEditor {
    json: JsonMembers,
    form: Arguments,
    multipart: Parts,
}

/// A body that is being changed: an [`Editable`].
#[derive(Debug)]
pub enum ChangingBody<'a> {
    /// A JSON object.
    Json(ChangingMembers<'a>),
    /// A form.
    Form(ChangingArguments<'a>),
    /// A form in parts.
    Multipart(ChangingParts<'a>),
}

impl BodyEditor {
    /// Starts to change `body`. `None` when it is not what its type says: pass it on as it is.
    pub fn start<'a>(&'a mut self, body_type: BodyType<'a>, body: &'a [u8]) -> Option<ChangingBody<'a>> {
        match body_type {
            BodyType::Json => self.json.start(body).map(ChangingBody::Json),
            BodyType::Form => Some(ChangingBody::Form(self.form.start(body))),
            BodyType::Multipart(boundary) => {
                self.multipart.start(body, boundary).map(ChangingBody::Multipart)
            }
        }
    }
}

macro_rules! each {
    ($body:expr, $it:ident => $result:expr) => {
        match $body {
            ChangingBody::Json($it) => $result,
            ChangingBody::Form($it) => $result,
            ChangingBody::Multipart($it) => $result,
        }
    };
}

impl ChangingBody<'_> {
    /// True when the body is no longer the one received. If not, pass that one on.
    pub const fn is_changed(&self) -> bool {
        each!(self, it => it.is_changed())
    }

    /// Appends the body.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        each!(self, it => it.write_to(out));
    }
}

impl Editable for ChangingBody<'_> {
    fn remove(&mut self, name: &[u8]) {
        each!(self, it => Editable::remove(it, name));
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) {
        each!(self, it => Editable::rename(it, from, to));
    }

    fn replace(&mut self, name: &[u8], value: Value<'_>) {
        each!(self, it => Editable::replace(it, name, value));
    }

    fn add(&mut self, name: &[u8], value: Value<'_>) {
        each!(self, it => Editable::add(it, name, value));
    }

    fn append(&mut self, name: &[u8], value: Value<'_>) {
        each!(self, it => Editable::append(it, name, value));
    }
}
