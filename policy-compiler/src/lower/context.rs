//! What lowering works with: the model, the artifact being written, and the rows that many plugins need.

use std::collections::{BTreeMap, HashMap};

use policy::artifact::Builder;
use policy::table::{
    BodyShape, Consumer as ConsumerRow, Edit, EditList, EditOp, EditPlace, Id, JsonType, Line, MessageTail,
    Part, PartKind, Refusal, Regex, Rows, Secret as SecretRow, SecretKind, Source, Text, Word,
};
use uuid::Uuid;

use crate::deck::entity::{ConsumerGroupIndex, ConsumerIndex, Model, Plugin};
use crate::diagnostic::{Diagnostic, Report};
use crate::router::{Automata, Subject};
use crate::source::{Sources, Span};

/// How strictly a model is compiled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What Kong enforces and Tollgate does not is a warning instead of an error.
    pub allow_unsupported: bool,
    /// Written into the artifact; a gateway refuses to go back.
    pub generation: u64,
}

/// Lowering in progress.
pub(crate) struct Context<'c> {
    pub(crate) model: &'c Model,
    pub(crate) sources: &'c Sources,
    pub(crate) report: &'c Report,
    pub(crate) options: Options,
    pub(crate) builder: Builder,
    /// Key of every keyed hash in the artifact.
    pub(crate) salt: [u8; 32],
    /// Regex rows: the number of an automaton is its row.
    pub(crate) automata: Automata,
    /// Values that stand in the sealed file, by name.
    pub(crate) sealed: BTreeMap<String, String>,
    /// Bit of every ACL group.
    acl_bits: BTreeMap<Box<str>, u32>,
    /// Row of every consumer group: name order.
    group_rows: Vec<u32>,
    by_username: HashMap<&'c str, ConsumerIndex>,
    by_id: HashMap<Uuid, ConsumerIndex>,
}

impl<'c> Context<'c> {
    pub(crate) fn new(
        model: &'c Model,
        sources: &'c Sources,
        report: &'c Report,
        options: Options,
        salt: [u8; 32],
        automata: Automata,
    ) -> Self {
        let mut order: Vec<u32> = (0..).take(model.consumer_groups.len()).collect();
        order.sort_by_key(|&group| &model.consumer_groups[group as usize].name);
        let mut group_rows = vec![0; order.len()];
        for (row, group) in (0..).zip(order) {
            group_rows[group as usize] = row;
        }
        let consumers = || (0..).map(ConsumerIndex).zip(&model.consumers);
        Self {
            model,
            sources,
            report,
            options,
            builder: Builder::new(),
            salt,
            automata,
            sealed: BTreeMap::new(),
            acl_bits: acl_bits(model),
            group_rows,
            by_username: consumers()
                .filter_map(|(index, consumer)| Some((consumer.username.as_deref()?, index)))
                .collect(),
            by_id: consumers()
                .map(|(index, consumer)| (consumer.meta.id, index))
                .collect(),
        }
    }

    /// Reports something that Kong enforces and the gateway does not.
    pub(crate) fn unsupported(&self, span: Span, what: impl Into<String>, instead: &str) {
        self.report.push(if self.options.allow_unsupported {
            Diagnostic::warning("not-enforced", what).at(span).label(instead)
        } else {
            Diagnostic::error("unsupported", what)
                .at(span)
                .help(format!("with --allow-unsupported it compiles: {instead}"))
        });
    }

    pub(crate) fn text(&mut self, text: &str) -> Text {
        self.builder.text(text)
    }

    /// A name row.
    pub(crate) fn name(&mut self, text: &str) -> u32 {
        self.builder.names([text]).first
    }

    /// The line and column of a span.
    pub(crate) fn source(&mut self, span: Span) -> Option<Id<Source>> {
        let file = self.sources.get(span.file)?;
        let position = file.position(span.start);
        let row = Source {
            file: self.builder.text(file.name()),
            line: position.line,
            column: position.column,
        };
        Some(self.builder.row(&row))
    }

    /// An answer that ends a request.
    pub(crate) fn refusal(&mut self, plugin: &Plugin, refusal: &Answer<'_>) -> Id<Refusal> {
        let lines: Vec<Line> = refusal
            .headers
            .iter()
            .map(|(name, value)| Line {
                name: self.builder.text(name),
                value: self.builder.text(value),
            })
            .collect();
        let source = self.source(plugin.meta.span);
        let row = Refusal {
            plugin: self.builder.text(&plugin.name),
            source,
            status: refusal.status,
            shape: refusal.shape,
            message: self.builder.text(refusal.message),
            tail: refusal.tail,
            headers: self.builder.list(&lines),
        };
        self.builder.row(&row)
    }

