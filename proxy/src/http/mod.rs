//! HTTP without I/O: bytes in, neutral heads and bodies out, and back to bytes.
//!
//! Enters: what a connection received. Leaves: offsets into it, and wire bytes in buffers the caller keeps.
//! `h1` is the only wire format so far; every other module is written for any of them.
//! Absent on purpose: sockets, time, policy. Nothing here allocates once its buffers are warm.

pub mod authority;
pub mod body;
pub mod date;
pub mod forwarding;
pub mod h1;
pub mod h2;
pub mod head;
pub mod headers;
pub mod known;
pub mod outgoing;
pub mod query;
pub mod refusal_body;
pub mod status;
#[cfg(test)]
mod tests;
pub mod upgrade;
pub mod upstream_path;
#[cfg(test)]
mod vectors;
pub mod write;
