//! Random small models against random requests: the artifact, run by the VM, agrees with the plain rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy::isa::Entry;
use policy::table::{Id, Source, Table};
use policy::vm::Verdict;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Ending, Request, judge, reference};
use crate::deck::entity::*;
use crate::diagnostic::Report;
use crate::emit::{self, Artifact};
use crate::lower::Options;
use crate::schema::PluginKind;
use crate::source::{Entry as MapEntry, FileId, Node, Secret, Sources, Span, Spanned, Value};

/// Line `line` of a file of empty lines, so that a row's source says which entity it came from.
fn line(line: usize) -> Span {
    let at = u32::try_from(line).expect("few lines");
    Span {
        file: FileId(0),
        start: at,
        end: at,
    }
}

fn sources() -> Sources {
    let mut sources = Sources::default();
    sources.add("kong.yaml", "\n".repeat(200));
    sources
}

fn meta(id: u128, at: usize) -> Meta {
    Meta {
        id: Uuid::from_u128(id),
        span: line(at),
        tags: Vec::new(),
    }
}

fn node(json: &Json) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().expect("a number")),
        },
        Json::String(text) => Value::Str(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(node).collect()),
        Json::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, json)| MapEntry {
                    key: key.as_str().into(),
                    key_span: line(0),
                    node: node(json),
                })
                .collect(),
        ),
    };
    Node { span: line(0), value }
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned { value, span: line(0) }
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
                meta: meta(id, 0),
                name: None,
                service,
                protocols: if id % 5 == 0 {
                    vec![Protocol::Https]
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
                strip_path: true,
                path_handling: PathHandling::V0,
                preserve_host: false,
                https_redirect_status_code: if id % 2 == 0 { 426 } else { 308 },
                request_buffering: true,
                response_buffering: true,
                enforced: true,
            },
        )
}

/// Name, Kong's priority, whether it may be scoped to callers, and configurations to choose from.
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn plugin_kinds() -> Vec<(&'static str, i32, bool, Vec<Json>)> {
    vec![
        (
            "correlation-id",
            100_001,
            false,
            vec![json!({"echo_downstream": true}), json!({})],
        ),
        (
            "cors",
            2000,
            false,
            vec![json!({}), json!({"preflight_continue": true})],
        ),
        (
            "key-auth",
            1250,
            false,
            vec![
                json!({"key_names": ["apikey"]}),
                json!({"key_names": ["apikey", "Token"], "key_in_body": true, "hide_credentials": true}),
                json!({"key_names": ["apikey"], "anonymous": "nobody", "run_on_preflight": false}),
                json!({"key_names": ["token"], "key_in_header": false, "realm": "r"}),
            ],
        ),
        (
            "basic-auth",
            1100,
            false,
            vec![
                json!({"realm": "service"}),
                json!({"anonymous": Uuid::from_u128(0xc003).to_string(), "hide_credentials": true}),
            ],
        ),
        (
            "ip-restriction",
            990,
            true,
            vec![
                json!({"allow": ["10.0.0.0/8", "2001:db8::/32"]}),
                json!({"deny": ["10.1.0.0/16", "::/0"], "status": 401, "message": "no"}),
                json!({"deny": ["10.1.2.3"], "allow": ["10.0.0.0/8"]}),
            ],
        ),
        (
            "request-size-limiting",
            951,
            true,
            vec![
                json!({"allowed_payload_size": 3, "size_unit": "bytes"}),
                json!({"allowed_payload_size": 1, "require_content_length": true}),
            ],
        ),
        (
            "acl",
            950,
            false,
            vec![
                json!({"allow": ["admin"]}),
                json!({"deny": ["dev", "unknown"]}),
                json!({"allow": ["gold"], "include_consumer_groups": true}),
            ],
        ),
        (
            "rate-limiting",
            910,
            true,
            vec![
                json!({"minute": 5}),
                json!({"second": 1, "hour": 9, "error_code": 420, "error_message": "slow"}),
            ],
        ),
        (
            "request-transformer",
            801,
            true,
            vec![json!({"add": {"headers": ["x:y"]}})],
        ),
        (
            "response-transformer",
            800,
            true,
            vec![
                json!({"remove": {"headers": ["x"]}}),
                json!({}),
                json!({"add": {"json": ["a:1"]}}),
            ],
        ),
        (
            "prometheus",
            13,
            true,
            vec![json!({"per_consumer": true}), json!({})],
        ),
        (
            "file-log",
            9,
            true,
            vec![json!({"path": "/tmp/a"}), json!({"path": "/tmp/b"})],
        ),
        (
            "ai-proxy",
            770,
            false,
            vec![json!({
                "route_type": "llm/v1/chat",
                "model": {"provider": "openai", "name": "m"},
                "auth": {"header_name": "Authorization", "header_value": "{vault://env/key}"},
            })],
        ),
        (
            "ai-rate-limiting-advanced",
            905,
            true,
            vec![
                json!({"llm_providers": [{"name": "openai", "limit": [9], "window_size": [60]}]}),
                json!({
                    "error_code": 430,
                    "error_message": "spent",
                    "policies": [{"limits": [{"limit": 1.5, "window_size": 1, "tokens_count_strategy": "cost"}]}],
                }),
            ],
        ),
        (
            "request-termination",
            2,
            true,
            vec![
                json!({"status_code": 403}),
                json!({"trigger": "Stop", "message": "m"}),
            ],
        ),
    ]
}

