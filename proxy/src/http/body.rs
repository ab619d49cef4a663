//! How long a body is, whatever the wire format says it with.

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
