//! Kong's 64-bit route priority (`traditional_compatible`): the greater number is tried first.

use super::PathTest;
use crate::deck::entity::Route;
use crate::diagnostic::{Diagnostic, Report};

/// Bits 63–61 count kinds of matchers, 60 marks plain hosts, 59–52 count headers, 51 marks regexes, 50–19 hold
/// `regex_priority`, 18–0 the length of the prefix.
pub(super) fn priority(route: &Route, path: &PathTest, report: &Report) -> u64 {
    let kinds = [
        !route.methods.is_empty(),
        !route.hosts.is_empty(),
        !route.headers.is_empty(),
        !route.snis.is_empty(),
        !route.paths.is_empty(),
    ];
    let kinds = kinds.iter().map(|set| u64::from(*set)).sum::<u64>();
    let plain_hosts = !route.hosts.is_empty() && route.hosts.iter().all(|host| !host.value.contains('*'));
    let headers = u64::try_from(route.headers.len()).map_or(255, |count| count.min(255));
    let path = match path {
        PathTest::Any => 0,
        PathTest::Prefixes { len, .. } => u64::from(*len).min(0x7_ffff),
        PathTest::Regexes { .. } => 1 << 51 | u64::from(regex_priority(route, report)) << 19,
    };
    kinds << 61 | u64::from(plain_hosts) << 60 | headers << 52 | path
}

fn regex_priority(route: &Route, report: &Report) -> u32 {
    u32::try_from(route.regex_priority).unwrap_or_else(|_| {
        let nearest = if route.regex_priority < 0 { 0 } else { u32::MAX };
        let words = format!(
            "`regex_priority` {} does not fit the 32 bits of Kong's order",
            route.regex_priority
        );
        report.push(
            Diagnostic::warning("regex-priority", words)
                .at(route.meta.span)
                .help(format!("it counts as {nearest}")),
        );
        nearest
    })
}
