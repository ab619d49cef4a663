//! The declarative file as a typed, completed and resolved model.
//!
//! Enters: the spanned tree of `source`. Leaves: a [`Model`], or diagnostics. `collect` flattens nested entities;
//! one file for each kind completes and checks them; `identity` gives ids and resolves names. Every entity that Kong
//! knows and Tollgate does not enforce is reported, never dropped in silence.

mod collect;
mod consumer;
pub mod entity;
mod fields;
mod identity;
mod plugin;
mod route;
mod service;
mod tls;
mod upstream;

use std::cell::RefCell;

use crate::diagnostic::{Diagnostic, Report, nearest};
use crate::schema::{Catalogue, KongCompat};
use crate::source::{Node, Span};
use entity::{Model, Sensitivity, SensitivityKind};
use identity::Names;

/// What decides how a file is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whose defaults complete it.
    pub compat: KongCompat,
    /// What is not enforced is a warning instead of an error.
    pub allow_unsupported: bool,
}

/// A file being read.
struct Reader<'r> {
    report: &'r Report,
    options: Options,
    catalogue: Catalogue,
    select_tags: Vec<Box<str>>,
    /// Format 1.1: a path is a regex when it does not look like a plain one.
    old_paths: bool,
    sensitivities: RefCell<Vec<Sensitivity>>,
}

/// Reads a file's tree. The model is only meaningful if the report has no errors.
pub fn read(root: &Node, options: Options, report: &Report) -> Model {
    let mut reader = Reader {
        report,
        options,
        catalogue: Catalogue::default(),
        select_tags: Vec::new(),
        old_paths: false,
        sensitivities: RefCell::default(),
    };
    reader.read_format(root);
    let collected = collect::collect(&reader, root);
    let mut model = Model {
        compat: options.compat,
        ..Model::default()
    };
    model.workspace = root.get("_workspace").and_then(Node::as_str).map(Into::into);
    let mut names = Tables::default();
    tls::read(&reader, &collected, &mut model, &mut names);
    upstream::read(&reader, &collected, &mut model, &mut names);
    service::read(&reader, &collected, &mut model, &mut names);
    route::read(&reader, &collected, &mut model, &mut names);
    consumer::read(&reader, &collected, &mut model, &mut names);
    plugin::read(&reader, root, &collected, &mut model, &names);
    model.sensitivities = reader.sensitivities.into_inner();
    model
}

/// The names of every kind that can be referred to.
#[derive(Default)]
struct Tables {
    services: Names,
    routes: Names,
    consumers: Names,
    groups: Names,
    upstreams: Names,
    certificates: Names,
    authorities: Names,
}

impl Reader<'_> {
    fn read_format(&mut self, root: &Node) {
        match root.get("_format_version") {
            None => {
                let finding =
                    Diagnostic::error("missing-format-version", "the file has no `_format_version`");
                self.report.push(
                    finding
                        .at(root.span)
                        .help("begin with `_format_version: \"3.0\"`"),
                );
            }
            Some(node) => match (node.as_str(), node.as_float()) {
                (Some("3.0"), _) | (None, Some(3.0)) => {}
                (Some("1.1"), _) | (None, Some(1.1)) => self.old_paths = true,
                _ => {
                    let finding =
                        Diagnostic::error("format-version", "only `_format_version` 3.0 and 1.1 are read");
                    self.report.push(finding.at(node.span));
                }
            },
        }
        if let Some(tags) = root.at("_info.select_tags").and_then(Node::as_list) {
            self.select_tags = tags.iter().filter_map(Node::as_str).map(Into::into).collect();
        }
        if let Some(node) = root
            .get("_transform")
            .filter(|node| node.as_bool() == Some(false))
        {
            self.report
                .push(Diagnostic::error("transform", "_transform: false is not supported").at(node.span));
        }
    }

    /// Reports something that Kong would enforce and Tollgate does not. Gives whether to go on without it.
    fn unsupported(&self, span: Span, what: impl Into<String>, without: &str) {
        let finding = if self.options.allow_unsupported {
            Diagnostic::warning("unsupported", what).label(without)
        } else {
            Diagnostic::error("unsupported", what)
                .help(format!("--allow-unsupported compiles without it: {without}"))
        };
        self.report.push(finding.at(span));
    }

    /// The row that a reference leads to.
    fn resolve(&self, names: &Names, kind: &str, name: &str, span: Span) -> Option<u32> {
        let found = names.find(name);
        if found.is_none() {
            let near = nearest(name, names.names());
            self.report.push(
                Diagnostic::error("unknown-reference", format!("there is no {kind} `{name}`"))
                    .at(span)
                    .help_if(near.map(|near| format!("did you mean `{near}`?"))),
            );
        }
        found
    }

    fn sensitive(&self, kind: SensitivityKind, span: Span) {
        self.sensitivities.borrow_mut().push(Sensitivity { kind, span });
    }

    fn defaults<'n>(&self, root: &'n Node, kind: &str) -> Option<&'n Node> {
        root.at("_info.defaults").and_then(|defaults| defaults.get(kind))
    }
}

/// The name in a reference: a text, or an object with one of `keys`.
fn reference<'n>(node: &'n Node, keys: &[&str]) -> Option<(&'n str, Span)> {
    if let Some(text) = node.as_str() {
        return Some((text, node.span));
    }
    keys.iter().find_map(|key| {
        let named = node.get(key)?;
        named.as_str().map(|text| (text, named.span))
    })
}

fn row(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
