//! Which crate of the workspace may depend on which.

use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::Finding;

/// Dependencies among our own crates: `policy-compiler → policy ← proxy → ebpf-common ← ebpf`, and who may drive them.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("policy", &[]),
    ("policy-compiler", &["policy"]),
    ("proxy", &["policy", "ebpf-common"]),
    ("ebpf-common", &[]),
    ("ebpf", &["ebpf-common"]),
    ("benches", &["policy", "policy-compiler", "proxy"]),
    ("tests", &[]),
    ("xtask", &["tests"]),
];

pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, allowed) in ALLOWED {
        let manifest = root.join(name).join("Cargo.toml");
        let Ok(text) = std::fs::read_to_string(&manifest) else {
            continue;
        };
        let table: Table = text.parse().with_context(|| manifest.display().to_string())?;
        let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
        let named = sections
            .iter()
            .filter_map(|section| table.get(*section)?.as_table())
            .flat_map(Table::iter);
        for (key, value) in named {
            let package = value.get("package").and_then(Value::as_str).unwrap_or(key);
            let is_ours = ALLOWED.iter().any(|(ours, _)| *ours == package);
            if is_ours && !allowed.contains(&package) {
                let line = text
                    .lines()
                    .position(|line| line.starts_with(key.as_str()))
                    .map_or(0, |at| at + 1);
                let file = Path::new(name).join("Cargo.toml");
                findings.push(Finding::new(
                    file,
                    line,
                    format!("{name} may not depend on {package}"),
                ));
            }
        }
    }
    Ok(findings)
}
