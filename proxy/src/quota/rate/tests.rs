use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::quota::headers;

const NOON_MS: u64 = 1_709_208_000_000; // 2024-02-29T12:00:00Z

fn take(limit: &RateLimit, table: &Table, now_ms: u64) -> bool {
    limit.take(table, now_ms, table.key(1, b"alice")).admitted
}

#[test]
fn exactly_the_limit_is_admitted_in_each_window() {
    let table = Table::new(1000);
    let limit = RateLimit::default().with(Period::Minute, 5);
    for minute in 0..3 {
        let admitted = (0..10)
            .filter(|i| take(&limit, &table, NOON_MS + minute * 60_000 + i * 1000))
            .count();
        assert_eq!(admitted, 5, "minute {minute}");
    }
}

#[test]
fn a_window_ends_on_its_edge() {
    let table = Table::new(1000);
    let limit = RateLimit::default().with(Period::Minute, 1);
    assert!(take(&limit, &table, NOON_MS + 59_999));
    assert!(!take(&limit, &table, NOON_MS + 59_999));
    assert!(take(&limit, &table, NOON_MS + 60_000));
}

#[test]
fn denied_requests_are_not_counted_anywhere() {
    let table = Table::new(1000);
    let limit = RateLimit::default().with(Period::Second, 1).with(Period::Hour, 4);
    for second in 0..4 {
        assert!(take(&limit, &table, NOON_MS + second * 1000));
        assert!(
            !take(&limit, &table, NOON_MS + second * 1000),
            "the second is full, the hour must not pay"
        );
    }
    assert!(!take(&limit, &table, NOON_MS + 4000), "the hour is full");
    let both = limit.take(&table, NOON_MS + 5000, table.key(1, b"alice"));
    let remaining: Vec<_> = both.standings().map(|standing| standing.remaining).collect();
    assert_eq!(remaining, [1, 0], "the second was not charged for the denial");
}

fn fields(decision: &Decision) -> Vec<String> {
    let mut fields = Vec::new();
    headers::rate_limit(decision, |name, value| {
        fields.push(format!("{}: {value}", name.name()))
    });
    fields
}

#[test]
fn an_admitted_request_is_told_what_remains() {
    let table = Table::new(1000);
    let limit = RateLimit::default()
        .with(Period::Minute, 5)
        .with(Period::Hour, 100);
    let decision = limit.take(&table, NOON_MS + 12_345, table.key(1, b"alice"));
    assert_eq!(
        fields(&decision),
        [
            "X-RateLimit-Limit-Minute: 5",
            "X-RateLimit-Remaining-Minute: 4",
            "X-RateLimit-Limit-Hour: 100",
            "X-RateLimit-Remaining-Hour: 99",
            "RateLimit-Limit: 5",
            "RateLimit-Remaining: 4",
            "RateLimit-Reset: 48",
        ]
    );
}

#[test]
fn a_denied_request_is_told_when_to_come_back() {
    let table = Table::new(1000);
    let limit = RateLimit::default().with(Period::Minute, 2).with(Period::Day, 9);
    let key = table.key(1, b"alice");
    limit.take(&table, NOON_MS, key);
    limit.take(&table, NOON_MS, key);
    let decision = limit.take(&table, NOON_MS + 30_000, key);
    assert!(!decision.admitted);
    assert_eq!(
        fields(&decision),
        [
            "X-RateLimit-Limit-Minute: 2",
            "X-RateLimit-Remaining-Minute: 0",
            "X-RateLimit-Limit-Day: 9",
            "X-RateLimit-Remaining-Day: 7",
            "RateLimit-Limit: 2",
            "RateLimit-Remaining: 0",
            "RateLimit-Reset: 30",
            "Retry-After: 30",
        ]
    );
}

#[test]
fn of_equally_tight_periods_the_longest_is_shown() {
    let table = Table::new(1000);
    let limit = RateLimit::default()
        .with(Period::Second, 3)
        .with(Period::Month, 3);
    let decision = limit.take(&table, NOON_MS, table.key(1, b"alice"));
    assert_eq!(decision.tightest().unwrap().period, Period::Month);
    assert_eq!(
        decision.tightest().unwrap().reset_s,
        2_592_000 - 28 * 86_400 - 43_200
    );
}

#[test]
fn extreme_limits_and_times_hold() {
    for now_ms in [0, 999, NOON_MS, u64::from(u32::MAX) * 1000, u64::MAX] {
        for (limit, admitted) in [(0, 0), (1, 1), (USAGE_MAX, 3), (u64::MAX, 3)] {
            let table = Table::new(1000);
            let rate = Period::ALL
                .iter()
                .fold(RateLimit::default(), |rate, period| rate.with(*period, limit));
            assert_eq!(
                (0..3).filter(|_| take(&rate, &table, now_ms)).count(),
                admitted,
                "{now_ms} {limit}"
            );
        }
    }
}

#[test]
fn a_clock_that_falls_back_admits_nothing_more_in_a_window() {
    let table = Table::new(1000);
    let limit = RateLimit::default().with(Period::Minute, 2);
    assert!(take(&limit, &table, NOON_MS + 1000));
    assert!(take(&limit, &table, NOON_MS + 60_000), "the next minute");
    assert!(
        take(&limit, &table, NOON_MS + 59_000),
        "a worker behind counts in the newest minute"
    );
    assert!(!take(&limit, &table, NOON_MS + 30_000));
    assert!(!take(&limit, &table, NOON_MS + 60_001));
}

