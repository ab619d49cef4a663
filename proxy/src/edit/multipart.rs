//! Edits of `multipart/form-data` fields (RFC 7578).
//!
//! Enters: a body and its boundary. Leaves: the same parts, with some fields renamed, removed, replaced or added;
//! every other part, its head and its bytes stay as they are. A body that is not well-formed is left alone.

use memchr::memmem;

use super::{Editable, Value};
use crate::http::headers::{Span, Text};

/// The memory of a form that is being changed. Keep one per connection.
#[derive(Debug, Default)]
pub struct Parts {
    list: Vec<Part>,
    written: Vec<u8>,
    changed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    /// The part's fields up to the quoted name, and from behind it, without the empty line.
    before_name: Text,
    name: Text,
    after_name: Text,
    content: Text,
}

/// The boundary that a `Content-Type` names. `None` when it is not `multipart/form-data` or names none.
pub fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    const LENGTH: usize = 70;
    let mut parameters = content_type.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !parameters.next()?.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let value = parameters.find_map(|it| {
        let (name, value) = it.split_at_checked("boundary=".len())?;
        name.eq_ignore_ascii_case(b"boundary=").then_some(value)
    })?;
    let value = value
        .strip_prefix(b"\"")
        .and_then(|it| it.strip_suffix(b"\""))
        .unwrap_or(value);
    let valid = (1..=LENGTH).contains(&value.len()) && value.iter().all(|byte| byte.is_ascii_graphic());
    valid.then_some(value)
}

impl Parts {
    /// Starts with the parts of `body`. `None` when it is not well-formed or has a part without a name.
    pub fn start<'a>(&'a mut self, body: &'a [u8], boundary: &'a [u8]) -> Option<ChangingParts<'a>> {
        self.list.clear();
        self.written.clear();
        self.changed = false;
        if !body.is_empty() {
            self.collect(body, boundary)?;
        }
        Some(ChangingParts {
            parts: self,
            received: body,
            boundary,
        })
    }

    fn collect(&mut self, body: &[u8], boundary: &[u8]) -> Option<()> {
        let mut rest = body.strip_prefix(b"--")?.strip_prefix(boundary)?;
        loop {
            if rest.starts_with(b"--") {
                return Some(());
            }
            let part = rest.strip_prefix(b"\r\n")?;
            let end = find_delimiter(part, boundary)?;
            self.list.push(parse(&part[..end], body)?);
            rest = &part[end + b"\r\n--".len() + boundary.len()..];
        }
    }
}

/// Where `CRLF -- boundary` begins.
fn find_delimiter(text: &[u8], boundary: &[u8]) -> Option<usize> {
    let is_delimiter = |at: &usize| {
        text.get(at + 4..)
            .and_then(|it| it.strip_prefix(boundary))
            .is_some_and(|it| it.starts_with(b"--") || it.starts_with(b"\r\n"))
    };
    memmem::find_iter(text, b"\r\n--").find(is_delimiter)
}

fn parse(part: &[u8], body: &[u8]) -> Option<Part> {
    let head_end = memmem::find(part, b"\r\n\r\n")?;
    let (head, content) = (&part[..head_end], &part[head_end + 4..]);
    let name = find_name(head)?;
    let place = Span::locate(name, head);
    let received = |text: &[u8]| Text::Received(Span::locate(text, body));
    Some(Part {
        before_name: received(&head[..place.start()]),
        name: received(name),
        after_name: received(&head[place.end()..]),
        content: received(content),
    })
}

/// The inside of `name="…"` in Content-Disposition.
fn find_name(head: &[u8]) -> Option<&[u8]> {
    const FIELD: &[u8] = b"content-disposition:";
    let line = head.split(|byte| *byte == b'\n').find(|line| {
        line.get(..FIELD.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(FIELD))
    })?;
    let mut rest = line;
    loop {
        let at = memmem::find(rest, b"name=\"")?;
        let is_whole_word = at > 0 && matches!(rest[at - 1], b' ' | b';' | b'\t');
        rest = &rest[at + b"name=\"".len()..];
        let end = memchr::memchr(b'"', rest)?;
        if is_whole_word {
            return Some(&rest[..end]);
        }
        rest = &rest[end + 1..];
    }
}

/// [`Parts`] together with the body they were read from.
#[derive(Debug)]
pub struct ChangingParts<'a> {
    parts: &'a mut Parts,
    received: &'a [u8],
    boundary: &'a [u8],
}

