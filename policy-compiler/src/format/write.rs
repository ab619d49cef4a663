//! The tree as text.

use super::comment::Comments;
use crate::source::{Entry, Node, Value};

/// decK's order of top-level keys; others follow in the file's order.
const ORDER: [&str; 26] = [
    "_format_version",
    "_info",
    "_konnect",
    "_workspace",
    "_transform",
    "_plugin_configs",
    "cloned_plugins",
    "custom_plugins",
    "services",
    "routes",
    "consumers",
    "consumer_groups",
    "consumer_group_consumers",
    "plugins",
    "upstreams",
    "certificates",
    "ca_certificates",
    "snis",
    "vaults",
    "keys",
    "key_sets",
    "partials",
    "filter_chains",
    "custom_entities",
    "licenses",
    "rbac_roles",
];

/// The whole file.
pub(super) fn document(text: &str, tree: &Node, comments: &Comments) -> String {
    let mut writer = Writer {
        text,
        comments,
        out: String::with_capacity(text.len()),
    };
    let mut entries: Vec<&Entry> = tree.as_map().unwrap_or_default().iter().collect();
    if let Some(first) = entries.first().map(|entry| entry.key_span.start) {
        // What a blank line parts from the first key is about the file, and stays on top whatever key comes first.
        let lines = comments.leading(first);
        let (header, own) = match lines.iter().rposition(String::is_empty) {
            Some(blank) => lines.split_at(blank + 1),
            None => (&[][..], lines),
        };
        writer.lines(header, 0);
        entries.sort_by_key(|entry| {
            ORDER
                .iter()
                .position(|key| **key == *entry.key)
                .unwrap_or(ORDER.len())
        });
        for entry in entries {
            let start = entry.key_span.start;
            writer.blank(start);
            writer.lines(
                if start == first {
                    own
                } else {
                    comments.leading(start)
                },
                0,
            );
            writer.entry(entry, 0);
        }
    }
    let is_spaced = comments.closing_is_spaced() && !comments.closing().is_empty();
    if is_spaced && !writer.out.is_empty() && !writer.out.ends_with("\n\n") {
        writer.out.push('\n');
    }
    writer.lines(comments.closing(), 0);
    writer.out
}

struct Writer<'w> {
    text: &'w str,
    comments: &'w Comments,
    out: String,
}

