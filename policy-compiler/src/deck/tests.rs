//! Table cases from `testdata/files`, and claims about the model.

use serde::Deserialize;

use super::entity::{HashOn, Password, RoutePath, SensitivityKind};
use super::*;
use crate::analyse::versions::notes;
use crate::source::{self, Sources, Value};

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    yaml: Option<String>,
    plugin: Option<String>,
    config: Option<String>,
    #[serde(default)]
    env: HashMap<String, String>,
    #[serde(default)]
    allow_unsupported: bool,
    findings: Vec<String>,
}

/// A file read with a fixed environment, and everything that was said about it.
pub(crate) struct Reading {
    pub(crate) model: Model,
    pub(crate) report: Report,
    pub(crate) sources: Sources,
}

pub(crate) fn reading(yaml: &str, options: &Options, env: &HashMap<String, String>) -> Reading {
    let (mut sources, report) = (Sources::default(), Report::default());
    let id = sources.add("kong.yaml", yaml.to_owned());
    let root = source::read(&[id], &sources, &|name| env.get(name).cloned(), &report);
    let model = root.map(|root| read(root, options, &report)).unwrap_or_default();
    Reading {
        model,
        report,
        sources,
    }
}

fn model(yaml: &str) -> Model {
    let reading = reading(yaml, &Options::default(), &HashMap::new());
    assert_eq!(findings(&reading), Vec::<String>::new());
    reading.model
}

/// `severity[code] line:column`, in the order of the places.
fn findings(reading: &Reading) -> Vec<String> {
    let mut findings = reading.report.findings();
    findings.sort_by_key(|finding| finding.span);
    let place = |finding: &Diagnostic| {
        let span = finding.span?;
        let position = reading.sources.get(span.file)?.position(span.start);
        Some(format!(" {}:{}", position.line, position.column))
    };
    let words = findings.iter().map(|finding| {
        let place = place(finding).unwrap_or_default();
        format!("{}[{}]{place}", finding.severity.word(), finding.code)
    });
    words.collect()
}

