//! Frames (RFC 9113 §4 and §6): reading what stands before their payloads, and writing whole ones.

use super::ErrorCode;

/// Bytes before each payload.
pub const HEAD_BYTES: usize = 9;
/// The largest payload that everybody takes, and the largest that we take.
pub const PAYLOAD_BYTES: usize = 16_384;
/// The largest window.
pub const WINDOW_MAX: i64 = (1 << 31) - 1;
/// Windows before anybody says anything.
pub const WINDOW_INITIAL: i64 = 65_535;

/// `END_STREAM` of DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
/// `ACK` of SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// `END_HEADERS` of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 0x4;
/// `PADDED` of DATA and HEADERS.
pub const PADDED: u8 = 0x8;
/// `PRIORITY` of HEADERS.
pub const PRIORITY: u8 = 0x20;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the RFC names them")]
pub enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// To be ignored (§5.5).
    Unknown,
}

impl Kind {
    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub length: usize,
    /// What it is for.
    pub kind: Kind,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
}

impl FrameHead {
    /// Reads a frame's first [`HEAD_BYTES`]; `None` while they are not all there.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<HEAD_BYTES>()?;
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind: Kind::of(kind),
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        })
    }

    /// Whether a flag is set.
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of DATA or HEADERS without its padding.
    ///
    /// # Errors
    /// The padding is longer than the payload: [`ErrorCode::Protocol`], for the connection.
    pub fn unpadded<'p>(&self, payload: &'p [u8]) -> Result<&'p [u8], ErrorCode> {
        if !self.has(PADDED) {
            return Ok(payload);
        }
        let (padding, rest) = payload.split_first().ok_or(ErrorCode::FrameSize)?;
        let length = rest.len().checked_sub(usize::from(*padding));
        Ok(&rest[..length.ok_or(ErrorCode::Protocol)?])
    }
}

/// A parameter that a peer announces (§6.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`.
    MaxStreams(u32),
    /// `SETTINGS_INITIAL_WINDOW_SIZE`, at most [`WINDOW_MAX`].
    InitialWindow(i64),
    /// `SETTINGS_MAX_FRAME_SIZE`, at least [`PAYLOAD_BYTES`].
    MaxFrame(usize),
}

/// The parameters of a SETTINGS payload that matter here, in their order.
///
/// # Errors
/// For the connection: [`ErrorCode::FrameSize`], or that of the parameter whose value is impossible.
pub fn settings(payload: &[u8]) -> Result<impl Iterator<Item = Setting>, ErrorCode> {
    let (list, rest) = payload.as_chunks::<6>();
    if !rest.is_empty() {
        return Err(ErrorCode::FrameSize);
    }
    let read = |[i0, i1, v0, v1, v2, v3]: [u8; 6]| {
        let value = u32::from_be_bytes([v0, v1, v2, v3]);
        Ok(match (u16::from_be_bytes([i0, i1]), value) {
            (2, 0 | 1) => None,
            (2, _) => return Err(ErrorCode::Protocol),
            (3, _) => Some(Setting::MaxStreams(value)),
            (4, _) if i64::from(value) > WINDOW_MAX => return Err(ErrorCode::FlowControl),
            (4, _) => Some(Setting::InitialWindow(value.into())),
            (5, 0x4000..=0xff_ffff) => Some(Setting::MaxFrame(value as usize)),
            (5, _) => return Err(ErrorCode::Protocol),
            _ => None,
        })
    };
    for chunk in list {
        read(*chunk)?;
    }
    Ok(list.iter().filter_map(move |chunk| read(*chunk).ok().flatten()))
}

