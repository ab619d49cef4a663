//! Which files are read, and how several become one.
//!
//! Folders are read recursively for `.yaml`, `.yml` and `.json` in the order of their paths, so that the same folder
//! always gives the same policy. Lists of the same key are appended; two files that set one scalar differently are
//! refused (decK takes whichever it happens to read first).

use std::io::Read;
use std::path::{Path, PathBuf};

use super::template::{Templates, render};
use super::{Entry, FileId, Node, Sources, Span, Value, parse};
use crate::diagnostic::{Diagnostic, Report};

/// Largest file. Spans are 32 bits wide, and a file of a million consumers has about 200 MB.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What the command line asks to read.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Files, folders, or `-` for standard input.
    pub paths: Vec<PathBuf>,
}

impl Inputs {
    /// Reads the named files into `sources`, in a fixed order; what cannot be read is reported.
    pub fn load(&self, sources: &mut Sources, report: &Report) -> Vec<FileId> {
        let mut ids = Vec::new();
        for path in &self.paths {
            if path.as_os_str() == "-" {
                let mut bytes = Vec::new();
                let limited = &mut std::io::stdin().lock().take(FILE_BYTES_MAX + 1);
                let outcome = limited.read_to_end(&mut bytes).map(|_| bytes);
                ids.extend(add("<stdin>", outcome, sources, report));
                continue;
            }
            for file in self.files_of(path, report) {
                let outcome = read_bounded(&file);
                ids.extend(add(&file.display().to_string(), outcome, sources, report));
            }
        }
        ids
    }

    fn files_of(&self, path: &Path, report: &Report) -> Vec<PathBuf> {
        if !path.is_dir() {
            return vec![path.to_owned()];
        }
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() && is_declarative(entry.path()) => {
                    files.push(entry.into_path());
                }
                Ok(_) => {}
                Err(error) => report.push(Diagnostic::error("unreadable-file", error.to_string())),
            }
        }
        if files.is_empty() {
            let words = format!("no .yaml, .yml or .json file in `{}`", path.display());
            report.push(Diagnostic::error("no-input", words));
        }
        files
    }
}

fn is_declarative(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| matches!(e, "yaml" | "yml" | "json"))
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn add(
    name: &str,
    outcome: std::io::Result<Vec<u8>>,
    sources: &mut Sources,
    report: &Report,
) -> Option<FileId> {
    let refuse = |words: String| {
        report.push(Diagnostic::error("unreadable-file", words));
        None
    };
    let bytes = match outcome {
        Ok(bytes) => bytes,
        Err(error) => return refuse(format!("cannot read `{name}`: {error}")),
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return refuse(format!("`{name}` is larger than 1 GiB"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(sources.add(name, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            refuse(format!(
                "`{name}` is not UTF-8 text: byte {at} starts no character"
            ))
        }
    }
}

/// Renders, parses and joins `files` into one mapping. None after reporting why there is none.
pub fn read(
    files: &[FileId],
    sources: &Sources,
    env: &dyn Fn(&str) -> Option<String>,
    report: &Report,
) -> Option<Node> {
    let mut whole: Option<Node> = None;
    let errors_before = report.errors();
    for id in files {
        let Some(node) = read_one(*id, sources, env, report) else {
            continue;
        };
        match &mut whole {
            None => whole = Some(node),
            Some(whole) => append(whole, node, "", report),
        }
    }
    if report.errors() > errors_before {
        return None;
    }
    // Where nothing could be read, that nothing was there is no news.
    if whole.is_none() && report.errors() == 0 {
        report.push(Diagnostic::error("empty-input", "the input is empty"));
    }
    whole
}

fn read_one(
    id: FileId,
    sources: &Sources,
    env: &dyn Fn(&str) -> Option<String>,
    report: &Report,
) -> Option<Node> {
    let text = sources.get(id)?.text();
    let start = Span {
        file: id,
        start: 0,
        end: 0,
    };
    if text.starts_with([' ', '\t']) && !text.trim().is_empty() {
        report
            .push(Diagnostic::error("leading-whitespace", "file must not begin with a whitespace").at(start));
        return None;
    }
    let rendered = render(text, id, &Templates::Render(env), report)?;
    let node = parse(&rendered, id, report)?;
    match node.value {
        Value::Map(_) => Some(node),
        Value::Null => None,
        _ => {
            let words = format!("a declarative file is a mapping, this is {}", node.kind());
            report.push(Diagnostic::error("not-a-mapping", words).at(node.span));
            None
        }
    }
}

/// Joins `more` into `whole`: lists are appended, mappings joined, equal scalars kept, others refused.
fn append(whole: &mut Node, more: Node, path: &str, report: &Report) {
    match (&mut whole.value, more.value) {
        (_, Value::Null) => {}
        (value @ Value::Null, other) => {
            *value = other;
            whole.span = more.span;
        }
        (Value::List(items), Value::List(others)) => {
            let mut joined = std::mem::take(items).into_vec();
            joined.extend(others);
            *items = joined.into_boxed_slice();
        }
        (Value::Map(entries), Value::Map(others)) => {
            let mut joined = std::mem::take(entries).into_vec();
            for Entry { key, key_span, node } in others {
                match joined.iter_mut().find(|entry| entry.key == key) {
                    Some(entry) => {
                        let path = if path.is_empty() {
                            key.to_string()
                        } else {
                            format!("{path}.{key}")
                        };
                        append(&mut entry.node, node, &path, report);
                    }
                    None => joined.push(Entry { key, key_span, node }),
                }
            }
            *entries = joined.into_boxed_slice();
        }
        (value, other) if *value == other => {}
        _ => {
            let words = format!("the files set `{path}` to different values");
            let finding = Diagnostic::error("conflicting-files", words).at(more.span);
            report.push(finding.label("this differs").also(whole.span, "from this"));
        }
    }
}
