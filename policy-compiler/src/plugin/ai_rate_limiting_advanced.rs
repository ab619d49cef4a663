//! ai-rate-limiting-advanced: tokens or money over a window, by provider or by policy (Kong 3.15).

use policy::isa::{Entry, Op};
use policy::table::{BodyShape, Budget, Ceiling, Condition, ConditionKind, CountStrategy, Rows, Rule, Table};

use super::{Config, How, Instance, Lowering, Step, at_least, rate_limiting};
use crate::lower::{Answer, Context};
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::AiRateLimitingAdvanced,
    how: How::Row {
        table: Table::Budget,
        // What a call may cost is known once its body is.
        steps: &[Step::always(Entry::Body, Op::Reserve)],
        lower,
    },
};

const MESSAGE: &str = "AI token rate limit exceeded for provider(s): ";

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let (plugin, config) = (instance.plugin, instance.config());
    refuse(context, config);
    let policies = !config.list("policies").is_empty();
    let rules = if policies {
        policies_rules(context, config)
    } else {
        provider_rules(context, config)
    };
    let answer = Answer {
        shape: BodyShape::AiError,
        ..Answer::error(
            super::status(context, config, "error_code", 429),
            config.word("error_message").unwrap_or(MESSAGE),
        )
    };
    let jitter = config.number("retry_after_jitter_max").map_or(0, at_least);
    let row = Budget {
        source: context.source(plugin.meta.span),
        stable: super::stable(context, plugin),
        rules,
        by: rate_limiting::limit_by(config, "identifier"),
        header: context.text(
            &config
                .word("header_name")
                .unwrap_or_default()
                .to_ascii_lowercase(),
        ),
        path: context.text(config.word("path").unwrap_or_default()),
        policies,
        hide_headers: config.flag("hide_client_headers"),
        hide_providers: config.flag("error_hide_providers"),
        jitter: u32::try_from(jitter).unwrap_or(u32::MAX),
        refusal: context.refusal(plugin, &answer),
    };
    context.builder.row(&row).number()
}

fn refuse(context: &Context<'_>, config: Config<'_>) {
    if let Some(strategy @ ("cluster" | "redis")) = config.word("strategy") {
        context.unsupported(
            config.span("strategy"),
            format!("counting by `strategy: {strategy}` is not enforced"),
            "tokens are counted on each node alone, as with `strategy: local`",
        );
    }
    for field in ["custom_cost_count_function", "request_prompt_count_function"] {
        if config.has(field) {
            context.unsupported(
                config.span(field),
                format!("`{field}` runs Lua, which the gateway does not"),
                "tokens are counted as without it",
            );
        }
    }
    if let Some(format) = config.word("llm_format").filter(|format| *format != "openai") {
        context.unsupported(
            config.span("llm_format"),
            format!("usage in the format `{format}` is not read"),
            "usage is read in OpenAI's format",
        );
    }
    for policy in config.list("policies") {
        if let Some(id) = policy.get("id").filter(|id| !id.is_null()) {
            context.unsupported(
                id.span,
                "a policy stored elsewhere cannot be read",
                "the policy is the one that stands here",
            );
        }
    }
}

/// `llm_providers`: a rule for each provider, its windows beside each other.
fn provider_rules(context: &mut Context<'_>, config: Config<'_>) -> Rows<Rule> {
    let strategy = strategy(config);
    let mut rules = Vec::new();
    for provider in config.list("llm_providers") {
        let entry = Config(provider);
        let name = entry.word("name").unwrap_or_default();
        if let "requestPrompt" | "customCost" = name {
            context.unsupported(
                entry.span("name"),
                format!("`{name}` counts with Lua, which the gateway does not run"),
                "this limit is left out",
            );
            continue;
        }
        let windows = entry
            .list("window_size")
            .iter()
            .filter_map(|node| node.as_float());
        let limits = entry.list("limit").iter().filter_map(|node| node.as_float());
        let ceilings: Vec<Ceiling> = limits
            .zip(windows)
            .map(|(limit, window)| ceiling(limit, window, strategy))
            .collect();
        rules.push(Rule {
            name: context.text(name),
            conditions: Rows::NONE,
            ceilings: context.builder.list(&ceilings),
            sliding: config.word("window_type") != Some("fixed"),
        });
    }
    context.builder.list(&rules)
}

/// `policies`: named by their place, as in Kong's headers.
fn policies_rules(context: &mut Context<'_>, config: Config<'_>) -> Rows<Rule> {
    let mut rules = Vec::new();
    for (number, policy) in (1..).zip(config.list("policies")) {
        let entry = Config(policy);
        let conditions: Vec<Condition> = entry
            .list("match")
            .iter()
            .filter_map(|condition| self::condition(context, Config(condition)))
            .collect();
        let ceilings: Vec<Ceiling> = entry
            .list("limits")
            .iter()
            .map(Config)
            .map(|limit| {
                ceiling(
                    limit.number("limit").unwrap_or_default(),
                    limit.number("window_size").unwrap_or_default(),
                    strategy(limit),
                )
            })
            .collect();
        rules.push(Rule {
            name: context.text(&format!("policy-{number}")),
            conditions: context.builder.list(&conditions),
            ceilings: context.builder.list(&ceilings),
            sliding: entry.word("window_type") != Some("fixed"),
        });
    }
    context.builder.list(&rules)
}

fn condition(context: &mut Context<'_>, config: Config<'_>) -> Option<Condition> {
    let kind = config.word("type").and_then(ConditionKind::from_name)?;
    let key = config.word("key").unwrap_or(match kind {
        ConditionKind::Consumer => "username",
        ConditionKind::ConsumerGroup => "name",
        _ => "",
    });
    let key = match kind {
        ConditionKind::Header => key.to_ascii_lowercase(),
        _ => key.to_owned(),
    };
    let values = config.texts("values").map(|(value, _)| value);
    Some(Condition {
        kind,
        key: context.text(&key),
        values: context.builder.names(values),
        partition: config.flag("partition_by"),
    })
}

fn strategy(config: Config<'_>) -> CountStrategy {
    config
        .word("tokens_count_strategy")
        .and_then(CountStrategy::from_name)
        .unwrap_or(CountStrategy::TotalTokens)
}

/// A limit on money is held in micro-units; on tokens, in tokens.
fn ceiling(limit: f64, window: f64, strategy: CountStrategy) -> Ceiling {
    let unit = if strategy == CountStrategy::Cost {
        1_000_000.0
    } else {
        1.0
    };
    Ceiling {
        limit: at_least(limit * unit),
        window: u32::try_from(at_least(window)).unwrap_or(u32::MAX).max(1),
        strategy,
    }
}
