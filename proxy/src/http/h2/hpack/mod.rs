//! Header compression of HTTP/2 (RFC 7541), both ways.
//!
//! Enters: the blocks of one connection, in the order they came. Leaves: [`Fields`], with every bound of a head kept
//! while it is decoded, and blocks to send. What is sent leans on the static table only, so that blocks may be written in
//! any order and nothing secret stays in a table that later requests could probe.

mod decode;
pub mod encode;
mod fields;
mod huffman;
mod table;
#[cfg(test)]
mod tests;

pub use decode::Decoder;
pub use fields::{Excess, Field, Fields};

/// A block that is no header block: the connection's table is lost with it (RFC 9113 §4.3, `COMPRESSION_ERROR`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;
