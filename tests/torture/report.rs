//! The table of what each proxy did, as Markdown.

use std::fmt::Write as _;

use anyhow::Result;

use crate::alone::ALONE;
use crate::peers::{Row, Table};
use crate::subject::version;

/// All tables, with the versions they are about.
pub(crate) fn markdown(tables: &[Table]) -> Result<String> {
    let rows: Vec<&Row> = tables.iter().flat_map(|table| &table.rows).collect();
    let count = |wanted: &dyn Fn([bool; 3]) -> bool| {
        let framing = rows.iter().filter(|row| !row.is_policy());
        framing.filter(|row| wanted(row.passed)).count()
    };
    let commit = std::env::var("TOLLGATE_TORTURE_COMMIT").unwrap_or_else(|_| "unknown".to_owned());
    let mut text = format!(
        "# Attacks on HTTP/1.1\n\n\
         `cargo xtask torture` at commit {commit}, beside {} and {} as plain reverse proxies \
         (`tests/torture/peers/`). The cases, byte for byte, are in `tests/torture/cases/`.\n\n\
         Every payload is followed by a probe on the same connection. A cell says what the client got; the probe is \
         answered unless it says *closed* or *waits* (for more bytes). *forwarded as* is what the upstream saw whole. \
         All three are told to refuse `/admin`: nginx looks at the path made canonical and forwards it as it came, \
         HAProxy looks at it as it came. Only Tollgate has routes with keys, limits and edits.\n\n\
         {} cases. Tollgate lets {} through that both others refuse{}. Apart from its policy it refuses {} that nginx \
         lets through, {} that HAProxy lets through and {} that both do.\n",
        version("nginx")?,
        version("haproxy")?.replace("HAProxy version", "HAProxy"),
        rows.len(),
        count(&|passed| passed == [true, false, false]),
        alone(),
        count(&|[tollgate, nginx, _]| !tollgate && nginx),
        count(&|[tollgate, _, haproxy]| !tollgate && haproxy),
        count(&|passed| passed == [false, true, true]),
    );
    for table in tables {
        write!(
            text,
            "\n## {}\n\n| case | Tollgate | nginx | HAProxy |\n|---|---|---|---|\n",
            table.title
        )?;
        for alike in table.rows.chunk_by(are_alike) {
            let [tollgate, nginx, haproxy] = &alike[0].cells;
            writeln!(
                text,
                "| {} | {} | {} | {} |",
                cell(&name(alike)),
                cell(tollgate),
                cell(nginx),
                cell(haproxy)
            )?;
        }
    }
    Ok(text)
}

/// What is let through alone, and why.
fn alone() -> String {
    let reasons: Vec<String> = ALONE
        .iter()
        .map(|(name, reason)| format!("{name}, since {reason}"))
        .collect();
    format!(" ({})", reasons.join("; "))
}

/// Variants of one case that all three treat alike share a row.
fn are_alike(one: &Row, other: &Row) -> bool {
    one.id.name == other.id.name && one.id.variant.is_some() && one.cells == other.cells
}

fn name(alike: &[Row]) -> String {
    let variants = alike.iter().filter_map(|row| row.id.variant.as_deref());
    let variants: Vec<String> = variants.map(shortened).collect();
    match variants.as_slice() {
        [] => alike[0].id.name.clone(),
        some => format!("{}: {}", alike[0].id.name, some.join(" ")),
    }
}

fn shortened(variant: &str) -> String {
    match variant {
        "" => "*(nothing)*".to_owned(),
        variant => code(variant),
    }
}

/// A code span, whatever the text.
pub(crate) fn code(text: &str) -> String {
    if text.contains('`') {
        format!("`` {text} ``")
    } else {
        format!("`{text}`")
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
