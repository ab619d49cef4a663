//! Plugin instances of every family, on every kind of scope.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::deck::entity::sample::{meta, plugin};
use crate::deck::entity::*;

/// Name, Kong's priority, whether it may be scoped to callers, and configurations to choose from.
type Kind = (&'static str, i32, bool, Vec<Json>);

pub(super) fn plugins(routes: u32) -> impl Strategy<Value = Vec<Plugin>> {
    let pick = (
        0..kinds().len(),
        0..8usize,
        0..8u32,
        0..routes.max(1) * 3,
        0..8u32,
        0..10u8,
    );
    // Most callers are known: what is scoped to them can be chosen.
    let known = (
        0..authentication().len(),
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
        let kinds = kinds();
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
            let config = &configs[config % configs.len()];
            plugins.push(Plugin {
                meta: meta(number as u128, number),
                enabled: enabled > 0,
                ..plugin(name, *priority, scope, config)
            });
        }
        plugins
    })
}

fn kinds() -> Vec<Kind> {
    [
        authentication(),
        security(),
        traffic(),
        transformation(),
        observability(),
        ai(),
    ]
    .concat()
}

fn authentication() -> Vec<Kind> {
    vec![
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
    ]
}

fn security() -> Vec<Kind> {
    vec![
        (
            "cors",
            2000,
            false,
            vec![json!({}), json!({"preflight_continue": true})],
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
            "acl",
            950,
            false,
            vec![
                json!({"allow": ["admin"]}),
                json!({"deny": ["dev", "unknown"]}),
                json!({"allow": ["gold"], "include_consumer_groups": true}),
            ],
        ),
    ]
}

fn traffic() -> Vec<Kind> {
    vec![
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
            "rate-limiting",
            910,
            true,
            vec![
                json!({"minute": 5}),
                json!({"second": 1, "hour": 9, "error_code": 420, "error_message": "slow"}),
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

fn transformation() -> Vec<Kind> {
    vec![
        (
            "correlation-id",
            100_001,
            false,
            vec![json!({"echo_downstream": true}), json!({})],
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
    ]
}

fn observability() -> Vec<Kind> {
    vec![
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
    ]
}

fn ai() -> Vec<Kind> {
    vec![
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
    ]
}
