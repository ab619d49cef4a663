//! The shape of `schema/plugins.json` in memory. The letters are explained in `schema/README.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::KongCompat;

/// One plugin.
#[derive(Debug, Deserialize)]
pub struct PluginSchema {
    #[serde(default)]
    scopes: Box<str>,
    #[serde(default)]
    protocols: Vec<Box<str>>,
    protocols_3_9: Option<Vec<Box<str>>>,
    /// The protocols an instance may name.
    #[serde(default)]
    pub allowed: Vec<Box<str>>,
    #[serde(default)]
    not_allowed_3_9: Vec<Box<str>>,
    /// The only version that has the plugin, if one lacks it.
    only: Option<Box<str>>,
    /// Partial types it takes and where each attaches (`config.redis`).
    #[serde(default)]
    pub partials: Vec<(Box<str>, Box<str>)>,
    /// The configuration, a record.
    pub config: Field,
}

impl PluginSchema {
    /// Whether an instance may be attached to a scope: `s`ervice, `r`oute, `c`onsumer or consumer `g`roup.
    pub fn takes_scope(&self, letter: char) -> bool {
        self.scopes.contains(letter)
    }

    /// Whether a version has no such plugin.
    pub fn is_absent_in(&self, version: KongCompat) -> bool {
        self.only
            .as_ref()
            .is_some_and(|only| **only != *version.to_string())
    }

    /// Whether a version refuses a protocol that the other lets an instance name.
    pub fn refuses_protocol(&self, protocol: &str, version: KongCompat) -> bool {
        version == KongCompat::V3_9 && self.not_allowed_3_9.iter().any(|refused| **refused == *protocol)
    }

    /// Every field that holds no record, by its dotted path; `[]` stands for the elements of a list of records.
    #[cfg(test)]
    pub(crate) fn leaves(&self) -> Vec<Leaf<'_>> {
        let mut leaves = Vec::new();
        self.config.leaves("", &mut leaves);
        leaves
    }

    /// The protocols of an instance that names none.
    pub fn default_protocols(&self, compat: KongCompat) -> &[Box<str>] {
        match (&self.protocols_3_9, compat) {
            (Some(old), KongCompat::V3_9) => old,
            _ => &self.protocols,
        }
    }
}

/// A field without fields.
#[cfg(test)]
pub(crate) struct Leaf<'f> {
    pub(crate) path: String,
    /// The first type letter, of the elements if it is a list.
    pub(crate) letter: char,
    pub(crate) is_list: bool,
    /// The values it takes; empty for any.
    pub(crate) allowed: &'f [Json],
    /// The value of an absent field in 3.9.
    pub(crate) default: Option<&'f Json>,
}

/// One configuration field.
#[derive(Debug, Deserialize)]
pub struct Field {
    #[serde(rename = "t")]
    pub(super) types: Box<str>,
    /// Fields of a record.
    #[serde(rename = "f", default)]
    pub(super) fields: BTreeMap<Box<str>, Self>,
    /// Value of a list or map.
    #[serde(rename = "v")]
    pub(super) item: Option<Box<Self>>,
    #[serde(rename = "e", default)]
    pub(super) allowed: Vec<Json>,
    #[serde(rename = "lo")]
    pub(super) min: Option<f64>,
    #[serde(rename = "hi")]
    pub(super) max: Option<f64>,
    #[serde(rename = "l")]
    pub(super) len_min: Option<usize>,
    #[serde(rename = "h")]
    pub(super) len_max: Option<usize>,
    /// Regexes that a text must match, all of them.
    #[serde(rename = "p", default)]
    pub(super) patterns: Vec<Box<str>>,
    /// Texts that it must not be.
    #[serde(rename = "no", default)]
    pub(super) refused: Vec<Box<str>>,
    #[serde(rename = "d")]
    default_3_15: Option<Json>,
    #[serde(rename = "o", default, deserialize_with = "present")]
    default_3_9: Option<Json>,
    #[serde(rename = "q", default, deserialize_with = "flag")]
    pub(super) is_required: bool,
    #[serde(rename = "x", default, deserialize_with = "flag")]
    pub(super) is_secret: bool,
    #[serde(rename = "n", default, deserialize_with = "flag")]
    is_absent_in_3_9: bool,
    #[serde(rename = "g", default, deserialize_with = "flag")]
    is_absent_in_3_15: bool,
    #[serde(rename = "ne", default)]
    not_in_3_9: Vec<Json>,
    #[serde(rename = "ge", default)]
    not_in_3_15: Vec<Json>,
    #[serde(rename = "nt")]
    types_3_9: Option<Box<str>>,
    #[serde(rename = "gt")]
    types_3_15: Option<Box<str>>,
    #[serde(rename = "nq", default, deserialize_with = "flag")]
    is_required_in_3_9: bool,
    #[serde(rename = "gq", default, deserialize_with = "flag")]
    is_required_in_3_15: bool,
    /// Deprecated spellings of a record's fields, with their type letters.
    #[serde(rename = "a", default)]
    pub(super) aliases: BTreeMap<Box<str>, Box<str>>,
}

