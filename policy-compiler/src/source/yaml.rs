//! Text to tree. Events come from `saphyr-parser`; this room gives them values, spans, anchors and bounds.
//!
//! Refused here: duplicate keys, a second document, unknown tags, nesting beyond 100, alias expansion beyond a million
//! values. Spans count bytes of the original text: the parser counts characters of the rendered one.

use std::collections::HashSet;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, Span as Marks};

use super::offset::Offsets;
use super::template::Rendered;
use super::{Entry, FileId, Node, Span, Value, scalar};
use crate::diagnostic::{Diagnostic, Report};

/// Deepest nesting of lists and mappings. decK files need about ten.
const DEPTH_MAX: usize = 100;
/// Values that aliases may add to a file.
const ALIASED_VALUES_MAX: usize = 1_000_000;
/// Mappings up to this size look for duplicate keys pair by pair.
const PAIRWISE_KEYS_MAX: usize = 16;

/// The one document in `rendered`, or None after reporting why there is none. An empty file is a null.
pub(crate) fn parse(rendered: &Rendered<'_>, file: FileId, report: &Report) -> Option<Node> {
    let offsets = Offsets::new(rendered, file);
    let mut builder = Builder::new(&offsets, report);
    let mut parser = Parser::new_from_str(rendered.text());
    while let Some(event) = parser.next_event() {
        let outcome = match event {
            Ok((event, marks)) => builder.event(event, &marks),
            Err(error) => {
                let at = offsets.at(error.marker().index());
                Err(Box::new(
                    Diagnostic::error("yaml-syntax", plain_words(error.info())).at(at),
                ))
            }
        };
        if let Err(finding) = outcome {
            report.push(*finding);
            return None;
        }
    }
    if builder.failed {
        None
    } else {
        builder.root.or(Some(Node {
            span: offsets.at(0),
            value: Value::Null,
        }))
    }
}

/// The scanner's message without its habit of shouting.
fn plain_words(info: &str) -> String {
    let info = info.trim_end_matches('.');
    let mut chars = info.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// A list or mapping that is still open. Its children wait at the end of the builder's stacks.
struct Frame {
    span: Span,
    anchor: usize,
    values_before: usize,
    shape: Shape,
}

enum Shape {
    List {
        first: usize,
    },
    Map {
        first: usize,
        key: Option<(Arc<str>, Span)>,
        merges: Vec<Node>,
    },
}

struct Builder<'b> {
    offsets: &'b Offsets<'b>,
    report: &'b Report,
    frames: Vec<Frame>,
    items: Vec<Node>,
    entries: Vec<Entry>,
    keys: HashSet<Arc<str>, ahash::RandomState>,
    /// Complete anchored values by the parser's number, with how many values and levels each holds.
    anchors: Vec<Option<(Node, usize, usize)>>,
    values: usize,
    aliased: usize,
    documents: usize,
    root: Option<Node>,
    failed: bool,
}

impl<'b> Builder<'b> {
    fn new(offsets: &'b Offsets<'b>, report: &'b Report) -> Self {
        Self {
            offsets,
            report,
            frames: Vec::new(),
            items: Vec::new(),
            entries: Vec::new(),
            keys: HashSet::default(),
            anchors: Vec::new(),
            values: 0,
            aliased: 0,
            documents: 0,
            root: None,
            failed: false,
        }
    }

