//! One canonical form for decK files.
//!
//! A file's text enters, its canonical text leaves: block style, two spaces, lists under their key's column, texts
//! quoted only where YAML needs it, many lines as a literal block, top-level keys in decK's order, everything else in
//! the file's own. Comments and single blank lines stay where they were. Templates stay as written: the environment is
//! never read. The result is parsed again and compared, so formatting cannot change what a file says.
//! Absent: aliases (they would be expanded) and `indent` templates (they depend on the column): such files are refused.

mod comment;
#[cfg(test)]
mod tests;
mod write;

use crate::diagnostic::{Diagnostic, Report};
use crate::source::{FileId, Node, SourceFile, Templates, Value, parse, placeholder, render};
use comment::Comments;

/// The canonical text of a YAML file, or None after reporting why it has none.
pub fn canonical(file: &SourceFile, report: &Report) -> Option<String> {
    let text = file.text();
    let (tree, actions) = read(text, file.id(), report)?;
    let tree = match tree.value {
        Value::Map(_) => tree,
        Value::Null => return Some(text.to_owned()),
        _ => {
            let words = format!("a declarative file is a mapping, this is {}", tree.kind());
            report.push(Diagnostic::error("not-a-mapping", words).at(tree.span));
            return None;
        }
    };
    refuse_what_is_not_kept(&tree, &actions, report)?;
    let comments = Comments::find(text, &tree);
    let canonical = restore(&write::document(text, &tree, &comments), &actions);
    let scratch = Report::default();
    let again = read(&canonical, file.id(), &scratch);
    let is_same = again.is_some_and(|(again, actions_again)| {
        same(&tree, &actions, &again, &actions_again)
            && Comments::find(&canonical, &again).count() == comments.count()
    });
    if !is_same {
        let words = "this file cannot be formatted without changing it";
        let span = crate::source::Span {
            file: file.id(),
            start: 0,
            end: 0,
        };
        report.push(
            Diagnostic::error("format-changes", words)
                .at(span)
                .help("please report it; nothing was written"),
        );
        return None;
    }
    Some(canonical)
}

/// The tree with a placeholder for each action, and the actions.
fn read(text: &str, file: FileId, report: &Report) -> Option<(Node, Vec<String>)> {
    let rendered = render(text, file, &Templates::Stand, report)?;
    let actions = rendered.actions(text).map(str::to_owned).collect();
    Some((parse(&rendered, file, report)?, actions))
}

/// Puts the actions back.
fn restore(text: &str, actions: &[String]) -> String {
    let mut restored = text.to_owned();
    for (number, action) in actions.iter().enumerate() {
        restored = restored.replace(&placeholder(number), action);
    }
    restored
}

fn refuse_what_is_not_kept(tree: &Node, actions: &[String], report: &Report) -> Option<()> {
    let start = crate::source::Span {
        end: tree.span.start,
        ..tree.span
    };
    if actions.iter().any(|action| action.contains("indent")) {
        let words =
            "a file with `indent` templates is not formatted: they depend on the column they stand in";
        report.push(Diagnostic::error("format-indent", words).at(start));
        return None;
    }
    let mut aliased = None;
    find_alias(tree, &mut aliased);
    if let Some(span) = aliased {
        let words = "a file with aliases is not formatted: they would be written out";
        report.push(
            Diagnostic::error("format-alias", words)
                .at(span)
                .label("used again elsewhere"),
        );
        return None;
    }
    Some(())
}

/// A value that stands before the key it belongs to was named by an alias, as was an entry before its mapping.
fn find_alias(node: &Node, found: &mut Option<crate::source::Span>) {
    match &node.value {
        Value::Map(entries) => {
            let mut last = node.span.start;
            for entry in entries {
                if entry.key_span.start < last || entry.node.span.start < entry.key_span.start {
                    *found = found.or(Some(entry.node.span));
                }
                last = entry.key_span.start;
                find_alias(&entry.node, found);
            }
        }
        Value::List(items) => {
            let mut last = node.span.start;
            for item in items {
                if item.span.start < last {
                    *found = found.or(Some(item.span));
                }
                last = item.span.start;
                find_alias(item, found);
            }
        }
        _ => {}
    }
}

/// Whether two trees say the same, the order of the top-level keys left aside.
fn same(a: &Node, a_actions: &[String], b: &Node, b_actions: &[String]) -> bool {
    let (Some(left), Some(right)) = (a.as_map(), b.as_map()) else {
        return false;
    };
    left.len() == right.len()
        && left.iter().all(|entry| {
            let other = b.get(&entry.key);
            other.is_some_and(|other| same_value(&entry.node, a_actions, other, b_actions))
        })
}

fn same_value(a: &Node, a_actions: &[String], b: &Node, b_actions: &[String]) -> bool {
    match (&a.value, &b.value) {
        (Value::Map(left), Value::Map(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(x, y)| {
                    restore(&x.key, a_actions) == restore(&y.key, b_actions)
                        && same_value(&x.node, a_actions, &y.node, b_actions)
                })
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(x, y)| same_value(x, a_actions, y, b_actions))
        }
        (Value::Str(x), Value::Str(y)) => restore(x, a_actions) == restore(y, b_actions),
        (x, y) => x == y,
    }
}
