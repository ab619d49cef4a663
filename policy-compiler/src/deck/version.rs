//! Notes where the two Kong versions differ: defaults that a file relies on, and what it writes that one
//! refuses. What it means is read by the other rooms.

use super::Reader;
use super::entity::{Protocol, Sensitivity, SensitivityKind};
use super::fields::{Fields, Text};
use crate::schema::{Difference, KongCompat, PluginSchema, Reliance, written};
use crate::source::{Node, Span};

impl Reader<'_> {
    /// Looks at an entity before its fields are taken.
    pub(super) fn note_entity(&mut self, fields: &Fields<'_>) {
        let differences = self.entities.written(fields.kind, fields.entries());
        self.note_differences(fields.kind, differences);
    }

    /// Looks at a plugin: its name, its protocols, and its configuration as it was written.
    pub(super) fn note_plugin(
        &mut self,
        (name, at): (&str, Span),
        schema: &PluginSchema,
        protocols: Option<&(Vec<Protocol>, Vec<Text>)>,
        config: Option<&Node>,
    ) {
        let absent = KongCompat::BOTH
            .into_iter()
            .find(|version| schema.is_absent_in(*version));
        if let Some(version) = absent {
            let plugin = name.into();
            self.note(SensitivityKind::Plugin { version, plugin }, at);
            return;
        }
        for text in protocols.map(|(_, texts)| &**texts).unwrap_or_default() {
            for version in KongCompat::BOTH {
                if schema.refuses_protocol(&text.value, version) {
                    let (plugin, protocol) = (name.into(), text.value.clone());
                    let kind = SensitivityKind::Protocol {
                        version,
                        plugin,
                        protocol,
                    };
                    self.note(kind, text.span);
                }
            }
        }
        let entries = config.and_then(Node::as_map).unwrap_or_default();
        let differences = written(&schema.config, entries, at);
        self.note_differences(&format!("{name} plugin"), differences);
    }

    /// Defaults of a plugin that differ, which it relies on.
    pub(super) fn note_reliances(
        &mut self,
        plugin: &str,
        config: &Node,
        reliances: Vec<Reliance>,
        span: Span,
    ) {
        let is_redis = |path| config.at(path).and_then(Node::as_str) == Some("redis");
        let uses_redis = ["policy", "strategy", "brute_force_protection.strategy"]
            .into_iter()
            .any(is_redis);
        for reliance in reliances {
            // How to reach a store that is not used changes nothing.
            if reliance.field.split('.').any(|key| key == "redis") && !uses_redis {
                continue;
            }
            let kind = SensitivityKind::PluginDefault {
                plugin: plugin.into(),
                field: reliance.field,
                default_3_9: reliance.default_3_9,
                default_3_15: reliance.default_3_15,
            };
            self.note(kind, span);
        }
    }

    fn note_differences(&mut self, of: &str, differences: Vec<Difference>) {
        for difference in differences {
            let kind = SensitivityKind::Written {
                version: difference.version,
                of: of.into(),
                field: difference.path,
                lack: difference.lack,
            };
            self.note(kind, difference.span);
        }
    }

    pub(super) fn note(&mut self, kind: SensitivityKind, span: Span) {
        self.model.sensitivities.push(Sensitivity { kind, span });
    }
}
