//! rate-limiting: requests per calendar window, counted where `limit_by` says (Kong 3.15 rate-limiting).

use policy::isa::{Entry, Op};
use policy::table::{LimitBy, Period, PeriodUnit, Quota, Table};

use super::{Config, How, Instance, Lowering, Step, at_least};
use crate::lower::{Answer, Context};
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::RateLimiting,
    how: How::Row {
        table: Table::Quota,
        steps: &[Step::always(Entry::Request, Op::Take)],
        lower,
    },
};

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let (plugin, config) = (instance.plugin, instance.config());
    if let Some(policy @ ("cluster" | "redis")) = config.word("policy") {
        context.unsupported(
            config.span("policy"),
            format!("counting by `policy: {policy}` is not enforced"),
            "requests are counted on each node alone, as with `policy: local`",
        );
    }
    let message = config.word("error_message").unwrap_or("API rate limit exceeded");
    let answer = Answer::error(super::status(context, config, "error_code", 429), message);
    let row = Quota {
        source: context.source(plugin.meta.span),
        stable: super::stable(context, plugin),
        by: limit_by(config, "limit_by"),
        header: context.text(
            &config
                .word("header_name")
                .unwrap_or_default()
                .to_ascii_lowercase(),
        ),
        path: context.text(config.word("path").unwrap_or_default()),
        periods: context.builder.list(&periods(config)),
        hide_headers: config.flag("hide_client_headers"),
        refusal: context.refusal(plugin, &answer),
    };
    context.builder.row(&row).number()
}

/// Whose counter; consumers' if nothing is said.
pub(super) fn limit_by(config: Config<'_>, field: &str) -> LimitBy {
    config
        .word(field)
        .and_then(LimitBy::from_name)
        .unwrap_or(LimitBy::Consumer)
}

fn periods(config: Config<'_>) -> Vec<Period> {
    // Kong refuses once usage has reached the limit, so a fraction admits one request more.
    let limit = |unit: &PeriodUnit| config.number(unit.name()).map(at_least);
    PeriodUnit::ALL
        .iter()
        .filter_map(|unit| {
            Some(Period {
                unit: *unit,
                limit: limit(unit)?,
            })
        })
        .collect()
}
