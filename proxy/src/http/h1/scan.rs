//! Finds the end of a head, line by line, however the bytes are split over reads.
//!
//! Every byte is looked at once: a call resumes where the last one stopped. Limits are judged by position, never by
//! how much has arrived, so that the same bytes give the same answer in one read or in a thousand.

use std::sync::LazyLock;

use memchr::memchr_iter;
use memchr::memmem::Finder;

use super::HeadError;
use crate::settable;

/// How far the search has come. `Default` is a new message.
#[derive(Debug, Default)]
pub(super) struct LineScan {
    head_start: usize,
    line_start: usize,
    scanned: usize,
    lines: usize,
}

/// What differs between requests and responses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Empty lines tolerated before the start line (RFC 9112 §2.2).
    pub(super) leading_empty_lines: usize,
    /// Longest start line, without its CRLF.
    pub(super) start_line_bytes: usize,
    /// The error for a longer one.
    pub(super) start_line_error: HeadError,
    /// Judges the start line as soon as it is complete.
    pub(super) start_line: fn(&[u8]) -> bool,
}

/// What ends a head: the end of a line, and an empty line.
static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

impl LineScan {
    /// Looks for the empty line that ends the head. `Some((start, end))` is the head with its last CRLF.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        rules: &Rules,
    ) -> Result<Option<(usize, usize)>, HeadError> {
        match self.whole(bytes, rules) {
            Some(end) => Ok(Some((0, end))),
            None => self.advance_by_line(bytes, rules),
        }
    }

    /// The end of a head that came in one piece, has nothing to object to and is below every limit: nearly all are.
    /// Says nothing of others. Looks at many bytes at once, where line by line each line costs a search.
    fn whole(&self, bytes: &[u8], rules: &Rules) -> Option<usize> {
        if self.scanned > 0 || !bytes.first().is_some_and(u8::is_ascii_graphic) {
            return None;
        }
        let below_limits = bytes
            .len()
            .min(settable::header_bytes())
            .min(rules.start_line_bytes);
        let end = END.find(&bytes[..below_limits])? + END.needle().len();
        let head = &bytes[..end];
        let bare = |any, (before, byte): (&u8, &u8)| any | ((*byte == b'\n') & (*before != b'\r'));
        if head.iter().zip(&head[1..]).fold(false, bare) {
            return None;
        }
        let newline = memchr::memchr(b'\n', head)?;
        (rules.start_line)(&head[..newline - 1]).then_some(end)
    }

    fn advance_by_line(&mut self, bytes: &[u8], rules: &Rules) -> Result<Option<(usize, usize)>, HeadError> {
        let already = self.scanned;
        for found in memchr_iter(b'\n', &bytes[already..]) {
            let newline = already + found;
            self.check_reach(newline, rules)?;
            let line = &bytes[self.line_start..newline];
            let line = line.strip_suffix(b"\r").ok_or(HeadError::BareLineFeed)?;
            self.scanned = newline + 1;
            self.line_start = newline + 1;
            match (line.is_empty(), self.lines) {
                (true, 0) if newline < rules.leading_empty_lines * 2 => self.head_start = newline + 1,
                (true, 0) => return Err(HeadError::EmptyLines),
                (true, _) => return Ok(Some((self.head_start, newline + 1))),
                (false, 0) if !(rules.start_line)(line) => return Err(HeadError::StartLine),
                (false, lines) if lines > settable::headers() => return Err(HeadError::TooManyHeaders),
                (false, _) => self.lines += 1,
            }
        }
        self.scanned = bytes.len();
        self.check_reach(bytes.len(), rules)?;
        Ok(None)
    }

    /// `end` is where the current line's CRLF may begin at the earliest, counted generously by one byte for its CR.
    fn check_reach(&self, end: usize, rules: &Rules) -> Result<(), HeadError> {
        let (line_bytes, line_error) = match self.lines {
            0 => (rules.start_line_bytes, rules.start_line_error),
            _ => (settable::header_bytes(), HeadError::HeaderTooLong),
        };
        let line_stop = self.line_start + line_bytes + 1;
        let head_stop = self.head_start + settable::head_bytes();
        match end {
            end if end <= line_stop.min(head_stop) => Ok(()),
            _ if line_stop < head_stop => Err(line_error),
            _ => Err(HeadError::HeadTooLong),
        }
    }
}
