//! request-termination: the answer that an operator wrote (Kong 3.15 request-termination).

use policy::isa::{Entry, Op};
use policy::table::{Response, Table};

use super::{How, Instance, Lowering, Step};
use crate::lower::Context;
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::RequestTermination,
    how: How::Row {
        table: Table::Response,
        steps: &[Step::always(Entry::Request, Op::Respond)],
        lower,
    },
};

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let config = instance.config();
    let status = super::status(context, config, "status_code", 503);
    let body = config.text("body");
    let message = match (config.text("message"), body) {
        (Some(message), _) => message,
        (None, Some(_)) => "",
        (None, None) => default_message(status),
    };
    let content_type = match body {
        Some(_) => config
            .word("content_type")
            .unwrap_or("application/json; charset=utf-8"),
        None => "application/json; charset=utf-8",
    };
    super::transformer::refuse_value(context, content_type, config.span("content_type"));
    let row = Response {
        source: context.source(instance.plugin.meta.span),
        status,
        trigger: context.text(config.word("trigger").unwrap_or_default()),
        message: context.text(message),
        body: context.text(body.unwrap_or_default()),
        content_type: context.text(content_type),
        echo: config.flag("echo"),
    };
    context.builder.row(&row).number()
}

/// Other statuses answer without a body.
fn default_message(status: u32) -> &'static str {
    match status {
        401 => "Unauthorized",
        404 => "Not found",
        405 => "Method not allowed",
        500 => "An unexpected error occurred",
        502 => "Bad Gateway",
        503 => "Service unavailable",
        _ => "",
    }
}
