//! prometheus: which groups of metrics a request is counted in (Kong 3.15 prometheus).

use policy::isa::{Entry, Op};
use policy::table::{Metrics, Table};

use super::{How, Instance, Lowering, Step};
use crate::lower::Context;
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::Prometheus,
    how: How::Row {
        table: Table::Metrics,
        steps: &[Step::always(Entry::End, Op::Apply)],
        lower,
    },
};

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let config = instance.config();
    if config.flag("wasm_metrics") {
        context.unsupported(
            config.span("wasm_metrics"),
            "`wasm_metrics` counts filters that the gateway does not run",
            "there are no such metrics",
        );
    }
    let row = Metrics {
        source: context.source(instance.plugin.meta.span),
        per_consumer: config.flag("per_consumer"),
        status_code: config.flag("status_code_metrics"),
        latency: config.flag("latency_metrics"),
        bandwidth: config.flag("bandwidth_metrics"),
        upstream_health: config.flag("upstream_health_metrics"),
        ai: config.flag("ai_metrics"),
    };
    context.builder.row(&row).number()
}
