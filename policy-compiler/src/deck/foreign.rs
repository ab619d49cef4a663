//! What a decK file may hold and Tollgate does not enforce: named one by one, so that nothing vanishes silently.

use super::Reader;
use super::fields::Fields;
use crate::diagnostic::Diagnostic;
use crate::source::Node;

/// Top-level keys of decK and DB-less files that nothing enforces.
const NOT_ENFORCED: [&str; 14] = [
    "ai_models",
    "custom_entities",
    "degraphql_routes",
    "filter_chains",
    "graphql_ratelimiting_cost_decorations",
    "key_sets",
    "keys",
    "licenses",
    "rbac_endpoint_permissions",
    "rbac_roles",
    "service_packages",
    "jwt_signer_jwks",
    "oic_issuers",
    "sessions",
];

/// Top-level keys of the AI Gateway 2.0 dialect.
const AI_GATEWAY: [&str; 6] = [
    "models",
    "model_providers",
    "policies",
    "agents",
    "mcp_servers",
    "identity_providers",
];

impl Reader<'_> {
    pub(super) fn foreign(&mut self, file: &mut Fields<'_>) {
        for key in NOT_ENFORCED {
            let Some(entry) = file.take(key) else { continue };
            let items = entry.node.as_list().unwrap_or_default();
            if key == "custom_entities" {
                self.custom_entities(items);
            }
            if !items.is_empty() || entry.node.as_list().is_none() {
                let count = items.len().max(1);
                let words = format!("{count} of `{key}`: Tollgate does not enforce them");
                self.unsupported("unsupported-entity", entry.key_span, words, "they are left out");
            }
        }
        for key in AI_GATEWAY {
            if let Some(entry) = file.take(key) {
                let words = format!("`{key}` belongs to the AI Gateway 2.0 dialect");
                let finding = Diagnostic::error("unsupported-dialect", words).at(entry.key_span);
                self.report
                    .push(finding.help("lower it first: `deck file ai2kong`"));
            }
        }
    }

    /// decK's own check: references of custom entities are mappings.
    fn custom_entities(&self, items: &[Node]) {
        for item in items {
            if item.get("type").is_none_or(Node::is_null) {
                self.report
                    .push(Diagnostic::error("missing-field", "a custom entity needs `type`").at(item.span));
            }
            if let Some(service) = item
                .at("fields.service")
                .filter(|service| service.as_map().is_none())
            {
                let words = "service field should be a map";
                self.report
                    .push(Diagnostic::error("wrong-type", words).at(service.span));
            }
        }
    }
}
