//! Plugins in the docs against plugins in the compiler.
//!
//! Enforced is a plugin with a file in `policy-compiler/src/plugin/` that is named like a plugin of the schemas. Pages list
//! the enforced ones between `<!-- plugins: enforced -->` and `<!-- /plugins -->`, each name in backticks at the start
//! of a table row; and every `- name: x` of a YAML example is a plugin that exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Finding;

const LOWERINGS: &str = "policy-compiler/src/plugin";
const SCHEMAS: &str = "policy-compiler/schema/plugins.json";
const LIST_START: &str = "<!-- plugins: enforced -->";
const LIST_END: &str = "<!-- /plugins -->";

pub(crate) fn check(root: &Path, pages: &[PathBuf]) -> Result<Vec<Finding>> {
    let known = known(root)?;
    let enforced: BTreeSet<String> = stems(&root.join(LOWERINGS), "rs")
        .intersection(&known)
        .cloned()
        .collect();
    let mut findings = Vec::new();
    let mut is_listed = false;
    for page in pages {
        let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
        let shown = page.strip_prefix(root).unwrap_or(page);
        findings.extend(unknown_in_examples(shown, &text, &known));
        let Some(list) = listed(&text) else { continue };
        is_listed = true;
        for (line, name) in &list {
            if !enforced.contains(name) {
                findings.push(Finding::new(
                    shown,
                    *line,
                    format!("{name} is listed as enforced, but is not in {LOWERINGS}"),
                ));
            }
        }
        let names: BTreeSet<&String> = list.iter().map(|(_, name)| name).collect();
        for name in enforced.iter().filter(|name| !names.contains(name)) {
            findings.push(Finding::new(
                shown,
                0,
                format!("{name} is enforced, but not in the list of plugins"),
            ));
        }
    }
    if !enforced.is_empty() && !is_listed {
        findings.push(Finding::new(
            "README.md",
            0,
            format!("no page lists the enforced plugins between `{LIST_START}` and `{LIST_END}`"),
        ));
    }
    Ok(findings)
}

/// Names of all plugins that the compiler has a schema for.
fn known(root: &Path) -> Result<BTreeSet<String>> {
    let Ok(text) = std::fs::read_to_string(root.join(SCHEMAS)) else {
        return Ok(BTreeSet::new());
    };
    let table: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).context(SCHEMAS)?;
    Ok(table.into_iter().map(|(name, _)| name).collect())
}

fn stems(dir: &Path, extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    entries
        .filter_map(|entry| stem(&entry.path(), extension))
        .collect()
}

fn stem(path: &Path, extension: &str) -> Option<String> {
    let is_kind = path.extension().is_some_and(|it| it == extension);
    is_kind.then(|| {
        path.file_stem()?
            .to_str()
            .map(|name| name.replace('_', "-").to_lowercase())
    })?
}

/// The list of a page, with lines.
fn listed(text: &str) -> Option<Vec<(usize, String)>> {
    text.contains(LIST_START).then(|| {
        let lines = text
            .lines()
            .enumerate()
            .skip_while(|(_, line)| line.trim() != LIST_START);
        let lines = lines.take_while(|(_, line)| line.trim() != LIST_END);
        let name = |line: &str| line.strip_prefix("| `")?.split('`').next().map(str::to_owned);
        lines
            .filter_map(|(at, line)| Some((at + 1, name(line)?)))
            .collect()
    })
}

/// Plugins in YAML examples: a `name:` inside a list under `plugins:`.
fn unknown_in_examples(page: &Path, text: &str, known: &BTreeSet<String>) -> Vec<Finding> {
    if known.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut list_indent = None;
    for (at, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let item = line.trim_start().strip_prefix("- ");
        match list_indent {
            Some(start) if indent < start || (indent == start && item.is_none()) => list_indent = None,
            _ => {}
        }
        if line.trim() == "plugins:" {
            list_indent = Some(indent);
            continue;
        }
        let name = item
            .filter(|_| list_indent.is_some())
            .and_then(|item| item.trim_start_matches('{').strip_prefix("name: "));
        let name = name.map(|name| name.split([',', '}', ' ']).next().unwrap_or_default());
        // Deeper lists inside a plugin's config have names of their own; only the list's own items count.
        let name = name.filter(|_| list_indent.is_some_and(|start| indent <= start + 2));
        if let Some(name) = name.filter(|name| !known.contains(*name)) {
            findings.push(Finding::new(page, at + 1, format!("there is no plugin {name}")));
        }
    }
    findings
}
