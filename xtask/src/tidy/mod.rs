//! `cargo xtask tidy`: what compilers and clippy do not check.
//!
//! In: the tree as it is. Out: findings, each with file and line. Sizes near their limit are only listed.

mod crates;
mod docs;
mod limits;
mod plugins;
mod rooms;
mod sizes;
mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use walkdir::WalkDir;

use crate::step;

/// Something to be changed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path below the root.
    file: PathBuf,
    /// Line, or 0 for the file as a whole.
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: impl Into<PathBuf>, line: usize, what: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line,
            what: what.into(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file.display(), self.what);
        }
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

pub(crate) fn run() -> Result<ExitCode> {
    let (findings, large) = check(&step::root())?;
    for line in &large {
        step::warn(line);
    }
    for finding in &findings {
        step::complain(&finding.to_string());
    }
    if findings.is_empty() {
        step::say(&format!("tidy ({} files near their limit)", large.len()));
        return Ok(ExitCode::SUCCESS);
    }
    step::complain(&format!("{} findings", findings.len()));
    Ok(ExitCode::FAILURE)
}

/// All findings of a tree, and its files near the size limit.
fn check(root: &Path) -> Result<(Vec<Finding>, Vec<String>)> {
    let sources = source::read(root, &files(root, "rs"))?;
    let mut findings = crates::check(root)?;
    let mut large = Vec::new();
    for source in &sources {
        findings.extend(rooms::check(source));
        findings.extend(sizes::check(source, &mut large));
    }
    findings.extend(docs::check(root, &files(root, "md"))?);
    findings.extend(plugins::check(root, &files(root, "md"))?);
    findings.extend(limits::check(root)?);
    findings.sort();
    Ok((findings, large))
}

/// Files of one kind below the root, without what Cargo and git keep there.
fn files(root: &Path, extension: &str) -> Vec<PathBuf> {
    let hidden = |name: &std::ffi::OsStr| name == "target" || name == ".git" || name == "node_modules";
    let walk = WalkDir::new(root).sort_by_file_name().into_iter();
    let entries = walk
        .filter_entry(|entry| !hidden(entry.file_name()))
        .filter_map(Result::ok);
    entries
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        check(dir.path())
            .unwrap()
            .0
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn is_found(file: &str, content: &str, what: &str) {
        let all = findings(&[(file, content)]);
        assert!(
            all.iter().any(|finding| finding.contains(what)),
            "{file}: {what:?} is not among {all:?}"
        );
    }

    #[test]
    fn a_clean_tree_has_no_findings() {
        let tree = [
            ("proxy/src/worker/mod.rs", "//! Worker.\nuse monoio::spawn;\n"),
            (
                "proxy/src/http/mod.rs",
                "//! Codecs.\nuse crate::limits;\nfn f() { crate::http::g() }\n",
            ),
            (
                "README.md",
                "# A b\n[self](#a-b) [file](proxy/src/http/mod.rs) `[x](y)`\n```\n[no](link)\n```\n",
            ),
        ];
        assert_eq!(findings(&tree), Vec::<String>::new());
    }

    #[test]
    fn forbidden_directions_are_found() {
        is_found(
            "proxy/src/http/mod.rs",
            "//! x\nuse crate::worker::Conn;",
            "http may not use worker",
        );
        is_found(
            "proxy/src/http/mod.rs",
            "//! x\nuse crate::{limits, worker::Conn};",
            "http may not use worker",
        );
        is_found(
            "proxy/src/ai/sse.rs",
            "//! x\nfn f() { m!(crate::upstream::x()) }",
            "ai may not use upstream",
        );
        is_found(
            "proxy/src/upstream/mod.rs",
            "//! x\nuse crate::exchange::run;",
            "upstream may not use exchange",
        );
        is_found(
            "proxy/src/listener/mod.rs",
            "//! x\nuse monoio::net;",
            "only worker may name monoio",
        );
        is_found(
            "proxy/src/quota/mod.rs",
            "//! x\nuse std::fs::File;",
            "quota does no I/O",
        );
        is_found(
            "policy/Cargo.toml",
            "[dependencies]\nproxy.workspace = true",
            "policy may not depend on proxy",
        );
        is_found(
            "proxy/Cargo.toml",
            "[dependencies]\npolicy-compiler = \"1\"",
            "proxy may not depend on policy-compiler",
        );
    }

    #[test]
    fn tests_of_a_sans_io_room_may_read_files() {
        let source = "//! x\n#[cfg(test)]\nmod tests { use std::fs; use crate::worker::x; }\n";
        assert_eq!(
            findings(&[("proxy/src/http/mod.rs", source)]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn sizes_and_names_are_found() {
        is_found("proxy/src/util/mod.rs", "//! x", "says nothing");
        is_found("policy/src/helpers.rs", "//! x", "says nothing");
        is_found(
            "policy/src/lib.rs",
            &format!("//! x\n{}", "// l\n".repeat(601)),
            "602 lines",
        );
        let long = format!("//! x\nfn f() {{\n{}}}\n", "let _ = 1;\n".repeat(71));
        is_found("policy/src/lib.rs", &long, "`f` has 71 lines");
        is_found("policy/src/lib.rs", "fn f() {}\n", "does not open with `//!`");
        is_found(
            "policy/src/lib.rs",
            &format!("//! x\n// {}: later\n", concat!("TO", "DO")),
            "without an issue",
        );
    }

    #[test]
    fn limits_are_told_as_they_are() {
        let source = (
            "proxy/src/limits.rs",
            "//! x\npub const A: usize = 8 * 1024;\npub const B: u64 = 5;\n",
        );
        let page = (
            "docs/limits.md",
            "| limit | value |\n|---|---|\n| `A` | 9 KiB | x |\n| `C` | 1 | x |\n",
        );
        let all = findings(&[source, page]);
        for what in [
            "A is 8192",
            "B is not in docs/limits.md",
            "C is not in proxy/src/limits.rs",
        ] {
            assert!(
                all.iter().any(|finding| finding.contains(what)),
                "{what:?}: {all:?}"
            );
        }
    }

    #[test]
    fn broken_links_are_found() {
        is_found("README.md", "[x](gone.md)", "gone.md does not exist");
        is_found("README.md", "# A\n[x](#b)", "no heading #b");
        is_found("docs/a.md", "[x](../README.md#top)", "README.md does not exist");
    }
}
