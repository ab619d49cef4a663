use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::UNREAD;
use crate::deck;
use crate::diagnostic::{Report, Severity};
use crate::emit;
use crate::lower;
use crate::schema::{Catalogue, Leaf, PluginKind};
use crate::source::{self, Sources};

/// Fields, or records of fields, that say nothing here, and why. Kong itself reads each only beside something else,
/// which is reported where it is set.
const SILENT: [(&str, &str, &str); 29] = [
    (
        "acl",
        "always_use_authenticated_groups",
        "no enforced plugin gives groups, and then Kong takes the consumer's",
    ),
    ("ai-proxy", "auth.aws_access_key_id", "of bedrock"),
    ("ai-proxy", "auth.aws_secret_access_key", "of bedrock"),
    ("ai-proxy", "auth.azure_client_id", "of azure"),
    ("ai-proxy", "auth.azure_client_secret", "of azure"),
    ("ai-proxy", "auth.azure_tenant_id", "of azure"),
    ("ai-proxy", "auth.azure_use_managed_identity", "of azure"),
    ("ai-proxy", "auth.gcp_metadata_url", "of gemini"),
    ("ai-proxy", "auth.gcp_oauth_token_url", "of gemini"),
    ("ai-proxy", "auth.gcp_service_account_json", "of gemini"),
    ("ai-proxy", "auth.gcp_use_service_account", "of gemini"),
    ("ai-proxy", "model.options.anthropic_version", "of anthropic"),
    ("ai-proxy", "model.options.azure_api_version", "of azure"),
    ("ai-proxy", "model.options.azure_deployment_id", "of azure"),
    ("ai-proxy", "model.options.azure_instance", "of azure"),
    ("ai-proxy", "model.options.bedrock", "of bedrock"),
    ("ai-proxy", "model.options.cohere", "of cohere"),
    ("ai-proxy", "model.options.dashscope", "of dashscope"),
    ("ai-proxy", "model.options.databricks", "of databricks"),
    ("ai-proxy", "model.options.gemini", "of gemini"),
    ("ai-proxy", "model.options.huggingface", "of huggingface"),
    (
        "ai-rate-limiting-advanced",
        "disable_penalty",
        "of `requestPrompt`",
    ),
    (
        "ai-rate-limiting-advanced",
        "dictionary_name",
        "names shared memory of nginx",
    ),
    (
        "ai-rate-limiting-advanced",
        "namespace",
        "reported where several instances share one",
    ),
    (
        "rate-limiting",
        "fault_tolerant",
        "about a store; counters of a node do not fail",
    ),
    ("basic-auth", "principals", "reported where it is enabled"),
    ("key-auth", "principals", "reported where it is enabled"),
    (
        "key-auth",
        "identity_realms.[].id",
        "of realms, which are reported",
    ),
    (
        "key-auth",
        "identity_realms.[].region",
        "of realms, which are reported",
    ),
];

/// A value that means what Kong does without one.
const AS_IF_ABSENT: (&str, &str, Option<&str>) = ("ai-rate-limiting-advanced", "llm_format", Some("openai"));

/// About the redis that counters or sessions would be in: reported by the field that chooses it.
const OF_REDIS: [&str; 3] = ["redis", "sync_rate", "decrease_by_fractions_in_redis"];

