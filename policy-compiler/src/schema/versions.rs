//! What a file writes that one of the two Kong versions refuses: fields, values and forms that it does not know.
//!
//! A record as it was written enters, before defaults complete it; differences leave, each once. Deprecated spellings
//! are not looked at: both versions read them. The facts stand in `schema/plugins.json` and `schema/entities.json`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Field, KongCompat};
use crate::source::{Entry, Node, Span, Value};

/// Entities whose fields differ, by the words that `deck` has for them.
const ENTITIES: &str = include_str!("../../schema/entities.json");

/// One thing that `version` refuses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Difference {
    /// Who refuses it.
    pub version: KongCompat,
    /// Dotted path below the record; elements of lists have no number.
    pub path: Box<str>,
    /// What is wrong with it.
    pub lack: Lack,
    /// Where it was written first; of an absent field, the record.
    pub span: Span,
}

/// What a version lacks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lack {
    /// The field.
    Field,
    /// This value of it.
    Value(Box<str>),
    /// This type: it only takes what these words name.
    Type(&'static str),
    /// The way to do without the field, which must be there.
    Absence,
}

/// Which fields of entities differ.
pub struct Entities(BTreeMap<Box<str>, Field>);

impl Default for Entities {
    fn default() -> Self {
        Self(serde_json::from_str(ENTITIES).expect("schema/entities.json is part of the program and tested"))
    }
}

impl Entities {
    /// What either version refuses of an entity of `kind`, in `deck`'s words.
    pub fn written(&self, kind: &str, entries: &[Entry]) -> Vec<Difference> {
        let record = self.0.get(kind);
        record.map_or_else(Vec::new, |record| written(record, entries, Span::default()))
    }
}

/// What either version refuses of a record. `at` is where the record is named.
pub fn written(record: &Field, entries: &[Entry], at: Span) -> Vec<Difference> {
    let mut walk = Walk {
        found: BTreeMap::new(),
        at,
    };
    walk.record(record, entries, "");
    let found = walk.found.into_iter();
    found
        .map(|((version, path, lack), span)| Difference {
            version,
            path,
            lack,
            span,
        })
        .collect()
}

struct Walk {
    found: BTreeMap<(KongCompat, Box<str>, Lack), Span>,
    at: Span,
}

impl Walk {
    fn note(&mut self, version: KongCompat, path: &str, lack: Lack, span: Span) {
        self.found.entry((version, path.into(), lack)).or_insert(span);
    }

    fn record(&mut self, record: &Field, entries: &[Entry], path: &str) {
        let below = |key: &str| {
            if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            }
        };
        let mut given = BTreeSet::new();
        for entry in entries.iter().filter(|entry| !entry.node.is_null()) {
            given.insert(&*entry.key);
            if let Some(field) = record.fields.get(&*entry.key) {
                self.entry(field, entry, &below(&entry.key));
            }
        }
        for (key, field) in &record.fields {
            if given.contains(&**key) || field.is_self_sufficient() {
                continue;
            }
            for version in KongCompat::BOTH {
                if field.is_required_by(version) && field.default(version).is_none() {
                    self.note(version, &below(key), Lack::Absence, self.at);
                }
            }
        }
    }

    fn entry(&mut self, field: &Field, entry: &Entry, path: &str) {
        for version in KongCompat::BOTH {
            if field.is_absent_in(version) {
                self.note(version, path, Lack::Field, entry.key_span);
            }
        }
        // What stands below a field that is refused is refused with it.
        if !KongCompat::BOTH
            .iter()
            .any(|version| field.is_absent_in(*version))
        {
            self.value(field, &entry.node, path);
        }
    }

    fn value(&mut self, field: &Field, node: &Node, path: &str) {
        for version in KongCompat::BOTH {
            if let Some(types) = field.types_in(version).filter(|types| !is_of(node, types)) {
                self.note(version, path, Lack::Type(words(types)), node.span);
            }
            for value in field.values_absent_in(version) {
                let is_written = value.as_str().is_some_and(|value| node.as_str() == Some(value));
                if let Some(value) = value.as_str().filter(|_| is_written) {
                    self.note(version, path, Lack::Value(value.into()), node.span);
                }
            }
        }
        match &node.value {
            Value::Map(entries) if field.takes('r') => self.record(field, entries, path),
            Value::Map(entries) => {
                for (entry, item) in entries.iter().zip(field.item.iter().cycle()) {
                    self.value(item, &entry.node, path);
                }
            }
            Value::List(items) => {
                for (node, item) in items.iter().zip(field.item.iter().cycle()) {
                    self.value(item, node, path);
                }
            }
            _ => {}
        }
    }
}

/// Whether a value has one of the types.
fn is_of(node: &Node, types: &str) -> bool {
    types.contains(match &node.value {
        Value::Null => return true,
        Value::Bool(_) => 'b',
        Value::Int(_) if types.contains('n') => 'n',
        Value::Int(_) => 'i',
        Value::Float(_) => 'n',
        Value::Str(_) | Value::Secret(_) => 's',
        Value::List(_) => 'l',
        Value::Map(_) if types.contains('m') => 'm',
        Value::Map(_) => 'r',
    })
}

/// The first of the types, in words.
pub(super) fn words(types: &str) -> &'static str {
    match types.chars().next() {
        Some('s') => "a string",
        Some('b') => "a boolean",
        Some('i') => "an integer",
        Some('n') => "a number",
        Some('l') => "a list",
        Some('m' | 'r') => "a mapping",
        _ => "something else",
    }
}
