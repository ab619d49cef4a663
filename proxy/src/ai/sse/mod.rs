//! Server-sent events as they pass (WHATWG HTML, "Interpreting an event stream").
//!
//! Bytes enter in reads of any size; frames leave. Frames are cut by content only, never by where a read ended,
//! and laid end to end they are exactly the input, so a caller forwards, drops or replaces single events without
//! touching the others. Absent: what the data means, and `id:` and `retry:`, which a gateway has no use for.

use memchr::memchr2;

use crate::limits::SSE_BUFFER_BYTES_KEPT;
use crate::settable::{self, Limit};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A piece of the stream that may be dropped without harming its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The original bytes, line ends and the closing empty line included.
    pub raw: &'a [u8],
    /// What a reader of the stream would dispatch; none for comments and for blocks without data.
    pub event: Option<Event<'a>>,
}

/// A dispatched event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; empty when absent, which readers call `message`.
    pub name: &'a [u8],
    /// The `data` lines, joined by LF.
    pub data: &'a [u8],
}

/// Why a stream cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseError {
    /// One event is longer than [`settable::sse_event_bytes`].
    EventTooLong,
}

/// How the line before ended. A lone CR that closes a frame is believed at once, except after CRLF, where its LF
/// is surely under way: that makes the cut independent of the reads without ever holding back a CR-only stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LineEnd {
    #[default]
    None,
    Lf,
    Cr,
    CrLf,
}

/// Reads one stream. Holds at most one unfinished frame and one read.
#[derive(Debug, Default)]
pub struct Scanner {
    /// The unfinished frame.
    held: Vec<u8>,
    /// Data of an event that spans several `data` lines.
    joined: Vec<u8>,
    /// Bytes of the unfinished frame already searched for a line end.
    searched: usize,
    /// Where its current line begins.
    line_start: usize,
    /// It has a line that is not a comment.
    has_fields: bool,
    /// A frame has been given out: a byte order mark is data from here on.
    started: bool,
    last_end: LineEnd,
    /// The frame before was closed by a CR: an LF that leads this one belongs to that CR.
    after_cr: bool,
}

