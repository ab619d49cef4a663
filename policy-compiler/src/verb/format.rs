//! `tollc fmt`: decK files in one canonical form.
//!
//! Block style, two spaces, keys as they were ordered, texts quoted only where YAML needs it. Templates stay as they
//! are written: nothing of the environment gets into the output. Comments are not kept; `--check` only compares.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Output, Read, print};
use crate::diagnostic::Report;
use crate::source::{Node, Sources, Templates, Value, parse, placeholder, render};

#[derive(Args)]
pub(super) struct Fmt {
    /// decK files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Say which files are not in canonical form, and fail if any is not
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Replace the files; comments are lost
    #[arg(long)]
    write: bool,
}

impl Fmt {
    pub(super) fn run(self, output: Output) -> ExitCode {
        let mut failed = false;
        for path in &self.files {
            failed |= !self.file(path, output);
        }
        super::code(failed)
    }

    fn file(&self, path: &Path, output: Output) -> bool {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("error: cannot read {}: {error}", path.display());
                return false;
            }
        };
        let (mut sources, report) = (Sources::default(), Report::default());
        let id = sources.add(path.display().to_string(), text.clone());
        let mut originals: Vec<String> = Vec::new();
        let tree = render(&text, id, &Templates::Stand, &report).and_then(|rendered| {
            originals = rendered.actions(&text).map(str::to_owned).collect();
            parse(&rendered, id, &report)
        });
        let Some(tree) = tree.filter(|_| report.errors() == 0) else {
            output.findings(&Read {
                sources,
                report,
                model: None,
            });
            return false;
        };
        let mut canonical = write_document(&tree);
        for (number, action) in originals.iter().enumerate() {
            canonical = canonical.replace(&placeholder(number), action);
        }
        if self.check {
            let same = canonical == text;
            if !same {
                eprintln!("{}: not in canonical form", path.display());
            }
            return same;
        }
        if !self.write {
            print(&canonical);
            return true;
        }
        match std::fs::write(path, canonical) {
            Ok(()) => true,
            Err(error) => {
                eprintln!("error: cannot write {}: {error}", path.display());
                false
            }
        }
    }
}

fn write_document(tree: &Node) -> String {
    let mut out = String::new();
    write_node(tree, 0, false, &mut out);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Writes a value behind a key or dash (`inline`), or at the start of a line.
fn write_node(node: &Node, indent: usize, inline: bool, out: &mut String) {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            for (number, entry) in entries.iter().enumerate() {
                if number > 0 || !inline {
                    pad(indent, out);
                }
                out.push_str(&scalar(&entry.key));
                out.push(':');
                write_member(&entry.node, indent, out);
            }
        }
        Value::List(items) if !items.is_empty() => {
            for item in items {
                pad(indent, out);
                out.push_str("- ");
                match &item.value {
                    Value::List(inner) if !inner.is_empty() => {
                        out.push('\n');
                        write_node(item, indent + 2, false, out);
                    }
                    Value::Map(inner) if !inner.is_empty() => write_node(item, indent + 2, true, out),
                    _ => {
                        out.push_str(&leaf(item));
                        out.push('\n');
                    }
                }
            }
        }
        _ => {
            out.push_str(&leaf(node));
            out.push('\n');
        }
    }
}

fn write_member(node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            write_node(node, indent + 2, false, out);
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            write_node(node, indent, false, out);
        }
        _ => {
            let _ = writeln!(out, " {}", leaf(node));
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn leaf(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Str(text) => scalar(text),
        Value::Secret(secret) => scalar(secret.expose()),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}

/// A text, quoted where it would be read as something else.
fn scalar(text: &str) -> String {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte) || byte >= 0x80)
        && text.starts_with(|first: char| {
            first.is_ascii_alphabetic() || first == '/' || first == '_' || !first.is_ascii()
        });
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text));
    if plain && !word {
        text.to_owned()
    } else {
        serde_json::json!(text).to_string()
    }
}