/// Configurations to start from. A field counts as read if it makes a difference to one of them.
fn bases(plugin: &str) -> Vec<Json> {
    let model = |provider: &str, more: Json| {
        let mut config = json!({"route_type": "llm/v1/chat", "model": {"provider": provider, "name": "m"}});
        config["model"]["options"] = more;
        config
    };
    let url = "http://llm.test";
    match plugin {
        "acl" => vec![json!({"allow": ["x"]}), json!({"deny": ["x"]})],
        "ai-proxy" => vec![
            model("openai", json!({})),
            model("llama2", json!({"upstream_url": url, "llama2_format": "openai"})),
            model(
                "mistral",
                json!({"upstream_url": url, "mistral_format": "openai"}),
            ),
            {
                let mut config = model("openai", json!({}));
                config["auth"] = json!({"header_name": "a", "header_value": "b", "param_name": "c",
                    "param_value": "d", "param_location": "query"});
                config
            },
        ],
        "ai-rate-limiting-advanced" => vec![
            json!({"llm_providers": [{"name": "openai", "limit": [5], "window_size": [60]}],
                "header_name": "h", "path": "/h"}),
            json!({"policies": [{"match": [{"type": "header", "key": "k", "values": ["v"]}],
                "limits": [{"limit": 5, "window_size": 60}]}]}),
        ],
        "ip-restriction" => vec![json!({"allow": ["1.2.3.4"]})],
        "request-termination" => vec![json!({}), json!({"body": "b"})],
        "file-log" => vec![json!({"path": "/tmp/x"})],
        "rate-limiting" => vec![json!({"minute": 5, "header_name": "h", "path": "/h"})],
        "response-transformer" => {
            let pairs = json!({"json": ["a:b"]});
            vec![json!({"add": pairs, "append": pairs, "replace": pairs})]
        }
        _ => vec![json!({})],
    }
}

/// Values to try. Those that the schema refuses do not count.
fn candidates(leaf: &Leaf<'_>) -> Vec<Json> {
    let one: Vec<Json> = match leaf.letter {
        _ if !leaf.allowed.is_empty() => leaf.allowed.to_vec(),
        'b' => return vec![json!(true), json!(false)],
        'i' | 'n' => vec![json!(7), json!(201), json!(0.5)],
        'm' => vec![json!({"a": "return 1"})],
        _ => [
            "y",
            "x",
            "x:y",
            "1.2.3.5",
            "/y",
            "PUT",
            "http://y.test/y",
            "return 1",
        ]
        .map(Json::from)
        .to_vec(),
    };
    let lists = one.iter().map(|value| json!([value]));
    if leaf.is_list { lists.collect() } else { one }
}

/// An artifact and the warnings about it.
type Outcome = (Vec<u8>, Vec<String>);

/// What a configuration becomes: an artifact under one identity, and warnings. None if it is refused.
fn compiled(plugin: &str, config: &Json) -> Option<Outcome> {
    let model = json!({"name": "ai-proxy", "config":
        {"route_type": "llm/v1/chat", "model": {"provider": "openai", "name": "m"}}});
    let mut plugins = if plugin == "ai-rate-limiting-advanced" {
        format!("{model},")
    } else {
        String::new()
    };
    plugins.push_str(&format!("{{\"name\": \"{plugin}\", \"config\": {config}}}"));
    let text = format!(
        "_format_version: \"3.0\"\nconsumers: [{{username: x, acls: [{{group: x}}, {{group: y}}]}}]\n\
         consumer_groups: [{{name: x}}]\n\
         services: [{{name: s, url: http://s.test, routes: [{{name: r, paths: [/], plugins: [{plugins}]}}]}}]\n"
    );
    let (mut sources, report) = (Sources::default(), Report::default());
    let id = sources.add("kong.yaml", text);
    let root = source::read(&[id], &sources, &|_| None, &report)?;
    let options = deck::Options {
        allow_unsupported: true,
        ..deck::Options::default()
    };
    let model = deck::read(root, &options, &report);
    let options = lower::Options {
        allow_unsupported: true,
        generation: 1,
    };
    let artifact = emit::artifact_as([7; 32], &model, &sources, &report, options)?;
    let warnings = report.findings().into_iter();
    let warnings = warnings.filter(|finding| finding.severity == Severity::Warning);
    let words = warnings.map(|finding| format!("{} {}", finding.code, finding.message));
    Some((artifact.bytes, words.collect()))
}

