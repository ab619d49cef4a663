//! Plugin instances: scope, shared configuration, partials, clones, and the check against Kong's schema.

use std::collections::HashMap;

use super::collect::{Collected, Parent, Raw};
use super::entity::{
    ConsumerGroupIndex, ConsumerIndex, Model, Plugin, Protocol, RouteIndex, Scope, SensitivityKind,
    ServiceIndex,
};
use super::fields::Fields;
use super::identity::{Names, meta};
use super::service::PROTOCOLS;
use super::{Reader, Tables, reference};
use crate::diagnostic::{Diagnostic, nearest};
use crate::schema::{PluginKind, PluginSchema, Reliance, check, priority};
use crate::source::{Entry, Node, Span, Value};

const FIELDS: [&str; 16] = [
    "name",
    "config",
    "enabled",
    "instance_name",
    "protocols",
    "ordering",
    "condition",
    "service",
    "route",
    "consumer",
    "consumer_group",
    "partials",
    "_config",
    "run_on",
    "plugin",
    "parameters",
];

/// A plugin name that exists only through `cloned_plugins`.
struct Clone<'n> {
    original: &'n str,
    priority: Option<i32>,
}

struct Shared<'s> {
    root: &'s Node,
    partials: &'s [Raw<'s>],
    clones: HashMap<&'s str, Clone<'s>>,
}

pub(super) fn read(reader: &Reader<'_>, root: &Node, all: &Collected<'_>, model: &mut Model, names: &Tables) {
    let shared = Shared {
        root,
        partials: &all.partials,
        clones: clones(reader, all),
    };
    for raw in &all.partials {
        let fields = Fields::new(reader, "partial", raw.node);
        fields.only(&["name", "type", "config"]);
        fields.require("type");
    }
    let mut seen: HashMap<(Box<str>, Scope), Span, ahash::RandomState> = HashMap::default();
    for raw in &all.plugins {
        let errors_before = reader.report.errors();
        let Some(plugin) = instance(reader, &shared, *raw, model, names) else {
            continue;
        };
        // A scope that could not be resolved would look like another instance's.
        if reader.report.errors() > errors_before {
            continue;
        }
        if let Some(first) = seen.insert((plugin.name.clone(), plugin.scope), plugin.meta.span) {
            let words = format!("`{}` is configured twice for the same scope", plugin.name);
            let finding = Diagnostic::error("duplicate", words)
                .at(plugin.meta.span)
                .also(first, "the first one");
            reader.report.push(finding);
        }
        model.plugins.push(plugin);
    }
}

fn clones<'n>(reader: &Reader<'_>, all: &Collected<'n>) -> HashMap<&'n str, Clone<'n>> {
    let mut clones = HashMap::new();
    for raw in &all.clones {
        let fields = Fields::new(reader, "cloned plugin", raw.node);
        fields.only(&["name", "ref", "priority"]);
        let (true, true) = (fields.require("name"), fields.require("ref")) else {
            continue;
        };
        let (Some(name), Some(original)) = (
            raw.node.get("name").and_then(Node::as_str),
            raw.node.get("ref").and_then(Node::as_str),
        ) else {
            continue;
        };
        clones.insert(
            name,
            Clone {
                original,
                priority: fields.number("priority", -1_000_000, 1_000_000),
            },
        );
    }
    clones
}

fn instance(
    reader: &Reader<'_>,
    shared: &Shared<'_>,
    raw: Raw<'_>,
    model: &Model,
    names: &Tables,
) -> Option<Plugin> {
    let fields = Fields::new(reader, "plugin", raw.node);
    fields.only(&FIELDS);
    if !fields.require("name") {
        return None;
    }
    let name = fields.text("name")?;
    let clone = shared.clones.get(name);
    let original = clone.map_or(name, |clone| clone.original);
    let span = fields.get("name").map_or(raw.node.span, |node| node.span);
    let Some(schema) = reader.catalogue.plugin(original) else {
        unknown(reader, shared, original, span);
        return None;
    };
    let scope = scope(reader, raw, &fields, name, names);
    check_scope(reader, original, &schema, scope, span);
    let config = config(shared, &fields, original, &schema)?;
    let checked = check(
        original,
        &schema,
        config,
        span,
        reader.options.compat,
        reader.report,
    );
    note_reliances(reader, original, checked.reliances, span);
    let enabled = fields.flag("enabled").unwrap_or(true);
    let kind = PluginKind::of(original);
    let enforced = kind != PluginKind::Unsupported;
    if enabled && !enforced {
        reader.unsupported(
            span,
            format!("the plugin `{original}` is not enforced yet"),
            "the plugin does not run",
        );
    }
    for (key, without) in [
        ("condition", "the plugin always runs"),
        ("ordering", "it runs at its own priority"),
    ] {
        if let Some(node) = fields.get(key).filter(|_| enabled && enforced) {
            reader.unsupported(node.span, format!("`{key}` is not enforced yet"), without);
        }
    }
    let key = natural_key(name, scope, model);
    let mut meta = meta(reader, &fields, "plugin", &key);
    meta.span = span;
    Some(Plugin {
        meta,
        name: name.into(),
        kind,
        priority: clone
            .and_then(|clone| clone.priority)
            .unwrap_or_else(|| priority(original, reader.options.compat)),
        instance_name: fields.text("instance_name").map(Into::into),
        enabled,
        scope,
        protocols: protocols(reader, &fields, &schema),
        config: checked.config,
        enforced,
    })
}

