//! Routes for connections.

use policy::stream;
use policy::table::{AddressTest, HttpVersion, Id, Route, Rows, Scheme, Service, StreamRoute};

use super::Scene;
use super::plugins::cidr;

/// What a route for connections is to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) protocols: u32,
    /// First and last address, and port.
    pub(crate) sources: Vec<(Option<(u128, u128)>, u32)>,
    pub(crate) destinations: Vec<(Option<(u128, u128)>, u32)>,
    pub(crate) snis: Vec<&'static str>,
}

/// Adds a route below those that are there.
pub(crate) fn add(scene: &mut Scene, wanted: &Wanted) -> Id<StreamRoute> {
    let https = scene.plugins.service_row;
    let service = scene.builder.row(&Service {
        scheme: Scheme::Tls,
        http: HttpVersion::Http1,
        ..https
    });
    let route = scene.builder.row(&Route {
        service: Some(service),
        protocols: wanted.protocols,
        ..Route::EMPTY
    });
    let mut ends = |list: &[(Option<(u128, u128)>, u32)]| {
        let tests: Vec<AddressTest> = list
            .iter()
            .map(|(range, port)| AddressTest {
                restricted: range.is_some(),
                addresses: match range {
                    Some((first, last)) => scene.builder.list(&[cidr(*first, *last)]),
                    None => Rows::NONE,
                },
                port: *port,
            })
            .collect();
        scene.builder.list(&tests)
    };
    let (sources, destinations) = (ends(&wanted.sources), ends(&wanted.destinations));
    let row = StreamRoute {
        route,
        sources,
        destinations,
        snis: scene.builder.names(wanted.snis.iter().copied()),
        priority: 0,
    };
    scene.builder.row(&row)
}

pub(super) fn write(scene: &mut Scene) {
    let wanted = Wanted {
        protocols: stream::TLS,
        sources: vec![(Some((10, 20)), 0), (None, 4000)],
        destinations: vec![(Some((5, 5)), 443)],
        snis: vec!["a.test", "*.b.test"],
    };
    add(scene, &wanted);
}