    /// Edits that belong together. They need the body if one of them is of it, or if they `use_body` otherwise.
    pub(crate) fn edit_list(&mut self, plugin: &Plugin, edits: &[Edit], use_body: bool) -> Id<EditList> {
        let source = self.source(plugin.meta.span);
        let row = EditList {
            plugin: self.builder.text(&plugin.name),
            source,
            edits: self.builder.list(edits),
            needs_body: use_body || edits.iter().any(|edit| edit.place == EditPlace::Body),
        };
        self.builder.row(&row)
    }

    /// An edit whose value is a text.
    pub(crate) fn edit(&mut self, op: EditOp, place: EditPlace, name: &str, value: &[Part]) -> Edit {
        Edit {
            op,
            place,
            name: self.builder.text(name),
            value: self.builder.list(value),
            json_type: JsonType::String,
        }
    }

    pub(crate) fn literal(&mut self, text: &str) -> Part {
        Part {
            kind: PartKind::Literal,
            text: self.builder.text(text),
            index: 0,
            otherwise: false,
        }
    }

    /// A value that never stands in the artifact. Texts with vault references are resolved by the gateway; others
    /// go to the sealed file under a name that says nothing about them.
    pub(crate) fn secret(&mut self, value: &str) -> Id<SecretRow> {
        let (kind, text) = if is_reference(value) {
            (SecretKind::Vault, value.to_owned())
        } else {
            let mut hasher = blake3::Hasher::new_keyed(&self.salt);
            hasher.update(b"sealed\0").update(value.as_bytes());
            let name = hasher.finalize().to_hex().to_string();
            self.sealed.insert(name.clone(), value.to_owned());
            (SecretKind::Sealed, name)
        };
        let row = SecretRow {
            kind,
            text: self.builder.text(&text),
        };
        Id::new(self.builder.list(&[row]).first)
    }

    /// A regex over a whole text.
    pub(crate) fn regex(&mut self, pattern: &str, span: Span) -> Option<Id<Regex>> {
        let compiled =
            self.automata
                .compile(&[(pattern, span)], Subject::Whole, self.sources, self.report)?;
        Some(Id::new(compiled.0))
    }

    /// The consumer that `anonymous` names, by id or user name.
    pub(crate) fn consumer(&self, name: &str) -> Option<Id<ConsumerRow>> {
        let by_id = Uuid::parse_str(name).ok().and_then(|id| self.by_id.get(&id));
        let index = by_id.or_else(|| self.by_username.get(name))?;
        Some(Id::new(index.0))
    }

    /// The row of a consumer group.
    pub(crate) fn group_row(&self, group: ConsumerGroupIndex) -> u32 {
        self.group_rows[group.0 as usize]
    }

    /// A bit set of ACL groups, without its empty end.
    pub(crate) fn acl_words<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) -> Rows<Word> {
        let mut words: Vec<Word> = Vec::new();
        for name in names {
            let Some(&bit) = self.acl_bits.get(name) else {
                continue;
            };
            let at = (bit / 32) as usize;
            if words.len() <= at {
                words.resize(at + 1, Word { bits: 0 });
            }
            words[at].bits |= 1 << (bit % 32);
        }
        self.builder.list(&words)
    }
}

/// An answer, before it is a row.
pub(crate) struct Answer<'a> {
    pub(crate) status: u32,
    pub(crate) shape: BodyShape,
    pub(crate) message: &'a str,
    pub(crate) tail: MessageTail,
    pub(crate) headers: &'a [(&'a str, &'a str)],
}

impl<'a> Answer<'a> {
    /// Kong's negotiated error.
    pub(crate) const fn error(status: u32, message: &'a str) -> Self {
        Self {
            status,
            shape: BodyShape::Error,
            message,
            tail: MessageTail::None,
            headers: &[],
        }
    }
}

/// Whether a text holds a reference that the gateway resolves.
pub(crate) fn is_reference(text: &str) -> bool {
    text.contains("{vault://")
}

/// Groups exist by being named: by consumers, or by acl plugins.
fn acl_bits(model: &Model) -> BTreeMap<Box<str>, u32> {
    let mut bits: BTreeMap<Box<str>, u32> = model.acls.iter().map(|acl| (acl.group.clone(), 0)).collect();
    for (number, bit) in (0..).zip(bits.values_mut()) {
        *bit = number;
    }
    bits
}