fn plugins(routes: u32) -> impl Strategy<Value = Vec<Plugin>> {
    let pick = (
        0..15usize,
        0..8usize,
        0..8u32,
        0..routes.max(1) * 3,
        0..8u32,
        0..10u8,
    );
    // Most callers are known: what is scoped to them can be chosen.
    let known = (
        2..4usize,
        0..8usize,
        Just(9u32),
        Just(u32::MAX),
        Just(9u32),
        0..10u8,
    );
    let picks = (
        proptest::collection::vec(known, 0..3),
        proptest::collection::vec(pick, 0..16),
    );
    let picks = picks.prop_map(|(known, picks)| [known, picks].concat());
    picks.prop_map(move |picks| {
        let kinds = plugin_kinds();
        let mut plugins: Vec<Plugin> = Vec::new();
        for (kind, config, service, route, person, enabled) in picks {
            let (name, priority, personal, configs) = &kinds[kind];
            let scope = Scope {
                service: (service < 3).then_some(ServiceIndex(service)),
                route: (route < routes).then_some(RouteIndex(route)),
                consumer: (*personal && person < 2).then_some(ConsumerIndex(person)),
                consumer_group: (*personal && (2..4).contains(&person))
                    .then(|| ConsumerGroupIndex(person - 2)),
            };
            if plugins
                .iter()
                .any(|known| &*known.name == *name && known.scope == scope)
            {
                continue;
            }
            let number = plugins.len() + 1;
            plugins.push(Plugin {
                meta: meta(number as u128, number),
                name: (*name).into(),
                kind: PluginKind::of(name),
                priority: *priority,
                instance_name: None,
                enabled: enabled > 0,
                scope,
                protocols: Vec::new(),
                config: node(&configs[config % configs.len()]),
                enforced: true,
            });
        }
        plugins
    })
}

