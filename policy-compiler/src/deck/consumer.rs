//! Consumers and consumer groups, with what nests in them.

use super::entity::{Consumer, ConsumerGroup, ConsumerGroupIndex, ConsumerIndex};
use super::fields::{Fields, Text, reference};
use super::plugin::Parent;
use super::{Reader, row};
use crate::diagnostic::Diagnostic;
use crate::source::Node;

impl Reader<'_> {
    pub(super) fn consumer_groups(&mut self, file: &mut Fields<'_>) {
        for node in file.list("consumer_groups") {
            if let Some(fields) = Fields::open("consumer group", node, self.report) {
                self.consumer_group(fields);
            }
        }
    }

    fn consumer_group(&mut self, mut fields: Fields<'_>) {
        let Some(name) = self.name(&mut fields, "name") else {
            fields.missing("name");
            return;
        };
        let meta = self.meta(&mut fields, &name.value, Some(name.span));
        let members = fields.list("consumers");
        let plugins = fields.list("plugins");
        fields.close();
        let index = ConsumerGroupIndex(row(self.model.consumer_groups.len()));
        self.consumer_groups
            .enter(Some(&name.value), meta.id, index, meta.span, self.report);
        self.model.consumer_groups.push(ConsumerGroup {
            meta,
            name: name.value,
        });
        for member in members {
            self.members
                .extend(reference("consumer", member, self.report).map(|member| (index, member)));
        }
        self.nested_plugins(plugins, Parent::ConsumerGroup(index));
    }

    pub(super) fn consumers(&mut self, file: &mut Fields<'_>) {
        for node in file.list("consumers") {
            if let Some(fields) = Fields::open("consumer", node, self.report) {
                self.consumer(fields);
            }
        }
        for node in file.list("consumer_group_consumers") {
            if let Some(fields) = Fields::open("consumer group membership", node, self.report) {
                self.membership(fields);
            }
        }
    }

    fn consumer(&mut self, mut fields: Fields<'_>) {
        let is_named = fields.has("username") || fields.has("custom_id");
        let username = fields.text("username");
        let custom_id = fields.text("custom_id");
        let key = match (&username, &custom_id) {
            (Some(name), _) => name.value.to_string(),
            (None, Some(custom_id)) => format!("custom_id:{}", custom_id.value),
            // A name of the wrong type was reported.
            (None, None) if is_named => return,
            (None, None) => {
                let words = "at least one of custom_id or username must be set";
                self.report
                    .push(Diagnostic::error("missing-field", words).at(fields.span));
                return;
            }
        };
        let named = username.as_ref().or(custom_id.as_ref()).map(|text| text.span);
        let meta = self.meta(&mut fields, &key, named);
        let index = ConsumerIndex(row(self.model.consumers.len()));
        let name = username.as_ref().map(|text| &*text.value);
        self.consumers.enter(name, meta.id, index, meta.span, self.report);
        if let Some(custom_id) = &custom_id {
            self.custom_ids.enter(
                Some(&custom_id.value),
                meta.id,
                index,
                custom_id.span,
                self.report,
            );
        }
        let mut groups = Vec::new();
        for node in fields.list("groups") {
            groups.extend(self.group_of(node, &key));
        }
        self.nested_credentials(&mut fields, index, meta.id);
        let plugins = fields.list("plugins");
        fields.close();
        let username = username.map(|text| text.value);
        let custom_id = custom_id.map(|text| text.value);
        self.model.consumers.push(Consumer {
            meta,
            username,
            custom_id,
            groups,
        });
        self.nested_plugins(plugins, Parent::Consumer(index));
    }

    /// One entry of a consumer's `groups`. decK writes the group's own fields there too.
    fn group_of(&self, node: Node, consumer: &str) -> Option<ConsumerGroupIndex> {
        let reference = reference("consumer-group", node, self.report)?;
        let found = self.consumer_groups.find(&reference.value);
        if found.is_none() {
            let words = format!(
                "consumer-group '{}' not found for consumer '{consumer}'",
                reference.value
            );
            self.report
                .push(Diagnostic::error("unknown-reference", words).at(reference.span));
        }
        found
    }

    /// DB-less: `consumer_group_consumers[]{consumer, consumer_group}`.
    fn membership(&mut self, mut fields: Fields<'_>) {
        let consumer = fields.reference("consumer");
        let group = fields.reference("consumer_group");
        // The row's own facts; nothing refers to a membership.
        fields.text("id");
        self.tags(&mut fields);
        for key in ["created_at", "updated_at"] {
            fields.number(key, 0.0..=f64::MAX);
        }
        if let (Some(consumer), Some(group)) = (consumer, group) {
            let group = self
                .consumer_groups
                .resolve(&group, "consumer_group_consumers", self.report);
            self.members.extend(group.map(|group| (group, consumer)));
        } else {
            fields.missing("consumer` and `consumer_group");
        }
        fields.close();
    }

    /// Writes memberships that stood on the side of the group.
    pub(super) fn join_members(&mut self) {
        for (group, member) in std::mem::take(&mut self.members) {
            let from = format!("consumer-group {}", self.model[group].name);
            if let Some(consumer) = self.find_consumer(&member, &from) {
                self.model.consumers[consumer.0 as usize].groups.push(group);
            }
        }
    }

    /// A consumer by username, id or custom_id.
    pub(super) fn find_consumer(&self, reference: &Text, from: &str) -> Option<ConsumerIndex> {
        self.custom_ids
            .find(&reference.value)
            .filter(|_| self.consumers.find(&reference.value).is_none())
            .or_else(|| self.consumers.resolve(reference, from, self.report))
    }
}
