//! Kong's order of routes for connections.

use uuid::Uuid;

use crate::deck::entity::{AddressMatch, Route, RouteIndex};

/// A route for connections.
pub struct Stream {
    /// The route.
    pub route: RouteIndex,
    /// Its id, which decides ties.
    pub id: Uuid,
    /// Kong's 64-bit priority.
    pub priority: u64,
}

impl Stream {
    pub(super) fn new(index: RouteIndex, route: &Route) -> Self {
        Self {
            route: index,
            id: route.meta.id,
            priority: priority(route),
        }
    }
}

/// Bit 61 says that server names are wanted, or both ends; then four bits for the source and four for the destination.
fn priority(route: &Route) -> u64 {
    let both = !route.sources.is_empty() && !route.destinations.is_empty();
    let named = !route.snis.is_empty() || both;
    u64::from(named) << 61 | bits(&route.sources) << 4 | bits(&route.destinations)
}

/// An address counts 8, a port 4, a network 1.
fn bits(list: &[AddressMatch]) -> u64 {
    list.iter().fold(0, |bits, one| {
        let address = match &one.address {
            None => 0,
            Some(text) if text.contains('/') => 1,
            Some(_) => 8,
        };
        bits | address | if one.port.is_some() { 4 } else { 0 }
    })
}