    /// Takes one event; an error ends the file.
    fn event(&mut self, event: Event<'_>, marks: &Marks) -> Result<(), Box<Diagnostic>> {
        match event {
            Event::DocumentStart(_) => self.document(marks),
            Event::Scalar(text, style, anchor, tag) => {
                let span = self.offsets.scalar(marks, style);
                if self.expects_key() {
                    self.key(&text, span);
                    return Ok(());
                }
                let value = scalar::value_of(&text, style, tag.as_deref())
                    .map_err(|finding| Box::new(finding.at(span)))?;
                self.values += 1;
                let node = Node { span, value };
                self.anchor(anchor, &node, 1, 1);
                self.add(node)
            }
            Event::SequenceStart(anchor, _) => self.open(
                marks,
                anchor,
                Shape::List {
                    first: self.items.len(),
                },
            ),
            Event::MappingStart(anchor, _) => self.open(
                marks,
                anchor,
                Shape::Map {
                    first: self.entries.len(),
                    key: None,
                    merges: Vec::new(),
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(marks),
            Event::Alias(anchor) => self.alias(anchor, marks),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn document(&mut self, marks: &Marks) -> Result<(), Box<Diagnostic>> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        let words = "a file holds one YAML document";
        Err(Box::new(
            Diagnostic::error("second-document", words)
                .at(self.offsets.span(marks))
                .label("a second one starts here"),
        ))
    }

    /// Whether the innermost open collection is a mapping that waits for a key.
    fn expects_key(&self) -> bool {
        matches!(
            self.frames.last(),
            Some(Frame {
                shape: Shape::Map { key: None, .. },
                ..
            })
        )
    }

    fn key(&mut self, text: &str, span: Span) {
        let shared = match self.keys.get(text) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = Arc::from(text);
                self.keys.insert(Arc::clone(&new));
                new
            }
        };
        if let Some(Frame {
            shape: Shape::Map { key, .. },
            ..
        }) = self.frames.last_mut()
        {
            *key = Some((shared, span));
        }
    }

    fn open(&mut self, marks: &Marks, anchor: usize, shape: Shape) -> Result<(), Box<Diagnostic>> {
        let span = self.offsets.span(marks);
        if self.frames.len() >= DEPTH_MAX {
            let words = format!("lists and mappings are nested deeper than {DEPTH_MAX} levels");
            return Err(Box::new(Diagnostic::error("yaml-depth", words).at(span)));
        }
        if self.expects_key() {
            return Err(Box::new(
                Diagnostic::error("yaml-key", "a key must be a plain value, not a list or mapping").at(span),
            ));
        }
        self.frames.push(Frame {
            span,
            anchor,
            values_before: self.values,
            shape,
        });
        Ok(())
    }

    fn close(&mut self, marks: &Marks) -> Result<(), Box<Diagnostic>> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let (value, last) = match frame.shape {
            Shape::List { first } => {
                let items: Box<[Node]> = self.items.drain(first..).collect();
                let last = items.last().map(|node| node.span);
                (Value::List(items), last)
            }
            Shape::Map { first, merges, .. } => {
                self.refuse_duplicates(first);
                for merge in &merges {
                    self.merge_into(first, merge);
                }
                let entries: Box<[Entry]> = self.entries.drain(first..).collect();
                let last = entries.last().map(|entry| entry.node.span);
                (Value::Map(entries), last)
            }
        };
        // A block collection "ends" where the next token starts; a flow collection at its bracket.
        let closing = self.offsets.span(marks);
        let is_flow = closing.end > closing.start && marks.end.index() > marks.start.index();
        let end = if is_flow {
            closing
        } else {
            last.filter(|l| l.end >= frame.span.start).unwrap_or(frame.span)
        };
        let node = Node {
            span: frame.span.to(end),
            value,
        };
        self.values += 1;
        let depth = depth(&node);
        self.anchor(frame.anchor, &node, self.values - frame.values_before, depth);
        self.add(node)
    }

    /// Puts a finished value into the collection around it.
    fn add(&mut self, node: Node) -> Result<(), Box<Diagnostic>> {
        match self.frames.last_mut().map(|frame| &mut frame.shape) {
            None => self.root = Some(node),
            Some(Shape::List { .. }) => self.items.push(node),
            Some(Shape::Map { key, merges, .. }) => {
                let Some((key, key_span)) = key.take() else {
                    return Err(Box::new(
                        Diagnostic::error("yaml-key", "a key must be a plain value").at(node.span),
                    ));
                };
                if &*key == "<<" {
                    merges.push(node);
                } else {
                    self.entries.push(Entry { key, key_span, node });
                }
            }
        }
        Ok(())
    }

