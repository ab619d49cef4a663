//! Links between the Markdown pages of the repository.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Finding;

pub(crate) fn check(root: &Path, pages: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
        let shown = page.strip_prefix(root).unwrap_or(page);
        for (line, target) in links(&text) {
            if let Some(what) = broken(page, &text, &target)? {
                findings.push(Finding::new(shown, line, what));
            }
        }
    }
    Ok(findings)
}

/// Why a link does not lead anywhere, if so. Links out of the repository are not followed.
fn broken(page: &Path, text: &str, target: &str) -> Result<Option<String>> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(None);
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = page.parent().unwrap_or(Path::new("")).join(file);
    if !file.is_empty() && !path.exists() {
        return Ok(Some(format!("{file} does not exist")));
    }
    if heading.is_empty() || !(file.is_empty() || path.extension().is_some_and(|it| it == "md")) {
        return Ok(None);
    }
    let other = if file.is_empty() {
        text.to_owned()
    } else {
        std::fs::read_to_string(&path)?
    };
    let exists = prose(&other).any(|(_, line)| line.starts_with('#') && anchor(line) == heading);
    Ok((!exists).then(|| {
        format!(
            "no heading #{heading} in {}",
            if file.is_empty() { "this page" } else { file }
        )
    }))
}

/// The anchor that Git hosts give a heading: lower case, spaces to dashes, other punctuation dropped.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}

/// Numbered lines outside code blocks.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((at + 1, line))
    })
}

/// Every `](target)` outside code, with its line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Every second part of a line split at backticks is code.
        for part in line.split('`').step_by(2) {
            let targets = part
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split([')', ' ']).next());
            found.extend(targets.map(|target| (number, target.to_owned())));
        }
    }
    found
}
