//! The chunked transfer coding (RFC 9112 §7.1), decoded strictly and written anew.
//!
//! Enters: received bytes, split anywhere. Leaves: ranges that are payload. Extensions and trailers are checked and
//! dropped, so nothing a client hides there reaches an upstream or a decision; chunks are never forwarded raw.

#[cfg(test)]
mod tests;

use super::framing::is_token_byte;
use crate::http::body::{BodyError, BodyStep};
use crate::limits;
use crate::settable::{self, Limit};

/// Ends every chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends the body: no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The line before a chunk's data.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHead {
    text: [u8; 18],
    start: usize,
}

impl ChunkHead {
    /// For `length` bytes of data; `length` must not be 0, which would end the body.
    pub fn new(length: usize) -> Self {
        debug_assert!(length > 0, "an empty chunk is the last one");
        let mut text = *b"0000000000000000\r\n";
        let (mut start, mut rest) = (16, length);
        while rest > 0 {
            start -= 1;
            text[start] = b"0123456789abcdef"[rest & 15];
            rest >>= 4;
        }
        Self { text, start }
    }

    /// The line with its CRLF.
    pub fn bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before or among the digits of a size.
    #[default]
    Size,
    ExtensionName,
    ExtensionValue,
    Quoted,
    QuotedPair,
    AfterQuoted,
    /// CR seen at the end of a size line.
    SizeEnd,
    Data,
    DataEnd,
    DataEndLf,
    /// At the start of a trailer line or of the last line.
    Line,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    LastLf,
    Ended,
}

/// Decodes one chunked body.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes left in this chunk; the size so far while its digits come in.
    left: u64,
    /// Digits of the size, bytes of the extension, or bytes of the name: how long the current item is.
    item: usize,
    extension: usize,
    payload: u64,
    framing: u64,
    trailer_bytes: usize,
    trailers: usize,
}

impl ChunkedDecoder {
    /// Looks at `bytes`, which begins where the last step stopped.
    ///
    /// # Errors
    /// The coding is broken or abused; the decoder must not be used again.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<BodyStep, BodyError> {
        for (at, byte) in bytes.iter().enumerate() {
            match self.state {
                State::Ended => return Ok(BodyStep::End { consumed: at }),
                State::Data => return Ok(self.data(at, bytes.len())),
                _ => self.frame(*byte)?,
            }
        }
        Ok(if self.is_ended() {
            BodyStep::End {
                consumed: bytes.len(),
            }
        } else {
            BodyStep::More
        })
    }

    /// The last chunk and its trailers have been read.
    pub const fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn data(&mut self, start: usize, available: usize) -> BodyStep {
        let end =
            usize::try_from(self.left).map_or(available, |left| available.min(start.saturating_add(left)));
        self.left -= (end - start) as u64;
        if self.left == 0 {
            self.state = State::DataEnd;
        }
        BodyStep::Data { start, end }
    }

    /// Takes one byte that is not payload.
    fn frame(&mut self, byte: u8) -> Result<(), BodyError> {
        self.framing += 1;
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (State::Size, b'\r') if self.item > 0 => State::SizeEnd,
            (State::Size, b';') if self.item > 0 => self.extension_begins(),
            (State::Size, _) => return Err(BodyError::ChunkSize),
            (State::SizeEnd, b'\n') => self.size_known()?,
            (State::DataEnd, b'\r') => State::DataEndLf,
            (State::DataEndLf, b'\n') => State::Size,
            (State::LastLf, b'\n') => State::Ended,
            (State::TrailerEnd, b'\n') => State::Line,
            (State::SizeEnd | State::DataEnd | State::DataEndLf | State::LastLf | State::TrailerEnd, _) => {
                return Err(BodyError::ChunkEnd);
            }
            (State::Line, b'\r') => State::LastLf,
            (State::Line | State::TrailerName | State::TrailerValue, _) => self.trailer(byte)?,
            // Payload and what follows the end never come here: `advance` takes them.
            (State::Data | State::Ended, _) => self.state,
            _ => self.extension(byte)?,
        };
        Ok(())
    }

    fn digit(&mut self, digit: u8) -> Result<State, BodyError> {
        const DIGITS: usize = 16;
        if self.item == DIGITS {
            return Err(BodyError::ChunkSize);
        }
        self.item += 1;
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            letter => (letter | 0x20) - b'a' + 10,
        };
        self.left = self.left << 4 | u64::from(value);
        Ok(State::Size)
    }

    /// The size line has ended: data follows, or trailers.
    fn size_known(&mut self) -> Result<State, BodyError> {
        self.item = 0;
        self.extension = 0;
        self.payload = self.payload.checked_add(self.left).ok_or(BodyError::TooLong)?;
        if self.payload > limits::CONTENT_LENGTH {
            return Err(BodyError::TooLong);
        }
        let earned = (self.payload - self.left).saturating_mul(limits::CHUNK_OVERHEAD_RATIO);
        if self.framing > settable::chunk_overhead_bytes() + earned {
            settable::reached(Limit::ChunkOverheadBytes);
            return Err(BodyError::Overhead);
        }
        Ok(if self.left == 0 { State::Line } else { State::Data })
    }

    fn extension_begins(&mut self) -> State {
        self.item = 0;
        State::ExtensionName
    }

    /// `*( ";" token [ "=" ( token / quoted-string ) ] )`; the optional whitespace of RFC 9112 is refused.
    fn extension(&mut self, byte: u8) -> Result<State, BodyError> {
        self.extension += 1;
        if self.extension > settable::chunk_extension_bytes() {
            settable::reached(Limit::ChunkExtensionBytes);
            return Err(BodyError::ChunkExtension);
        }
        let named = self.item > 0;
        self.item += 1;
        Ok(match (self.state, byte) {
            (State::ExtensionName | State::ExtensionValue, token) if is_token_byte(token) => self.state,
            (State::ExtensionName, b'=') if named => {
                self.item = 0;
                State::ExtensionValue
            }
            (State::ExtensionValue, b'"') if !named => State::Quoted,
            (State::Quoted, b'"') => State::AfterQuoted,
            (State::Quoted, b'\\') => State::QuotedPair,
            (State::Quoted | State::QuotedPair, b'\t' | b' '..=b'~' | 0x80..) => State::Quoted,
            (State::ExtensionName | State::ExtensionValue | State::AfterQuoted, b';') if named => {
                self.extension_begins()
            }
            (State::ExtensionName | State::ExtensionValue | State::AfterQuoted, b'\r') if named => {
                State::SizeEnd
            }
            _ => return Err(BodyError::ChunkExtension),
        })
    }

    fn trailer(&mut self, byte: u8) -> Result<State, BodyError> {
        self.trailer_bytes += 1;
        if self.state == State::Line {
            self.trailers += 1;
            self.item = 0;
        }
        let limit = match () {
            () if self.trailers > settable::trailers() => Some(Limit::Trailers),
            () if self.trailer_bytes > settable::trailer_bytes() => Some(Limit::TrailerBytes),
            () => None,
        };
        if let Some(limit) = limit {
            settable::reached(limit);
            return Err(BodyError::TrailersTooLong);
        }
        self.item += 1;
        match (self.state, byte) {
            (State::Line | State::TrailerName, token) if is_token_byte(token) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            _ => Err(BodyError::Trailer),
        }
    }
}
