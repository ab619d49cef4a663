//! Reports as text (like rustc) and as JSON.

use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet};
use serde::Serialize;

use super::{Diagnostic, Report, Severity, mask::mask};
use crate::source::{SourceFile, Sources, Span};

/// Findings printed in full; the rest is counted in one line.
const PRINTED_MAX: usize = 100;
/// Places closer than this many lines share one excerpt.
const EXCERPT_LINES_MAX: u32 = 12;

/// The report as text, findings in file order, worst kind first among equals, with a closing count line.
/// `styled` adds ANSI colours.
pub fn human(report: &Report, sources: &Sources, styled: bool) -> String {
    let renderer = if styled {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let secrets = report.secret_spans();
    let findings = ordered(report);
    let mut out = String::new();
    for finding in findings.iter().take(PRINTED_MAX) {
        out.push_str(&one(finding, sources, &secrets, &renderer));
        out.push_str("\n\n");
    }
    let total = report.errors() + report.warnings();
    let printed = findings
        .iter()
        .take(PRINTED_MAX)
        .filter(|f| f.severity != Severity::Note)
        .count();
    if total > printed {
        out.push_str(&format!("… and {} more findings\n\n", total - printed));
    }
    if total > 0 {
        out.push_str(&format!(
            "{}, {}\n",
            plural(report.errors(), "error"),
            plural(report.warnings(), "warning")
        ));
    }
    out
}

/// `1 error`, `2 errors`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

fn ordered(report: &Report) -> Vec<Diagnostic> {
    let mut findings = report.findings();
    findings.sort_by_key(|f| (f.severity == Severity::Note, f.span.is_some(), f.span, f.severity));
    findings
}

fn one(finding: &Diagnostic, sources: &Sources, secrets: &[Span], renderer: &Renderer) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group: Group<'_> =
        Group::with_title(level.primary_title(finding.message.as_str()).id(finding.code));
    for excerpt in excerpts(finding, sources) {
        group = group.element(snippet(&excerpt, secrets));
    }
    if let Some(help) = &finding.help {
        group = group.element(Element::from(Level::HELP.message(help.as_str())));
    }
    renderer.render(&[group])
}

/// Lines of one file with the marks on them.
struct Excerpt<'f> {
    file: &'f SourceFile,
    first_line: u32,
    last_line: u32,
    marks: Vec<(Span, &'f str, bool)>,
}

fn excerpts<'f>(finding: &'f Diagnostic, sources: &'f Sources) -> Vec<Excerpt<'f>> {
    let primary = finding.span.map(|span| (span, finding.label.as_str(), true));
    let related = finding
        .related
        .iter()
        .map(|(span, words)| (*span, words.as_str(), false));
    let mut excerpts: Vec<Excerpt<'f>> = Vec::new();
    for mark in primary.into_iter().chain(related) {
        let Some(file) = sources.get(mark.0.file) else {
            continue;
        };
        let line = file.position(mark.0.start).line;
        let near = excerpts.iter_mut().find(|e| {
            let (low, high) = (e.first_line.min(line), e.last_line.max(line));
            std::ptr::eq(e.file, file) && high - low <= EXCERPT_LINES_MAX
        });
        match near {
            Some(excerpt) => {
                excerpt.first_line = excerpt.first_line.min(line);
                excerpt.last_line = excerpt.last_line.max(line);
                excerpt.marks.push(mark);
            }
            None => excerpts.push(Excerpt {
                file,
                first_line: line,
                last_line: line,
                marks: vec![mark],
            }),
        }
    }
    excerpts
}

fn snippet<'f>(excerpt: &Excerpt<'f>, secrets: &[Span]) -> Snippet<'f, annotate_snippets::Annotation<'f>> {
    let (start, _) = excerpt.file.line_bounds(excerpt.first_line);
    let (_, end) = excerpt.file.line_bounds(excerpt.last_line);
    let text = &excerpt.file.text()[start as usize..end as usize];
    let masked = mask(text, start, secrets, excerpt.file.id());
    let mut snippet = Snippet::source(masked)
        .line_start(excerpt.first_line as usize)
        .path(excerpt.file.name().to_owned());
    for (span, words, is_primary) in &excerpt.marks {
        // A value may span many lines; its first line is enough to find it.
        let (_, line_end) = excerpt.file.line_bounds(excerpt.file.position(span.start).line);
        let from = (span.start.min(line_end) - start) as usize;
        let to = (span.end.min(line_end).max(span.start.min(line_end)) - start) as usize;
        let kind = if *is_primary {
            AnnotationKind::Primary
        } else {
            AnnotationKind::Context
        };
        let words = (!words.is_empty()).then(|| (*words).to_owned());
        snippet = snippet.annotation(kind.span(from..to).label(words));
    }
    snippet
}

/// A place as people count: both numbers start at 1, columns are characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Character in the line.
    pub column: u32,
}

#[derive(Serialize)]
struct JsonFinding<'r> {
    severity: &'static str,
    code: &'static str,
    message: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<JsonPlace<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<JsonPlace<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'r str>,
}

#[derive(Serialize)]
struct JsonPlace<'r> {
    file: &'r str,
    start: Position,
    end: Position,
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'r str,
}

/// The findings as a JSON list of `{severity, code, message, at{file, start, end, label}, related[], help}`.
/// Source text is not part of it, so no secret can be.
pub fn json(report: &Report, sources: &Sources) -> serde_json::Value {
    let findings = ordered(report);
    let place = |span: Span, label| {
        let file = sources.get(span.file)?;
        Some(JsonPlace {
            file: file.name(),
            start: file.position(span.start),
            end: file.position(span.end),
            label,
        })
    };
    let rows: Vec<serde_json::Value> = findings
        .iter()
        .map(|f| {
            let row = JsonFinding {
                severity: f.severity.word(),
                code: f.code,
                message: &f.message,
                at: f.span.and_then(|span| place(span, f.label.as_str())),
                related: f
                    .related
                    .iter()
                    .filter_map(|(span, words)| place(*span, words))
                    .collect(),
                help: f.help.as_deref(),
            };
            serde_json::to_value(row).unwrap_or_default()
        })
        .collect();
    serde_json::Value::Array(rows)
}
