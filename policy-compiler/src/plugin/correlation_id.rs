//! correlation-id: a header that names the request (Kong 3.15 correlation-id).

use policy::isa::{Entry, Op};
use policy::table::{Correlation, Generator, Table};

use super::{How, Instance, Lowering, Step};
use crate::lower::Context;
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::CorrelationId,
    how: How::Row {
        table: Table::Correlation,
        steps: &[
            Step::always(Entry::Request, Op::Apply),
            Step {
                entry: Entry::Response,
                op: Op::Apply,
                when: |config| config.flag("echo_downstream"),
            },
        ],
        lower,
    },
};

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let config = instance.config();
    let header = config.word("header_name").unwrap_or("Kong-Request-ID");
    super::transformer::refuse_name(context, header, config.span("header_name"));
    let generator = config.word("generator").and_then(Generator::from_name);
    let row = Correlation {
        source: context.source(instance.plugin.meta.span),
        header: context.text(header),
        generator: generator.unwrap_or(Generator::UuidCounter),
        echo: config.flag("echo_downstream"),
    };
    context.builder.row(&row).number()
}