fn model() -> impl Strategy<Value = Model> {
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

#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn request() -> impl Strategy<Value = Request> {
    let hosts = prop::sample::select(vec!["a.test", "b.a.test", "x.test", "a.org", "b.net", "c", ""]);
    let paths = prop::sample::select(vec![
        "/", "/a", "/a/", "/a/12", "/a/b", "/b", "/x/b", "/ab", "/a/b/c", "/%C3%A4", "/bar/x", "/q/c",
    ]);
    let keys = || {
        prop::sample::select(vec![
            "key-alice",
            "key-alice",
            "key-bob",
            "key-bob",
            "key-carol",
            "",
            "wrong",
        ])
    };
    let auth = prop::sample::select(vec![
        None,
        Some("Basic YWxpY2U6cGFzcw=="),
        Some("Basic Ym9iOnBhc3M="),
        Some("Basic Ym9iOndyb25n"),
        Some("Bearer x"),
    ]);
    let clients = prop::sample::select(vec![
        Some(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3))),
        Some(IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9))),
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
        None,
    ]);
    let place = (
        prop::sample::select(vec!["GET", "POST", "OPTIONS", "PURGE", "LOCK"]),
        hosts,
        prop::sample::select(vec![80u16, 81, 8080]),
        paths,
        any::<bool>(),
    );
    let credentials = (
        proptest::collection::vec(
            (prop::sample::select(vec!["apikey", "apikey", "token"]), keys()),
            0..3,
        ),
        proptest::collection::vec(
            (
                prop::sample::select(vec!["apikey", "token", "Token", "Stop"]),
                keys(),
            ),
            0..2,
        ),
        prop::option::of(keys()),
        auth,
    );
    let headers = (
        prop::option::of(prop::sample::select(vec!["1", "2", "v77", "V"])),
        prop::option::of(prop::sample::select(vec!["w", "wow", "other"])),
        any::<bool>(),
    );
    (place, credentials, headers, clients, any::<bool>(), 0..5u8).prop_map(
        |(
            (method, host, port, path, secure),
            (header_keys, query_keys, body_key, auth),
            (v, w, cors),
            client,
            spent,
            body,
        )| {
            let mut headers: Vec<(String, String)> = header_keys
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let mut add = |name: &str, value: Option<&str>| {
                if let Some(value) = value {
                    headers.push((name.to_owned(), value.to_owned()));
                }
            };
            add("authorization", auth);
            add("x-v", v);
            add("x-w", w);
            if cors {
                add("origin", Some("https://o.test"));
                add("access-control-request-method", Some("GET"));
            }
            add("transfer-encoding", (body == 1).then_some("chunked"));
            add("content-type", Some("application/x-www-form-urlencoded"));
            let query: Vec<String> = query_keys
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let body_text = body_key.map_or_else(String::new, |key| format!("apikey={key}"));
            Request {
                method: method.to_owned(),
                host: host.to_owned(),
                port,
                path: path.to_owned(),
                query: query.join("&"),
                secure,
                server_name: if secure { host.to_owned() } else { String::new() },
                headers,
                body: (body > 0).then(|| body_text.into_bytes()),
                client,
                spent,
                malformed: None,
            }
        },
    )
}

/// The plugin that a row came from.
fn origin(artifact: &Artifact, source: Option<Id<Source>>) -> PluginIndex {
    let source = artifact
        .policy
        .get(source.expect("every row of a plugin has a source"));
    // Line n holds plugin n - 1, and the file's first line is 1.
    PluginIndex(source.line - 2)
}

fn compile(model: &Model) -> Artifact {
    let report = Report::default();
    emit::artifact(model, &sources(), &report, Options::default())
        .unwrap_or_else(|| panic!("it compiles: {:?}", report.findings()))
}

fn effect_origin(artifact: &Artifact, effect: policy::vm::Effect) -> PluginIndex {
    let policy = &artifact.policy;
    let source = match effect.table {
        Table::Acl => effect
            .id()
            .map(|id: Id<policy::table::Acl>| policy.get(id).source),
        Table::Size => effect
            .id()
            .map(|id: Id<policy::table::Size>| policy.get(id).source),
        Table::Correlation => effect
            .id()
            .map(|id: Id<policy::table::Correlation>| policy.get(id).source),
        Table::EditList => effect
            .id()
            .map(|id: Id<policy::table::EditList>| policy.get(id).source),
        Table::Cors => effect
            .id()
            .map(|id: Id<policy::table::Cors>| policy.get(id).source),
        Table::Metrics => effect
            .id()
            .map(|id: Id<policy::table::Metrics>| policy.get(id).source),
        Table::Model => effect
            .id()
            .map(|id: Id<policy::table::Model>| policy.get(id).source),
        Table::Log => effect
            .id()
            .map(|id: Id<policy::table::Log>| policy.get(id).source),
        other => panic!("nothing applies {other:?}"),
    };
    origin(artifact, source.expect("the table says which row"))
}

/// What an instance applies in a phase, by Kong's description of the plugin.
fn applies(model: &Model, request: &Request, index: PluginIndex, entry: Entry) -> bool {
    let plugin = &model[index];
    let config = crate::plugin::Config(&plugin.config);
    match (plugin.kind, entry) {
        (
            PluginKind::CorrelationId
            | PluginKind::Acl
            | PluginKind::RequestTransformer
            | PluginKind::AiProxy,
            Entry::Request,
        ) => true,
        (PluginKind::RequestSizeLimiting, Entry::Request) => {
            request.body.is_some() && request.values("transfer-encoding").next().is_some()
        }
        (PluginKind::CorrelationId, Entry::Response) => config.flag("echo_downstream"),
        (PluginKind::Cors, Entry::Response) => true,
        (PluginKind::ResponseTransformer, Entry::Response) => {
            config.0.as_map().is_some_and(|entries| !entries.is_empty())
        }
        (PluginKind::Prometheus | PluginKind::FileLog, Entry::End) => true,
        _ => false,
    }
}

