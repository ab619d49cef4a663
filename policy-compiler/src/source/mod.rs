//! Reading: files and folders in, one spanned tree per file out.
mod node;

pub use node::{Entry, FileId, Node, Secret, Span, Spanned, Value};
