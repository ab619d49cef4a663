//! Edit lists on the parts of one message. Enters: rows of a list, what templates look up, the parts. Leaves: the parts
//! changed, each edit on what the one before left, whichever list it came from. Which lists apply, and to which
//! message, is decided by the corridor.

use std::iter;
use std::mem;

use policy::artifact::Policy;
use policy::table::{self, EditList, EditPlace, Id, PartKind};

use crate::edit::body::{BodyEditor, BodyType};
use crate::edit::template::{self, Piece, Sources};
use crate::edit::{Edit, Editable};
use crate::exchange::record::Record;
use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;
use crate::http::query::Arguments;

/// Memory that edits need. One exchange after the other uses it.
#[derive(Default)]
pub(crate) struct EditMemory {
    /// The value being rendered.
    value: Vec<u8>,
    /// The part being written; it then changes places with the part that was.
    written: Vec<u8>,
    arguments: Arguments,
    body: BodyEditor,
}

impl EditMemory {
    /// Makes `value` the only argument of that name in a query.
    pub(in crate::exchange) fn set_argument(&mut self, name: &[u8], value: &[u8], query: &mut Vec<u8>) {
        let mut arguments = self.arguments.start(query);
        arguments.remove(name);
        arguments.append(name, value);
        self.written.clear();
        arguments.write_to(&mut self.written);
        mem::swap(query, &mut self.written);
    }

    /// Bytes of its largest buffer.
    pub(in crate::exchange) fn capacity(&self) -> usize {
        self.value.capacity().max(self.written.capacity())
    }
}

/// A template could not be rendered, or not to what its place can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unrendered;

/// Renders values, one at a time.
#[derive(Clone, Copy)]
pub(super) struct Renderer<'r> {
    pub(super) policy: &'r Policy,
    /// What templates look up.
    pub(super) sources: &'r Sources<'r>,
}

/// The parts of a request that edits change, beside its header fields.
pub(super) struct RequestParts<'e> {
    pub(super) path: &'e mut Vec<u8>,
    pub(super) query: &'e mut Vec<u8>,
    /// Only meant where the record says that it was read.
    pub(super) body: &'e mut Vec<u8>,
    pub(super) record: &'e mut Record,
}

/// What the groups of a route's regex matched.
#[derive(Default)]
pub(super) struct Groups<'p> {
    numbered: Vec<&'p [u8]>,
    named: Vec<(&'p [u8], &'p [u8])>,
}

impl<'p> Groups<'p> {
    /// Of the canonical path. Costs two short lists; only templates that look captures up pay for them.
    pub(super) fn of(regex: &'p regex::bytes::Regex, path: &'p [u8]) -> Self {
        let Some(found) = regex.captures(path) else {
            return Self::default();
        };
        let text = |group: usize| found.get(group).map_or(&b""[..], |it| it.as_bytes());
        let named = regex.capture_names().enumerate();
        Self {
            numbered: (1..found.len()).map(text).collect(),
            named: named
                .filter_map(|(group, name)| Some((name?.as_bytes(), text(group))))
                .collect(),
        }
    }

    pub(super) fn numbered(&self) -> &[&'p [u8]] {
        &self.numbered
    }

    pub(super) fn named(&self) -> &[(&'p [u8], &'p [u8])] {
        &self.named
    }
}

/// Whether a template of the list looks up a capture.
pub(super) fn uses_captures(policy: &Policy, list: Id<EditList>) -> bool {
    policy
        .rows(policy.get(list).edits)
        .flat_map(|edit| policy.rows(edit.value))
        .any(is_capture)
}

/// Whether a piece looks up a capture.
pub(super) fn is_capture(part: table::Part) -> bool {
    matches!(part.kind, PartKind::Capture | PartKind::CaptureIndex)
}

/// Applies a list to a request.
///
/// # Errors
/// [`Unrendered`]: the request must not go out.
pub(super) fn edit_request(
    renderer: Renderer<'_>,
    list: Id<EditList>,
    memory: &mut EditMemory,
    parts: &mut RequestParts<'_>,
    fields: &mut Outgoing<'_>,
) -> Result<(), Unrendered> {
    let mut edits = renderer.edits(list).peekable();
    while let Some(first) = edits.peek().copied() {
        let mut run = iter::from_fn(|| edits.next_if(|edit| edit.place == first.place));
        match first.place {
            EditPlace::Header => {
                renderer.apply(&mut run, &mut memory.value, fields);
                parts.record.host_edited |= fields.contains(KnownHeader::Host.name().as_bytes());
            }
            EditPlace::Query => parts.edit_query(&mut run, renderer, memory),
            EditPlace::Body => parts.edit_body(&mut run, renderer, memory, fields),
            EditPlace::Uri => {
                for edit in &mut run {
                    parts.replace_path(&edit, renderer, memory)?;
                }
            }
            EditPlace::Method => {
                for edit in &mut run {
                    parts.set_method(&edit, renderer, memory, fields)?;
                }
            }
        }
        // What was not applied, because there is nothing to apply it to, is passed over.
        run.for_each(drop);
    }
    Ok(())
}

/// Applies a list's header edits to a response.
pub(super) fn edit_response_headers(
    renderer: Renderer<'_>,
    list: Id<EditList>,
    memory: &mut EditMemory,
    fields: &mut Outgoing<'_>,
) {
    let edits = renderer
        .edits(list)
        .filter(|edit| edit.place == EditPlace::Header);
    renderer.apply(edits, &mut memory.value, fields);
}

