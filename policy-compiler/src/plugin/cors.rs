//! cors: which origins may read answers (Fetch §3.2, Kong 3.15 cors).

use policy::isa::{Entry, Op};
use policy::table::{Cors, Origin, OriginTest, Rows, Table};

use super::{Config, How, Instance, Lowering, Step};
use crate::lower::Context;
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::Cors,
    how: How::Row {
        table: Table::Cors,
        steps: &[
            Step::always(Entry::Request, Op::Preflight),
            Step::always(Entry::Response, Op::Apply),
        ],
        lower,
    },
};

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let config = instance.config();
    for field in ["origins", "methods", "headers", "exposed_headers"] {
        for (text, span) in config.texts(field) {
            super::transformer::refuse_value(context, text, span);
        }
    }
    let joined = |field| {
        let texts: Vec<&str> = config.texts(field).map(|(text, _)| text).collect();
        texts.join(",")
    };
    let max_age = config
        .number("max_age")
        .map_or_else(String::new, |age| age.to_string());
    let row = Cors {
        source: context.source(instance.plugin.meta.span),
        origins: origins(context, config),
        methods: context.text(&joined("methods")),
        headers: context.text(&joined("headers")),
        exposed: context.text(&joined("exposed_headers")),
        max_age: context.text(&max_age),
        credentials: config.flag("credentials"),
        preflight_continue: config.flag("preflight_continue"),
        private_network: config.flag("private_network"),
        allow_origin_absent: config.flag_or("allow_origin_absent", true),
    };
    context.builder.row(&row).number()
}

/// No row means every origin; a single exact row is always sent, whatever the request says.
fn origins(context: &mut Context<'_>, config: Config<'_>) -> Rows<Origin> {
    let texts: Vec<_> = config.texts("origins").collect();
    if let [] | [("*", _)] = texts.as_slice() {
        return Rows::NONE;
    }
    let alone = texts.len() == 1;
    let mut rows = Vec::with_capacity(texts.len());
    for (text, span) in texts {
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".:/-".contains(&byte));
        let (test, shown, regex) = match (text, plain) {
            ("*", _) => (OriginTest::Any, text, None),
            (_, true) if alone => (OriginTest::Exact, text, None),
            (_, true) => (OriginTest::Exact, without_default_port(text), None),
            (_, false) => {
                let Some(regex) = context.regex(text, span) else {
                    continue;
                };
                let test = if text.contains(':') {
                    OriginTest::Origin
                } else {
                    OriginTest::Host
                };
                (test, text, Some(regex))
            }
        };
        rows.push(Origin {
            test,
            text: context.text(shown),
            regex,
        });
    }
    context.builder.list(&rows)
}

/// The origin as a browser sends it.
fn without_default_port(origin: &str) -> &str {
    let port = match origin.split_once("://") {
        Some(("http", _)) => ":80",
        Some(("https", _)) => ":443",
        _ => return origin,
    };
    origin.strip_suffix(port).unwrap_or(origin)
}