fn ruled_status(judged: &super::Judgement) -> u16 {
    match judged.ending {
        Ending::HttpsRequired(redirect) => redirect.name().parse().expect("a status"),
        _ => 0,
    }
}

fn assert_agreement(model: &Model, artifact: &Artifact, request: &Request) {
    let policy = &artifact.policy;
    let ruled = reference::judge(model, request);
    let judged = judge(policy, request);
    let route = judged.matched.map(|found| artifact.routes[found.route.index()]);
    assert_eq!(route, ruled.route, "route");
    let verdict = match judged.ending {
        Ending::Verdict(verdict) => verdict,
        _ => Verdict::Forward,
    };
    let outcome = match verdict {
        _ if judged.ending == Ending::NoRoute => reference::Outcome::Unmatched,
        _ if judged.ending == Ending::NoService => reference::Outcome::NoService,
        _ if matches!(judged.ending, Ending::HttpsRequired(_)) => {
            reference::Outcome::HttpsRequired(ruled_status(&judged))
        }
        Verdict::Forward => reference::Outcome::Forwarded,
        Verdict::Refuse(id) => {
            let refusal = policy.get(id);
            let message = policy.text(refusal.message).to_owned();
            reference::Outcome::Refused(origin(artifact, refusal.source), refusal.status, message)
        }
        Verdict::Respond(id) => reference::Outcome::Answered(origin(artifact, policy.get(id).source)),
        Verdict::Preflight(id) => reference::Outcome::Preflight(origin(artifact, policy.get(id).source)),
        Verdict::Wait(_) => panic!("questions are answered"),
    };
    assert_eq!(outcome, ruled.outcome, "outcome");
    assert_eq!(
        judged.consumer.map(Id::number),
        ruled.consumer.map(|c| c.0),
        "consumer"
    );
    assert_eq!(judged.anonymous, ruled.anonymous, "anonymous");
    let counted: Vec<PluginIndex> = judged
        .quotas
        .iter()
        .map(|quota| origin(artifact, policy.get(*quota).source))
        .collect();
    assert_eq!(counted, ruled.counted, "quotas");
    let reserved: Vec<PluginIndex> = judged
        .budgets
        .iter()
        .map(|budget| origin(artifact, policy.get(budget.budget).source))
        .collect();
    assert_eq!(reserved, ruled.reserved, "budgets");
    for entry in [Entry::Request, Entry::Response, Entry::End] {
        let applied: Vec<PluginIndex> = judged
            .applied
            .iter()
            .filter(|applied| applied.entry == entry)
            .map(|applied| effect_origin(artifact, applied.effect))
            .filter(|index| match model[*index].kind {
                // Hidden credentials are not what the plugins of this list are about.
                PluginKind::KeyAuth | PluginKind::BasicAuth => false,
                // An empty list of edits may be applied: it stands beside others in a scope table.
                PluginKind::ResponseTransformer => applies(model, request, *index, entry),
                _ => true,
            })
            .collect();
        let runs = entry != Entry::Request || ruled.outcome == reference::Outcome::Forwarded;
        let expected: Vec<PluginIndex> = ruled
            .collected
            .iter()
            .copied()
            .filter(|index| runs && applies(model, request, *index, entry))
            .collect();
        assert_eq!(applied, expected, "applied in {entry:?}");
    }
}

proptest! {
    #[test]
    fn the_artifact_judges_as_the_rules_do(model in model(), requests in proptest::collection::vec(request(), 16)) {
        let artifact = compile(&model);
        for request in &requests {
            assert_agreement(&model, &artifact, request);
        }
    }

    #[test]
    fn equal_models_give_equal_bytes(model in model()) {
        prop_assert_eq!(compile(&model).bytes, compile(&model).bytes);
    }
}
