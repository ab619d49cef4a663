//! Finds the route of a connection, as Kong's stream router does: one after the other in the order of priority.
//!
//! A connection fits a route whose `protocols` name how it came. Kong does not ask that, and then proxies a plaintext
//! connection by a route that is for TLS.

use crate::artifact::Policy;
use crate::route::name_fits;
use crate::table::{AddressTest, Id, Rows, StreamRoute};
use crate::vm::contains;

/// Bit of [`crate::table::Route::protocols`]: connections as they are.
pub const TCP: u32 = 64;
/// Bit: connections whose TLS ends here.
pub const TLS: u32 = 128;
/// Bit: connections whose TLS ends at the service; never beside another bit.
pub const TLS_PASSTHROUGH: u32 = 256;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// 128 bits, IPv4 mapped; `None` for a Unix socket, which is in no range of addresses.
    pub address: Option<u128>,
    /// Port.
    pub port: u16,
}

/// What is known of a connection before its first byte is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'c> {
    /// The client's end.
    pub source: End,
    /// The gateway's end.
    pub destination: End,
    /// The server name that its TLS asks for, in lower case, empty for none; `None` for a connection without TLS.
    pub server_name: Option<&'c [u8]>,
}

/// The connection's route; `None` when no route fits.
pub fn find(policy: &Policy, connection: &Connection<'_>) -> Option<Id<StreamRoute>> {
    policy
        .all::<StreamRoute>()
        .ids()
        .find(|id| fits(policy, &policy.get(*id), connection))
}

fn fits(policy: &Policy, row: &StreamRoute, connection: &Connection<'_>) -> bool {
    let bits = match connection.server_name {
        None => TCP,
        Some(_) => TLS | TLS_PASSTHROUGH,
    };
    let named = |name| {
        policy
            .rows(row.snis)
            .any(|sni| name_fits(policy.bytes(sni.text), name))
    };
    policy.get(row.route).protocols & bits != 0
        && (row.snis.is_empty() || connection.server_name.is_none_or(named))
        && any_fits(policy, row.sources, connection.source)
        && any_fits(policy, row.destinations, connection.destination)
}

fn any_fits(policy: &Policy, tests: Rows<AddressTest>, end: End) -> bool {
    tests.is_empty()
        || policy.rows(tests).any(|test| {
            (test.port == 0 || test.port == u32::from(end.port))
                && (!test.restricted
                    || end
                        .address
                        .is_some_and(|address| contains(policy, test.addresses, address)))
        })
}
