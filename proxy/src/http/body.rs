//! Where a body ends, and its data on the way there.
//!
//! Enters: received bytes, in reads of any size. Leaves: ranges of those bytes that are payload, never a copy.
//! Content is not looked at here; framing of HTTP/1 chunks is in `h1::chunked`.

use super::h1::chunked::ChunkedDecoder;

/// Where a message's body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// No body follows the head.
    #[default]
    None,
    /// Exactly this many bytes follow; never 0, at most 2^53.
    Length(u64),
    /// The body frames itself (RFC 9112 §7.1).
    Chunked,
    /// The body ends when the peer closes: responses only.
    UntilClose,
}

/// What one look at the received bytes brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyStep {
    /// `bytes[start..end]` is payload, at least one byte; everything before `end` is used up. Look again from `end`.
    Data {
        /// First byte of payload.
        start: usize,
        /// One past its last byte.
        end: usize,
    },
    /// All bytes are used up and the body goes on.
    More,
    /// The body has ended; `consumed` bytes were its own, what follows belongs to the next message.
    End {
        /// Bytes used up.
        consumed: usize,
    },
}

/// Why a body cannot be read to its end. The connection must close, and the part read must not pass for a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// A chunk size is not 1 to 16 hexadecimal digits.
    ChunkSize,
    /// A chunk extension is malformed or longer than `limits::CHUNK_EXTENSION_BYTES`.
    ChunkExtension,
    /// A line or a chunk's data does not end with CRLF.
    ChunkEnd,
    /// All chunks together are larger than `limits::CONTENT_LENGTH`.
    TooLong,
    /// Far more framing than payload: an attack on our time, see `limits::CHUNK_OVERHEAD_RATIO`.
    Overhead,
    /// A trailer line is malformed.
    Trailer,
    /// Trailers exceed `limits::TRAILER_BYTES` or `limits::TRAILERS`.
    TrailersTooLong,
    /// The peer closed before the end.
    Truncated,
}

/// Reads one body. Start one per message with [`BodyReader::new`].
#[derive(Debug)]
pub struct BodyReader {
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    Counted(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
}

impl BodyReader {
    /// A reader for a body of this length.
    pub fn new(length: BodyLength) -> Self {
        let framing = match length {
            BodyLength::None => Framing::Counted(0),
            BodyLength::Length(length) => Framing::Counted(length),
            BodyLength::Chunked => Framing::Chunked(ChunkedDecoder::default()),
            BodyLength::UntilClose => Framing::UntilClose,
        };
        Self { framing }
    }

    /// Looks at `bytes`, which begins where the last step stopped. With no bytes it only tells whether the body has
    /// ended already.
    ///
    /// # Errors
    /// The framing is broken; the reader must not be used again.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<BodyStep, BodyError> {
        match &mut self.framing {
            Framing::Counted(0) => Ok(BodyStep::End { consumed: 0 }),
            Framing::Chunked(decoder) => decoder.advance(bytes),
            _ if bytes.is_empty() => Ok(BodyStep::More),
            Framing::UntilClose => Ok(BodyStep::Data {
                start: 0,
                end: bytes.len(),
            }),
            Framing::Counted(remaining) => {
                let end = usize::try_from(*remaining).map_or(bytes.len(), |it| it.min(bytes.len()));
                *remaining -= end as u64;
                Ok(BodyStep::Data { start: 0, end })
            }
        }
    }

    /// Bytes of payload went elsewhere without being looked at: no more than [`BodyReader::remaining`] tells, which for
    /// a body without a length is none.
    pub fn pass(&mut self, count: usize) {
        if let Framing::Counted(remaining) = &mut self.framing {
            *remaining = remaining.saturating_sub(count as u64);
        }
    }

    /// The peer has closed its side: was that the end of the body?
    ///
    /// # Errors
    /// [`BodyError::Truncated`] when more should have come.
    pub fn close(&self) -> Result<(), BodyError> {
        if self.is_ended() || matches!(self.framing, Framing::UntilClose) {
            Ok(())
        } else {
            Err(BodyError::Truncated)
        }
    }

    /// Its wire marks its end by other means than bytes, and this is it.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] when more should have come.
    pub fn end(&mut self) -> Result<(), BodyError> {
        self.close()?;
        self.framing = Framing::Counted(0);
        Ok(())
    }

    /// Nothing of this body is left to read.
    pub const fn is_ended(&self) -> bool {
        match &self.framing {
            Framing::Counted(remaining) => *remaining == 0,
            Framing::Chunked(decoder) => decoder.is_ended(),
            Framing::UntilClose => false,
        }
    }

    /// Bytes that are still to come, where the framing tells: what draining this body would cost.
    pub const fn remaining(&self) -> Option<u64> {
        match &self.framing {
            Framing::Counted(remaining) => Some(*remaining),
            Framing::Chunked(decoder) if decoder.is_ended() => Some(0),
            Framing::Chunked(_) | Framing::UntilClose => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_body_stops_at_its_last_byte() {
        let mut body = BodyReader::new(BodyLength::Length(5));
        assert_eq!(body.advance(b"abc"), Ok(BodyStep::Data { start: 0, end: 3 }));
        assert_eq!(body.advance(b""), Ok(BodyStep::More));
        assert_eq!(
            (body.remaining(), body.close()),
            (Some(2), Err(BodyError::Truncated))
        );
        assert_eq!(body.advance(b"deGET /"), Ok(BodyStep::Data { start: 0, end: 2 }));
        assert_eq!(body.advance(b"GET /"), Ok(BodyStep::End { consumed: 0 }));
        assert_eq!(body.close(), Ok(()));
    }

    #[test]
    fn no_body_ends_at_once() {
        let mut body = BodyReader::new(BodyLength::None);
        assert!(body.is_ended());
        assert_eq!(body.advance(b"GET /"), Ok(BodyStep::End { consumed: 0 }));
    }

    #[test]
    fn a_close_delimited_body_ends_with_the_connection_only() {
        let mut body = BodyReader::new(BodyLength::UntilClose);
        assert_eq!(body.advance(b"abc"), Ok(BodyStep::Data { start: 0, end: 3 }));
        assert_eq!(body.advance(b""), Ok(BodyStep::More));
        assert_eq!((body.is_ended(), body.close()), (false, Ok(())));
    }

    #[test]
    fn a_chunked_body_must_come_to_its_last_chunk() {
        let mut body = BodyReader::new(BodyLength::Chunked);
        assert_eq!(
            body.advance(b"1\r\na\r\n"),
            Ok(BodyStep::Data { start: 3, end: 4 })
        );
        assert_eq!(body.advance(b"\r\n"), Ok(BodyStep::More));
        assert_eq!(body.close(), Err(BodyError::Truncated));
        assert_eq!(body.advance(b"0\r\n\r\nGET /"), Ok(BodyStep::End { consumed: 5 }));
        assert_eq!((body.close(), body.remaining()), (Ok(()), Some(0)));
    }
}
