//! Rows of routes for connections, in Kong's order.

use policy::table::{AddressTest, Rows, StreamRoute};

use super::routing::RouteRows;
use crate::deck::entity::AddressMatch;
use crate::lower::Context;
use crate::plugin;
use crate::router::{Stream, Tests};

pub(super) fn write(
    context: &mut Context<'_>,
    streams: &[Stream],
    tests: &[Option<Tests>],
    rows: &RouteRows,
) {
    let model = context.model;
    for stream in streams {
        let (Some(tests), Some(route)) = (&tests[stream.route.0 as usize], rows.row(stream.route)) else {
            continue;
        };
        let of = &model[stream.route];
        let row = StreamRoute {
            route,
            sources: addresses(context, &of.sources),
            destinations: addresses(context, &of.destinations),
            snis: context.builder.names(tests.snis.iter().map(|name| &**name)),
            priority: stream.priority,
        };
        context.builder.row(&row);
    }
}

fn addresses(context: &mut Context<'_>, list: &[AddressMatch]) -> Rows<AddressTest> {
    let tests: Vec<AddressTest> = list
        .iter()
        .map(|one| AddressTest {
            restricted: one.address.is_some(),
            addresses: plugin::address_ranges(context, one.address.as_deref().into_iter()),
            port: u32::from(one.port.unwrap_or(0)),
        })
        .collect();
    context.builder.list(&tests)
}
