//! An artifact as text: every section, every row by its columns, every instruction with what it names.
//!
//! The artifact describes itself: columns come from the contract's own tables, so a table that is added there is
//! listed here without a line of code. Absent: secrets, which no artifact holds.

mod code;

use std::fmt::Write as _;

use policy::Policy;
use policy::table::{Column, NO_CODE, Shape, Table, Text};
use serde_json::{Map, Value};

/// The whole artifact. Long texts are cut, digests shortened.
pub fn listing(policy: &Policy) -> String {
    let mut out = String::new();
    head(policy, &mut out);
    for &table in Table::ALL {
        rows(policy, table, &mut out);
    }
    code::listing(policy, &mut out);
    out
}

/// The same for programs: nothing is cut.
pub fn document(policy: &Policy) -> Value {
    let (major, minor) = policy::artifact::VERSION;
    let tables: Map<String, Value> = Table::ALL
        .iter()
        .map(|&table| {
            let rows = (0..policy.count(table)).map(|row| {
                let cells = cells(policy, table, row);
                cells
                    .map(|(column, words)| (column.name.to_owned(), member(policy, column, &words)))
                    .collect::<Map<_, _>>()
                    .into()
            });
            (table.name().to_owned(), rows.collect::<Vec<Value>>().into())
        })
        .collect();
    serde_json::json!({
        "format": format!("{major}.{minor}"),
        "policy_id": hex(policy.id()),
        "digest": hex(policy.digest()),
        "generation": policy.generation(),
        "rows": tables,
        "code": code::document(policy),
    })
}

/// Numbers, truths and texts as such, all else as the listing has it.
fn member(policy: &Policy, column: &Column, words: &[u32]) -> Value {
    match column.shape {
        Shape::Int => words[0].into(),
        Shape::Bool => (words[0] == 1).into(),
        Shape::Long => long(words).into(),
        Shape::Float => f64::from_bits(long(words)).into(),
        Shape::Text => policy
            .text(Text {
                offset: words[0],
                len: words[1],
            })
            .into(),
        Shape::Digest => {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            hex(&bytes).into()
        }
        Shape::MaybeId(_) if words[0] == 0 => Value::Null,
        Shape::Code if words[0] == NO_CODE => Value::Null,
        Shape::Rows(_) if words[1] == 0 => Value::Null,
        _ => value(policy, column, words).into(),
    }
}

fn head(policy: &Policy, out: &mut String) {
    let (major, minor) = policy::artifact::VERSION;
    let rows: Vec<String> = Table::ALL
        .iter()
        .filter(|table| policy.count(**table) > 0)
        .map(|table| format!("{} {}", policy.count(*table), table.name()))
        .collect();
    line(out, format_args!("format      {major}.{minor}"));
    line(out, format_args!("policy id   {}", hex(policy.id())));
    line(out, format_args!("digest      {}", hex(policy.digest())));
    line(out, format_args!("generation  {}", policy.generation()));
    line(out, format_args!("rows        {}", rows.join(", ")));
    line(
        out,
        format_args!("code        {} instructions", policy.code_len()),
    );
}

fn rows(policy: &Policy, table: Table, out: &mut String) {
    let count = policy.count(table);
    if count == 0 {
        return;
    }
    line(out, format_args!("\n[{}]", table.name()));
    for row in 0..count {
        let _ = write!(out, "#{row}");
        for (column, words) in cells(policy, table, row) {
            let _ = write!(out, " {}={}", column.name, value(policy, column, &words));
        }
        out.push('\n');
    }
}

/// The columns of a row and their words.
fn cells(policy: &Policy, table: Table, row: u32) -> impl Iterator<Item = (&'static Column, Vec<u32>)> {
    let words = policy.row_words(table, row).to_vec();
    let mut at = 0;
    table.columns().iter().map(move |column| {
        let cell = words[at..at + column.shape.width()].to_vec();
        at += column.shape.width();
        (column, cell)
    })
}

fn long(words: &[u32]) -> u64 {
    u64::from(words[0]) | u64::from(words[1]) << 32
}

fn value(policy: &Policy, column: &Column, words: &[u32]) -> String {
    match column.shape {
        Shape::Int => words[0].to_string(),
        Shape::Bool => (words[0] == 1).to_string(),
        Shape::Long => long(words).to_string(),
        Shape::Float => f64::from_bits(long(words)).to_string(),
        Shape::Choice(names) => (*names.get(words[0] as usize).unwrap_or(&"?")).to_owned(),
        Shape::Text => quoted(policy.text(Text {
            offset: words[0],
            len: words[1],
        })),
        Shape::Digest => {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            format!("{}…", hex(&bytes[..8]))
        }
        Shape::Id(table) => format!("{}#{}", table.name(), words[0]),
        Shape::MaybeId(_) if words[0] == 0 => "-".to_owned(),
        Shape::MaybeId(table) => format!("{}#{}", table.name(), words[0] - 1),
        Shape::Rows(_) if words[1] == 0 => "-".to_owned(),
        Shape::Rows(table) => format!("{}#{}+{}", table.name(), words[0], words[1]),
        Shape::Code if words[0] == NO_CODE => "-".to_owned(),
        Shape::Code => format!("@{}", words[0]),
        Shape::Automaton => format!("{} bytes", words[1]),
    }
}

/// A text in quotes, on one line, at most 120 characters of it.
fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 120;
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Writing into a text cannot fail.
fn line(out: &mut String, words: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(words);
    out.push('\n');
}