fn note_reliances(reader: &Reader<'_>, plugin: &str, reliances: Vec<Reliance>, span: Span) {
    for reliance in reliances {
        let kind = SensitivityKind::PluginDefault {
            plugin: plugin.into(),
            field: reliance.field,
            default_3_9: reliance.default_3_9,
            default_3_15: reliance.default_3_15,
        };
        reader.sensitive(kind, span);
    }
}

/// What an instance is known by: its name and what it is attached to.
fn natural_key(name: &str, scope: Scope, model: &Model) -> String {
    format!(
        "{name}:{}:{}:{}:{}",
        scope
            .service
            .map_or(String::new(), |index| model[index].meta.id.to_string()),
        scope
            .route
            .map_or(String::new(), |index| model[index].meta.id.to_string()),
        scope
            .consumer
            .map_or(String::new(), |index| model[index].meta.id.to_string()),
        scope
            .consumer_group
            .map_or(String::new(), |index| model[index].meta.id.to_string()),
    )
}

fn unknown(reader: &Reader<'_>, shared: &Shared<'_>, name: &str, span: Span) {
    let mut known: Vec<&str> = reader.catalogue.names().collect();
    known.extend(shared.clones.keys());
    let near = nearest(name, known);
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "a plugin of your own needs `cloned_plugins`, or cannot be enforced".to_owned(),
    };
    let finding = Diagnostic::error("unknown-plugin", format!("Kong documents no plugin `{name}`"));
    reader.report.push(finding.at(span).help(help));
}

fn scope(reader: &Reader<'_>, raw: Raw<'_>, fields: &Fields<'_, '_>, name: &str, names: &Tables) -> Scope {
    let mut scope = Scope {
        service: named(reader, fields, "service", &["name", "id"], &names.services).map(ServiceIndex),
        route: named(reader, fields, "route", &["name", "id"], &names.routes).map(RouteIndex),
        consumer: named(reader, fields, "consumer", &["username", "id"], &names.consumers).map(ConsumerIndex),
        consumer_group: named(reader, fields, "consumer_group", &["name", "id"], &names.groups)
            .map(ConsumerGroupIndex),
    };
    let refuse = |kind: &str| {
        if let Some(node) = fields.get(kind) {
            let named = reference(node, &["name", "username", "id"]).map_or("", |(name, _)| name);
            let words =
                format!("nesting {kind} ({named}) under {kind}-scoped plugin ({name}) is not allowed");
            fields.refuse("nested-relation", node.span, words);
        }
    };
    match raw.parent {
        Some(Parent::Service(node)) => {
            refuse("service");
            scope.service = names.services.of_node(node).map(ServiceIndex);
        }
        Some(Parent::Route(node)) => {
            refuse("route");
            scope.route = names.routes.of_node(node).map(RouteIndex);
        }
        Some(Parent::Consumer(node)) => {
            refuse("consumer");
            scope.consumer = names.consumers.of_node(node).map(ConsumerIndex);
        }
        Some(Parent::Group(node)) => {
            refuse("consumer_group");
            scope.consumer_group = names.groups.of_node(node).map(ConsumerGroupIndex);
        }
        Some(Parent::Upstream(_) | Parent::Certificate(_)) | None => {}
    }
    scope
}

fn named(reader: &Reader<'_>, fields: &Fields<'_, '_>, key: &str, by: &[&str], names: &Names) -> Option<u32> {
    let node = fields.get(key)?;
    let Some((name, span)) = reference(node, by) else {
        fields.refuse(
            "wrong-type",
            node.span,
            format!("`{key}` of a plugin must be a name or id"),
        );
        return None;
    };
    reader.resolve(names, &key.replace('_', " "), name, span)
}

fn check_scope(reader: &Reader<'_>, name: &str, schema: &PluginSchema, scope: Scope, span: Span) {
    let named = [
        ('s', "service", scope.service.is_some()),
        ('r', "route", scope.route.is_some()),
        ('c', "consumer", scope.consumer.is_some()),
        ('g', "consumer group", scope.consumer_group.is_some()),
    ];
    for (letter, kind, given) in named {
        if given && !schema.takes_scope(letter) {
            let words = format!("`{name}` cannot be attached to a {kind}");
            reader
                .report
                .push(Diagnostic::error("invalid-scope", words).at(span));
        }
    }
}