    fn anchor(&mut self, anchor: usize, node: &Node, values: usize, depth: usize) {
        if anchor == 0 {
            return;
        }
        if self.anchors.len() <= anchor {
            self.anchors.resize_with(anchor + 1, || None);
        }
        self.anchors[anchor] = Some((node.clone(), values, depth));
    }

    fn alias(&mut self, anchor: usize, marks: &Marks) -> Result<(), Box<Diagnostic>> {
        let span = self.offsets.span(marks);
        let Some(Some((node, values, depth))) = self.anchors.get(anchor) else {
            return Err(Box::new(
                Diagnostic::error("yaml-alias", "an alias cannot stand inside the value it names").at(span),
            ));
        };
        self.aliased += values;
        if self.aliased > ALIASED_VALUES_MAX || self.frames.len() + depth > DEPTH_MAX {
            let words =
                format!("aliases expand to more than {ALIASED_VALUES_MAX} values or {DEPTH_MAX} levels");
            return Err(Box::new(
                Diagnostic::error("yaml-alias", words)
                    .at(span)
                    .label("this one is too many"),
            ));
        }
        self.values += values;
        let node = node.clone();
        if self.expects_key() {
            let Value::Str(text) = &node.value else {
                return Err(Box::new(
                    Diagnostic::error("yaml-key", "a key must be a plain value").at(span),
                ));
            };
            self.key(text, span);
            return Ok(());
        }
        self.add(node)
    }

    /// Keys are shared, so equal keys have equal addresses.
    fn refuse_duplicates(&mut self, first: usize) {
        let entries = &self.entries[first..];
        let mut duplicates = Vec::new();
        if entries.len() <= PAIRWISE_KEYS_MAX {
            for (at, entry) in entries.iter().enumerate() {
                let earlier = entries[..at]
                    .iter()
                    .find(|other| Arc::ptr_eq(&other.key, &entry.key));
                duplicates.extend(earlier.map(|earlier| (earlier, entry)));
            }
        } else {
            let mut seen =
                std::collections::HashMap::with_capacity_and_hasher(entries.len(), ahash::RandomState::new());
            for entry in entries {
                if let Some(earlier) = seen.insert(Arc::as_ptr(&entry.key), entry) {
                    duplicates.push((earlier, entry));
                }
            }
        }
        for (earlier, entry) in duplicates {
            self.failed = true;
            let finding =
                Diagnostic::error("duplicate-key", format!("the key `{}` appears twice", entry.key));
            self.report.push(
                finding
                    .at(entry.key_span)
                    .label("again here")
                    .also(earlier.key_span, "first here"),
            );
        }
    }

    /// `<<`: entries of another mapping that this one lacks (YAML 1.1 merge key). Earlier merges win over later ones.
    fn merge_into(&mut self, first: usize, merge: &Node) {
        let parts = match &merge.value {
            Value::List(parts) => parts,
            _ => std::slice::from_ref(merge),
        };
        for part in parts {
            let Some(entries) = part.as_map() else {
                self.failed = true;
                let finding = Diagnostic::error("yaml-merge", "`<<` takes a mapping or a list of mappings");
                self.report
                    .push(finding.at(part.span).label(format!("this is {}", part.kind())));
                continue;
            };
            for entry in entries {
                if !self.entries[first..].iter().any(|own| own.key == entry.key) {
                    self.entries.push(entry.clone());
                }
            }
        }
    }
}

/// Levels of nesting below and including `node`. Bounded by [`DEPTH_MAX`].
fn depth(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => entries.iter().map(|entry| depth(&entry.node)).max().unwrap_or(0),
        _ => 0,
    }
}
