//! Plugin instances: where they are attached, what they are, and their checked configuration.

use std::rc::Rc;

use super::Reader;
use super::entity::{ConsumerGroupIndex, ConsumerIndex, Plugin, Protocol, RouteIndex, Scope, ServiceIndex};
use super::fields::{Fields, Text};
use super::route::protocols;
use crate::diagnostic::{Diagnostic, nearest};
use crate::schema::{self, PluginKind, PluginSchema};
use crate::source::{Node, Spanned, Value};

/// Where a plugin is nested.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    None,
    Service(ServiceIndex),
    Route(RouteIndex),
    Consumer(ConsumerIndex),
    ConsumerGroup(ConsumerGroupIndex),
}

/// A plugin that waits until everything it may refer to has been read.
pub(super) struct Pending {
    node: Node,
    parent: Parent,
}

/// Longest `condition` Kong accepts.
const CONDITION_LEN_MAX: usize = 1024;

/// Protocols as an instance names them.
type Stated = (Vec<Protocol>, Vec<Text>);

/// What a plugin name stands for.
struct Resolved {
    schema: Rc<PluginSchema>,
    /// The name whose code runs: of a clone, the original's.
    original: Box<str>,
    priority: i32,
}

impl Reader<'_> {
    pub(super) fn nested_plugins(&mut self, nodes: Vec<Node>, parent: Parent) {
        self.pending
            .extend(nodes.into_iter().map(|node| Pending { node, parent }));
    }

    pub(super) fn plugins(&mut self, file: &mut Fields<'_>) {
        for key in ["plugins", "consumer_group_plugins"] {
            let nodes = file.list(key);
            self.nested_plugins(nodes, Parent::None);
        }
    }

    /// Reads all plugins, now that everything else is known.
    pub(super) fn resolve_plugins(&mut self) {
        for Pending { node, parent } in std::mem::take(&mut self.pending) {
            if let Some(fields) = Fields::open("plugin", node, self.report) {
                self.plugin(fields, parent);
            }
        }
        self.unused_partials();
        for (plugin, ..) in std::mem::take(&mut self.plugin_partials) {
            let words = format!("plugin {} for plugins_partials: entity not found", plugin.value);
            self.report
                .push(Diagnostic::error("unknown-reference", words).at(plugin.span));
        }
    }

    fn plugin(&mut self, mut fields: Fields<'_>, parent: Parent) {
        let errors_before = self.report.errors();
        self.note_entity(&fields);
        let Some(name) = fields.required("name") else {
            return;
        };
        let scope = self.scope(&mut fields, &name, parent);
        let enabled = fields.flag("enabled").unwrap_or(true);
        let resolved = self.resolve_name(&name, enabled);
        let key = self.scope_key(&name.value, &scope);
        let meta = self.meta(&mut fields, &key, Some(name.span));
        let instance_name = fields.text("instance_name").map(|text| text.value);
        let stated_protocols = fields.texts("protocols");
        let config = self.raw_config(&mut fields, &name, &meta.id.to_string(), resolved.as_ref());
        let kind = resolved
            .as_ref()
            .map(|resolved| PluginKind::of(&resolved.original));
        let enforced = kind.is_some_and(|kind| kind != PluginKind::Unsupported);
        self.modifiers(&mut fields, enabled && enforced);
        let stated_protocols = stated_protocols.map(|texts| (protocols(&texts, &fields), texts));
        fields.close();
        let Some(resolved) = resolved else { return };
        self.check_scope(&name, &resolved.schema, &scope, parent);
        let written = (&*resolved.original, name.span);
        self.note_plugin(
            written,
            &resolved.schema,
            stated_protocols.as_ref(),
            config.as_ref(),
        );
        let protocols = self.plugin_protocols(&name, &resolved.schema, stated_protocols);
        let mut checked = schema::check(
            &resolved.original,
            &resolved.schema,
            config,
            name.span,
            self.options.compat,
            self.report,
        );
        if !enforced {
            if enabled {
                self.unsupported(
                    "unsupported-plugin",
                    name.span,
                    format!("{} is not enforced", name.value),
                    "this plugin is left out: nothing does its work",
                );
            }
        } else {
            self.note_reliances(&resolved.original, &checked.config, checked.reliances, name.span);
            self.check_anonymous(&name, &checked.config);
            if enabled && let Some(kind) = kind {
                self.config_references(kind, "", &mut checked.config);
            }
        }
        // A scope that did not resolve would look like another instance's.
        if self.report.errors() > errors_before {
            return;
        }
        self.refuse_twin(&name, scope);
        self.model.plugins.push(Plugin {
            meta,
            name: name.value,
            kind: kind.unwrap_or(PluginKind::Unsupported),
            priority: resolved.priority,
            instance_name,
            enabled,
            scope,
            protocols,
            config: checked.config,
            enforced,
        });
    }

    fn resolve_name(&self, name: &Text, enabled: bool) -> Option<Resolved> {
        let compat = self.options.compat;
        if let Some(schema) = self.catalogue.plugin(&name.value) {
            let priority = schema::priority(&name.value, compat);
            return Some(Resolved {
                schema,
                original: name.value.clone(),
                priority,
            });
        }
        if let Some(clone) = self.clones.iter().find(|clone| clone.name.value == name.value) {
            let schema = self.catalogue.plugin(&clone.original)?;
            let priority = clone
                .priority
                .unwrap_or_else(|| schema::priority(&clone.original, compat));
            return Some(Resolved {
                schema,
                original: clone.original.clone(),
                priority,
            });
        }
        if self
            .custom_plugins
            .iter()
            .any(|custom| custom.value == name.value)
        {
            if enabled {
                self.unsupported(
                    "unsupported-plugin",
                    name.span,
                    "custom plugins (Lua) are not run",
                    "this plugin is left out: nothing does its work",
                );
            }
            return None;
        }
        let known = self
            .catalogue
            .names()
            .map(|name| -> &str { name })
            .chain(self.clones.iter().map(|clone| &*clone.name.value));
        let hint = nearest(&name.value, known).map(|name| format!("did you mean `{name}`?"));
        let words = format!("there is no plugin `{}`", name.value);
        let finding = Diagnostic::error("unknown-plugin", words).at(name.span);
        self.report
            .push(finding.label("not a plugin Kong documents").help_if(hint));
        None
    }

    /// The scope: the parent and what the plugin names itself, which must not be the same relation.
    fn scope(&mut self, fields: &mut Fields<'_>, name: &Text, parent: Parent) -> Scope {
        let from = format!("plugin {}", name.value);
        let refuse = |relation: &str, reference: &Text| {
            let what = &reference.value;
            let words = format!(
                "nesting {relation} ({what}) under {relation}-scoped plugin ({}) is not allowed",
                name.value
            );
            self.report
                .push(Diagnostic::error("nested-scope", words).at(reference.span));
        };
        let mut scope = Scope::default();
        if let Some(reference) = fields.reference("service") {
            match parent {
                Parent::Service(_) => refuse("service", &reference),
                _ => scope.service = self.services.resolve(&reference, &from, self.report),
            }
        }
        if let Some(reference) = fields.reference("route") {
            match parent {
                Parent::Route(_) => refuse("route", &reference),
                _ => scope.route = self.routes.resolve(&reference, &from, self.report),
            }
        }
        if let Some(reference) = fields.reference("consumer") {
            match parent {
                Parent::Consumer(_) => refuse("consumer", &reference),
                _ => scope.consumer = self.find_consumer(&reference, &from),
            }
        }
        if let Some(reference) = fields.reference("consumer_group") {
            match parent {
                Parent::ConsumerGroup(_) => refuse("consumer-group", &reference),
                _ => scope.consumer_group = self.consumer_groups.resolve(&reference, &from, self.report),
            }
        }
        match parent {
            Parent::None => {}
            Parent::Service(index) => scope.service = Some(index),
            Parent::Route(index) => scope.route = Some(index),
            Parent::Consumer(index) => scope.consumer = Some(index),
            Parent::ConsumerGroup(index) => scope.consumer_group = Some(index),
        }
        scope
    }

    fn scope_key(&self, name: &str, scope: &Scope) -> String {
        let ids = [
            scope.service.map(|index| self.model[index].meta.id),
            scope.route.map(|index| self.model[index].meta.id),
            scope.consumer.map(|index| self.model[index].meta.id),
            scope.consumer_group.map(|index| self.model[index].meta.id),
        ];
        let mut key = name.to_owned();
        for id in ids {
            key.push(' ');
            key.push_str(&id.map_or_else(|| "-".to_owned(), |id| id.to_string()));
        }
        key
    }

    /// The plugin's own configuration with shared pieces under it.
    fn raw_config(
        &mut self,
        fields: &mut Fields<'_>,
        name: &Text,
        id: &str,
        resolved: Option<&Resolved>,
    ) -> Option<Node> {
        let own = fields.take("config").map(|entry| entry.node);
        let shared = fields.text("_config");
        let links = fields.list("partials");
        // DB-less files link partials from a list of their own, by the plugin's id.
        let (flat, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.plugin_partials)
            .into_iter()
            .partition(|link| *link.0.value == *id);
        self.plugin_partials = rest;
        if shared.is_none() && links.is_empty() && flat.is_empty() {
            return own;
        }
        let span = own.as_ref().map_or(name.span, |node| node.span);
        let mut entries = match own.map(|node| node.value) {
            Some(Value::Map(entries)) => entries.into_vec(),
            None => Vec::new(),
            Some(value) => return Some(Node { span, value }),
        };
        if let Some(shared) = shared {
            self.merge_shared(&shared, &mut entries);
        }
        let slots = resolved.map_or(&[][..], |resolved| &resolved.schema.partials);
        self.merge_partials(&name.value, links, slots, &mut entries);
        for (_, partial, path) in flat {
            let path = path.as_ref().map(|path| &*path.value);
            self.attach(&name.value, &partial, path, slots, &mut entries);
        }
        Some(Node {
            span,
            value: Value::Map(entries.into_boxed_slice()),
        })
    }

    /// Fields that change when or whether a plugin runs. None is enforced: one that is left out anyway needs no words
    /// about them.
    fn modifiers(&self, fields: &mut Fields<'_>, runs: bool) {
        // Kong ignores it since 2.0.
        fields.text("run_on");
        if let Some(condition) = fields.text_or_empty("condition") {
            let len = condition.value.chars().count();
            if len > CONDITION_LEN_MAX {
                fields.refuse(
                    condition.span,
                    format!("a condition has at most {CONDITION_LEN_MAX} characters"),
                );
            }
            if runs && len > 0 {
                self.unsupported(
                    "unsupported-field",
                    condition.span,
                    "plugin conditions are not enforced",
                    "the plugin runs as if it had no condition",
                );
            }
        }
        let says_something = |node: &Node| match node.as_map() {
            Some(orders) => orders
                .iter()
                .any(|order| order.node.as_map().is_none_or(|phases| !phases.is_empty())),
            None => true,
        };
        if let Some(ordering) = fields.take("ordering")
            && runs
            && says_something(&ordering.node)
        {
            self.unsupported(
                "unsupported-field",
                ordering.key_span,
                "dynamic plugin ordering is not enforced",
                "the plugin runs in the order of its priority",
            );
        }
    }

    fn check_scope(&self, name: &Text, schema: &PluginSchema, scope: &Scope, parent: Parent) {
        let relations = [
            ('s', "service", scope.service.is_some()),
            ('r', "route", scope.route.is_some()),
            ('c', "consumer", scope.consumer.is_some()),
            ('g', "consumer group", scope.consumer_group.is_some()),
        ];
        for (letter, relation, is_given) in relations {
            if is_given && !schema.takes_scope(letter) {
                let words = format!("{} cannot be attached to a {relation}", name.value);
                let finding = Diagnostic::error("plugin-scope", words).at(name.span);
                let is_nested = parent != Parent::None;
                self.report
                    .push(finding.label(if is_nested { "nested here" } else { "attached here" }));
            }
        }
    }

    fn plugin_protocols(&self, name: &Text, schema: &PluginSchema, stated: Option<Stated>) -> Vec<Protocol> {
        let Some((stated, texts)) = stated else {
            let defaults = schema.default_protocols(self.options.compat).iter();
            return defaults.filter_map(|name| Protocol::parse(name)).collect();
        };
        for (protocol, text) in stated.iter().zip(&texts) {
            if !schema.allowed.is_empty()
                && !schema.allowed.iter().any(|allowed| **allowed == *protocol.name())
            {
                let words = format!("{} does not run for {}", name.value, protocol.name());
                self.report
                    .push(Diagnostic::error("invalid-value", words).at(text.span));
            }
        }
        stated
    }

    /// `anonymous` names a consumer; Kong notices a wrong one only when a request needs it.
    fn check_anonymous(&self, name: &Text, config: &Node) {
        let Some(node) = config.get("anonymous") else {
            return;
        };
        if let Some(text) = node
            .as_str()
            .filter(|text| !text.is_empty() && !text.starts_with("{vault://"))
        {
            let reference = Spanned {
                value: text.into(),
                span: node.span,
            };
            self.consumers.resolve(
                &reference,
                &format!("anonymous of plugin {}", name.value),
                self.report,
            );
        }
    }

    fn refuse_twin(&mut self, name: &Text, scope: Scope) {
        if let Some(earlier) = self.plugin_scopes.insert((name.value.clone(), scope), name.span) {
            let words = format!("{} is attached twice to the same scope", name.value);
            let finding = Diagnostic::error("duplicate-plugin", words).at(name.span);
            self.report
                .push(finding.label("the second one").also(earlier, "the first one"));
        }
    }
}
