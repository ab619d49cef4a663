//! TLS on both sides, with rustls as a state machine between our reads and writes.
//!
//! [`Stream`] is what the rest of the gateway reads and writes, encrypted or not. `server` chooses certificates by
//! server name, `client` decides what an upstream must prove, `duplex` reads and writes at once.

mod agreed;
mod client;
mod duplex;
mod halves;
mod server;
mod stream;
#[cfg(test)]
mod tests;

pub use agreed::Agreed;
pub use client::{ClientConfigs, ClientTls, Protocol, TlsSetupError};
pub use halves::{Reader, Writer};
pub use server::{Certificates, OldestTls, ServerTls};
pub use stream::{Stream, StreamError};
