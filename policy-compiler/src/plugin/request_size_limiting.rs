//! request-size-limiting: the body's length, declared or measured (Kong 3.15 request-size-limiting).

use policy::isa::{Entry, Op};
use policy::table::{Size, Table};

use super::{How, Instance, Lowering, Step};
use crate::lower::{Answer, Context};
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::RequestSizeLimiting,
    how: How::Row {
        table: Table::Size,
        steps: &[Step::always(Entry::Request, Op::Size)],
        lower,
    },
};

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let (plugin, config) = (instance.plugin, instance.config());
    let unit = match config.word("size_unit") {
        Some("bytes") => 1,
        Some("kilobytes") => 1 << 10,
        _ => 1 << 20,
    };
    let exceeded = "Request size limit exceeded";
    let missing = "A valid Content-Length header is required";
    let row = Size {
        source: context.source(plugin.meta.span),
        limit: config
            .count("allowed_payload_size")
            .unwrap_or(128)
            .saturating_mul(unit),
        require_length: config.flag("require_content_length"),
        too_large: context.refusal(plugin, &Answer::error(413, exceeded)),
        expectation_failed: context.refusal(plugin, &Answer::error(417, exceeded)),
        length_required: context.refusal(plugin, &Answer::error(411, missing)),
    };
    context.builder.row(&row).number()
}