impl Writer<'_> {
    fn blank(&mut self, start: u32) {
        if self.comments.is_spaced(start) && !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn lines(&mut self, lines: &[String], indent: usize) {
        for line in lines {
            if !line.is_empty() {
                self.pad(indent);
            }
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    /// Ends a line, with the comment that stood behind what starts at `start`.
    fn end_line(&mut self, start: u32) {
        if let Some(comment) = self.comments.trailing(start) {
            self.out.push_str("  ");
            self.out.push_str(comment);
        }
        self.out.push('\n');
    }

    /// `key: value`; the cursor stands at the key's column.
    fn entry(&mut self, entry: &Entry, indent: usize) {
        let start = entry.key_span.start;
        let key = text_of(&entry.key, self.style(entry.key_span.start), false);
        self.out.push_str(&key);
        self.out.push(':');
        match &entry.node.value {
            Value::Map(inner) if !inner.is_empty() => {
                self.end_line(start);
                self.map(inner, indent + 2);
            }
            Value::List(items) if !items.is_empty() => {
                self.end_line(start);
                self.list(items, indent);
            }
            _ => {
                self.out.push(' ');
                self.leaf(&entry.node, indent, start);
            }
        }
    }

    fn map(&mut self, entries: &[Entry], indent: usize) {
        for entry in entries {
            let start = entry.key_span.start;
            self.blank(start);
            self.lines(self.comments.leading(start), indent);
            self.pad(indent);
            self.entry(entry, indent);
        }
    }

    fn list(&mut self, items: &[Node], indent: usize) {
        for item in items {
            let start = item.span.start;
            self.blank(start);
            self.lines(self.comments.leading(start), indent);
            self.pad(indent);
            self.out.push_str("- ");
            match &item.value {
                Value::Map(entries) if !entries.is_empty() => {
                    let (first, rest) = entries.split_at(1);
                    // Its comments stand before the dash, unless the dash and the key were on different lines.
                    if first[0].key_span.start != start {
                        self.lines(self.comments.leading(first[0].key_span.start), 0);
                    }
                    self.entry(&first[0], indent + 2);
                    self.map(rest, indent + 2);
                }
                Value::List(inner) if !inner.is_empty() => {
                    self.out.pop();
                    self.end_line(start);
                    self.list(inner, indent + 2);
                }
                _ => self.leaf(item, indent, start),
            }
        }
    }

    /// A single value, to the end of its line. `start` owns the comment behind it.
    fn leaf(&mut self, node: &Node, indent: usize, start: u32) {
        let source = &self.text[node.span.start as usize..node.span.end as usize];
        let style = self.style(node.span.start);
        let words = match &node.value {
            Value::Null => "null".to_owned(),
            Value::Bool(truth) => truth.to_string(),
            // As written: `1e3` and `0x10` are somebody's choice.
            Value::Int(_) | Value::Float(_) if style == Style::Plain => source.trim().to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => format!("{number:?}"),
            Value::List(_) => "[]".to_owned(),
            Value::Map(_) => "{}".to_owned(),
            Value::Str(text) if is_literal(text) || (style == Style::Block && is_printable(text)) => {
                return self.literal(text, indent + 2, start);
            }
            Value::Str(text) => text_of(text, style, true),
            Value::Secret(secret) => text_of(secret.expose(), style, true),
        };
        self.out.push_str(&words);
        self.end_line(start);
    }

    /// Many lines, as they are (`|`).
    fn literal(&mut self, text: &str, indent: usize, start: u32) {
        let body = text.strip_suffix('\n');
        let header = match body {
            None => "|-",
            Some(body) if body.ends_with('\n') => "|+",
            Some(_) => "|",
        };
        self.out.push_str(header);
        // A first line that begins with a space would be taken for the indentation.
        if text.starts_with([' ', '\n']) {
            self.out.push('2');
        }
        self.end_line(start);
        for line in body.unwrap_or(text).split('\n') {
            if !line.is_empty() {
                self.pad(indent);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }

    fn style(&self, start: u32) -> Style {
        match self.text.as_bytes().get(start as usize) {
            Some(b'"') => Style::Double,
            Some(b'\'') => Style::Single,
            Some(b'|' | b'>') => Style::Block,
            _ => Style::Plain,
        }
    }
}

/// How a value was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Double,
    Single,
    Block,
}

/// Whether a text reads best as a literal block, and can be one.
fn is_literal(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n') && is_printable(text)
}

/// Whether a literal block can hold a text: it escapes nothing, needs something to indent, and hides trailing spaces.
fn is_printable(text: &str) -> bool {
    let is_good = |c: char| {
        matches!(c, '\n' | '\t') || !(c.is_control() || matches!(c, '\u{FEFF}' | '\u{2028}' | '\u{2029}'))
    };
    let is_trimmed = !text.split('\n').any(|line| line.ends_with([' ', '\t']));
    !text.trim_matches('\n').is_empty() && is_trimmed && text.chars().all(is_good)
}

/// A text, quoted where it would be read as something else. A template keeps the quotes it had: what it is rendered to
/// may be a number without them, and is read by other rules with others.
fn text_of(text: &str, style: Style, is_value: bool) -> String {
    let has_template = text.contains('\u{E000}');
    match style {
        Style::Plain if has_template => text.to_owned(),
        Style::Single if has_template => format!("'{}'", text.replace('\'', "''")),
        _ if !has_template && is_plain(text, is_value) => text.to_owned(),
        _ => double_quoted(text),
    }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{FEFF}' | '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether every YAML reader takes `text`, unquoted, for this very text.
fn is_plain(text: &str, is_value: bool) -> bool {
    let first_is_good = text.starts_with(|c: char| {
        c.is_ascii_alphabetic() || matches!(c, '/' | '_' | '~' | '$') || c.is_alphabetic()
    });
    let is_good =
        |c: char| c.is_alphanumeric() || "_-./:~+()$^@ ".contains(c) || (is_value && "*?=;".contains(c));
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text));
    if uuid::Uuid::try_parse(text).is_ok() && text.len() == 36 {
        return true;
    }
    first_is_good
        && !is_word
        && text.chars().all(is_good)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
}