impl Scanner {
    /// Takes the next bytes of the stream and hands every frame they complete to `each`, in order.
    ///
    /// # Errors
    /// [`SseError::EventTooLong`]; the stream cannot be read further.
    pub fn feed(&mut self, input: &[u8], mut each: impl FnMut(Frame<'_>)) -> Result<(), SseError> {
        if self.held.is_empty() {
            let used = self.frames(input, &mut each)?;
            self.held.extend_from_slice(&input[used..]);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(input);
            let used = self.frames(&held, &mut each);
            held.drain(..used.unwrap_or(held.len()));
            self.held = held;
            used?;
        }
        Ok(())
    }

    /// Ends the stream: gives what was left unfinished. The standard discards such an event; several SDKs act on
    /// it, so the caller decides.
    pub fn finish(&mut self, each: impl FnOnce(Frame<'_>)) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            each(Frame {
                raw: &held,
                event: self.event(&held),
            });
        }
        self.held = held;
        self.reset();
    }

    /// Bytes of the unfinished frame.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Makes the scanner ready for another stream, keeping its buffers if they are of ordinary size.
    pub fn reset(&mut self) {
        let (mut held, mut joined) = (std::mem::take(&mut self.held), std::mem::take(&mut self.joined));
        for buffer in [&mut held, &mut joined] {
            buffer.clear();
            buffer.shrink_to(SSE_BUFFER_BYTES_KEPT);
        }
        *self = Self {
            held,
            joined,
            ..Self::default()
        };
    }

    /// Gives out the frames of `work`, which begins with the unfinished one. Returns how many bytes they took.
    fn frames(&mut self, work: &[u8], each: &mut impl FnMut(Frame<'_>)) -> Result<usize, SseError> {
        let mut start = 0;
        while let Some(length) = self.frame_length(&work[start..]) {
            if length > settable::sse_event_bytes() {
                return Err(too_long());
            }
            let raw = &work[start..start + length];
            each(Frame {
                raw,
                event: self.event(raw),
            });
            start += length;
            self.started = true;
            self.after_cr = self.last_end == LineEnd::Cr;
            (self.searched, self.line_start, self.has_fields) = (0, 0, false);
        }
        if work.len() - start > settable::sse_event_bytes() {
            Err(too_long())
        } else {
            Ok(start)
        }
    }

    /// The length of the frame that `work` begins with, if it is complete.
    fn frame_length(&mut self, work: &[u8]) -> Option<usize> {
        if self.after_cr && self.line_start == 0 && work.first() == Some(&b'\n') {
            self.line_start = 1;
            self.searched = 1;
        }
        loop {
            let at = self.searched
                + memchr2(b'\r', b'\n', &work[self.searched..]).unwrap_or(work.len() - self.searched);
            self.searched = at;
            let end_byte = *work.get(at)?;
            let line = self.without_mark(&work[self.line_start..at]);
            let closes = line.is_empty() || (line[0] == b':' && !self.has_fields);
            let believed_alone = line.is_empty() && self.last_end != LineEnd::CrLf;
            let end = match (end_byte, work.get(at + 1)) {
                (b'\n', _) => LineEnd::Lf,
                _ if believed_alone => LineEnd::Cr,
                (_, Some(b'\n')) => LineEnd::CrLf,
                (_, Some(_)) => LineEnd::Cr,
                (_, None) => return None,
            };
            let next = at + if end == LineEnd::CrLf { 2 } else { 1 };
            (self.last_end, self.searched, self.line_start) = (end, next, next);
            if closes {
                return Some(next);
            }
            self.has_fields = true;
        }
    }

    /// What a reader would dispatch for the frame `raw`.
    fn event<'a>(&'a mut self, raw: &'a [u8]) -> Option<Event<'a>> {
        let lead = usize::from(self.after_cr && raw.first() == Some(&b'\n'));
        let mut rest = if lead == 1 {
            &raw[1..]
        } else {
            self.without_mark(raw)
        };
        let mut name: &[u8] = b"";
        let mut single: Option<&[u8]> = None;
        let mut lines = 0_usize;
        self.joined.clear();
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
            rest = after;
            let (field, value) = split_field(line);
            match field {
                b"event" => name = value,
                b"data" => {
                    if let Some(first) = single.take() {
                        self.joined.extend_from_slice(first);
                    }
                    if lines > 0 {
                        self.joined.push(b'\n');
                        self.joined.extend_from_slice(value);
                    } else {
                        single = Some(value);
                    }
                    lines += 1;
                }
                _ => {}
            }
        }
        let data = match (lines, single) {
            (0, _) => return None,
            (_, Some(single)) => single,
            (_, None) => &self.joined,
        };
        Some(Event { name, data })
    }

    /// A byte order mark counts only as the very first bytes of the stream.
    fn without_mark<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        if self.started || self.line_start != 0 {
            text
        } else {
            text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
        }
    }
}

fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let Some(at) = memchr2(b'\r', b'\n', text) else {
        return (text, b"");
    };
    let end = if text[at..].starts_with(b"\r\n") { 2 } else { 1 };
    (&text[..at], &text[at + end..])
}

/// `field: value`, with exactly one leading blank of the value removed. A comment has an empty field name.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', line) {
        Some(at) => {
            let value = &line[at + 1..];
            (&line[..at], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

fn too_long() -> SseError {
    settable::reached(Limit::SseEventBytes);
    SseError::EventTooLong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_an_end_is_given_up_and_counted() {
        let long = vec![b'x'; settable::sse_event_bytes()];
        let mut scanner = Scanner::default();
        assert_eq!(scanner.feed(&long, |_| {}), Ok(()));
        assert_eq!(scanner.feed(b"x", |_| {}), Err(SseError::EventTooLong));
        assert!(settable::count(Limit::SseEventBytes) > 0);
    }
}