fn run(table: &str) {
    let table: Table = toml::from_str(table).expect("the table is TOML");
    let mut wrong = String::new();
    for case in table.case {
        let yaml = case.yaml.unwrap_or_else(|| {
            let (plugin, config) = (case.plugin.unwrap_or_default(), case.config.unwrap_or_default());
            format!("_format_version: \"3.0\"\nplugins:\n- name: {plugin}\n  config: {config}\n")
        });
        let options = Options {
            allow_unsupported: case.allow_unsupported,
            ..Options::default()
        };
        let actual = findings(&reading(&yaml, &options, &case.env));
        if actual != case.findings {
            wrong += &format!(
                "{}\n  wanted {:#?}\n  found {actual:#?}\n",
                case.name, case.findings
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_reader_accepts_and_refuses_as_the_table_says() {
    run(include_str!("../../testdata/files/source.toml"));
}

#[test]
fn entities_keep_the_rules_in_the_table() {
    run(include_str!("../../testdata/files/deck.toml"));
}

#[test]
fn configurations_keep_the_rules_in_the_table() {
    run(include_str!("../../testdata/files/plugin.toml"));
}

#[derive(Deserialize)]
struct Versions {
    case: Vec<OfVersions>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfVersions {
    name: String,
    yaml: String,
    #[serde(default)]
    kong_compat: String,
    #[serde(default)]
    allow_unsupported: bool,
    versions: Vec<String>,
}

#[test]
fn what_the_versions_of_kong_read_in_different_ways_is_in_the_table() {
    let table: Versions =
        toml::from_str(include_str!("../../testdata/files/versions.toml")).expect("the table is TOML");
    for case in table.case {
        let compat = match &*case.kong_compat {
            "3.15" => KongCompat::V3_15,
            _ => KongCompat::V3_9,
        };
        let options = Options {
            compat,
            allow_unsupported: case.allow_unsupported,
            ..Options::default()
        };
        let Reading {
            model,
            report,
            sources,
        } = reading(&case.yaml, &options, &HashMap::new());
        assert_eq!(report.errors(), 0, "{}: {:?}", case.name, report.findings());
        let notes = notes(&model, &sources).into_iter();
        let mut notes: Vec<String> = notes
            .map(|note| format!("{}: {} ({})", note.kong, note.message, note.first))
            .collect();
        notes.sort();
        assert_eq!(notes, case.versions, "{}", case.name);
    }
}

#[test]
fn a_url_is_taken_apart_and_explicit_fields_win() {
    let model = model(
        "_format_version: \"3.0\"\nservices:\n\
         - {name: a, url: \"https://x.internal/a b\"}\n\
         - {name: b, url: \"http://[::1]:81/v1\", path: /v2, port: 82}\n\
         - {name: c, url: \"http://x.internal\"}\n",
    );
    let parts: Vec<_> = model
        .services
        .iter()
        .map(|s| (s.protocol.name(), &*s.host, s.port, s.path.as_deref()))
        .collect();
    assert_eq!(
        parts,
        [
            ("https", "x.internal", 443, Some("/a%20b")),
            ("http", "::1", 82, Some("/v2")),
            ("http", "x.internal", 80, None),
        ]
    );
}

#[test]
fn defaults_come_from_the_entity_then_the_file_then_the_version() {
    let text = "_format_version: \"3.0\"\n_info: {defaults: {service: {retries: 7, read_timeout: 9}, \
                route: {preserve_host: true}, upstream: {healthchecks: {active: {timeout: 3}}}, target: {weight: 5}}}\n\
                services:\n- {name: a, url: \"https://x.internal\", read_timeout: 11, routes: [{name: r, paths: [/]}]}\n\
                upstreams:\n- {name: u.internal, healthchecks: {active: {concurrency: 2}}, targets: [{target: t}]}\n";
    for (compat, protocols, verified) in [
        (
            KongCompat::V3_9,
            &[entity::Protocol::Http, entity::Protocol::Https][..],
            false,
        ),
        (KongCompat::V3_15, &[entity::Protocol::Https][..], true),
    ] {
        let options = Options {
            compat,
            ..Options::default()
        };
        let Reading { model, report, .. } = reading(text, &options, &HashMap::new());
        assert_eq!(report.errors(), 0);
        let service = &model.services[0];
        assert_eq!(
            (service.retries, service.read_timeout_ms, service.write_timeout_ms),
            (7, 11, 60_000)
        );
        assert_eq!(service.tls_verify, verified);
        assert_eq!(model.routes[0].protocols, protocols);
        assert!(model.routes[0].preserve_host && model.routes[0].strip_path);
        let active = &model.upstreams[0].healthchecks.active;
        assert_eq!(
            (active.timeout_s.to_bits(), active.concurrency),
            (3_f64.to_bits(), 2)
        );
        assert_eq!(
            active.rules.unhealthy_statuses,
            [429, 404, 500, 501, 502, 503, 504, 505]
        );
        assert_eq!((model.targets[0].port, model.targets[0].weight), (8000, 5));
        let kinds: Vec<_> = model.sensitivities.iter().map(|s| s.kind.clone()).collect();
        assert_eq!(
            kinds,
            [SensitivityKind::ServiceTlsVerify, SensitivityKind::RouteProtocols]
        );
    }
}

#[test]
fn a_plugins_configuration_is_complete_and_its_secrets_are_hidden() {
    let text = "_format_version: \"3.0\"\nplugins:\n- name: ai-proxy\n  config:\n    route_type: llm/v1/chat\n    \
                model: {provider: openai, name: m}\n    \
                auth: {header_name: Authorization, header_value: Bearer hunter2}\n- name: key-auth\n";
    let model = model(text);
    let config = &model.plugins[0].config;
    assert_eq!(
        config.at("max_request_body_size").and_then(Node::as_int),
        Some(8192)
    );
    assert_eq!(config.at("model.options.max_tokens").map(Node::is_null), None);
    assert_eq!(
        config
            .at("auth.header_value")
            .and_then(Node::as_secret)
            .map(|s| s.expose()),
        Some("Bearer hunter2")
    );
    assert!(!format!("{model:?}").contains("hunter2"));
    let relied = model.sensitivities.iter().filter_map(|s| match &s.kind {
        SensitivityKind::PluginDefault {
            plugin,
            field,
            default_3_9,
            default_3_15,
        } => Some(format!("{plugin} {field} {default_3_9} {default_3_15}")),
        _ => None,
    });
    let relied: Vec<String> = relied.collect();
    assert!(
        relied.contains(&"key-auth hide_credentials false true".to_owned()),
        "{relied:?}"
    );
    assert!(
        relied.contains(&"ai-proxy max_request_body_size 8192 1048576".to_owned()),
        "{relied:?}"
    );
}

#[test]
fn nested_and_flat_files_say_the_same() {
    let nested = model(
        "_format_version: \"3.0\"\nconsumer_groups:\n- {name: gold, plugins: [{name: rate-limiting, config: {minute: 5}}]}\n\
         consumers:\n- username: alice\n  groups: [{name: gold}]\n  keyauth_credentials: [{key: k}]\n  acls: [{group: g}]\n\
         services:\n- {name: a, host: x.internal, routes: [{name: r, paths: [/], plugins: [{name: cors}]}]}\n\
         upstreams:\n- {name: u.internal, targets: [{target: \"t:1\"}]}\n",
    );
    let flat = model(
        "_format_version: \"3.0\"\nconsumer_groups:\n- name: gold\n\
         consumers:\n- username: alice\nconsumer_group_consumers:\n- {consumer: {username: alice}, consumer_group: {name: gold}}\n\
         keyauth_credentials:\n- {key: k, consumer: {username: alice}}\nacls:\n- {group: g, consumer: alice}\n\
         services:\n- {name: a, host: x.internal}\nroutes:\n- {name: r, paths: [/], service: {name: a}}\n\
         consumer_group_plugins:\n- {name: rate-limiting, config: {minute: 5}, consumer_group: gold}\n\
         plugins:\n- {name: cors, route: r}\n\
         upstreams:\n- name: u.internal\ntargets:\n- {target: \"t:1\", upstream: {name: u.internal}}\n",
    );
    let shape = |model: &Model| {
        let mut plugins: Vec<_> = model
            .plugins
            .iter()
            .map(|p| (p.name.clone(), p.scope, p.meta.id))
            .collect();
        plugins.sort_by(|a, b| a.0.cmp(&b.0));
        (
            plugins,
            model.routes[0].service,
            model.routes[0].meta.id,
            model.consumers[0].groups.clone(),
            (
                model.keyauth_credentials[0].meta.id,
                model.keyauth_credentials[0].consumer,
            ),
            (model.acls[0].meta.id, model.acls[0].consumer),
            (model.targets[0].meta.id, model.targets[0].upstream),
        )
    };
    assert_eq!(shape(&nested), shape(&flat));
}

#[test]
fn derived_ids_do_not_depend_on_order_nor_on_keys() {
    let ids = |text: &str| {
        let model = model(text);
        let mut ids: Vec<Uuid> = model.services.iter().map(|s| s.meta.id).collect();
        ids.extend(model.keyauth_credentials.iter().map(|c| c.meta.id));
        ids.sort_unstable();
        ids
    };
    let one = ids(
        "_format_version: \"3.0\"\nservices:\n- {name: a, host: x}\n- {name: b, host: y}\n\
                   consumers:\n- {username: c, keyauth_credentials: [{key: k}]}\n",
    );
    let two = ids(
        "_format_version: \"3.0\"\nservices:\n- {name: b, host: z}\n- {name: a, host: x}\n\
                   consumers:\n- {username: c, keyauth_credentials: [{key: other}]}\n",
    );
    assert_eq!(one, two);
    // Changing the derivation would rename every counter of every deployment.
    let expected = Uuid::new_v5(
        &Uuid::from_u128(0x6f1d_7c02_93a8_4b5e_8f60_2d1c_a94e_b7f3),
        b"service\0a",
    );
    assert!(one.contains(&expected));
}

#[test]
fn select_tags_are_given_to_every_entity() {
    let model = model(
        "_format_version: \"3.0\"\n_info: {select_tags: [team-a]}\n\
         services:\n- {name: a, host: x, tags: [own], routes: [{name: r, paths: [/]}]}\n",
    );
    assert_eq!(model.services[0].meta.tags, ["own".into(), "team-a".into()]);
    assert_eq!(model.routes[0].meta.tags, ["team-a".into()]);
}

#[test]
fn regex_paths_hashes_and_passwords_keep_their_meaning() {
    let model = model(
        "_format_version: \"3.0\"\n_info: {skip_hash_for_basic_auth: true}\n\
         routes:\n- {name: r, paths: [\"~/users/\\\\d+$\", /plain], hosts: [API.Example.COM]}\n\
         upstreams:\n- {name: u.internal, hash_on: cookie, hash_on_cookie: sid}\n\
         consumers:\n- {username: c, basicauth_credentials: [{username: u, password: abc}], \
         keyauth_credentials: [{key: k, ttl: 60, created_at: 1000}]}\n",
    );
    let paths: Vec<_> = model.routes[0]
        .paths
        .iter()
        .map(|path| path.value.clone())
        .collect();
    assert_eq!(
        paths,
        [
            RoutePath::Regex("/users/\\d+$".into()),
            RoutePath::Prefix("/plain".into())
        ]
    );
    assert_eq!(&*model.routes[0].hosts[0].value, "api.example.com");
    let upstream = &model.upstreams[0];
    assert_eq!(
        upstream.hash_on,
        HashOn::Cookie {
            name: "sid".into(),
            path: "/".into()
        }
    );
    assert_eq!(upstream.algorithm, entity::Algorithm::ConsistentHashing);
    assert!(matches!(
        model.basicauth_credentials[0].password,
        Password::Hashed {
            id_is_given: false,
            ..
        }
    ));
    assert_eq!(model.keyauth_credentials[0].expires_at, Some(1060));
}

#[test]
fn one_cookie_serves_both_choices_of_what_to_hash() {
    let model = model(
        "_format_version: \"3.0\"\nupstreams:\n- {name: u.internal, hash_on: header, hash_on_header: x-a, \
         hash_fallback: cookie, hash_on_cookie: sid, hash_on_cookie_path: /app}\n",
    );
    assert_eq!(
        model.upstreams[0].hash_fallback,
        HashOn::Cookie {
            name: "sid".into(),
            path: "/app".into()
        }
    );
}

#[test]
fn a_service_whose_host_is_an_upstream_knows_it() {
    let model = model(
        "_format_version: \"3.0\"\nservices:\n- {name: a, host: pool.internal}\n- {name: b, host: other}\n\
         upstreams:\n- {name: pool.internal}\n",
    );
    assert_eq!(model.services[0].upstream, Some(UpstreamIndex(0)));
    assert_eq!(model.services[1].upstream, None);
}

#[test]
fn a_reference_through_a_vault_names_the_variable() {
    let model = model(
        "_format_version: \"3.0\"\nvaults: [{name: env, prefix: my-keys, config: {prefix: LLM_}}]\n\
         plugins: [{name: ai-proxy, config: {route_type: llm/v1/chat, model: {provider: openai}, \
         auth: {header_name: a, header_value: 'Bearer {vault://my-keys/open-ai/key}'}}}]\n",
    );
    let value = model.plugins[0].config.at("auth.header_value");
    let Some(Value::Secret(value)) = value.map(|node| &node.value) else {
        panic!("it is a secret");
    };
    assert_eq!(value.expose(), "Bearer {vault://env/LLM_open-ai/key}");
}
