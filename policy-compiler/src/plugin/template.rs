//! Value templates `$(…)`: look-ups, literals and `or` of Kong's Lua expressions. Other Lua is refused by name.

use policy::table::{Part, PartKind};

use crate::diagnostic::Diagnostic;
use crate::lower::Context;
use crate::source::Span;

/// A value in pieces. Each `$(a or b)` becomes its alternatives, all but the first marked `otherwise`.
pub(super) fn parts(context: &mut Context<'_>, value: &str, span: Span) -> Vec<Part> {
    let mut parts = Vec::new();
    for piece in pieces(value) {
        match piece {
            Piece::Text(text) => parts.push(context.literal(text)),
            Piece::Expression(expression) => {
                for (number, term) in alternatives(expression).into_iter().enumerate() {
                    match parse_term(term) {
                        Ok((kind, text, index)) => parts.push(Part {
                            kind,
                            text: context.text(&text),
                            index,
                            otherwise: number > 0,
                        }),
                        Err(reason) => context.report.push(
                            Diagnostic::error("lua-expression", format!("`{term}` needs Lua"))
                                .at(span)
                                .label(reason)
                                .help(
                                    "use headers.x, query_params.x, uri_captures.x, uri_captures[1], quoted text and `or`",
                                ),
                        ),
                    }
                }
            }
        }
    }
    parts
}

enum Piece<'v> {
    Text(&'v str),
    Expression(&'v str),
}

/// Splits at `$(…)`; parentheses inside, also in quotes, are balanced. What is not closed is text.
fn pieces(value: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = value;
    let mut from = 0;
    while let Some(at) = rest[from..].find("$(").map(|at| at + from) {
        let Some(len) = closing(&rest[at + 2..]) else {
            break;
        };
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        pieces.push(Piece::Expression(rest[at + 2..at + 2 + len].trim()));
        rest = &rest[at + 3 + len..];
        from = 0;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// Bytes before the parenthesis that closes the expression.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut quote = None;
    for (at, char) in text.char_indices() {
        match (quote, char) {
            (Some(open), _) if char == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(char),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return Some(at),
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

/// Splits at the word `or`, outside quotes.
fn alternatives(expression: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut quote = None;
    let mut from = 0;
    let bytes = expression.as_bytes();
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    for (at, &byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'o') if bytes.get(at + 1) == Some(&b'r') => {
                let before = at.checked_sub(1).and_then(|at| bytes.get(at));
                if !is_word(before) && before != Some(&b'.') && !is_word(bytes.get(at + 2)) {
                    terms.push(expression[from..at].trim());
                    from = at + 2;
                }
            }
            (None, _) => {}
        }
    }
    terms.push(expression[from..].trim());
    terms
}

/// A look-up or a literal; else which part of Lua it is.
fn parse_term(term: &str) -> Result<(PartKind, String, u32), &'static str> {
    if let Some(text) = quoted(term) {
        return if text.contains('\\') {
            Err("escapes in a Lua string")
        } else {
            Ok((PartKind::Literal, text.to_owned(), 0))
        };
    }
    if term.parse::<f64>().is_ok() {
        return Ok((PartKind::Literal, term.to_owned(), 0));
    }
    let base_len = term
        .find(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .unwrap_or(term.len());
    let (base, key) = term.split_at(base_len);
    if key.trim_start().starts_with('(') {
        return Err("a function call");
    }
    let kind = match base {
        "headers" => PartKind::Header,
        "query_params" => PartKind::Query,
        "uri_captures" => PartKind::Capture,
        "shared" => return Err("`shared` is filled by Lua plugins"),
        "" => return Err("no expression"),
        _ => return Err("an operator or a variable of Lua"),
    };
    if let Some(name) = key.strip_prefix('.') {
        let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err("an operator of Lua");
        }
        return Ok((kind, header_name(kind, name), 0));
    }
    let Some(inner) = key.strip_prefix('[').and_then(|key| key.strip_suffix(']')) else {
        return Err("an operator of Lua");
    };
    if let Some(name) = quoted(inner.trim()) {
        return Ok((kind, header_name(kind, name), 0));
    }
    match (kind, inner.trim().parse()) {
        (PartKind::Capture, Ok(index)) => Ok((PartKind::CaptureIndex, String::new(), index)),
        _ => Err("an index that is no text"),
    }
}

/// Headers are looked up without case, and an underscore stands for a dash.
fn header_name(kind: PartKind, name: &str) -> String {
    match kind {
        PartKind::Header => name.to_ascii_lowercase().replace('_', "-"),
        _ => name.to_owned(),
    }
}

fn quoted(text: &str) -> Option<&str> {
    let inner = |quote: char| {
        let text = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!text.contains(quote)).then_some(text)
    };
    inner('"').or_else(|| inner('\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(value: &str) -> Vec<Result<(PartKind, String, u32), &'static str>> {
        pieces(value)
            .into_iter()
            .flat_map(|piece| match piece {
                Piece::Text(text) => vec![Ok((PartKind::Literal, text.to_owned(), 0))],
                Piece::Expression(expression) => {
                    alternatives(expression).into_iter().map(parse_term).collect()
                }
            })
            .collect()
    }

    #[test]
    fn look_ups_and_defaults_are_read() {
        let read = terms("v-$(headers.X_User or query_params[\"user\"] or 'no or name')!");
        let wanted = [
            (PartKind::Literal, "v-", 0),
            (PartKind::Header, "x-user", 0),
            (PartKind::Query, "user", 0),
            (PartKind::Literal, "no or name", 0),
            (PartKind::Literal, "!", 0),
        ];
        let wanted: Vec<_> = wanted
            .map(|(kind, text, index)| Ok((kind, text.to_owned(), index)))
            .into();
        assert_eq!(read, wanted);
        assert_eq!(
            terms("$(uri_captures[2])"),
            [Ok((PartKind::CaptureIndex, String::new(), 2))]
        );
        assert_eq!(
            terms("$(uri_captures.order)"),
            [Ok((PartKind::Capture, "order".to_owned(), 0))]
        );
    }

    #[test]
    fn other_lua_is_refused() {
        assert_eq!(terms("$(tostring(headers.x))"), [Err("a function call")]);
        assert_eq!(terms("$(shared.x)"), [Err("`shared` is filled by Lua plugins")]);
        assert!(terms("$(headers.x .. 'y')")[0].is_err());
        assert!(terms("$((function() return 1 end)())")[0].is_err());
    }

    #[test]
    fn an_open_expression_is_text() {
        assert_eq!(
            terms("$(headers.x"),
            [Ok((PartKind::Literal, "$(headers.x".to_owned(), 0))]
        );
        assert_eq!(terms(""), [Ok((PartKind::Literal, String::new(), 0))]);
    }
}
