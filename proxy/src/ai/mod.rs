//! What a model call asks, may cost, and answers. No I/O: bytes enter; refusals, rewritten bodies and counts leave.
//!
//! A call walks the room in this order: `request` reads and judges the body, bounds what it may use, and rewrites it;
//! `meter` watches what comes back (streams through `sse`); `usage` is what it is settled by. The wire API is OpenAI's,
//! which every provider of this release speaks. Deliberately absent: counters (`quota`), sockets, clocks.

pub mod meter;
pub mod request;
pub mod sse;
pub mod usage;
