//! file-log: a JSON object per request, appended to a file (Kong 3.15 file-log).

use policy::isa::{Entry, Op};
use policy::table::{Log, Table};

use super::{How, Instance, Lowering, Step};
use crate::lower::Context;
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::FileLog,
    how: How::Row {
        table: Table::Log,
        steps: &[Step::always(Entry::End, Op::Apply)],
        lower,
    },
};

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let config = instance.config();
    let fields = config
        .0
        .get("custom_fields_by_lua")
        .and_then(|node| node.as_map());
    if fields.is_some_and(|fields| !fields.is_empty()) {
        context.unsupported(
            config.span("custom_fields_by_lua"),
            "`custom_fields_by_lua` runs Lua, which the gateway does not",
            "the fields are left out of the log",
        );
    }
    let row = Log {
        source: context.source(instance.plugin.meta.span),
        path: context.text(config.word("path").unwrap_or_default()),
        reopen: config.flag("reopen"),
    };
    context.builder.row(&row).number()
}
