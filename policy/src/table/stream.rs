//! Tables of the stream subsystem: which connection goes where, before anybody knows what it carries.

use super::{Cidr, Id, Name, Route, Rows, rows};

rows! {
    /// A route for connections (Kong: `protocols` of tcp, tls or tls_passthrough). Its row number is its rank, lowest
    /// first: every connection takes the lowest ranked one that fits.
    StreamRoute {
        /// The route, whose bits of `protocols` say how a connection must come.
        route: Id<Route>,
        /// Where it may come from; empty for anywhere.
        sources: Rows<AddressTest>,
        /// Where it may have gone to; empty for anywhere.
        destinations: Rows<AddressTest>,
        /// Server names, one of which it must ask for when it comes over TLS; `*.x` and `x.*` allowed.
        snis: Rows<Name>,
        /// Kong's 64-bit priority, for `explain`.
        priority: u64,
    }
    /// One of `sources` or `destinations`: an address, a port, or both.
    AddressTest {
        /// Whether `addresses` counts.
        restricted: bool,
        /// Ranges, ascending and apart, one of which the address must be in.
        addresses: Rows<Cidr>,
        /// The port; 0 for any.
        port: u32,
    }
}
