//! response-transformer: edits to headers and JSON bodies of responses (Kong 3.15 response-transformer).

use policy::isa::{Entry, Op};
use policy::table::{EditPlace, Table};

use super::{How, Instance, Lowering, Step, transformer};
use crate::lower::Context;
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::ResponseTransformer,
    how: How::Row {
        table: Table::EditList,
        steps: &[Step {
            entry: Entry::Response,
            op: Op::Apply,
            when: |config| {
                !(transformer::is_unused(config, "headers") && transformer::is_unused(config, "json"))
            },
        }],
        lower,
    },
};

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let mut edits = Vec::new();
    for (place, field) in [(EditPlace::Header, "headers"), (EditPlace::Body, "json")] {
        transformer::edits(context, instance, place, field, false, &mut edits);
    }
    context.edit_list(instance.plugin, &edits, false).number()
}
