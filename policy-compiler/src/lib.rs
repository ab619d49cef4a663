//! `tollc`: decK files in, verified policy out. Offline, deterministic, and the only place that reads untrusted YAML.
//!
//! A file passes through the rooms in this order: `source` (text → spanned tree), `deck` (tree → typed, resolved
//! model, with `schema` checking every plugin configuration), then lowering and emission. Whatever any room has to
//! say to the operator becomes a `diagnostic`; `verb` is one command-line verb per file.
//! Deliberately absent: network access, clocks, randomness. The same bytes in give the same bytes out.

pub mod analyse;
pub mod deck;
pub mod diagnostic;
pub mod disasm;
pub mod emit;
pub mod extension;
pub mod format;
pub mod lower;
mod plugin;
pub mod router;
pub mod schema;
pub mod scope;
pub mod source;
pub mod verb;
