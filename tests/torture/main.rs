//! Attacks on HTTP/1.1: what a hostile client or upstream sends, byte for byte, and what must become of it.
//!
//! In: the cases of `cases/`, each followed on its connection by a probe, a request like any other. Out: what the
//! client got and what the upstream saw. Either the probe gets its own answer or the connection ends; nobody ever
//! gets another's. The same payloads go through nginx and HAProxy: nothing passes here that both of them refuse, but
//! what `alone` lists with its reason.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests are ordinary blocking code on their own threads, not the data path"
)]

mod alone;
mod client;
mod cut;
mod greedy;
mod peers;
mod pressure;
mod report;
mod requests;
mod responses;
mod slow;
mod subject;
mod tape;
mod verdict;

/// Two claims about each group: its verdicts are those written down, and they hold however the bytes arrive.
macro_rules! groups {
    ($($group:ident),+ $(,)?) => {$(
        mod $group {
            #[test]
            fn verdicts_hold() -> anyhow::Result<()> {
                crate::requests::hold(stringify!($group))
            }

            #[test]
            fn verdicts_hold_however_the_bytes_arrive() -> anyhow::Result<()> {
                crate::requests::hold_however_split(stringify!($group))
            }
        }
    )+};
}

groups!(
    request_line,
    fields,
    framing,
    chunks,
    paths,
    hops,
    upgrades,
    injection,
    pipelines,
    limits
);
