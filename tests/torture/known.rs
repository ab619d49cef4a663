//! What is known to be wrong with Tollgate: claims that are kept as they should be and are expected to fail.
//!
//! A claim that is listed here and holds fails the test, so the list is never longer than it must be.

use anyhow::{Result, ensure};
use tests::Driver;

/// A claim that does not hold.
struct Known {
    /// Group of cases, or room of tests.
    group: &'static str,
    /// The start of the name of its cases, or the name of its test.
    name: &'static str,
    /// The driver on which it does not hold, if it holds on the other.
    driver: Option<Driver>,
    reason: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        group: "greedy",
        name: "bytes_that_come_while_an_answer_streams_are_not_piled_up",
        driver: None,
        reason: "every read of the upstream that takes longer than CLIENT_WATCH_MS is followed by a read of the \
                 client, into a buffer without a bound",
    },
    Known {
        group: "greedy",
        name: "clients_that_never_stop_asking_hold_up_nobody",
        driver: Some(Driver::Epoll),
        reason: "a connection whose reads and writes never wait never yields, so one client has the worker",
    },
    Known {
        group: "responses",
        name: "two Content-Types",
        driver: None,
        reason: "an answer with two Content-Type fields is a 502, although nothing about it is ambiguous to frame; \
                 nginx and HAProxy pass it on",
    },
];

/// Cases that Tollgate alone lets through, and why that is right.
pub(crate) const ALONE: &[(&str, &str)] = &[(
    "head of 57 KiB",
    "heads may have 64 KiB here, and less in what the others set out with: a bound, not another reading",
)];

/// Why a claim is expected to fail on the driver under test, if it is.
pub(crate) fn reason(group: &str, name: &str) -> Option<&'static str> {
    KNOWN
        .iter()
        .filter(|known| known.driver.is_none_or(|driver| driver == Driver::under_test()))
        .find(|known| known.group == group && name.starts_with(known.name))
        .map(|known| known.reason)
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
