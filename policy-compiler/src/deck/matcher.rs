//! What a route compares requests with: methods, hosts, server names and headers.

use super::entity::{HeaderMatch, Protocol};
use super::fields::{Fields, Text};
use super::syntax;
use crate::source::{Entry, Node, Spanned, Value};

pub(super) fn methods(fields: &mut Fields<'_>) -> Vec<Box<str>> {
    let texts = fields.texts("methods").unwrap_or_default();
    for text in &texts {
        if let Err(words) = syntax::method(&text.value) {
            fields.refuse(text.span, words);
        }
    }
    texts.into_iter().map(|text| text.value).collect()
}

pub(super) fn hosts(fields: &mut Fields<'_>) -> Vec<Text> {
    let texts = fields.texts("hosts").unwrap_or_default();
    for text in &texts {
        if let Err(words) = syntax::route_host(&text.value) {
            fields.refuse(text.span, words);
        }
    }
    texts.into_iter().map(lower).collect()
}

fn lower(text: Text) -> Text {
    Spanned {
        value: text.value.to_ascii_lowercase().into(),
        span: text.span,
    }
}

pub(super) fn snis(fields: &mut Fields<'_>, protocols: &[Protocol]) -> Vec<Text> {
    let texts = fields.texts("snis").unwrap_or_default();
    for text in &texts {
        if let Err(words) = syntax::sni(&text.value) {
            fields.refuse(text.span, words);
        }
    }
    let is_tls = |p: &Protocol| {
        matches!(
            p,
            Protocol::Https | Protocol::Grpcs | Protocol::Tls | Protocol::TlsPassthrough | Protocol::Wss
        )
    };
    if let Some(first) = texts.first()
        && !protocols.iter().any(is_tls)
    {
        fields.refuse(
            first.span,
            "`snis` is only for https, grpcs, tls and tls_passthrough routes",
        );
    }
    texts.into_iter().map(lower).collect()
}

pub(super) fn headers(fields: &mut Fields<'_>) -> Vec<HeaderMatch> {
    let Some(entry) = fields.take("headers") else {
        return Vec::new();
    };
    let span = entry.node.span;
    let Value::Map(entries) = entry.node.value else {
        fields.refuse(span, "`headers` of a route maps each name to a list of values");
        return Vec::new();
    };
    entries
        .into_iter()
        .filter_map(|entry| header(entry, fields))
        .collect()
}

fn header(entry: Entry, fields: &Fields<'_>) -> Option<HeaderMatch> {
    if entry.key.eq_ignore_ascii_case("host") {
        fields.refuse(entry.key_span, "match the Host header with `hosts`");
        return None;
    }
    if let Err(words) = syntax::header_name(&entry.key) {
        fields.refuse(entry.key_span, words);
    }
    let mut values = Vec::new();
    let Value::List(items) = entry.node.value else {
        fields.refuse(entry.node.span, "the values of a header stand in a list");
        return None;
    };
    for Node { span, value } in items {
        match value {
            Value::Str(value) => values.push(Spanned { value, span }),
            _ => fields.refuse(span, "a header value is a string"),
        }
    }
    if values.is_empty() {
        fields.refuse(entry.key_span, "a header needs at least one value to match");
    }
    Some(HeaderMatch {
        name: entry.key.to_ascii_lowercase().into(),
        values,
    })
}
