//! Value templates: `$(headers.x or query_params.y or 'none')`, taken apart by the compiler.
//!
//! Enters: pieces in order, and the request as the client sent it. Leaves: the value's bytes. There is no expression
//! language: a piece is a literal or one look-up. A look-up that finds nothing gives nothing.

use policy::path::{PathError, PathRules, canonicalise};
use policy::percent::push_escape;
use policy::table::PartKind;

use crate::http::headers::HeaderView;
use crate::http::query;

/// One piece of a template.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What it is.
    pub kind: PartKind,
    /// The literal, or the name to look up.
    pub text: &'a [u8],
    /// The number of a numbered capture, from 1.
    pub index: u32,
    /// Used only if the piece before gave nothing (`or`); of a chain, the first that gives something.
    pub otherwise: bool,
}

/// What templates can look up: always the request as it was received, not as edited so far.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The client's fields.
    pub headers: HeaderView<'a>,
    /// The client's query, without `?`.
    pub query: Option<&'a [u8]>,
    /// What the groups of the route's regex matched, from group 1. A group that took no part is empty.
    pub captures: &'a [&'a [u8]],
    /// Names of groups, with their text.
    pub named_captures: &'a [(&'a [u8], &'a [u8])],
}

/// Appends the rendered template. False when a look-up without a fallback found nothing.
pub fn render<'p>(
    pieces: impl IntoIterator<Item = Piece<'p>>,
    sources: &Sources<'_>,
    out: &mut Vec<u8>,
) -> bool {
    let mut all_found = true;
    let mut found = true;
    for piece in pieces {
        if piece.otherwise && found {
            continue;
        }
        if !piece.otherwise {
            all_found &= found;
        }
        found = sources.look_up(&piece, out);
    }
    all_found && found
}

/// Writes the canonical path that a rendered `replace.uri` stands for to `out`. What a URI cannot hold is escaped
/// first, so text from a header cannot become a query.
///
/// # Errors
/// The rendered text is no path: the request fails with a 500, as a template that cannot be rendered does in Kong.
pub fn canonical_uri(rendered: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), PathError> {
    scratch.clear();
    for byte in rendered {
        match byte {
            b'?' | b'#' | b';' | b'\\' => push_escape(*byte, scratch),
            byte if byte.is_ascii_graphic() => scratch.push(*byte),
            byte => push_escape(*byte, scratch),
        }
    }
    canonicalise(scratch, PathRules::default(), out)
}

impl Sources<'_> {
    fn look_up(&self, piece: &Piece<'_>, out: &mut Vec<u8>) -> bool {
        let text = match piece.kind {
            PartKind::Literal => Some(piece.text),
            PartKind::Header => self.header(piece.text),
            PartKind::Query => return self.argument(piece.text, out),
            PartKind::Capture => {
                let named = self.named_captures.iter().find(|(name, _)| *name == piece.text);
                named.map(|(_, text)| *text)
            }
            PartKind::CaptureIndex => {
                let nth = (piece.index as usize).checked_sub(1);
                nth.and_then(|nth| self.captures.get(nth).copied())
            }
        };
        // Lua takes an empty text for something. A group that took no part gives nothing.
        let text = text.filter(|text| {
            !text.is_empty() || !matches!(piece.kind, PartKind::Capture | PartKind::CaptureIndex)
        });
        out.extend_from_slice(text.unwrap_or_default());
        text.is_some()
    }

    /// Lua names cannot hold `-`: `headers.x_user_id` is `X-User-Id`.
    fn header(&self, name: &[u8]) -> Option<&[u8]> {
        let same = |one: u8, other: u8| one.eq_ignore_ascii_case(&other) || (one, other) == (b'_', b'-');
        let is_named =
            |it: &[u8]| it.len() == name.len() && name.iter().zip(it).all(|(one, other)| same(*one, *other));
        self.headers.find(name).or_else(|| {
            self.headers
                .iter()
                .find(|it| is_named(it.name))
                .map(|it| it.value)
        })
    }

    fn argument(&self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let mut values =
            query::pairs(self.query.unwrap_or_default()).filter(|(it, _)| query::decodes_to(it, name));
        match values.next() {
            Some((_, Some(value))) => query::decode(value, out),
            // An argument without a value is true, as OpenResty reads it.
            Some((_, None)) => out.extend_from_slice(b"true"),
            None => return false,
        }
        true
    }
}
