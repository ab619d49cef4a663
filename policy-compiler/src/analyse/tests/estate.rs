//! Small models: routes that compete, three services, four people.

use proptest::prelude::*;

use super::plugin::plugins;
use crate::deck::entity::sample::{self, meta, spanned};
use crate::deck::entity::*;
use crate::source::Secret;

pub(super) fn model() -> impl Strategy<Value = Model> {
    proptest::collection::vec(route(), 1..7)
        .prop_flat_map(|routes| {
            let count = u32::try_from(routes.len()).expect("few");
            (Just(routes), plugins(count))
        })
        .prop_map(|(routes, plugins)| {
            let mut model = Model {
                services: (0..3).map(service).collect(),
                routes,
                plugins,
                ..Model::default()
            };
            people(&mut model);
            model
        })
}

fn service(number: u128) -> Service {
    Service {
        meta: meta(0x5e00 + number, 0),
        name: Some(format!("s{number}").into()),
        protocol: Protocol::Http,
        host: "upstream.test".into(),
        upstream: None,
        port: 80,
        path: None,
        retries: 5,
        connect_timeout_ms: 60_000,
        write_timeout_ms: 60_000,
        read_timeout_ms: 60_000,
        enabled: number != 2,
        client_certificate: None,
        tls_verify: false,
        tls_verify_depth: None,
        ca_certificates: None,
        enforced: true,
    }
}

/// alice is in both groups, bob in one; carol has no group at all; nobody stands for strangers.
fn people(model: &mut Model) {
    let names = ["alice", "bob", "carol", "nobody"];
    let groups = [vec![0, 1], vec![0], vec![], vec![]];
    for (number, (name, groups)) in names.into_iter().zip(groups).enumerate() {
        let consumer = ConsumerIndex(u32::try_from(number).expect("few"));
        model.consumers.push(Consumer {
            meta: meta(0xc000 + number as u128, 0),
            username: Some(name.into()),
            custom_id: None,
            groups: groups.into_iter().map(ConsumerGroupIndex).collect(),
        });
        model.keyauth_credentials.push(KeyAuthCredential {
            meta: meta(0xce00 + number as u128, 0),
            consumer,
            key: Secret::new(format!("key-{name}")),
            expires_at: None,
        });
        model.basicauth_credentials.push(BasicAuthCredential {
            meta: meta(0xcb00 + number as u128, 0),
            consumer,
            username: name.into(),
            password: Password::Plain(Secret::new("pass")),
        });
    }
    // In the order of the file the second group comes first in the alphabet.
    for (number, name) in ["zinc", "gold"].into_iter().enumerate() {
        model.consumer_groups.push(ConsumerGroup {
            meta: meta(0x6000 + number as u128, 0),
            name: name.into(),
        });
    }
    for (consumer, group) in [(0, "admin"), (0, "dev"), (1, "dev")] {
        model.acls.push(AclGroup {
            meta: meta(0, 0),
            consumer: ConsumerIndex(consumer),
            group: group.into(),
        });
    }
}

const HOSTS: [&str; 8] = [
    "a.test",
    "b.a.test",
    "*.test",
    "*.a.test",
    "a.*",
    "b.*:81",
    "a.test:8080",
    "*.test:81",
];
const METHODS: [&str; 4] = ["GET", "POST", "OPTIONS", "PURGE"];
const PREFIXES: [&str; 8] = ["/", "/a", "/a/b", "/b", "/a/b/c", "/%C3%A4", "/ä", "/b%61r/./x"];
const REGEXES: [&str; 6] = [r"/a/\d+", "/(a|b)$", "/.*b", "/a", r"/(?<name>\w+)/b", "/[^/]+/c"];

fn some<T: Clone + std::fmt::Debug + 'static>(pool: &'static [T]) -> impl Strategy<Value = Vec<T>> {
    // Mostly nothing: routes with many matchers fit few requests.
    prop_oneof![2 => Just(Vec::new()), 1 => proptest::sample::subsequence(pool, 1..=pool.len().min(3))]
}

fn route() -> impl Strategy<Value = Route> {
    let paths = prop_oneof![
        1 => (some(&PREFIXES), some(&REGEXES)),
        1 => (proptest::sample::subsequence(&PREFIXES, 1..3), Just(Vec::new())),
        2 => (Just(vec!["/"]), Just(Vec::new())),
    ];
    let headers = prop_oneof![
        12 => Just(vec![]),
        1 => Just(vec![("x-v", vec!["1", "2"])]),
        1 => Just(vec![("x-v", vec!["~*^V[0-9]+$"])]),
        1 => Just(vec![("x-v", vec!["1"]), ("x-w", vec!["W", "~*w.*w"])]),
    ];
    let snis = prop_oneof![4 => Just(vec![]), 1 => Just(vec!["a.test"]), 1 => Just(vec!["*.test."])];
    let service = prop_oneof![Just(None), (0..3u32).prop_map(|s| Some(ServiceIndex(s)))];
    (
        any::<u128>(),
        some(&HOSTS),
        some(&METHODS),
        paths,
        headers,
        snis,
        0..3i64,
        service,
    )
        .prop_map(
            |(id, hosts, methods, (prefixes, regexes), headers, snis, priority, service)| Route {
                service,
                protocols: if id % 5 == 0 {
                    vec![Protocol::Https]
                } else if id % 7 == 0 {
                    vec![Protocol::Ws, Protocol::Wss]
                } else {
                    vec![Protocol::Http, Protocol::Https]
                },
                methods: methods.into_iter().map(Box::from).collect(),
                hosts: hosts.into_iter().map(|host| spanned(host.into())).collect(),
                paths: prefixes
                    .into_iter()
                    .map(|prefix| RoutePath::Prefix(prefix.into()))
                    .chain(regexes.into_iter().map(|regex| RoutePath::Regex(regex.into())))
                    .map(spanned)
                    .collect(),
                headers: headers
                    .into_iter()
                    .map(|(name, values): (&str, Vec<&str>)| HeaderMatch {
                        name: name.into(),
                        values: values.into_iter().map(|value| spanned(value.into())).collect(),
                    })
                    .collect(),
                snis: snis.into_iter().map(|sni| spanned(sni.into())).collect(),
                regex_priority: priority,
                https_redirect_status_code: if id % 2 == 0 { 426 } else { 308 },
                ..sample::route(id, &[])
            },
        )
}
