//! Takes a mapping apart field by field, and complains about what nobody asked for.
//!
//! The names that were asked for are the names that exist: an unknown key is compared with them. Values move out, so
//! that reading a large file does not copy its texts.

use std::ops::RangeInclusive;

use crate::diagnostic::{Diagnostic, Report, nearest};
use crate::source::{Entry, Node, Secret, Span, Spanned, Value};

/// Most fields any entity has; only a capacity.
const FIELDS_HINT: usize = 24;

/// One mapping being read.
pub(super) struct Fields<'r> {
    /// What it is, in words for messages: `service`, `route`, …
    pub(super) kind: &'static str,
    /// The whole mapping.
    pub(super) span: Span,
    pub(super) report: &'r Report,
    entries: Vec<Entry>,
    asked: Vec<&'static str>,
}

/// Text with its place.
pub(super) type Text = Spanned<Box<str>>;

impl<'r> Fields<'r> {
    /// Opens `node`, which must be a mapping; None after reporting that it is not.
    pub(super) fn open(kind: &'static str, node: Node, report: &'r Report) -> Option<Self> {
        let Node { span, value } = node;
        let Value::Map(entries) = value else {
            let node = Node { span, value };
            let words = format!("{} must be a mapping", article(kind));
            report.push(
                Diagnostic::error("wrong-type", words)
                    .at(span)
                    .label(format!("this is {}", node.kind())),
            );
            return None;
        };
        let mut asked = Vec::with_capacity(FIELDS_HINT);
        // DB-less files may carry these anywhere; they say nothing.
        asked.extend(["_comment", "_ignore"]);
        let mut entries = entries.into_vec();
        entries.retain(|entry| !matches!(&*entry.key, "_comment" | "_ignore"));
        Some(Self {
            kind,
            span,
            report,
            entries,
            asked,
        })
    }

    /// The first key's place, for pointing at an entity without a name.
    pub(super) fn first_key(&self) -> Span {
        self.entries
            .iter()
            .map(|entry| entry.key_span)
            .min()
            .unwrap_or(self.span)
    }

    /// Removes the field. Null counts as absent, as it does for Kong.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry> {
        self.asked.push(key);
        let at = self.entries.iter().position(|entry| &*entry.key == key)?;
        let entry = self.entries.swap_remove(at);
        (!entry.node.is_null()).then_some(entry)
    }

    /// What nobody has taken yet.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether the field is there and not null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| &*entry.key == key && !entry.node.is_null())
    }

    /// Adds a field that other fields imply.
    pub(super) fn imply(&mut self, key: &str, span: Span, value: Value) {
        if !self.has(key) {
            self.entries.retain(|entry| &*entry.key != key);
            self.entries.push(Entry {
                key: key.into(),
                key_span: span,
                node: Node { span, value },
            });
        }
    }

    /// Fills absent fields from `defaults`, at every level of nesting. Lists are not joined.
    pub(super) fn complete(&mut self, defaults: &Node) {
        complete(&mut self.entries, defaults);
    }

    /// Text, not empty.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Text> {
        let text = self.text_or_empty(key)?;
        if text.value.is_empty() {
            self.refuse(text.span, format!("`{key}` of {} is empty", article(self.kind)));
            return None;
        }
        Some(text)
    }

    /// Text, empty or not.
    pub(super) fn text_or_empty(&mut self, key: &'static str) -> Option<Text> {
        let Node { span, value } = self.take(key)?.node;
        match value {
            Value::Str(value) => Some(Spanned { value, span }),
            value => self.wrong(key, "a string", &Node { span, value }),
        }
    }

    /// Text that must be there.
    pub(super) fn required(&mut self, key: &'static str) -> Option<Text> {
        let is_there = self.has(key);
        let text = self.text(key);
        if !is_there {
            self.missing(key);
        }
        text
    }

    /// A secret that must be there and not be empty; its place is masked from now on.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Spanned<Secret>> {
        let Text { value, span } = self.required(key)?;
        self.report.hide(span);
        Some(Spanned {
            value: Secret::new(value),
            span,
        })
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.flag_at(key).map(|flag| flag.value)
    }

    /// A flag and its place.
    pub(super) fn flag_at(&mut self, key: &'static str) -> Option<Spanned<bool>> {
        let node = self.take(key)?.node;
        let value = node
            .as_bool()
            .or_else(|| self.wrong(key, "true or false", &node))?;
        Some(Spanned {
            value,
            span: node.span,
        })
    }

    /// Where a field is named, if it is there.
    pub(super) fn key_span(&self, key: &str) -> Option<Span> {
        let entry = self.entries.iter().find(|entry| &*entry.key == key)?;
        Some(entry.key_span)
    }

    /// A whole number within `range`.
    pub(super) fn int(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<Spanned<i64>> {
        let node = self.take(key)?.node;
        let Some(value) = node.as_int() else {
            return self.wrong(key, "an integer", &node);
        };
        let value = self.within(key, value, range, node.span)?;
        Some(Spanned {
            value,
            span: node.span,
        })
    }

    /// A number within `range`.
    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let node = self.take(key)?.node;
        let Some(value) = node.as_float() else {
            return self.wrong(key, "a number", &node);
        };
        self.within(key, value, range, node.span)
    }

    fn within<T: PartialOrd + std::fmt::Display>(
        &self,
        key: &str,
        value: T,
        range: RangeInclusive<T>,
        span: Span,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let (low, high) = (range.start(), range.end());
        let kind = article(self.kind);
        self.refuse(
            span,
            format!("`{key}` of {kind} must be between {low} and {high}"),
        );
        None
    }

    /// The elements of a list; none if it is absent.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<Node> {
        let Some(entry) = self.take(key) else {
            return Vec::new();
        };
        let Node { span, value } = entry.node;
        match value {
            Value::List(items) => items.into_vec(),
            value => self
                .wrong(key, "a list", &Node { span, value })
                .unwrap_or_default(),
        }
    }

    /// A list of texts; None if it is absent.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<Text>> {
        if !self.has(key) {
            self.take(key);
            return None;
        }
        let mut texts = Vec::new();
        for Node { span, value } in self.list(key) {
            match value {
                Value::Str(value) => texts.push(Spanned { value, span }),
                value => self
                    .wrong(key, "a list of strings", &Node { span, value })
                    .unwrap_or(()),
            }
        }
        Some(texts)
    }

    /// The name, id, username or custom_id of another entity: a text, or a mapping with one of those.
    pub(super) fn reference(&mut self, key: &'static str) -> Option<Text> {
        let node = self.take(key)?.node;
        reference(key, node, self.report)
    }

    /// Says that a required field is absent.
    pub(super) fn missing(&self, key: &str) {
        let words = format!("{} needs `{key}`", article(self.kind));
        self.report
            .push(Diagnostic::error("missing-field", words).at(self.span));
    }

    /// Says that a value breaks a rule of its entity.
    pub(super) fn refuse(&self, span: Span, words: impl Into<String>) {
        self.report
            .push(Diagnostic::error("invalid-value", words).at(span));
    }

    fn wrong<T>(&self, key: &str, wanted: &str, node: &Node) -> Option<T> {
        let words = format!("`{key}` of {} must be {wanted}", article(self.kind));
        let finding = Diagnostic::error("wrong-type", words).at(node.span);
        let is_bare = matches!(node.value, Value::Int(_) | Value::Float(_) | Value::Bool(_));
        let hint = (wanted == "a string" && is_bare).then(|| "put it in quotes".to_owned());
        self.report
            .push(finding.label(format!("this is {}", node.kind())).help_if(hint));
        None
    }

    /// Complains about every field that nobody took.
    pub(super) fn close(mut self) {
        self.entries.sort_by_key(|entry| entry.key_span);
        for entry in &self.entries {
            let hint = nearest(&entry.key, self.asked.iter().copied());
            let words = format!("{} has no field `{}`", article(self.kind), entry.key);
            let finding = Diagnostic::error("unknown-field", words).at(entry.key_span);
            self.report
                .push(finding.help_if(hint.map(|name| format!("did you mean `{name}`?"))));
        }
    }
}