fn put(config: &mut Json, path: &str, value: &Json) {
    let mut at = config;
    for key in path.split('.') {
        at = match key {
            "[]" => {
                if !at.is_array() {
                    *at = json!([{}]);
                }
                &mut at[0]
            }
            key => &mut at[key],
        };
    }
    *at = value.clone();
}

fn is_silent(plugin: &str, path: &str) -> bool {
    let is_reported_whole = UNREAD.iter().any(|unread| {
        let rest = path.strip_prefix(unread.field);
        unread.kind == PluginKind::of(plugin) && rest.is_some_and(|rest| rest.starts_with('.'))
    });
    is_reported_whole
        || path.split('.').any(|key| OF_REDIS.contains(&key))
        || SILENT.iter().any(|(name, field, _)| {
            *name == plugin
                && path
                    .strip_prefix(field)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
}

/// The values of a field that change nothing, anywhere; all of them for a field that nothing reads.
fn unheard(plugin: &str, leaf: &Leaf<'_>, bases: &[(Json, Outcome)]) -> Vec<String> {
    let (mut heard, mut taken, mut quiet) = (0, 0, Vec::new());
    for value in candidates(leaf) {
        let (mut is_heard, mut is_base) = (false, false);
        let mut is_taken = false;
        for (base, plain) in bases {
            let mut config = base.clone();
            put(&mut config, &leaf.path, &value);
            if config == *base {
                is_base = true;
                continue;
            }
            let outcome = compiled(plugin, &config);
            is_taken |= outcome.is_some();
            is_heard |= outcome.is_some_and(|outcome| outcome != *plain);
            if is_heard {
                break;
            }
        }
        let is_default = leaf.default.is_some_and(|default| *default == value)
            || (leaf.default.is_none() && value == json!(false));
        let is_default = is_default || (plugin, &*leaf.path, value.as_str()) == AS_IF_ABSENT;
        heard += usize::from(is_heard);
        taken += usize::from(is_taken);
        if is_taken && !is_heard && !is_default && !is_base {
            quiet.push(value.to_string());
        }
    }
    if taken == 0 {
        return vec!["none of the values that were tried, which are all refused".to_owned()];
    }
    let is_closed = !leaf.is_list && (!leaf.allowed.is_empty() || leaf.letter == 'b');
    // Of an open set of values some may mean the same.
    if is_closed || heard == 0 {
        quiet
    } else {
        Vec::new()
    }
}

#[test]
fn no_field_of_an_enforced_plugin_is_ignored_without_a_word() {
    let catalogue = Catalogue::default();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for plugin in PluginKind::ENFORCED {
        let schema = catalogue.plugin(plugin).expect("enforced plugins have schemas");
        let bases: Vec<_> = bases(plugin)
            .into_iter()
            .filter_map(|base| compiled(plugin, &base).map(|plain| (base, plain)))
            .collect();
        for leaf in schema
            .leaves()
            .iter()
            .filter(|leaf| !is_silent(plugin, &leaf.path))
        {
            checked += 1;
            for value in unheard(plugin, leaf, &bases) {
                wrong.push(format!("{plugin}: {} = {value}", leaf.path));
            }
        }
    }
    assert!(wrong.is_empty(), "these change nothing:\n{}", wrong.join("\n"));
    assert!(checked > 100, "only {checked} fields were checked");
}

#[test]
fn what_says_nothing_is_in_the_schema() {
    let catalogue = Catalogue::default();
    let known: BTreeSet<(&str, &str)> = SILENT
        .iter()
        .map(|(plugin, field, _)| (*plugin, *field))
        .collect();
    assert_eq!(known.len(), SILENT.len());
    for (plugin, field) in known {
        let schema = catalogue.plugin(plugin).expect("enforced plugins have schemas");
        let is_there = schema.leaves().iter().any(|leaf| leaf.path.starts_with(field));
        assert!(is_there, "{plugin} has no field {field}");
    }
}
