//! Configuration that several plugins share: `_plugin_configs`, partials, and plugin definitions.

use std::cell::Cell;

use super::Reader;
use super::fields::{Fields, Text, complete, reference};
use crate::diagnostic::{Diagnostic, nearest};
use crate::schema;
use crate::source::{Entry, Node, Value};

/// A piece of configuration, linked by `plugins[].partials[]`.
pub(super) struct Partial {
    pub(super) name: Option<Box<str>>,
    pub(super) id: Box<str>,
    /// `redis-ce`, `redis-ee`, `vectordb`, `embeddings`, `model`.
    pub(super) kind: Box<str>,
    pub(super) config: Node,
    /// Whether a plugin's check has seen it.
    pub(super) is_used: Cell<bool>,
}

/// A second plugin of the same code under another name (Kong 3.15).
pub(super) struct Clone {
    pub(super) name: Text,
    pub(super) original: Box<str>,
    pub(super) priority: Option<i32>,
}

/// The types of partials (Kong 3.15).
const PARTIALS: [&str; 5] = ["embeddings", "model", "redis-ce", "redis-ee", "vectordb"];

/// What Kong lets one clone.
const CLONEABLE: [&str; 16] = [
    "acl",
    "datakit",
    "file-log",
    "http-log",
    "ip-restriction",
    "key-auth",
    "opa",
    "openid-connect",
    "pre-function",
    "post-function",
    "request-transformer",
    "request-transformer-advanced",
    "response-transformer",
    "response-transformer-advanced",
    "route-by-header",
    "tcp-log",
];
/// Clones of one original.
const CLONES_MAX: usize = 5;