/// Appends what stands before a payload of `length` bytes.
pub fn push_head(length: usize, kind: u8, flags: u8, stream: u32, out: &mut Vec<u8>) {
    let [_, _, _, _, _, l0, l1, l2] = (length as u64).to_be_bytes();
    out.extend_from_slice(&[l0, l1, l2, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Appends DATA; at most [`PAYLOAD_BYTES`], or what the peer takes.
pub fn push_data(stream: u32, data: &[u8], end: bool, out: &mut Vec<u8>) {
    push_head(data.len(), 0, if end { END_STREAM } else { 0 }, stream, out);
    out.extend_from_slice(data);
}

/// Appends HEADERS, and CONTINUATION where `write` writes a block of more than `most` bytes.
pub fn push_block(stream: u32, end: bool, most: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    push_head(0, 1, flags, stream, out);
    let block = out.len();
    write(out);
    let length = out.len() - block;
    if length <= most {
        let [_, _, _, _, _, l0, l1, l2] = (length as u64).to_be_bytes();
        out[start..start + 3].copy_from_slice(&[l0, l1, l2]);
        return;
    }
    let block = out.split_off(block);
    out.truncate(start);
    let mut pieces = block.chunks(most).enumerate().peekable();
    while let Some((number, piece)) = pieces.next() {
        let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        match number {
            0 => push_head(piece.len(), 1, last | flags & END_STREAM, stream, out),
            _ => push_head(piece.len(), 9, last, stream, out),
        }
        out.extend_from_slice(piece);
    }
}

/// Appends `RST_STREAM`.
pub fn push_reset(stream: u32, code: ErrorCode, out: &mut Vec<u8>) {
    push_head(4, 3, 0, stream, out);
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

/// Appends SETTINGS with these identifiers and values.
pub fn push_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    push_head(settings.len() * 6, 4, 0, 0, out);
    for (identifier, value) in settings {
        out.extend_from_slice(&identifier.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the acknowledgement of SETTINGS.
pub fn push_settings_ack(out: &mut Vec<u8>) {
    push_head(0, 4, ACK, 0, out);
}

/// Appends a PING.
pub fn push_ping(payload: &[u8; 8], out: &mut Vec<u8>) {
    push_head(payload.len(), 6, 0, 0, out);
    out.extend_from_slice(payload);
}

/// Appends the answer to a PING.
pub fn push_pong(payload: &[u8; 8], out: &mut Vec<u8>) {
    push_head(payload.len(), 6, ACK, 0, out);
    out.extend_from_slice(payload);
}

/// Appends GOAWAY: streams after `last` were not looked at.
pub fn push_go_away(last: u32, code: ErrorCode, out: &mut Vec<u8>) {
    push_head(8, 7, 0, 0, out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

/// Appends `WINDOW_UPDATE`; more than nothing, at most [`WINDOW_MAX`].
pub fn push_window_update(stream: u32, more: u32, out: &mut Vec<u8>) {
    push_head(4, 8, 0, stream, out);
    out.extend_from_slice(&more.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_block_of_any_length_comes_in_frames_that_join_to_it(
            block in proptest::collection::vec(any::<u8>(), 0..100), most in 1..40_usize, end: bool,
        ) {
            let mut out = b"before".to_vec();
            push_block(7, end, most, &mut out, |out| out.extend_from_slice(&block));
            let (mut rest, mut joined, mut number) = (&out[6..], Vec::new(), 0);
            loop {
                let head = FrameHead::read(rest).unwrap();
                prop_assert_eq!(head.stream, 7);
                prop_assert_eq!(head.kind, if number == 0 { Kind::Headers } else { Kind::Continuation });
                prop_assert_eq!(head.has(END_STREAM), end && number == 0);
                prop_assert!(head.length <= most);
                joined.extend_from_slice(&rest[HEAD_BYTES..HEAD_BYTES + head.length]);
                rest = &rest[HEAD_BYTES + head.length..];
                prop_assert_eq!(head.has(END_HEADERS), rest.is_empty());
                number += 1;
                if rest.is_empty() { break }
            }
            prop_assert_eq!(joined, block);
        }
    }

    #[test]
    fn padding_is_taken_off_or_refused() {
        let head = |flags| FrameHead {
            length: 0,
            kind: Kind::Data,
            flags,
            stream: 1,
        };
        assert_eq!(head(0).unpadded(b"\x02ab"), Ok(&b"\x02ab"[..]));
        assert_eq!(head(PADDED).unpadded(b"\x02abcd"), Ok(&b"ab"[..]));
        assert_eq!(head(PADDED).unpadded(b"\x02cd"), Ok(&b""[..]));
        assert_eq!(head(PADDED).unpadded(b"\x03cd"), Err(ErrorCode::Protocol));
        assert_eq!(head(PADDED).unpadded(b""), Err(ErrorCode::FrameSize));
    }

    #[test]
    fn settings_are_read_or_refused() {
        let read = |list: &[(u16, u32)]| {
            let mut out = Vec::new();
            push_settings(list, &mut out);
            settings(&out[HEAD_BYTES..]).map(Iterator::collect::<Vec<_>>)
        };
        assert_eq!(
            read(&[(3, 100), (9, 9), (4, 1), (5, 16_384)]),
            Ok(vec![
                Setting::MaxStreams(100),
                Setting::InitialWindow(1),
                Setting::MaxFrame(16_384)
            ])
        );
        assert_eq!(read(&[(2, 2)]), Err(ErrorCode::Protocol));
        assert_eq!(read(&[(4, 1 << 31)]), Err(ErrorCode::FlowControl));
        assert_eq!(read(&[(5, 16_383)]), Err(ErrorCode::Protocol));
        assert_eq!(read(&[(5, 1 << 24)]), Err(ErrorCode::Protocol));
        assert!(settings(b"12345").is_err());
    }
}
