//! The tree every later room reads: YAML values that remember where they stood.
//!
//! A [`Span`] always points into the file as the operator wrote it, also where an environment template was rendered.
//! `Debug` shows shapes, never text: any string may be a key or a password before the schema has named it a secret.

use std::fmt;
use std::sync::Arc;

/// Which of the files that were read. An index into [`super::Sources`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FileId(pub u32);

/// A range of bytes, `start..end`, in the original text of one file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span {
    /// The file the bytes are in.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset just after the last byte. Not less than `start`.
    pub end: u32,
}

/// A value and where it stood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

/// One value of the tree. 40 bytes; a file of 100,000 consumers makes about two million of them.
#[derive(Clone, PartialEq)]
pub struct Node {
    /// Where the value was written; a value that a default supplied carries the span of what it completes.
    pub span: Span,
    /// The value itself.
    pub value: Value,
}

/// What a [`Node`] holds: the JSON data model, plus strings that were recognised as secrets.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that fits 64 bits.
    Int(i64),
    /// Any other number; finite.
    Float(f64),
    /// Text.
    Str(Box<str>),
    /// Text that must never be printed. Only schema checking makes these.
    Secret(Secret),
    /// A sequence.
    List(Box<[Node]>),
    /// A mapping in the order of the file, without duplicate keys.
    Map(Box<[Entry]>),
}

/// A key and its value in a mapping.
#[derive(Clone, PartialEq)]
pub struct Entry {
    /// The key; equal keys of one file share their text.
    pub key: Arc<str>,
    /// Where the key was written.
    pub key_span: Span,
    /// The value.
    pub node: Node,
}

/// Text that has no way to be printed: neither `Debug` nor `Display` shows it.
///
/// Equality is not constant-time; the compiler never compares a secret with anything an attacker sends.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Box<str>);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The hidden text, for hashing and sealing. The name makes each use easy to find.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Span {
    /// From the start of `self` to the end of `other`, which must be in the same file.
    pub fn to(self, other: Self) -> Self {
        Self {
            file: self.file,
            start: self.start,
            end: other.end.max(self.start),
        }
    }
}

impl Node {
    /// The entry named `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The value at a dotted path of keys (`redis.host`), if every step is a mapping that has it.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| node.get(key))
    }

    /// The key, its span and the value.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.as_map()?.iter().find(|entry| &*entry.key == key)
    }

    /// The entries, if this is a mapping.
    pub fn as_map(&self) -> Option<&[Entry]> {
        if let Value::Map(entries) = &self.value {
            Some(entries)
        } else {
            None
        }
    }

    /// The elements, if this is a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Value::List(items) = &self.value {
            Some(items)
        } else {
            None
        }
    }

    /// The text, if this is a string that is no secret.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Str(text) = &self.value {
            Some(text)
        } else {
            None
        }
    }

    /// The hidden text, if this is a secret.
    pub fn as_secret(&self) -> Option<&Secret> {
        if let Value::Secret(secret) = &self.value {
            Some(secret)
        } else {
            None
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(truth) = self.value {
            Some(truth)
        } else {
            None
        }
    }

    /// The whole number; a float without fraction counts, as it does in Kong's Lua.
    pub fn as_int(&self) -> Option<i64> {
        match self.value {
            Value::Int(number) => Some(number),
            Value::Float(number) => exact_int(number),
            _ => None,
        }
    }

    /// The number, whole or not.
    #[expect(clippy::cast_precision_loss, reason = "Kong holds every number as a double")]
    pub fn as_float(&self) -> Option<f64> {
        match self.value {
            Value::Int(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            _ => None,
        }
    }

    /// Whether there is nothing here. Kong treats an explicit null like an absent field.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What kind of value this is, in words for a message: `a string`, `a list`.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Str(_) | Value::Secret(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// `number` as an integer when it has no fraction and is exactly representable (|n| ≤ 2^53).
fn exact_int(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() != 0.0 || number.abs() > EXACT_MAX {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within ±2^53, so exact")]
    let whole = number as i64;
    Some(whole)
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("null"),
            Value::Bool(truth) => write!(f, "{truth}"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number}"),
            Value::Str(text) => write!(f, "str[{}]", text.len()),
            Value::Secret(_) => f.write_str("secret"),
            Value::List(items) => f.debug_list().entries(items.iter()).finish(),
            Value::Map(entries) => f
                .debug_map()
                .entries(entries.iter().map(|e| (&e.key, &e.node)))
                .finish(),
        }
    }
}