impl Reader<'_> {
    pub(super) fn shared(&mut self, file: &mut Fields<'_>) {
        self.plugin_configs = file.take("_plugin_configs").map(|entry| entry.node);
        if let Some(node) = self
            .plugin_configs
            .as_ref()
            .filter(|node| node.as_map().is_none())
        {
            file.refuse(node.span, "`_plugin_configs` maps names to configurations");
        }
        for node in file.list("partials") {
            if let Some(fields) = Fields::open("partial", node, self.report) {
                self.partial(fields);
            }
        }
        for node in file.list("plugins_partials") {
            let Some(mut fields) = Fields::open("plugin partial", node, self.report) else {
                continue;
            };
            let (plugin, partial) = (fields.reference("plugin"), fields.reference("partial"));
            let path = fields.text("path");
            self.meta(&mut fields, "", None);
            if let (Some(plugin), Some(partial)) = (plugin, partial) {
                self.plugin_partials.push((plugin, partial, path));
            } else {
                fields.missing("plugin` and `partial");
            }
            fields.close();
        }
        self.definitions(file);
    }

    fn partial(&mut self, mut fields: Fields<'_>) {
        let kind = fields.required("type");
        let name = fields.text("name");
        let config = fields.take("config").map(|entry| entry.node);
        let key = name.as_ref().map_or("", |name| &*name.value).to_owned();
        let meta = self.meta(&mut fields, &key, name.as_ref().map(|name| name.span));
        fields.close();
        let Some(kind) = kind else { return };
        if !PARTIALS.contains(&&*kind.value) {
            let hint = nearest(&kind.value, PARTIALS).map(|name| format!("did you mean `{name}`?"));
            let words = format!("there is no type of partial `{}`", kind.value);
            let finding = Diagnostic::error("invalid-value", words).at(kind.span);
            self.report.push(
                finding
                    .label(format!("expected one of: {}", PARTIALS.join(", ")))
                    .help_if(hint),
            );
        }
        let config = config.unwrap_or(Node {
            span: meta.span,
            value: Value::Map(Box::default()),
        });
        if config.as_map().is_none() {
            let words = "the `config` of a partial must be a mapping";
            self.report
                .push(Diagnostic::error("wrong-type", words).at(config.span));
        }
        let name = name.map(|name| name.value);
        if name.is_some() && self.partials.iter().any(|partial| partial.name == name) {
            self.report
                .push(Diagnostic::error("duplicate-name", "two partials have this name").at(meta.span));
        }
        self.partials.push(Partial {
            name,
            id: meta.id.to_string().into(),
            kind: kind.value,
            config,
            is_used: Cell::new(false),
        });
    }

    /// Checks what no plugin uses. What is used was checked as a part of the plugin's configuration.
    pub(super) fn unused_partials(&self) {
        let is_unchecked = |partial: &&Partial| !partial.is_used.get() && partial.config.as_map().is_some();
        for partial in self.partials.iter().filter(is_unchecked) {
            let slot = self.catalogue.names().find_map(|name| {
                let schema = self.catalogue.plugin(name)?;
                let mut slots = schema.partials.iter();
                let (_, path) = slots.find(|(kind, path)| *kind == partial.kind && !path.contains("[]"))?;
                let path = path.strip_prefix("config.")?.to_owned();
                Some((schema, path))
            });
            let field = slot.as_ref().and_then(|(schema, path)| schema.config.at(path));
            if let Some(field) = field {
                let what = format!("a {} partial", partial.kind);
                let (config, compat) = (partial.config.clone(), self.options.compat);
                schema::check_record(&what, field, config, compat, self.report);
            }
        }
    }

    /// decK asks for a flag before it touches definitions of a running gateway; a compiler only reads them.
    fn definitions(&mut self, file: &mut Fields<'_>) {
        for node in file.list("cloned_plugins") {
            if let Some(fields) = Fields::open("cloned plugin", node, self.report) {
                self.clone_of(fields);
            }
        }
        for node in file.list("custom_plugins") {
            let Some(mut fields) = Fields::open("custom plugin", node, self.report) else {
                continue;
            };
            let name = fields.required("name");
            for key in ["schema", "handler"] {
                fields.required(key);
            }
            let key = name.as_ref().map_or("", |name| &*name.value).to_owned();
            self.meta(&mut fields, &key, None);
            fields.close();
            self.custom_plugins.extend(name);
        }
    }

    fn clone_of(&mut self, mut fields: Fields<'_>) {
        let (name, original) = (fields.required("name"), fields.required("ref"));
        let priority = fields.int("priority", i64::from(i32::MIN)..=i64::from(i32::MAX));
        let key = name.as_ref().map_or("", |name| &*name.value).to_owned();
        self.meta(&mut fields, &key, name.as_ref().map(|name| name.span));
        let (Some(name), Some(original)) = (name, original) else {
            return;
        };
        if !CLONEABLE.contains(&&*original.value) {
            fields.refuse(original.span, "Kong does not let this plugin be cloned");
        }
        if self.catalogue.plugin(&name.value).is_some()
            || self.clones.iter().any(|c| c.name.value == name.value)
        {
            fields.refuse(name.span, "a plugin of this name exists already");
        }
        if self
            .clones
            .iter()
            .filter(|clone| clone.original == original.value)
            .count()
            >= CLONES_MAX
        {
            fields.refuse(original.span, format!("a plugin has at most {CLONES_MAX} clones"));
        }
        fields.close();
        let priority = priority.and_then(|priority| i32::try_from(priority.value).ok());
        self.clones.push(Clone {
            name,
            original: original.value,
            priority,
        });
    }

    /// `_config: name`: the shared configuration goes under the plugin's own.
    pub(super) fn merge_shared(&self, name: &Text, config: &mut Vec<Entry>) {
        match self
            .plugin_configs
            .as_ref()
            .and_then(|configs| configs.get(&name.value))
        {
            Some(shared) => complete(config, shared),
            None => {
                let words = format!("_plugin_config \"{}\" not found", name.value);
                self.report
                    .push(Diagnostic::error("unknown-reference", words).at(name.span));
            }
        }
    }

    /// Attaches the partials a plugin links, each under what the plugin says itself.
    pub(super) fn merge_partials(
        &self,
        plugin: &str,
        links: Vec<Node>,
        slots: &[(Box<str>, Box<str>)],
        config: &mut Vec<Entry>,
    ) {
        for link in links {
            let span = link.span;
            let is_named = link
                .get("id")
                .or_else(|| link.get("name"))
                .is_some_and(|name| !name.is_null());
            if link.as_map().is_some() && !is_named {
                let words = format!("partial for plugin {plugin}: missing required fields - name or id");
                self.report
                    .push(Diagnostic::error("missing-field", words).at(span));
                continue;
            }
            let path = link.get("path").and_then(Node::as_str).map(str::to_owned);
            let Some(link) = reference("partial", link, self.report) else {
                continue;
            };
            self.attach(plugin, &link, path.as_deref(), slots, config);
        }
    }

    pub(super) fn attach(
        &self,
        plugin: &str,
        link: &Text,
        path: Option<&str>,
        slots: &[(Box<str>, Box<str>)],
        config: &mut Vec<Entry>,
    ) {
        let named =
            |partial: &&Partial| partial.name.as_ref() == Some(&link.value) || partial.id == link.value;
        let Some(partial) = self.partials.iter().find(named) else {
            let words = format!("partial {} for plugin {plugin}: entity not found", link.value);
            self.report
                .push(Diagnostic::error("unknown-reference", words).at(link.span));
            return;
        };
        let slot = slots
            .iter()
            .find(|(kind, at)| *kind == partial.kind && path.is_none_or(|path| path == &**at));
        let Some((_, at)) = slot else {
            let words = format!("{plugin} does not take a {} partial here", partial.kind);
            self.report
                .push(Diagnostic::error("plugin-partial", words).at(link.span));
            return;
        };
        let at = at.strip_prefix("config.").unwrap_or(at);
        // List slots (`targets[]`) belong to plugins that nothing enforces.
        if !at.contains("[]") {
            partial.is_used.set(true);
            let wrapped = at.rsplit('.').fold(partial.config.clone(), |node, key| {
                let span = node.span;
                let entry = Entry {
                    key: key.into(),
                    key_span: link.span,
                    node,
                };
                Node {
                    span,
                    value: Value::Map(Box::new([entry])),
                }
            });
            complete(config, &wrapped);
        }
    }
}
