//! The parts of the log object that clients write: header fields, arguments, paths. Credentials are left out.

use super::json::{self, Scope};
use super::redaction::{REDACTED, Redaction};
use crate::http::headers::HeaderView;
use crate::http::outgoing::Outgoing;
use crate::http::query;
use crate::limits;

/// Header fields in wire order.
pub trait Fields {
    /// Gives every name and value to `visit`.
    fn each<'f>(&'f self, visit: &mut dyn FnMut(&'f [u8], &'f [u8]));
}

impl Fields for HeaderView<'_> {
    fn each<'f>(&'f self, visit: &mut dyn FnMut(&'f [u8], &'f [u8])) {
        self.iter().for_each(|header| visit(header.name, header.value));
    }
}

impl Fields for Outgoing<'_> {
    fn each<'f>(&'f self, visit: &mut dyn FnMut(&'f [u8], &'f [u8])) {
        self.iter().for_each(|header| visit(header.name, header.value));
    }
}

impl Fields for &[(&[u8], &[u8])] {
    fn each<'f>(&'f self, visit: &mut dyn FnMut(&'f [u8], &'f [u8])) {
        self.iter().for_each(|(name, value)| visit(name, value));
    }
}

/// Name and value; `None` for an argument without a value.
type Pair<'p> = (&'p [u8], Option<&'p [u8]>);

/// Names in lower case.
pub(super) fn write_headers(out: &mut Vec<u8>, headers: &dyn Fields, redaction: &Redaction) {
    let mut fields: [Pair<'_>; limits::LOG_FIELDS] = [(b"", None); limits::LOG_FIELDS];
    let mut count = 0;
    headers.each(&mut |name, value| {
        if let Some(field) = fields.get_mut(count) {
            *field = (
                name,
                Some(if redaction.hides_header(name) {
                    REDACTED
                } else {
                    value
                }),
            );
            count += 1;
        }
    });
    write_grouped(
        out,
        &fields[..count],
        <[u8]>::eq_ignore_ascii_case,
        |out, name| {
            let start = out.len();
            json::text(out, name);
            out[start..].make_ascii_lowercase();
        },
    );
}

/// Decoded arguments; `true` for one without a value.
pub(super) fn write_query(out: &mut Vec<u8>, encoded: &[u8], redaction: &Redaction, scratch: &mut Vec<u8>) {
    scratch.clear();
    let mut ends = [(0, None); limits::LOG_ARGUMENTS];
    let mut count = 0;
    for ((name, value), end) in query::pairs(encoded).zip(&mut ends) {
        query::decode(name, scratch);
        end.0 = scratch.len();
        end.1 = value.map(|value| {
            if redaction.hides_argument(name) {
                scratch.extend_from_slice(REDACTED);
            } else {
                query::decode(value, scratch);
            }
            scratch.len()
        });
        count += 1;
    }
    let mut arguments: [Pair<'_>; limits::LOG_ARGUMENTS] = [(b"", None); limits::LOG_ARGUMENTS];
    let mut start = 0;
    for (argument, (name_end, value_end)) in arguments.iter_mut().zip(&ends[..count]) {
        *argument = (
            &scratch[start..*name_end],
            value_end.map(|value_end| &scratch[*name_end..value_end]),
        );
        start = value_end.unwrap_or(*name_end);
    }
    write_grouped(out, &arguments[..count], |one, other| one == other, json::text);
}

/// An object of pairs; a name that comes again gets an array of its values.
fn write_grouped(
    out: &mut Vec<u8>,
    pairs: &[Pair<'_>],
    same: impl Fn(&[u8], &[u8]) -> bool,
    write_name: impl Fn(&mut Vec<u8>, &[u8]),
) {
    let write_value = |out: &mut Vec<u8>, value: &Option<&[u8]>| match value {
        Some(value) => json::text(out, value),
        None => out.extend_from_slice(b"true"),
    };
    let mut object = Scope::object(out);
    for (index, (name, value)) in pairs.iter().enumerate() {
        if pairs[..index].iter().any(|(earlier, _)| same(earlier, name)) {
            continue;
        }
        let out = object.element();
        write_name(out, name);
        out.push(b':');
        let mut again = pairs[index + 1..]
            .iter()
            .filter(|(later, _)| same(later, name))
            .peekable();
        if again.peek().is_none() {
            write_value(out, value);
            continue;
        }
        let mut values = Scope::array(out);
        write_value(values.element(), value);
        again.for_each(|(_name, value)| write_value(values.element(), value));
        values.end();
    }
    object.end();
}

/// The inside of a string: path and query as they were on the wire, but for the values of credentials.
pub(super) fn write_uri(out: &mut Vec<u8>, path: &[u8], encoded: Option<&[u8]>, redaction: &Redaction) {
    json::lossy(out, path);
    let Some(encoded) = encoded else { return };
    out.push(b'?');
    if !query::pairs(encoded).any(|(name, _)| redaction.hides_argument(name)) {
        return json::lossy(out, encoded);
    }
    for (index, (name, value)) in query::pairs(encoded).enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        json::lossy(out, name);
        if let Some(value) = value {
            out.push(b'=');
            json::lossy(
                out,
                if redaction.hides_argument(name) {
                    REDACTED
                } else {
                    value
                },
            );
        }
    }
}
