//! `tollc fmt`: decK files in one canonical form.

use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Format, Output, Read, compile, print};
use crate::diagnostic::{Diagnostic, Report};
use crate::format::canonical;
use crate::source::Sources;

/// Write decK files in one canonical form
///
/// Block style, two spaces, texts quoted only where YAML needs it, top-level keys in decK's order, all else in the
/// order of the file. Comments and single blank lines are kept. Templates stay as they are written: the environment is
/// not read. Files with YAML errors, aliases or `indent` templates are refused.
#[derive(Args)]
pub(super) struct Fmt {
    /// YAML files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Name the files that are not in canonical form, and fail if there is one
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Replace the files instead of printing them
    #[arg(long)]
    write: bool,
}

/// What was found and made so far.
struct Told {
    format: Format,
    unformatted: Vec<String>,
    /// The texts that are printed in the end, in one document.
    formatted: Vec<serde_json::Value>,
}

impl Fmt {
    pub(super) fn run(self, output: Output) -> ExitCode {
        let (mut sources, report) = (Sources::default(), Report::default());
        let mut told = Told {
            format: output.format,
            unformatted: Vec::new(),
            formatted: Vec::new(),
        };
        for path in &self.files {
            match load(path) {
                Ok(text) => {
                    let id = sources.add(path.display().to_string(), text);
                    let formatted = sources
                        .get(id)
                        .and_then(|file| Some((file.text(), canonical(file, &report)?)));
                    if let Some((before, after)) = formatted {
                        self.deliver(path, before, after, &mut told, &report);
                    }
                }
                Err(words) => report.push(Diagnostic::error("unreadable-file", words)),
            }
        }
        let failed = report.errors() > 0 || (self.check && !told.unformatted.is_empty());
        let read = Read {
            sources,
            report,
            model: None,
        };
        output.findings(&read);
        output.document(
            &read,
            serde_json::json!({"ok": !failed, "unformatted": told.unformatted, "formatted": told.formatted}),
        );
        super::code(failed)
    }

    fn deliver(&self, path: &Path, before: &str, after: String, told: &mut Told, report: &Report) {
        let is_same = before == after;
        let name = path.display().to_string();
        if !is_same {
            told.unformatted.push(name.clone());
        }
        if self.check {
            if !is_same && told.format == Format::Human {
                eprintln!("{name}: not in canonical form");
            }
        } else if !self.write || path.as_os_str() == "-" {
            match told.format {
                Format::Human => print(&after),
                Format::Json => told
                    .formatted
                    .push(serde_json::json!({"file": name, "text": after})),
            }
        } else if !is_same && let Err(error) = replace(path, &after) {
            let words = format!("cannot write `{}`: {error}", path.display());
            report.push(Diagnostic::error("unwritable-file", words));
        }
    }
}

/// Puts `text` in the place of the file that `path` leads to, with its permissions, whole or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let target = std::fs::canonicalize(path)?;
    let mode = std::fs::metadata(&target)?.permissions().mode() & 0o7777;
    compile::write(&target, text.as_bytes(), mode)
}

fn load(path: &Path) -> Result<String, String> {
    let refuse = |error: io::Error| format!("cannot read `{}`: {error}", path.display());
    if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map_err(refuse)?;
        return Ok(text);
    }
    if path.extension().is_some_and(|extension| extension == "json") {
        return Err(format!("`{}` is JSON: fmt writes YAML", path.display()));
    }
    std::fs::read_to_string(path).map_err(refuse)
}
