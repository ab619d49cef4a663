//! request-transformer: edits to the path, method, headers, body and query (Kong 3.15 request-transformer).

use policy::isa::{Entry, Op};
use policy::table::{EditOp, EditPlace, Table};

use super::{How, Instance, Lowering, Step, template, transformer};
use crate::lower::Context;
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::RequestTransformer,
    how: How::Row {
        table: Table::EditList,
        steps: &[Step::always(Entry::Request, Op::Apply)],
        lower,
    },
};

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let config = instance.config();
    let mut edits = Vec::new();
    if let Some(uri) = config.word("replace.uri") {
        let parts = template::parts(context, uri, config.span("replace.uri"));
        edits.push(context.edit(EditOp::Set, EditPlace::Uri, "", &parts));
    }
    let method = config.word("http_method");
    // These have no body: the arguments of a form move to the query.
    let moves_body = matches!(method, Some("GET" | "HEAD" | "TRACE"));
    if let Some(method) = method {
        let method = context.literal(method);
        edits.push(context.edit(EditOp::Set, EditPlace::Method, "", &[method]));
    }
    for (place, field) in [
        (EditPlace::Header, "headers"),
        (EditPlace::Body, "body"),
        (EditPlace::Query, "querystring"),
    ] {
        transformer::edits(context, instance, place, field, true, &mut edits);
    }
    context.edit_list(instance.plugin, &edits, moves_body).number()
}