/// `service` → `a service`, `upstream` → `an upstream`.
pub(super) fn article(kind: &str) -> String {
    let is_vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u', '_']) && !kind.starts_with("uni");
    if kind.starts_with("the ") {
        kind.to_owned()
    } else if is_vowel && !kind.starts_with('_') {
        format!("an {kind}")
    } else {
        format!("a {kind}")
    }
}

/// Reads a reference written as text or as a mapping with `name`, `id`, `username` or `custom_id`.
pub(super) fn reference(what: &str, node: Node, report: &Report) -> Option<Text> {
    let wrong = |span, kind: &str| {
        let words = format!("a reference to a {what} is its name or id, or a mapping with one of them");
        report.push(
            Diagnostic::error("invalid-reference", words)
                .at(span)
                .label(format!("this is {kind}")),
        );
        None
    };
    let Node { span, value } = node;
    match value {
        Value::Str(value) if !value.is_empty() => Some(Spanned { value, span }),
        Value::Map(entries) => {
            let keys = ["id", "name", "username", "custom_id"];
            let found = entries.into_vec().into_iter().find_map(|entry| {
                let is_key = keys.contains(&&*entry.key);
                match entry.node.value {
                    Value::Str(value) if is_key && !value.is_empty() => Some(Spanned {
                        value,
                        span: entry.node.span,
                    }),
                    _ => None,
                }
            });
            found.or_else(|| wrong(span, "a mapping without them"))
        }
        value => wrong(span, Node { span, value }.kind()),
    }
}

/// Adds what `entries` lack from `defaults`, mapping by mapping; what is there wins.
pub(super) fn complete(entries: &mut Vec<Entry>, defaults: &Node) {
    for default in defaults.as_map().unwrap_or_default() {
        let own = entries.iter().position(|entry| entry.key == default.key);
        match own {
            None => entries.push(default.clone()),
            Some(at) if entries[at].node.is_null() => entries[at] = default.clone(),
            Some(at) => {
                if let (Value::Map(own), Value::Map(_)) = (&mut entries[at].node.value, &default.node.value) {
                    let mut joined = std::mem::take(own).into_vec();
                    complete(&mut joined, &default.node);
                    *own = joined.into_boxed_slice();
                }
            }
        }
    }
}
