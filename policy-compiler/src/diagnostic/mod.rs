//! What the compiler says to people: findings with a code, a place and a way out.
//!
//! Rooms push [`Diagnostic`]s into one [`Report`] and go on, so that one run shows everything. `render` turns a report
//! into text as rustc prints it, or into JSON. Secrets are masked there, whatever the source line holds.
//! Absent: any decision to stop. Verbs ask the report whether it has errors.

mod mask;
mod nearest;
mod render;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};

pub use nearest::nearest;
pub use render::{Position, human, json};

use crate::source::Span;

/// Findings kept for printing; further ones are only counted. A broken generator makes one per consumer.
const FINDINGS_MAX: usize = 1_000;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Nothing is compiled.
    Error,
    /// The file compiles; the operator should look.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word in both output formats.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable name of the rule, in kebab-case; scripts may match on it.
    pub code: &'static str,
    /// One sentence without a full stop. Never holds the text of a secret.
    pub message: String,
    /// Where it is, if it is in a file.
    pub span: Option<Span>,
    /// A few words under the marker; may be empty.
    pub label: String,
    /// Other places that matter, each with its words.
    pub related: Vec<(Span, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error found by rule `code`.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }

    /// A warning found by rule `code`.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }

    /// A note made by rule `code`.
    pub fn note(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message.into())
    }

    fn new(severity: Severity, code: &'static str, message: String) -> Self {
        Self {
            severity,
            code,
            message,
            span: None,
            label: String::new(),
            related: Vec::new(),
            help: None,
        }
    }

    /// Points at `span`.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Puts words under the marker.
    #[must_use]
    pub fn label(mut self, words: impl Into<String>) -> Self {
        self.label = words.into();
        self
    }

    /// Points at a further place.
    #[must_use]
    pub fn also(mut self, span: Span, words: impl Into<String>) -> Self {
        self.related.push((span, words.into()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, words: impl Into<String>) -> Self {
        self.help = Some(words.into());
        self
    }

    /// Says what to do, if there is something to say.
    #[must_use]
    pub fn help_if(mut self, words: Option<String>) -> Self {
        self.help = words.or(self.help);
        self
    }
}

/// Everything found in one run. Shared by reference between rooms of one thread; pushing needs no `mut`.
#[derive(Debug, Default)]
pub struct Report {
    findings: RefCell<Vec<Diagnostic>>,
    secrets: RefCell<Vec<Span>>,
    errors: Cell<usize>,
    warnings: Cell<usize>,
}

impl Report {
    /// Adds a finding, unless it was made already: a plugin is looked at for each service that it is lowered for.
    /// Beyond 1,000 they are counted but not kept.
    pub fn push(&self, finding: Diagnostic) {
        let is_known = |known: &Diagnostic| {
            known.span == finding.span && known.code == finding.code && known.message == finding.message
        };
        if self.findings.borrow().iter().any(is_known) {
            return;
        }
        let counter = match finding.severity {
            Severity::Error => Some(&self.errors),
            Severity::Warning => Some(&self.warnings),
            Severity::Note => None,
        };
        if let Some(counter) = counter {
            counter.set(counter.get() + 1);
        }
        let mut findings = self.findings.borrow_mut();
        if findings.len() < FINDINGS_MAX {
            findings.push(finding);
        }
    }

    /// Masks the bytes at `span` wherever a finding shows the line.
    pub fn hide(&self, span: Span) {
        self.secrets.borrow_mut().push(span);
    }

    /// Number of errors.
    pub fn errors(&self) -> usize {
        self.errors.get()
    }

    /// Number of warnings.
    pub fn warnings(&self) -> usize {
        self.warnings.get()
    }

    /// The kept findings, in the order they were made.
    pub fn findings(&self) -> Vec<Diagnostic> {
        self.findings.borrow().clone()
    }

    /// Spans to mask, in ascending order.
    fn secret_spans(&self) -> Vec<Span> {
        let mut spans = self.secrets.borrow().clone();
        spans.sort_unstable();
        spans
    }
}