fn protocols(reader: &Reader<'_>, fields: &Fields<'_, '_>, schema: &PluginSchema) -> Vec<Protocol> {
    let known = |text: &str| {
        PROTOCOLS
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, protocol)| *protocol)
    };
    let given = fields.texts("protocols");
    if given.is_empty() {
        let defaults = schema.default_protocols(reader.options.compat).iter();
        return defaults.filter_map(|text| known(text)).collect();
    }
    let given = given.into_iter().filter_map(|text| {
        let protocol = known(&text.value);
        if protocol.is_none() {
            fields.refuse(
                "unknown-value",
                text.span,
                format!("`{}` is no protocol", text.value),
            );
        }
        protocol
    });
    given.collect()
}

/// The configuration as written, over what it shares: `_config` and partials. None after reporting what is wrong.
fn config(
    shared: &Shared<'_>,
    fields: &Fields<'_, '_>,
    name: &str,
    schema: &PluginSchema,
) -> Option<Option<Node>> {
    let mut config = fields.get("config").cloned();
    if let Some(node) = fields.get("_config") {
        let text = fields.text("_config")?;
        let Some(base) = shared
            .root
            .get("_plugin_configs")
            .and_then(|configs| configs.get(text))
        else {
            fields.refuse(
                "unknown-reference",
                node.span,
                format!("_plugin_config \"{text}\" not found"),
            );
            return None;
        };
        config = Some(match config {
            Some(own) => over(base, own),
            None => base.clone(),
        });
    }
    for node in fields.list("partials") {
        let (partial, path) = partial(shared, fields, name, schema, node)?;
        let base = config.unwrap_or(Node {
            span: node.span,
            value: Value::Map(Box::default()),
        });
        config = Some(attach(
            base,
            path.strip_prefix("config.").unwrap_or(&path),
            &partial,
        ));
    }
    Some(config)
}

fn partial(
    shared: &Shared<'_>,
    fields: &Fields<'_, '_>,
    name: &str,
    schema: &PluginSchema,
    node: &Node,
) -> Option<(Node, String)> {
    let refuse = |span: Span, words: String| {
        fields.refuse("partial", span, words);
        None
    };
    if node.as_map().is_none() || (node.get("name").is_none() && node.get("id").is_none()) {
        return refuse(
            node.span,
            format!("partial for plugin {name}: missing required fields - name or id"),
        );
    }
    let Some((wanted, span)) = reference(node, &["name", "id"]) else {
        return refuse(
            node.span,
            format!("partial for plugin {name}: either partial ID or name is required"),
        );
    };
    let known = |key: &str, raw: &Raw<'_>| raw.node.get(key).and_then(Node::as_str) == Some(wanted);
    let Some(raw) = shared
        .partials
        .iter()
        .find(|raw| known("name", raw) || known("id", raw))
    else {
        return refuse(
            span,
            format!("partial {wanted} for plugin {name}: entity not found"),
        );
    };
    let kind = raw.node.get("type").and_then(Node::as_str).unwrap_or_default();
    let path = match node.get("path").and_then(Node::as_str) {
        Some(path) => path.to_owned(),
        None => match schema.partials.iter().find(|(accepted, _)| **accepted == *kind) {
            Some((_, path)) => path.to_string(),
            None => return refuse(span, format!("`{name}` takes no partial of type `{kind}`")),
        },
    };
    let empty = Node {
        span,
        value: Value::Map(Box::default()),
    };
    Some((raw.node.get("config").cloned().unwrap_or(empty), path))
}

/// `own` over `base`: at every level the own value wins; lists are not merged.
fn over(base: &Node, own: Node) -> Node {
    let (Some(under), Value::Map(entries)) = (base.as_map(), &own.value) else {
        return own;
    };
    let mut merged: Vec<Entry> = entries.to_vec();
    for entry in under {
        match merged.iter_mut().find(|own| own.key == entry.key) {
            Some(own) => own.node = over(&entry.node, own.node.clone()),
            None => merged.push(entry.clone()),
        }
    }
    Node {
        span: own.span,
        value: Value::Map(merged.into_boxed_slice()),
    }
}

/// Puts `value` under `path` of a configuration, beneath what is written there.
fn attach(config: Node, path: &str, value: &Node) -> Node {
    let (key, rest) = path
        .split_once('.')
        .map_or((path, None), |(key, rest)| (key, Some(rest)));
    let mut entries = config.as_map().unwrap_or_default().to_vec();
    let empty = || Node {
        span: value.span,
        value: Value::Map(Box::default()),
    };
    let inner = |own: Option<Node>| match rest {
        Some(rest) => attach(own.unwrap_or_else(empty), rest, value),
        None => own.map_or_else(|| value.clone(), |own| over(value, own)),
    };
    match entries.iter_mut().find(|entry| &*entry.key == key) {
        Some(entry) => {
            let own = (!entry.node.is_null()).then(|| entry.node.clone());
            entry.node = inner(own);
        }
        None => entries.push(Entry {
            key: key.into(),
            key_span: value.span,
            node: inner(None),
        }),
    }
    Node {
        span: config.span,
        value: Value::Map(entries.into_boxed_slice()),
    }
}
