//! Typed access to one mapping of the file, with a diagnostic for everything that is not as it should be.

use super::Reader;
use crate::diagnostic::{Diagnostic, nearest};
use crate::source::{Node, Span, Spanned};

/// One entity as written, with the defaults that complete it.
pub(super) struct Fields<'f, 'r> {
    reader: &'f Reader<'r>,
    kind: &'static str,
    node: &'f Node,
    defaults: Option<&'f Node>,
}

impl<'f, 'r> Fields<'f, 'r> {
    /// The entity `node` of this kind. Null fields count as absent, as in Kong.
    pub(super) fn new(reader: &'f Reader<'r>, kind: &'static str, node: &'f Node) -> Self {
        Self {
            reader,
            kind,
            node,
            defaults: None,
        }
    }

    /// Completed by `_info.defaults`.
    pub(super) fn with_defaults(mut self, defaults: Option<&'f Node>) -> Self {
        self.defaults = defaults;
        self
    }

    /// The value of a field.
    pub(super) fn get(&self, key: &str) -> Option<&'f Node> {
        let own = self.node.get(key).filter(|node| !node.is_null());
        own.or_else(|| {
            self.defaults
                .and_then(|defaults| defaults.get(key))
                .filter(|node| !node.is_null())
        })
    }

    /// Whether the field is written, here or in the defaults.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Where the entity is written: its name, or its first key.
    pub(super) fn span(&self) -> Span {
        for key in ["name", "username", "target", "key", "group", "id"] {
            if let Some(node) = self.node.get(key) {
                return node.span;
            }
        }
        let first = self.node.as_map().and_then(|entries| entries.first());
        first.map_or(self.node.span, |entry| entry.key_span)
    }

    fn wrong(&self, key: &str, node: &Node, wanted: &str) {
        let words = format!("`{key}` of a {} must be {wanted}, not {}", self.kind, node.kind());
        self.reader
            .report
            .push(Diagnostic::error("wrong-type", words).at(node.span));
    }

    /// Says that a value is not allowed.
    pub(super) fn refuse(&self, code: &'static str, span: Span, words: impl Into<String>) {
        self.reader
            .report
            .push(Diagnostic::error(code, words.into()).at(span));
    }

    /// Says that a required field is missing.
    pub(super) fn require(&self, key: &str) -> bool {
        let there = self.has(key);
        if !there {
            let words = format!("a {} needs `{key}`", self.kind);
            self.refuse("missing-field", self.span(), words);
        }
        there
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Option<&'f str> {
        let node = self.get(key)?;
        if node.as_str().is_none() {
            self.wrong(key, node, "a string");
        }
        node.as_str()
    }

    /// A text that may also be written as a number, such as a key.
    pub(super) fn scalar(&self, key: &str) -> Option<Box<str>> {
        let node = self.get(key)?;
        match (node.as_str(), node.as_int()) {
            (Some(text), _) => Some(text.into()),
            (None, Some(number)) => Some(number.to_string().into()),
            _ => {
                self.wrong(key, node, "a string");
                None
            }
        }
    }

    /// A truth value.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let node = self.get(key)?;
        if node.as_bool().is_none() {
            self.wrong(key, node, "true or false");
        }
        node.as_bool()
    }

    /// A whole number in a range.
    pub(super) fn number<T: TryFrom<i64>>(&self, key: &str, low: i64, high: i64) -> Option<T> {
        let node = self.get(key)?;
        let Some(number) = node.as_int() else {
            self.wrong(key, node, "a whole number");
            return None;
        };
        if !(low..=high).contains(&number) {
            let words = format!("`{key}` of a {} must be from {low} to {high}", self.kind);
            self.refuse("out-of-range", node.span, words);
            return None;
        }
        T::try_from(number).ok()
    }

    /// A number.
    pub(super) fn float(&self, key: &str) -> Option<f64> {
        let node = self.get(key)?;
        if node.as_float().is_none() {
            self.wrong(key, node, "a number");
        }
        node.as_float()
    }

    /// The elements of a list; a missing list has none.
    pub(super) fn list(&self, key: &str) -> &'f [Node] {
        let Some(node) = self.get(key) else { return &[] };
        if node.as_list().is_none() {
            self.wrong(key, node, "a list");
        }
        node.as_list().unwrap_or_default()
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Vec<Spanned<Box<str>>> {
        let items = self.list(key).iter();
        items
            .filter_map(|item| {
                if item.as_str().is_none() {
                    self.wrong(key, item, "a list of strings");
                }
                item.as_str().map(|text| Spanned {
                    value: text.into(),
                    span: item.span,
                })
            })
            .collect()
    }

    /// One of a set of words.
    pub(super) fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("`{text}` is no `{key}` of a {}", self.kind);
            let finding = Diagnostic::error("unknown-value", message)
                .help_if(nearest(text, known.iter().copied()).map(|near| format!("did you mean `{near}`?")))
                .label(format!("one of: {}", known.join(", ")));
            self.reader.report.push(match self.get(key) {
                Some(node) => finding.at(node.span),
                None => finding,
            });
        }
        found
    }

    /// Refuses every field that this kind of entity does not have.
    pub(super) fn only(&self, known: &[&str]) {
        const EVERYWHERE: [&str; 6] = ["id", "tags", "created_at", "updated_at", "_comment", "_ignore"];
        for entry in self.node.as_map().unwrap_or_default() {
            let key = &*entry.key;
            if known.contains(&key) || EVERYWHERE.contains(&key) {
                continue;
            }
            let near = nearest(key, known.iter().copied());
            self.reader.report.push(
                Diagnostic::error("unknown-field", format!("a {} has no field `{key}`", self.kind))
                    .at(entry.key_span)
                    .help_if(near.map(|near| format!("did you mean `{near}`?"))),
            );
        }
    }
}
