//! HTTP/2 on the wire (RFC 9113): frames, compressed heads, and what a head of it means.
//!
//! Formats only. The state of a connection and its streams is in `multiplex`.

pub mod encode;
pub mod frame;
pub mod hpack;
pub mod message;

/// What a client that speaks HTTP/2 sends first (§3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why a stream or a connection ends (§7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "as the RFC names them")]
pub enum ErrorCode {
    NoError = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    SettingsTimeout = 4,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Cancel = 8,
    Compression = 9,
    Connect = 10,
    EnhanceYourCalm = 11,
    InadequateSecurity = 12,
    Http11Required = 13,
}

impl ErrorCode {
    /// The code of a number; those that nobody knows are internal errors (§7).
    pub const fn of(number: u32) -> Self {
        match number {
            0 => Self::NoError,
            1 => Self::Protocol,
            3 => Self::FlowControl,
            4 => Self::SettingsTimeout,
            5 => Self::StreamClosed,
            6 => Self::FrameSize,
            7 => Self::RefusedStream,
            8 => Self::Cancel,
            9 => Self::Compression,
            10 => Self::Connect,
            11 => Self::EnhanceYourCalm,
            12 => Self::InadequateSecurity,
            13 => Self::Http11Required,
            _ => Self::Internal,
        }
    }
}
