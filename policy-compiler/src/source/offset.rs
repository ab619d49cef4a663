//! From the parser's positions to the operator's: characters of the rendered text to bytes of the file.

use saphyr_parser::Span as Marks;

use super::template::Rendered;
use super::{FileId, Span, number};

/// Character index in the rendered text → byte offset in the original.
pub(super) struct Offsets<'t> {
    rendered: &'t Rendered<'t>,
    file: FileId,
    /// Byte offset of each 64th character; empty when the text is ASCII and both counts agree.
    checkpoints: Vec<u32>,
}

/// Characters between two checkpoints.
const STRIDE: usize = 64;

impl<'t> Offsets<'t> {
    pub(super) fn new(rendered: &'t Rendered<'t>, file: FileId) -> Self {
        let text = rendered.text();
        let checkpoints = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices()
                .step_by(STRIDE)
                .map(|(at, _)| number(at))
                .collect()
        };
        Self {
            rendered,
            file,
            checkpoints,
        }
    }

    fn byte(&self, index: usize) -> u32 {
        let text = self.rendered.text();
        if self.checkpoints.is_empty() {
            return number(index.min(text.len()));
        }
        let Some(start) = self.checkpoints.get(index / STRIDE) else {
            return number(text.len());
        };
        let walked = text[*start as usize..].char_indices().nth(index % STRIDE);
        walked.map_or(number(text.len()), |(at, _)| start + number(at))
    }

    pub(super) fn span(&self, marks: &Marks) -> Span {
        let start = self.byte(marks.start.index());
        let end = self.byte(marks.end.index());
        self.rendered.original(start, end, self.file)
    }

    pub(super) fn at(&self, index: usize) -> Span {
        let byte = self.byte(index);
        self.rendered.original(byte, byte, self.file)
    }
}
