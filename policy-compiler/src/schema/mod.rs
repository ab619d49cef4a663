//! What Kong 3.9 and 3.15 say about plugins: names, scopes, protocols, priorities and every configuration field.
//!
//! A configuration [`Node`](crate::source::Node) enters; the same configuration leaves with aliases replaced,
//! defaults filled in and secrets hidden, or diagnostics do. The facts stand in `schema/plugins.json` and are parsed
//! plugin by plugin, on first use. Absent: what a plugin *does*, which is lowering.

mod kind;

pub use kind::{KongCompat, PluginKind};
