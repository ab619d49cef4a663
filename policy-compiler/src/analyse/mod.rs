//! Answers about a policy without a gateway: what happens to a request, and why.
//!
//! [`Request`] is an exchange in memory, [`judge`] runs an artifact on it with the gateway's own search and VM, and
//! [`reference`] says the same from the model alone, rule by rule as Kong documents them.

pub mod account;
mod body;
mod budget;
mod eval;
pub mod explain;
pub mod reference;
mod request;
mod template;
#[cfg(test)]
mod tests;
pub mod versions;
mod websocket;

pub use budget::Asked;
pub use eval::{Applied, Ending, Judgement, judge};
pub use request::{InMemory, Malformed, Request, RequestError};
