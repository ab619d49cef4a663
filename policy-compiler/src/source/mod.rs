//! Reading: files, folders and standard input in, one spanned tree out.
//!
//! `merge` finds and joins files, `template` renders `${{ env "DECK_X" }}`, `yaml` parses (JSON is YAML), `node` is the
//! tree. Every problem becomes a diagnostic that points into the file as it was written.
//! Absent: any knowledge of what the keys mean; that is `deck`.

mod merge;
mod node;
mod offset;
mod scalar;
mod template;
#[cfg(test)]
mod tests;
mod yaml;

use std::cell::OnceCell;

pub use merge::{Inputs, read};
pub use node::{Entry, FileId, Node, Secret, Span, Spanned, Value};
pub(crate) use template::{Templates, placeholder, render};
pub(crate) use yaml::parse;

use crate::diagnostic::Position;

/// The files of one run, by [`FileId`].
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

/// One file as it was read, before templates were rendered.
pub struct SourceFile {
    id: FileId,
    name: String,
    text: String,
    /// Offset of the first byte of each line; made when the first position is asked for.
    line_starts: OnceCell<Vec<u32>>,
}

impl Sources {
    /// Adds a file and gives its id. `text` is shorter than 4 GiB: `merge` refuses larger files.
    pub fn add(&mut self, name: impl Into<String>, text: String) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(SourceFile {
            id,
            name: name.into(),
            text,
            line_starts: OnceCell::new(),
        });
        id
    }

    /// The file `id` names.
    pub fn get(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// `file:line` of a place; empty if its file is not known.
    pub fn line(&self, span: Span) -> String {
        self.get(span.file).map_or_else(String::new, |file| {
            format!("{}:{}", file.name(), file.position(span.start).line)
        })
    }

    /// All files, in the order they were read.
    pub fn iter(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter()
    }
}

impl SourceFile {
    /// Which file this is.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// The path as given on the command line, or `<stdin>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The original text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset.
    pub fn position(&self, offset: u32) -> Position {
        let starts = self.line_starts();
        let line = starts.partition_point(|start| *start <= offset).max(1);
        let (start, end) = self.line_bounds(number(line));
        let before = &self.text[start as usize..end as usize];
        let within = (offset.min(end) - start) as usize;
        let column = before.char_indices().take_while(|(at, _)| *at < within).count();
        Position {
            line: number(line),
            column: number(column + 1),
        }
    }

    /// First byte of line `line` (from 1) and the byte after its last, the line break left out.
    pub(crate) fn line_bounds(&self, line: u32) -> (u32, u32) {
        let starts = self.line_starts();
        let index = (line.max(1) as usize - 1).min(starts.len() - 1);
        let start = starts[index];
        let end = starts
            .get(index + 1)
            .map_or(number(self.text.len()), |next| next - 1);
        (start, end.max(start))
    }

    fn line_starts(&self) -> &[u32] {
        self.line_starts.get_or_init(|| {
            let breaks = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0)
                .chain(breaks.map(|(at, _)| number(at + 1)))
                .collect()
        })
    }
}

/// `count` as 32 bits; sources are shorter than 4 GiB.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl std::fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.text.len())
    }
}
