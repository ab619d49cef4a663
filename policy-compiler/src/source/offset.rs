//! From the parser's positions to the operator's: characters of the rendered text to bytes of the file.

use saphyr_parser::{ScalarStyle, Span as Marks};

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

    /// The span of a scalar, from its first quote or block header to its last character. The parser ends a quoted one
    /// behind the comment that follows it, and begins a block below its header.
    pub(super) fn scalar(&self, marks: &Marks, style: ScalarStyle) -> Span {
        let start = self.byte(marks.start.index());
        let end = self.byte(marks.end.index());
        let text = self.rendered.text();
        let whole = text.get(start as usize..end as usize).unwrap_or_default();
        let (start, len) = match style {
            ScalarStyle::DoubleQuoted => (start, quoted_len(whole, b'"', b'\\')),
            ScalarStyle::SingleQuoted => (start, quoted_len(whole, b'\'', b'\'')),
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let header = block_header(text, start as usize);
                let block = text.get(header..end as usize).unwrap_or_default();
                (number(header), block.trim_end().len())
            }
            ScalarStyle::Plain => (start, whole.len()),
        };
        self.rendered.original(start, start + number(len), self.file)
    }

    pub(super) fn at(&self, index: usize) -> Span {
        let byte = self.byte(index);
        self.rendered.original(byte, byte, self.file)
    }
}

/// Length of the quoted text at the start of `whole`, quotes included. `escape` before a byte takes its meaning away;
/// a quote that is its own escape ends the text unless it is doubled (YAML 1.2.2 §7.3).
fn quoted_len(whole: &str, quote: u8, escape: u8) -> usize {
    let bytes = whole.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        let is_pair = *byte == escape && (escape != quote || bytes.get(at + 1) == Some(&quote));
        if is_pair {
            at += 2;
        } else if *byte == quote {
            return at + 1;
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// Where the `|` or `>` stands that heads the block whose text starts at `start`: on the last line above it that is not
/// blank, before an indentation digit, a chomping sign and a comment (YAML 1.2.2 §8.1.1).
fn block_header(text: &str, start: usize) -> usize {
    let above = text[..start].trim_end();
    // A block without text starts at its header.
    if !text[above.len()..start].contains('\n') {
        return start;
    }
    let line = above.rfind('\n').map_or(0, |at| at + 1);
    let header = &above[line..];
    let header = header.split(" #").next().unwrap_or_default().trim_end();
    let header = header.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    if header.ends_with(['|', '>']) {
        line + header.len() - 1
    } else {
        start
    }
}
