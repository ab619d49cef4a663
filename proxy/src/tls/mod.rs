//! TLS on both sides, with rustls as a state machine between our reads and writes.
//!
//! [`Stream`] is what the rest of the gateway reads and writes, encrypted or not. `server` chooses certificates by
//! server name, `client` decides what an upstream must prove.

mod client;
mod server;
mod stream;
#[cfg(test)]
mod tests;

pub use client::{ClientConfigs, ClientTls, TlsSetupError};
pub use server::{Certificates, OldestTls, ServerTls};
pub use stream::{Stream, StreamError};
