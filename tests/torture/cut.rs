//! Where messages are cut, to see whether it matters how their bytes arrive.

/// Messages up to this length, in bytes, are cut at every offset and sent byte by byte; longer ones at some offsets.
const SHORT: usize = 320;
/// Offsets at each end of a longer message.
const EDGE: usize = 4;
/// Offsets evenly spread over a longer message.
const SPREAD: usize = 8;

/// The offsets at which a message of `length` bytes is cut in two: never before its first byte.
pub(crate) fn offsets(length: usize) -> impl Iterator<Item = usize> {
    let chosen = move |at: &usize| {
        is_short(length) || *at <= EDGE || *at + EDGE > length || at.is_multiple_of(length / SPREAD)
    };
    (1..length).filter(chosen)
}

/// Whether a message is sent byte by byte as well.
pub(crate) fn is_short(length: usize) -> bool {
    length <= SHORT
}
