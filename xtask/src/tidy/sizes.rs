//! Sizes of files and functions, names of rooms, how a file opens, loose ends.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Finding;
use super::source::Source;

const FILE_LINES_NEAR: usize = 400;
const FILE_LINES_MAX: usize = 600;
/// Tests are lists of cases: they grow without getting harder to read.
const TEST_FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const OPENING_LINES_MAX: usize = 8;

/// Names for a place where anything may lie.
const EMPTY_NAMES: [&str; 5] = ["util", "common", "helpers", "manager", "types"];

/// Words that mark unfinished work. A mark is fine when it names the issue that will end it.
const LOOSE_ENDS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

pub(crate) fn check(source: &Source, large: &mut Vec<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, what: String| findings.push(Finding::new(&source.path, line, what));
    for part in source.path.components() {
        let name = part.as_os_str().to_string_lossy();
        let name = name.trim_end_matches(".rs");
        if EMPTY_NAMES.contains(&name.trim_end_matches('s')) || EMPTY_NAMES.contains(&name) {
            find(0, format!("the name {name} says nothing about what is inside"));
        }
    }
    let lines = source.text.lines().count();
    let most = if source.is_test {
        TEST_FILE_LINES_MAX
    } else {
        FILE_LINES_MAX
    };
    if lines > most {
        find(0, format!("{lines} lines, at most {most}"));
    } else if lines > FILE_LINES_NEAR {
        large.push(format!(
            "{}: {lines} lines, aim for {FILE_LINES_NEAR}",
            source.path.display()
        ));
    }
    functions(&source.tokens, &mut |name, line, lines| {
        if lines > FUNCTION_LINES_MAX && !source.is_test {
            find(
                line,
                format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}"),
            );
        }
    });
    match opening_lines(&source.text) {
        0 if !source.is_test => find(
            1,
            "the file does not open with `//!`: which room is this?".to_owned(),
        ),
        count if count > OPENING_LINES_MAX => {
            find(
                1,
                format!("opens with {count} lines, at most {OPENING_LINES_MAX}"),
            );
        }
        _ => {}
    }
    for (number, line) in source.text.lines().enumerate() {
        let marks = LOOSE_ENDS.iter().filter(|mark| {
            line.split(|char: char| !char.is_alphanumeric())
                .any(|word| word == **mark)
        });
        for mark in marks {
            let has_issue = line
                .split('#')
                .skip(1)
                .any(|rest| rest.starts_with(|char: char| char.is_ascii_digit()));
            if !has_issue {
                find(number + 1, format!("{mark} without an issue (`{mark} #12: …`)"));
            }
        }
    }
    findings
}

/// Lines of the comment a file opens with, those of a drawing or an example in it not counted.
fn opening_lines(text: &str) -> usize {
    let opening = text
        .lines()
        .skip_while(|line| line.starts_with('#'))
        .map_while(|line| line.strip_prefix("//!"));
    let prose: Vec<&str> = opening.collect();
    super::docs::prose(&prose.join("\n")).count()
}

/// Calls `found` with name, line and number of code lines of every function.
fn functions(tokens: &TokenStream, found: &mut dyn FnMut(&str, usize, usize)) {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (at, tree) in trees.iter().enumerate() {
        if let TokenTree::Group(group) = tree {
            functions(&group.stream(), found);
        }
        let (TokenTree::Ident(keyword), Some(TokenTree::Ident(name))) = (tree, trees.get(at + 1)) else {
            continue;
        };
        if keyword != "fn" {
            continue;
        }
        let end = trees[at..].iter().find(|tree| {
            matches!(tree, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
                || matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ';')
        });
        if let Some(TokenTree::Group(body)) = end {
            let mut lines = BTreeSet::new();
            code_lines(&body.stream(), &mut lines);
            found(&name.to_string(), name.span().start().line, lines.len());
        }
    }
}

/// Lines that hold code, so that comments and blank lines cost nothing.
fn code_lines(tokens: &TokenStream, lines: &mut BTreeSet<usize>) {
    for tree in tokens.clone() {
        if let TokenTree::Group(group) = &tree {
            lines.extend([group.span_open().start().line, group.span_close().end().line]);
            code_lines(&group.stream(), lines);
        } else {
            lines.extend(tree.span().start().line..=tree.span().end().line);
        }
    }
}