impl ChangingParts<'_> {
    /// True when the parts are no longer those received. If not, pass the body on as it is.
    pub const fn is_changed(&self) -> bool {
        self.parts.changed
    }

    /// Appends the form with its closing delimiter; preamble and epilogue, which mean nothing, are gone.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let (received, written) = (self.received, &self.parts.written[..]);
        for part in &self.parts.list {
            out.extend_from_slice(b"--");
            out.extend_from_slice(self.boundary);
            out.extend_from_slice(b"\r\n");
            for text in [part.before_name, part.name, part.after_name] {
                out.extend_from_slice(text.of(received, written));
            }
            out.extend_from_slice(b"\r\n\r\n");
            out.extend_from_slice(part.content.of(received, written));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"--");
        out.extend_from_slice(self.boundary);
        out.extend_from_slice(b"--\r\n");
    }

    /// The contents of the parts named `name`.
    pub fn values<'p>(&'p self, name: &'p [u8]) -> impl Iterator<Item = &'p [u8]> + Clone {
        let (received, written) = (self.received, &self.parts.written[..]);
        let named = self
            .parts
            .list
            .iter()
            .filter(move |part| part.is(name, received, written));
        named.map(move |part| part.content.of(received, written))
    }

    fn contains(&self, name: &[u8]) -> bool {
        let (received, written) = (self.received, &self.parts.written);
        self.parts
            .list
            .iter()
            .any(|part| part.is(name, received, written))
    }

    /// A value must not end its part early: one with a line that starts with the delimiter is not written.
    fn is_safe(&self, value: Value<'_>) -> bool {
        let starts_delimiter = |line: &[u8]| {
            line.strip_prefix(b"--")
                .is_some_and(|it| it.starts_with(self.boundary))
        };
        !value.text.split(|byte| *byte == b'\n').any(starts_delimiter)
    }

    fn simple(&mut self, name: &[u8], value: Value<'_>) -> Part {
        let written = &mut self.parts.written;
        Part {
            before_name: Text::write(b"Content-Disposition: form-data; name=\"", written),
            name: Text::write_with(written, |out| push_name(name, out)),
            after_name: Text::write(b"\"", written),
            content: Text::write(value.text, written),
        }
    }
}

impl Editable for ChangingParts<'_> {
    fn remove(&mut self, name: &[u8]) {
        let (received, written) = (self.received, &self.parts.written);
        let before = self.parts.list.len();
        self.parts.list.retain(|part| !part.is(name, received, written));
        self.parts.changed |= self.parts.list.len() != before;
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) {
        if from == to || !self.contains(from) {
            return;
        }
        self.remove(to);
        let name = Text::write_with(&mut self.parts.written, |out| push_name(to, out));
        let (received, parts) = (self.received, &mut *self.parts);
        for part in &mut parts.list {
            if part.is(from, received, &parts.written) {
                part.name = name;
            }
        }
        parts.changed = true;
    }

    fn replace(&mut self, name: &[u8], value: Value<'_>) {
        if !self.is_safe(value) || !self.contains(name) {
            return;
        }
        let new = self.simple(name, value);
        let (received, parts) = (self.received, &mut *self.parts);
        let mut placed = false;
        parts.list.retain_mut(|part| {
            let same = part.is(name, received, &parts.written);
            let keep = !same || !placed;
            if same && keep {
                *part = new;
                placed = true;
            }
            keep
        });
        parts.changed = true;
    }

    fn add(&mut self, name: &[u8], value: Value<'_>) {
        if self.is_safe(value) && !self.contains(name) {
            let new = self.simple(name, value);
            self.parts.list.push(new);
            self.parts.changed = true;
        }
    }

    /// Kong does not append to multipart forms.
    fn append(&mut self, _name: &[u8], _value: Value<'_>) {}
}

impl Part {
    fn is(&self, name: &[u8], received: &[u8], written: &[u8]) -> bool {
        self.name.of(received, written) == name
    }
}

/// As browsers escape a field's name (WHATWG HTML §4.10.21.8).
fn push_name(name: &[u8], out: &mut Vec<u8>) {
    for byte in name {
        match byte {
            b'"' => out.extend_from_slice(b"%22"),
            b'\r' => out.extend_from_slice(b"%0D"),
            b'\n' => out.extend_from_slice(b"%0A"),
            byte => out.push(*byte),
        }
    }
}