#[test]
fn a_clock_that_was_wrong_does_not_block_anybody_for_long() {
    let table = Table::new(1000);
    let limit = RateLimit::default().with(Period::Minute, 1);
    assert!(
        take(&limit, &table, NOON_MS + 10 * 365 * 86_400_000),
        "ten years ahead by mistake"
    );
    assert!(take(&limit, &table, NOON_MS));
    assert!(!take(&limit, &table, NOON_MS + 1), "and counts from there");
    assert!(take(&limit, &table, NOON_MS + 60_000));
}

#[test]
fn limits_and_identifiers_do_not_share_counters() {
    let table = Table::new(1000);
    let rate = RateLimit::default().with(Period::Hour, 1);
    for limit in 0..50 {
        for identifier in [&b"a"[..], b"b", b""] {
            assert!(rate.take(&table, NOON_MS, table.key(limit, identifier)).admitted);
        }
    }
}

/// Kong's windows, counted the plain way.
#[derive(Default)]
struct Oracle(HashMap<(Period, u64), u64>);

impl Oracle {
    fn take(&mut self, limits: &[(Period, u64)], now_ms: u64) -> bool {
        let window = |period: Period| (period, period.window(now_ms).start_s);
        let fits = limits
            .iter()
            .all(|(period, limit)| self.0.get(&window(*period)).unwrap_or(&0) < limit);
        if fits {
            limits
                .iter()
                .for_each(|(period, _)| *self.0.entry(window(*period)).or_default() += 1);
        }
        fits
    }
}

proptest! {
    /// Sequential use agrees with the oracle request by request: nothing over, nothing under.
    #[test]
    fn every_sequence_is_judged_as_by_plain_counting(
        steps in prop::collection::vec((0..4000u64, 0..3u8), 1..200),
        limits in prop::sample::subsequence(Period::ALL.to_vec(), 1..4),
        sizes in prop::collection::vec(1..40u64, 6),
    ) {
        let table = Table::new(1000);
        let limits: Vec<_> = limits.into_iter().zip(sizes).collect();
        let rate = limits.iter().fold(RateLimit::default(), |rate, (period, limit)| rate.with(*period, *limit));
        let mut oracles: [Oracle; 3] = Default::default();
        let mut now_ms = NOON_MS + 43_190_000; // ten seconds before midnight and the end of the month
        for (step_ms, who) in steps {
            now_ms += step_ms;
            let admitted = rate.take(&table, now_ms, table.key(7, &[who])).admitted;
            prop_assert_eq!(admitted, oracles[usize::from(who)].take(&limits, now_ms), "at {}", now_ms);
        }
    }

    /// Workers whose clocks are apart: no window ever admits more than its limit.
    #[test]
    fn no_window_is_exceeded_however_workers_clocks_differ(
        steps in prop::collection::vec((0..700u64, 0..4usize, 0..3000u64), 1..300),
        second in 1..4u64, minute in 4..20u64,
    ) {
        let table = Table::new(1000);
        let rate = RateLimit::default().with(Period::Second, second).with(Period::Minute, minute);
        let mut clocks = [NOON_MS; 4];
        let mut now_ms = NOON_MS;
        let mut newest_ms = 0;
        let mut admitted: HashMap<(Period, u64), u64> = HashMap::new();
        for (step_ms, worker, behind_ms) in steps {
            now_ms += step_ms;
            clocks[worker] = clocks[worker].max(now_ms - behind_ms);
            newest_ms = newest_ms.max(clocks[worker]);
            if rate.take(&table, clocks[worker], table.key(7, b"x")).admitted {
                for period in [Period::Second, Period::Minute] {
                    *admitted.entry((period, period.window(newest_ms).start_s)).or_default() += 1;
                }
            }
        }
        for ((period, start), count) in admitted {
            let limit = if period == Period::Second { second } else { minute };
            prop_assert!(count <= limit, "{count} in {period:?} {start}");
        }
    }
}

/// Real threads on one key: exactly the limit, whatever the interleaving.
#[test]
fn eight_threads_on_one_key_get_exactly_the_limit() {
    let table = Table::new(1000);
    let one = RateLimit::default().with(Period::Hour, 30_000);
    assert_eq!(hammer(&table, &one, 1, NOON_MS), 30_000);
    let three = RateLimit::default()
        .with(Period::Day, 30_000)
        .with(Period::Hour, 20_000)
        .with(Period::Month, 40_000);
    assert_eq!(hammer(&table, &three, 2, NOON_MS), 20_000);
    assert_eq!(
        hammer(&table, &three, 2, NOON_MS + 3_600_000),
        10_000,
        "the day has 10,000 left"
    );
}

fn hammer(table: &Table, rate: &RateLimit, limit: u64, now_ms: u64) -> u64 {
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let key = table.key(limit, b"hot");
                let mine = (0..8000)
                    .filter(|_| rate.take(table, now_ms, key).admitted)
                    .count();
                admitted.fetch_add(mine as u64, Ordering::Relaxed);
            });
        }
    });
    admitted.into_inner()
}