impl Field {
    #[cfg(test)]
    fn leaves<'f>(&'f self, path: &str, out: &mut Vec<Leaf<'f>>) {
        let below = |key: &str| match path {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        for (key, field) in &self.fields {
            field.leaves(&below(key), out);
        }
        let item = self.item.as_deref().filter(|_| self.takes('l'));
        match item {
            Some(item) if item.takes('r') => item.leaves(&below("[]"), out),
            _ if self.takes('r') => {}
            _ => {
                let of = item.unwrap_or(self);
                out.push(Leaf {
                    path: path.to_owned(),
                    letter: of.types.chars().next().unwrap_or('?'),
                    is_list: item.is_some(),
                    allowed: &of.allowed,
                    default: self.default(KongCompat::V3_9),
                });
            }
        }
    }

    /// The value of an absent field.
    pub(super) fn default(&self, compat: KongCompat) -> Option<&Json> {
        match (&self.default_3_9, compat) {
            (Some(old), KongCompat::V3_9) => Some(old).filter(|old| !old.is_null()),
            _ => self.default_3_15.as_ref(),
        }
    }

    /// Both defaults, if they differ: 3.9, then 3.15.
    pub(super) fn differing_defaults(&self) -> Option<(&Json, &Json)> {
        let new = self.default_3_15.as_ref().unwrap_or(&Json::Null);
        self.default_3_9.as_ref().map(|old| (old, new))
    }

    /// Whether a version lacks the field.
    pub(super) fn is_absent_in(&self, version: KongCompat) -> bool {
        match version {
            KongCompat::V3_9 => self.is_absent_in_3_9,
            KongCompat::V3_15 => self.is_absent_in_3_15,
        }
    }

    /// Allowed values that a version does not take.
    pub(super) fn values_absent_in(&self, version: KongCompat) -> &[Json] {
        match version {
            KongCompat::V3_9 => &self.not_in_3_9,
            KongCompat::V3_15 => &self.not_in_3_15,
        }
    }

    /// The only type letters that a version takes, where the other takes others.
    pub(super) fn types_in(&self, version: KongCompat) -> Option<&str> {
        match version {
            KongCompat::V3_9 => self.types_3_9.as_deref(),
            KongCompat::V3_15 => self.types_3_15.as_deref(),
        }
    }

    /// Whether a version, and not the other, requires the field.
    pub(super) fn is_required_by(&self, version: KongCompat) -> bool {
        match version {
            KongCompat::V3_9 => self.is_required_in_3_9,
            KongCompat::V3_15 => self.is_required_in_3_15,
        }
    }

    /// The field at a dotted path below this record.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |field, key| field.fields.get(key))
    }

    /// Whether type `letter` is accepted.
    pub(super) fn takes(&self, letter: char) -> bool {
        self.types.contains(letter)
    }

    /// Whether an absent record comes into being for its defaults: it has some, and nothing in it must be given.
    pub(super) fn is_self_sufficient(&self) -> bool {
        self.takes('r')
            && self.fields.values().all(|f| !f.is_required)
            && self
                .fields
                .values()
                .any(|f| f.default_3_15.is_some() || f.default_3_9.is_some() || f.is_self_sufficient())
    }
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    u8::deserialize(deserializer).map(|bit| bit == 1)
}

/// Keeps an explicit null apart from an absent key.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}
