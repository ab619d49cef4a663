//! Which route a connection takes.

use policy::FaultKind;
use policy::stream::{self, Connection, End, TCP, TLS, TLS_PASSTHROUGH};
use policy::table::{Id, Scheme, Table};

use crate::sample::streams::{Wanted, add};
use crate::sample::{Sample, Scene};
use crate::verifier::{fault, patched};

fn sample(all: &[Wanted]) -> Sample {
    let mut scene = Scene::new();
    for wanted in all {
        add(&mut scene, wanted);
    }
    scene.finish()
}

fn found(sample: &Sample, name: Option<&[u8]>, from: (u128, u16), to: (u128, u16)) -> Option<u32> {
    let end = |(address, port)| End {
        address: Some(address),
        port,
    };
    let connection = Connection {
        source: end(from),
        destination: end(to),
        server_name: name,
    };
    stream::find(&sample.policy, &connection).map(Id::number)
}

#[test]
fn a_connection_takes_the_first_route_that_fits() {
    let sample = sample(&[
        Wanted {
            protocols: TLS,
            snis: vec!["a.test", "*.b.test", "c.*"],
            ..Wanted::default()
        },
        Wanted {
            protocols: TLS_PASSTHROUGH,
            snis: vec!["pass.test"],
            ..Wanted::default()
        },
        Wanted {
            protocols: TCP,
            sources: vec![(Some((10, 20)), 0), (None, 4000)],
            destinations: vec![(Some((5, 5)), 443), (None, 99)],
            ..Wanted::default()
        },
        Wanted {
            protocols: TCP | TLS,
            destinations: vec![(None, 7)],
            snis: vec!["both.test"],
            ..Wanted::default()
        },
    ]);
    let tls = |name: &'static str| found(&sample, Some(name.as_bytes()), (1, 1), (1, 7));
    for (name, expected) in [
        ("a.test", Some(0)),
        ("x.b.test", Some(0)),
        ("b.test", None),
        ("c.org", Some(0)),
        ("pass.test", Some(1)),
        ("both.test", Some(3)),
        ("", None),
    ] {
        assert_eq!(tls(name), expected, "{name}");
    }
    for (from, to, expected) in [
        ((15, 1), (5, 443), Some(2)),
        ((15, 1), (6, 443), None),
        ((15, 1), (5, 444), None),
        ((15, 1), (6, 99), Some(2)),
        ((21, 4000), (5, 443), Some(2)),
        ((21, 4001), (5, 443), None),
        // Names are of no account where nobody can ask for one.
        ((21, 1), (5, 7), Some(3)),
    ] {
        assert_eq!(found(&sample, None, from, to), expected, "{from:?} {to:?}");
    }
    assert_eq!(found(&sample, Some(b"a.test"), (15, 1), (5, 443)), Some(0));
}

#[test]
fn connections_and_requests_keep_to_their_own() {
    let sample = sample(&[Wanted {
        protocols: TCP | TLS,
        destinations: vec![(Some((5, 5)), 7)],
        ..Wanted::default()
    }]);
    let route = sample.policy.get(Id::<policy::table::StreamRoute>::new(0)).route;
    let protocols = |bits| patched(&sample, Table::Route, route.number(), "protocols", &[(0, bits)]);
    for bits in [0, 1, TCP | 2, TLS | TLS_PASSTHROUGH, 512] {
        assert_eq!(
            protocols(bits),
            Some(fault("StreamRoute", 0, FaultKind::Value("route"))),
            "{bits}"
        );
    }
    assert_eq!(protocols(TLS_PASSTHROUGH), None);
    let service = sample.policy.get(route).service.expect("it leads somewhere");
    let scheme = patched(
        &sample,
        Table::Service,
        service.number(),
        "scheme",
        &[(0, Scheme::Http as u32)],
    );
    assert_eq!(scheme, Some(fault("StreamRoute", 0, FaultKind::Value("service"))));
    let port = patched(&sample, Table::AddressTest, 0, "port", &[(0, 65_536)]);
    assert_eq!(port, Some(fault("AddressTest", 0, FaultKind::Value("port"))));
}

#[test]
fn a_unix_socket_is_in_no_range_of_addresses() {
    let anywhere = (Some((0, u128::MAX)), 0);
    let sample = sample(&[
        Wanted {
            protocols: TCP,
            sources: vec![anywhere],
            ..Wanted::default()
        },
        Wanted {
            protocols: TCP,
            destinations: vec![anywhere, (None, 443)],
            ..Wanted::default()
        },
        Wanted {
            protocols: TCP,
            snis: vec!["a.test"],
            ..Wanted::default()
        },
    ]);
    let unix = End {
        address: None,
        port: 0,
    };
    let connection = Connection {
        source: unix,
        destination: unix,
        server_name: None,
    };
    assert_eq!(stream::find(&sample.policy, &connection).map(Id::number), Some(2));
}
