//! What Kong 3.9 and 3.15 say about plugins: names, scopes, protocols, priorities and every configuration field.
//!
//! A configuration [`Node`](crate::source::Node) enters; the same configuration leaves with aliases replaced,
//! defaults filled in and secrets hidden, or diagnostics do. The facts stand in `schema/plugins.json` and are parsed
//! plugin by plugin, on first use. Absent: what a plugin *does*, which is lowering.

mod alias;
mod check;
mod field;
mod kind;
mod priority;
mod rules;
#[cfg(test)]
mod tests;
mod versions;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::value::RawValue;

pub use check::{Checked, Reliance, check, check_record};
#[cfg(test)]
pub(crate) use field::Leaf;
pub use field::{Field, PluginSchema};
pub use kind::{KongCompat, PluginKind};
pub use priority::priority;
pub use versions::{Difference, Entities, Lack, written};

/// Both versions' plugin schemas, merged. See `schema/README.md` for the format and `schema/NOTICE` for the origin.
const DATA: &str = include_str!("../../schema/plugins.json");

/// Every plugin Kong documents.
pub struct Catalogue {
    raw: BTreeMap<&'static str, &'static RawValue>,
    parsed: RefCell<HashMap<&'static str, Rc<PluginSchema>>>,
}

impl Default for Catalogue {
    fn default() -> Self {
        let raw = serde_json::from_str(DATA).expect("schema/plugins.json is part of the program and tested");
        Self {
            raw,
            parsed: RefCell::default(),
        }
    }
}

impl Catalogue {
    /// The schema of the plugin `name`; None if Kong documents no such plugin.
    pub fn plugin(&self, name: &str) -> Option<Rc<PluginSchema>> {
        let (name, raw) = self.raw.get_key_value(name)?;
        let mut parsed = self.parsed.borrow_mut();
        let schema = parsed.entry(name).or_insert_with(|| {
            Rc::new(serde_json::from_str(raw.get()).expect("each schema is part of the program and tested"))
        });
        Some(Rc::clone(schema))
    }

    /// All plugin names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.raw.keys().copied()
    }
}