/// Applies a list's body edits to a response's JSON. Leaves alone what is empty or no object, as Kong does.
pub(super) fn edit_response_json(
    renderer: Renderer<'_>,
    list: Id<EditList>,
    memory: &mut EditMemory,
    body: &mut Vec<u8>,
) {
    if body.is_empty() {
        return;
    }
    let Some(mut changing) = memory.body.start(BodyType::Json, body) else {
        return;
    };
    let edits = renderer.edits(list).filter(|edit| edit.place == EditPlace::Body);
    renderer.apply(edits, &mut memory.value, &mut changing);
    if changing.is_changed() {
        memory.written.clear();
        changing.write_to(&mut memory.written);
        mem::swap(body, &mut memory.written);
    }
}

/// Whether bytes with this `Content-Encoding` are the text that edits read.
pub(super) fn is_plain(content_encoding: Option<&[u8]>) -> bool {
    content_encoding.is_none_or(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

impl RequestParts<'_> {
    fn edit_query(
        &mut self,
        edits: impl Iterator<Item = table::Edit>,
        renderer: Renderer<'_>,
        memory: &mut EditMemory,
    ) {
        let mut changing = memory.arguments.start(self.query);
        renderer.apply(edits, &mut memory.value, &mut changing);
        if changing.is_changed() {
            memory.written.clear();
            changing.write_to(&mut memory.written);
            self.take_query(memory);
        }
    }

    fn take_query(&mut self, memory: &mut EditMemory) {
        mem::swap(self.query, &mut memory.written);
        self.record.has_query = !self.query.is_empty();
    }

    fn edit_body(
        &mut self,
        edits: impl Iterator<Item = table::Edit>,
        renderer: Renderer<'_>,
        memory: &mut EditMemory,
        fields: &Outgoing<'_>,
    ) {
        let changing = self
            .body_type(fields)
            .and_then(|body_type| memory.body.start(body_type, self.body));
        let Some(mut changing) = changing else { return };
        renderer.apply(edits, &mut memory.value, &mut changing);
        if changing.is_changed() {
            memory.written.clear();
            changing.write_to(&mut memory.written);
            mem::swap(self.body, &mut memory.written);
            self.record.body_edited = true;
        }
    }

    /// What the body is, by the fields as edited so far; `None` when it cannot be edited.
    fn body_type<'f>(&self, fields: &'f Outgoing<'_>) -> Option<BodyType<'f>> {
        let get = |known: KnownHeader| fields.get(known.name().as_bytes());
        let readable = self.record.body_read && is_plain(get(KnownHeader::ContentEncoding));
        readable
            .then(|| BodyType::of(get(KnownHeader::ContentType)?))
            .flatten()
    }

    fn replace_path(
        &mut self,
        edit: &table::Edit,
        renderer: Renderer<'_>,
        memory: &mut EditMemory,
    ) -> Result<(), Unrendered> {
        let rendered = renderer.render(edit.value, &mut memory.value);
        self.path.clear();
        template::canonical_uri(rendered, &mut memory.written, self.path).map_err(|_error| Unrendered)
    }

    /// A form becomes part of the query when the method has no use for a body (Kong 3.x request-transformer).
    fn set_method(
        &mut self,
        edit: &table::Edit,
        renderer: Renderer<'_>,
        memory: &mut EditMemory,
        fields: &Outgoing<'_>,
    ) -> Result<(), Unrendered> {
        let method = renderer.render(edit.value, &mut memory.value);
        // Kong's own rule for `http_method`; it also keeps spaces and line ends out of the request line.
        if method.is_empty() || !method.iter().all(u8::is_ascii_uppercase) {
            return Err(Unrendered);
        }
        self.record.method = Some(method.to_vec());
        let moves_form = matches!(method, b"GET" | b"HEAD" | b"TRACE");
        if moves_form && self.body_type(fields) == Some(BodyType::Form) {
            let mut changing = memory.arguments.start(self.query);
            changing.append_encoded(self.body);
            memory.written.clear();
            changing.write_to(&mut memory.written);
            self.take_query(memory);
        }
        Ok(())
    }
}

impl<'r> Renderer<'r> {
    fn edits(self, list: Id<EditList>) -> impl Iterator<Item = table::Edit> + use<'r> {
        self.policy.rows(self.policy.get(list).edits)
    }

    /// Applies the edits; `value` holds one value after the other.
    fn apply(
        self,
        edits: impl Iterator<Item = table::Edit>,
        value: &mut Vec<u8>,
        target: &mut impl Editable,
    ) {
        for row in edits {
            let edit = Edit {
                op: row.op,
                name: self.policy.bytes(row.name),
                value: self.render(row.value, value),
                json_type: row.json_type,
            };
            edit.apply(target);
        }
    }

    /// Replaces `value` by a value of these pieces. What a look-up does not find is empty, as in Kong's templates.
    fn render(self, parts: table::Rows<table::Part>, value: &mut Vec<u8>) -> &[u8] {
        // Whether all was found is for those who cannot do without.
        let _ = self.render_found(parts, value);
        value
    }

    /// The same, for a value that must not have holes.
    ///
    /// # Errors
    /// [`Unrendered`] when a look-up without an alternative found nothing.
    pub(super) fn render_found(
        self,
        parts: table::Rows<table::Part>,
        value: &mut Vec<u8>,
    ) -> Result<(), Unrendered> {
        value.clear();
        let policy = self.policy;
        let pieces = policy.rows(parts).map(|part| Piece {
            kind: part.kind,
            text: policy.bytes(part.text),
            index: part.index,
            otherwise: part.otherwise,
        });
        if template::render(pieces, self.sources, value) {
            Ok(())
        } else {
            Err(Unrendered)
        }
    }
}
