//! Flattens a file: nested entities, flat lists and DB-less lists become one list for each kind.

use super::identity::Names;
use super::{Reader, reference};
use crate::diagnostic::{Diagnostic, nearest};
use crate::source::Node;

/// An entity as written, and what it is nested in.
#[derive(Clone, Copy)]
pub(super) struct Raw<'n> {
    pub(super) node: &'n Node,
    pub(super) parent: Option<Parent<'n>>,
}

/// What an entity is nested in.
#[derive(Clone, Copy)]
pub(super) enum Parent<'n> {
    Service(&'n Node),
    Route(&'n Node),
    Consumer(&'n Node),
    Group(&'n Node),
    Upstream(&'n Node),
    Certificate(&'n Node),
}

impl<'n> Parent<'n> {
    pub(super) const fn node(self) -> &'n Node {
        match self {
            Self::Service(node)
            | Self::Route(node)
            | Self::Consumer(node)
            | Self::Group(node)
            | Self::Upstream(node)
            | Self::Certificate(node) => node,
        }
    }
}

/// Every entity of a file.
#[derive(Default)]
pub(super) struct Collected<'n> {
    pub(super) root: Option<&'n Node>,
    pub(super) services: Vec<Raw<'n>>,
    pub(super) routes: Vec<Raw<'n>>,
    pub(super) consumers: Vec<Raw<'n>>,
    pub(super) groups: Vec<Raw<'n>>,
    pub(super) memberships: Vec<Raw<'n>>,
    pub(super) keys: Vec<Raw<'n>>,
    pub(super) basics: Vec<Raw<'n>>,
    pub(super) acls: Vec<Raw<'n>>,
    pub(super) other_credentials: Vec<(&'static str, Raw<'n>)>,
    pub(super) plugins: Vec<Raw<'n>>,
    pub(super) upstreams: Vec<Raw<'n>>,
    pub(super) targets: Vec<Raw<'n>>,
    pub(super) certificates: Vec<Raw<'n>>,
    pub(super) snis: Vec<Raw<'n>>,
    pub(super) authorities: Vec<Raw<'n>>,
    pub(super) vaults: Vec<Raw<'n>>,
    pub(super) partials: Vec<Raw<'n>>,
    pub(super) plugin_partials: Vec<Raw<'n>>,
    pub(super) clones: Vec<Raw<'n>>,
}

/// Lists of other credentials and what they are for.
pub(super) const OTHER_CREDENTIALS: [&str; 4] = [
    "hmacauth_credentials",
    "jwt_secrets",
    "mtls_auth_credentials",
    "oauth2_credentials",
];

/// Top-level keys that carry no entity.
const PLAIN: [&str; 9] = [
    "_format_version",
    "_info",
    "_workspace",
    "_konnect",
    "_transform",
    "_plugin_configs",
    "_comment",
    "_ignore",
    "_tags",
];

/// Top-level keys that are collected.
const COLLECTED: [&str; 20] = [
    "services",
    "routes",
    "consumers",
    "consumer_groups",
    "consumer_group_consumers",
    "consumer_group_plugins",
    "keyauth_credentials",
    "basicauth_credentials",
    "acls",
    "plugins",
    "upstreams",
    "targets",
    "certificates",
    "snis",
    "ca_certificates",
    "vaults",
    "partials",
    "plugins_partials",
    "cloned_plugins",
    "parameters",
];

/// Top-level keys of what Kong knows and Tollgate does not enforce, and what follows from leaving them out.
const UNENFORCED: [(&str, &str); 13] = [
    ("filter_chains", "the Wasm filters do not run"),
    ("licenses", "no licence is needed"),
    ("keys", "no enforced plugin reads them"),
    ("key_sets", "no enforced plugin reads them"),
    ("custom_entities", "no enforced plugin reads them"),
    ("degraphql_routes", "the GraphQL routes are not served"),
    (
        "graphql_ratelimiting_cost_decorations",
        "no enforced plugin reads them",
    ),
    ("custom_plugins", "the plugins do not run"),
    ("rbac_roles", "the admin socket has no roles"),
    ("service_packages", "they are Konnect's"),
    ("ai_models", "no enforced plugin reads them"),
    ("workspaces", "one workspace is compiled at a time"),
    ("clustering_data_planes", "they say nothing about traffic"),
];

pub(super) fn collect<'n>(reader: &Reader<'_>, root: &'n Node) -> Collected<'n> {
    let mut all = Collected {
        root: Some(root),
        ..Collected::default()
    };
    for entry in root.as_map().unwrap_or_default() {
        let key = &*entry.key;
        if PLAIN.contains(&key) {
            continue;
        }
        if let Some((_, without)) = UNENFORCED.iter().find(|(known, _)| *known == key) {
            if entry.node.as_list().is_some_and(|list| !list.is_empty()) {
                reader.unsupported(entry.key_span, format!("`{key}` are not enforced"), without);
            }
            continue;
        }
        if !COLLECTED.contains(&key) && !OTHER_CREDENTIALS.contains(&key) {
            let known = COLLECTED.iter().chain(&PLAIN).chain(&OTHER_CREDENTIALS).copied();
            let near = nearest(key, known);
            reader.report.push(
                Diagnostic::error("unknown-field", format!("a declarative file has no `{key}`"))
                    .at(entry.key_span)
                    .help_if(near.map(|near| format!("did you mean `{near}`?"))),
            );
            continue;
        }
        for raw in list(reader, &entry.node, key, None) {
            all.add(reader, key, raw);
        }
    }
    all
}

fn list<'n>(reader: &Reader<'_>, node: &'n Node, key: &str, parent: Option<Parent<'n>>) -> Vec<Raw<'n>> {
    if node.is_null() {
        return Vec::new();
    }
    let Some(items) = node.as_list() else {
        let words = format!("`{key}` must be a list, not {}", node.kind());
        reader
            .report
            .push(Diagnostic::error("wrong-type", words).at(node.span));
        return Vec::new();
    };
    let items = items.iter().filter(|item| {
        if item.as_map().is_none() {
            let words = format!("`{key}` must be a list of mappings, this is {}", item.kind());
            reader
                .report
                .push(Diagnostic::error("wrong-type", words).at(item.span));
        }
        item.as_map().is_some()
    });
    items.map(|node| Raw { node, parent }).collect()
}

impl<'n> Collected<'n> {
    fn add(&mut self, reader: &Reader<'_>, key: &str, raw: Raw<'n>) {
        match key {
            "services" => self.service(reader, raw),
            "routes" => self.route(reader, raw),
            "consumers" => self.consumer(reader, raw),
            "consumer_groups" => self.group(reader, raw),
            "consumer_group_consumers" => self.memberships.push(raw),
            "keyauth_credentials" => self.keys.push(raw),
            "basicauth_credentials" => self.basics.push(raw),
            "acls" => self.acls.push(raw),
            "plugins" | "consumer_group_plugins" => self.plugins.push(raw),
            "upstreams" => {
                self.upstreams.push(raw);
                self.targets
                    .extend(nested(reader, raw.node, "targets", Parent::Upstream(raw.node)));
            }
            "targets" => self.targets.push(raw),
            "certificates" => {
                self.certificates.push(raw);
                self.snis
                    .extend(nested(reader, raw.node, "snis", Parent::Certificate(raw.node)));
            }
            "snis" => self.snis.push(raw),
            "ca_certificates" => self.authorities.push(raw),
            "vaults" => self.vaults.push(raw),
            "partials" => self.partials.push(raw),
            "plugins_partials" => self.plugin_partials.push(raw),
            "cloned_plugins" => self.clones.push(raw),
            other => {
                let kind = OTHER_CREDENTIALS.iter().find(|kind| **kind == other);
                self.other_credentials.extend(kind.map(|kind| (*kind, raw)));
            }
        }
    }

    fn service(&mut self, reader: &Reader<'_>, raw: Raw<'n>) {
        self.services.push(raw);
        let parent = Parent::Service(raw.node);
        for route in nested(reader, raw.node, "routes", parent) {
            self.route(reader, route);
        }
        self.plugins.extend(nested(reader, raw.node, "plugins", parent));
    }

    fn route(&mut self, reader: &Reader<'_>, raw: Raw<'n>) {
        self.routes.push(raw);
        self.plugins
            .extend(nested(reader, raw.node, "plugins", Parent::Route(raw.node)));
    }

    fn group(&mut self, reader: &Reader<'_>, raw: Raw<'n>) {
        self.groups.push(raw);
        self.plugins
            .extend(nested(reader, raw.node, "plugins", Parent::Group(raw.node)));
    }

    fn consumer(&mut self, reader: &Reader<'_>, raw: Raw<'n>) {
        self.consumers.push(raw);
        let parent = Parent::Consumer(raw.node);
        self.plugins.extend(nested(reader, raw.node, "plugins", parent));
        self.keys
            .extend(nested(reader, raw.node, "keyauth_credentials", parent));
        self.basics
            .extend(nested(reader, raw.node, "basicauth_credentials", parent));
        self.acls.extend(nested(reader, raw.node, "acls", parent));
        for kind in OTHER_CREDENTIALS {
            let found = nested(reader, raw.node, kind, parent);
            self.other_credentials
                .extend(found.into_iter().map(|raw| (kind, raw)));
        }
    }
}

fn nested<'n>(reader: &Reader<'_>, node: &'n Node, key: &str, parent: Parent<'n>) -> Vec<Raw<'n>> {
    node.get(key)
        .map(|inner| list(reader, inner, key, Some(parent)))
        .unwrap_or_default()
}

/// The row that `raw` belongs to: by nesting, or by its field `key`. Reports a reference that leads nowhere.
pub(super) fn owner(
    reader: &Reader<'_>,
    raw: Raw<'_>,
    key: &str,
    fields: &[&str],
    names: &Names,
) -> Option<u32> {
    if let Some(parent) = raw.parent {
        return names.of_node(parent.node());
    }
    let Some((name, span)) = raw.node.get(key).and_then(|node| reference(node, fields)) else {
        let words = format!("it belongs to no {key}: name one with `{key}`");
        reader
            .report
            .push(Diagnostic::error("missing-field", words).at(raw.node.span));
        return None;
    };
    reader.resolve(names, key, name, span)
}
