//! Finds the end of a head, line by line, however the bytes are split over reads.
//!
//! Every byte is looked at once: a call resumes where the last one stopped. Limits are judged by position, never by
//! how much has arrived, so that the same bytes give the same answer in one read or in a thousand.

use memchr::memchr_iter;

use super::HeadError;
use crate::limits;

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

impl LineScan {
    /// Looks for the empty line that ends the head. `Some((start, end))` is the head with its last CRLF.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        rules: &Rules,
    ) -> Result<Option<(usize, usize)>, HeadError> {
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
                (false, lines) if lines > limits::HEADERS => return Err(HeadError::TooManyHeaders),
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
            _ => (limits::HEADER_BYTES, HeadError::HeaderTooLong),
        };
        let line_stop = self.line_start + line_bytes + 1;
        let head_stop = self.head_start + limits::HEAD_BYTES;
        match end {
            end if end <= line_stop.min(head_stop) => Ok(()),
            _ if line_stop < head_stop => Err(line_error),
            _ => Err(HeadError::HeadTooLong),
        }
    }
}
