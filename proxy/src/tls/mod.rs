//! TLS on both sides, with rustls as a state machine between our reads and writes.
//!
//! [`Stream`] is what the rest of the gateway reads and writes, encrypted or not. `server` chooses certificates by
//! server name, `client` decides what an upstream must prove, `client_auth` what clients must, `ocsp` which responses
//! are stapled, `duplex` reads and writes at once, `parked` takes a stream to another worker.

mod agreed;
mod client;
mod client_auth;
mod duplex;
mod halves;
mod ocsp;
mod parked;
mod peer;
mod server;
mod stream;
#[cfg(test)]
mod tests;

pub use agreed::Agreed;
pub use client::{ClientConfigs, ClientTls, Demands, Protocol, TlsSetupError};
pub use client_auth::{Asking, ClientAuth};
pub use duplex::Duplex;
pub use halves::{Reader, Writer};
pub use ocsp::{OcspError, Response, Staple};
pub use parked::ParkedStream;
pub use peer::{AlternativeName, PeerCertificate};
pub use server::{Certificates, OldestTls, ServerTls};
pub use stream::{Stream, StreamError};
