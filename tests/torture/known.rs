//! What is known to be wrong with Tollgate: claims that are kept as they should be and are expected to fail.
//!
//! A claim that is listed here and holds fails the test, so the list is never longer than it must be.

use anyhow::{Result, ensure};

/// Group or room, the start of the name of a case or test, and what is wrong.
pub(crate) const KNOWN: &[(&str, &str, &str)] = &[
    (
        "slow",
        "bytes_that_come_while_an_answer_streams_are_not_piled_up",
        "every read of the upstream that takes longer than CLIENT_WATCH_MS is followed by a read of the client, into \
         a buffer without a bound",
    ),
    (
        "responses",
        "two Content-Types",
        "an answer with two Content-Type fields is a 502, although nothing about it is ambiguous to frame; nginx and \
         HAProxy pass it on",
    ),
];

/// Why a claim is expected to fail, if it is.
pub(crate) fn reason(group: &str, name: &str) -> Option<&'static str> {
    KNOWN
        .iter()
        .find(|(of, start, _)| *of == group && name.starts_with(start))
        .map(|(_, _, reason)| *reason)
}

/// The verdict on a claim: it holds, or it is listed and fails.
pub(crate) fn expect(group: &str, name: &str, claim: Result<()>) -> Result<()> {
    match reason(group, name) {
        None => claim,
        Some(reason) => {
            ensure!(claim.is_err(), "{name} holds now; it was listed for: {reason}");
            Ok(())
        }
    }
}
