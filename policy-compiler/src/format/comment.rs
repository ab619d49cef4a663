//! Where a file's comments and blank lines are, and which key or list item each belongs to.
//!
//! The parser drops comments, but its spans say where every value stands: a `#` outside of all of them, at the start
//! of a line or behind a space, begins a comment (YAML 1.2.2 §6.6). One on its own line belongs to what follows, one
//! behind a value to that value.

use std::collections::HashMap;

use crate::source::{Node, Value};

/// The comments of one file, by the offset of the key or item they belong to.
#[derive(Default)]
pub(super) struct Comments {
    /// Lines of their own; an empty one stands for blank lines between them or behind them.
    leading: HashMap<u32, Vec<String>>,
    trailing: HashMap<u32, String>,
    /// Starts before which a blank line stands.
    spaced: Vec<u32>,
    /// Behind the last value.
    closing: Vec<String>,
    closing_is_spaced: bool,
    count: usize,
}

impl Comments {
    pub(super) fn find(text: &str, tree: &Node) -> Self {
        let mut places = Places::default();
        places.walk(text, tree);
        places.starts.sort_unstable();
        places.starts.dedup();
        places.scalars.sort_unstable();
        let mut comments = Self::default();
        let mut line_start = 0;
        let mut is_blank_before = false;
        let mut pending: Vec<String> = Vec::new();
        let mut pending_spaced = false;
        for line in text.split_inclusive('\n') {
            let line_end = line_start + line.len();
            let (from, to) = (offset(line_start), offset(line_end));
            let first = places.first_start(from, to);
            let is_blank = line.trim().is_empty() && !places.is_inside(from, to);
            if is_blank && pending.last().is_some_and(|last| !last.is_empty()) {
                pending.push(String::new());
            }
            if is_blank_before && pending.is_empty() {
                pending_spaced = true;
            }
            if let Some(at) = comment_start(line, from, &places.scalars) {
                comments.count += 1;
                let words = line[at..].trim_end().to_owned();
                match places.last_start(from, from + offset(at)) {
                    Some(start) => {
                        comments.trailing.insert(start, words);
                    }
                    None => pending.push(words),
                }
            }
            if let Some(start) = first {
                if pending_spaced {
                    comments.spaced.push(start);
                }
                if !pending.is_empty() {
                    comments.leading.insert(start, std::mem::take(&mut pending));
                }
                pending_spaced = false;
            }
            is_blank_before = is_blank;
            line_start = line_end;
        }
        if pending.last().is_some_and(String::is_empty) {
            pending.pop();
        }
        comments.closing_is_spaced = pending_spaced;
        comments.closing = pending;
        comments
    }

    pub(super) fn leading(&self, start: u32) -> &[String] {
        self.leading.get(&start).map_or(&[], Vec::as_slice)
    }

    pub(super) fn trailing(&self, start: u32) -> Option<&str> {
        self.trailing.get(&start).map(String::as_str)
    }

    pub(super) fn is_spaced(&self, start: u32) -> bool {
        self.spaced.binary_search(&start).is_ok()
    }

    pub(super) fn closing(&self) -> &[String] {
        &self.closing
    }

    /// Whether a blank line stands before [`Comments::closing`].
    pub(super) fn closing_is_spaced(&self) -> bool {
        self.closing_is_spaced
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Where things stand.
#[derive(Default)]
struct Places {
    /// First bytes of keys and list items.
    starts: Vec<u32>,
    /// Ranges of keys and single values.
    scalars: Vec<(u32, u32)>,
}

impl Places {
    fn walk(&mut self, text: &str, node: &Node) {
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    self.starts.push(entry.key_span.start);
                    self.scalars.push((entry.key_span.start, entry.key_span.end));
                    self.walk(text, &entry.node);
                }
            }
            Value::List(items) => {
                for item in items {
                    self.starts.push(item.span.start);
                    self.walk(text, item);
                }
            }
            _ => self.scalar(text, node.span.start, node.span.end),
        }
    }

    /// A block's header line is not part of its text: a comment may stand there.
    fn scalar(&mut self, text: &str, start: u32, end: u32) {
        let whole = &text[start as usize..end as usize];
        if !whole.starts_with(['|', '>']) {
            self.scalars.push((start, end));
        } else if let Some(header) = whole.find('\n') {
            self.scalars.push((start + offset(header), end));
        }
    }

    fn first_start(&self, from: u32, to: u32) -> Option<u32> {
        let at = self.starts.partition_point(|start| *start < from);
        self.starts.get(at).copied().filter(|start| *start < to)
    }

    fn last_start(&self, from: u32, to: u32) -> Option<u32> {
        let at = self.starts.partition_point(|start| *start < to);
        self.starts
            .get(at.checked_sub(1)?)
            .copied()
            .filter(|start| *start >= from)
    }

    /// Whether a line lies within one scalar.
    fn is_inside(&self, from: u32, to: u32) -> bool {
        let at = self.scalars.partition_point(|(start, _)| *start < from);
        at > 0 && self.scalars[at - 1].1 >= to
    }
}

/// The byte of `line` (which starts at `from`) where a comment begins.
fn comment_start(line: &str, from: u32, scalars: &[(u32, u32)]) -> Option<usize> {
    line.match_indices('#').map(|(at, _)| at).find(|at| {
        let absolute = from + offset(*at);
        let is_apart = line[..*at].chars().next_back().is_none_or(char::is_whitespace);
        let before = scalars.partition_point(|(start, _)| *start <= absolute);
        is_apart && (before == 0 || scalars[before - 1].1 <= absolute)
    })
}
