//! Configuration that Kong acts on and no lowering reads, said where it is set.
//!
//! A model enters, findings leave. `tests` holds every field of every enforced plugin to it: setting one changes the
//! artifact, or is reported, or stands in the test's list of what says nothing here, with the reason.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::Config;
use crate::lower::Context;
use crate::schema::PluginKind;
use crate::scope;
use crate::source::Node;

/// One field that is not enforced.
struct Unread {
    kind: PluginKind,
    field: &'static str,
    instead: &'static str,
}

const CACHE: &str = "cached tokens are paid for like others";

const UNREAD: [Unread; 7] = [
    ai_proxy("model.model_alias", "the alias is a name like any other"),
    ai_proxy("model.options.cache_read_cost", CACHE),
    ai_proxy("model.options.cache_write_cost", CACHE),
    ai_proxy("model.options.cache_write_cost_list", CACHE),
    ai_proxy(
        "model.options.context_window_factor",
        "tokens of long contexts cost as much as others",
    ),
    ai_proxy(
        "model.options.service_tier_factor",
        "tokens of all service tiers cost the same",
    ),
    ai_proxy(
        "model.options.embeddings_dimensions",
        "the request says how many dimensions it wants",
    ),
];

const fn ai_proxy(field: &'static str, instead: &'static str) -> Unread {
    Unread {
        kind: PluginKind::AiProxy,
        field,
        instead,
    }
}

/// Reports every such field that an instance sets.
pub(crate) fn report(context: &Context<'_>) {
    let mut namespaces: BTreeMap<&str, u32> = BTreeMap::new();
    for plugin in context
        .model
        .plugins
        .iter()
        .filter(|plugin| scope::visible(plugin))
    {
        let config = Config(&plugin.config);
        let is_set = |node: &Node| node.as_list().is_none_or(|items| !items.is_empty());
        for unread in UNREAD.iter().filter(|unread| unread.kind == plugin.kind) {
            if plugin.config.at(unread.field).is_some_and(is_set) {
                context.unsupported(
                    config.span(unread.field),
                    format!("`{}` of {} is not enforced", unread.field, plugin.name),
                    unread.instead,
                );
            }
        }
        if let (PluginKind::AiRateLimitingAdvanced, Some(name)) = (plugin.kind, config.word("namespace")) {
            let earlier = namespaces.entry(name).or_default();
            *earlier += 1;
            // Alone in its namespace an instance counts as it would without one.
            if *earlier == 2 {
                context.unsupported(
                    config.span("namespace"),
                    format!("several instances share the namespace `{name}`"),
                    "every instance keeps its own counters",
                );
            }
        }
    }
}
