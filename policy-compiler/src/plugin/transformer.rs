//! What request-transformer and response-transformer share: five kinds of edits over named places.

use policy::table::{Edit, EditOp, EditPlace, JsonType, Part};

use super::{Config, Instance, template};
use crate::diagnostic::Diagnostic;
use crate::lower::Context;
use crate::source::Span;

/// The fields of `config` in the order in which their edits are applied.
const OPS: [(&str, EditOp); 5] = [
    ("remove", EditOp::Remove),
    ("rename", EditOp::Rename),
    ("replace", EditOp::Replace),
    ("add", EditOp::Add),
    ("append", EditOp::Append),
];

/// Headers that frame a message (RFC 9112 §6, RFC 9110 §7.6.1): no policy may touch them.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header frames the message.
fn is_framing(name: &str) -> bool {
    FRAMING.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Reports a name that no policy may set or take away as a header; whether it is one.
pub(super) fn refuse_name(context: &Context<'_>, name: &str, span: Span) -> bool {
    // RFC 9110 §5.6.2.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let finding = if is_framing(name) {
        Diagnostic::error(
            "framing-header",
            format!("`{name}` frames the message and is not a policy's"),
        )
        .help("the gateway sets it from the message itself")
    } else if name.is_empty() || !name.bytes().all(is_token) {
        Diagnostic::error("header-name", format!("`{name}` is not a header name"))
    } else {
        return false;
    };
    context.report.push(finding.at(span));
    true
}

/// Reports a text that cannot be sent as a header value (RFC 9110 §5.5); whether it is one.
pub(super) fn refuse_value(context: &Context<'_>, value: &str, span: Span) -> bool {
    let broken = value
        .bytes()
        .any(|byte| byte != b'\t' && (byte < b' ' || byte == 0x7f));
    if broken {
        let words = "a header value cannot hold control characters";
        context
            .report
            .push(Diagnostic::error("header-value", words).at(span));
    }
    broken
}

/// The edits of one place: `remove`, `rename`, `replace`, `add`, `append`, each in the order of the file.
pub(super) fn edits(
    context: &mut Context<'_>,
    instance: &Instance<'_>,
    place: EditPlace,
    field: &str,
    templates: bool,
    out: &mut Vec<Edit>,
) {
    let config = instance.config();
    for (op_name, op) in OPS {
        let types: Vec<_> = config.texts(&format!("{op_name}.json_types")).collect();
        for (number, (entry, span)) in config.texts(&format!("{op_name}.{field}")).enumerate() {
            let Some((name, value)) = split(context, op, entry, span) else {
                continue;
            };
            if place == EditPlace::Header && !header(context, instance, op, name, span) {
                continue;
            }
            if place == EditPlace::Header {
                let renamed = op == EditOp::Rename && refuse_name(context, value, span);
                if renamed || refuse_value(context, value, span) {
                    continue;
                }
            }
            let value: Vec<Part> = match (op, templates) {
                (EditOp::Remove, _) => Vec::new(),
                (EditOp::Rename, _) | (_, false) => vec![context.literal(value)],
                (_, true) => template::parts(context, value, span),
            };
            let json_type = types.get(number).and_then(|(name, _)| JsonType::from_name(name));
            let edit = context.edit(op, place, name, &value);
            out.push(Edit {
                json_type: json_type.unwrap_or(JsonType::String),
                ..edit
            });
        }
    }
}

/// `name` for remove, `name:value` for the others.
fn split<'e>(context: &Context<'_>, op: EditOp, entry: &'e str, span: Span) -> Option<(&'e str, &'e str)> {
    if op == EditOp::Remove {
        return Some((entry, ""));
    }
    let pair = entry.split_once(':').filter(|(name, _)| !name.is_empty());
    if pair.is_none() {
        let wanted = if op == EditOp::Rename {
            "old:new"
        } else {
            "name:value"
        };
        context.report.push(
            Diagnostic::error("edit", format!("an entry here is written `{wanted}`"))
                .at(span)
                .label("there is no `:` after a name"),
        );
    }
    pair
}

/// Whether an edit of this header is made.
fn header(context: &Context<'_>, instance: &Instance<'_>, op: EditOp, name: &str, span: Span) -> bool {
    if refuse_name(context, name, span) {
        return false;
    }
    let host = name.eq_ignore_ascii_case("host")
        && instance.plugin.kind == crate::schema::PluginKind::RequestTransformer;
    if host && op != EditOp::Replace {
        context.report.push(
            Diagnostic::warning("host-header", "only `replace` changes the Host header")
                .at(span)
                .label("this has no effect, as in Kong"),
        );
    }
    !host || op == EditOp::Replace
}

/// Whether nothing under `field` is configured.
pub(super) fn is_unused(config: Config<'_>, field: &str) -> bool {
    OPS.iter()
        .all(|(op, _)| config.list(&format!("{op}.{field}")).is_empty())
}
