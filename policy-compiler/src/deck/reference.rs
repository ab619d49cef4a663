//! Finding an entity by its name or id.

use std::collections::HashMap;

use uuid::Uuid;

use super::fields::{Text, article};
use crate::diagnostic::{Diagnostic, Report, nearest};
use crate::source::Span;

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Names and ids of one kind of entity.
pub(super) struct Directory<I> {
    kind: &'static str,
    by_name: Map<Box<str>, (I, Span)>,
    by_id: Map<Uuid, I>,
}

impl<I: Copy> Directory<I> {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            by_name: Map::default(),
            by_id: Map::default(),
        }
    }

    /// Enters an entity; a second one of the same name is reported and stays out.
    pub(super) fn enter(&mut self, name: Option<&str>, id: Uuid, index: I, span: Span, report: &Report) {
        self.by_id.insert(id, index);
        let Some(name) = name else { return };
        if let Some((_, earlier)) = self.by_name.get(name) {
            let words = format!("two {}s are named `{name}`", self.kind);
            let finding = Diagnostic::error("duplicate-name", words).at(span);
            report.push(finding.label("the second one").also(*earlier, "the first one"));
            return;
        }
        self.by_name.insert(name.into(), (index, span));
    }

    /// The entity of that name, else of that id.
    pub(super) fn find(&self, name_or_id: &str) -> Option<I> {
        let by_name = self.by_name.get(name_or_id).map(|(index, _)| *index);
        by_name.or_else(|| self.by_id.get(&Uuid::try_parse(name_or_id).ok()?).copied())
    }

    /// The entity `reference` names; None after reporting, in decK's words, that there is none.
    /// `from` says who refers to it: `plugin acl`, `consumer alice`.
    pub(super) fn resolve(&self, reference: &Text, from: &str, report: &Report) -> Option<I> {
        let found = self.find(&reference.value);
        if found.is_none() {
            let words = format!("{} {} for {from}: entity not found", self.kind, reference.value);
            let finding = Diagnostic::error("unknown-reference", words).at(reference.span);
            let hint = nearest(&reference.value, self.by_name.keys().map(|name| &**name));
            let help = hint.map_or_else(
                || {
                    format!(
                        "the input must define {}: nothing is asked of a running gateway",
                        article(self.kind)
                    )
                },
                |name| format!("did you mean `{name}`?"),
            );
            report.push(finding.label("not defined in the input").help(help));
        }
        found
    }
}
