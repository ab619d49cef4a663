use super::*;
use crate::quota::rate::RateLimit;
use crate::quota::window::Period;

const NOW_MS: u64 = 1_709_208_000_000;

/// Unoptimised builds try one million keys on a table a tenth of the size.
const SCALE: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

#[test]
fn ten_million_keys_neither_grow_the_table_nor_push_a_limited_key_out() {
    let table = Table::new(15 * 2560 / SCALE as usize);
    let rate = RateLimit::default().with(Period::Hour, 3);
    let victims: Vec<_> = (0..50u32)
        .map(|victim| table.key(1, &victim.to_be_bytes()))
        .collect();
    for key in &victims {
        while rate.take(&table, NOW_MS, *key).admitted {}
    }
    let before = table.resident_bytes();
    let mut admitted = 0u64;
    for attacker in 0..10_000_000 / SCALE {
        // Mostly a limit with short windows, as an attacker would use up and turn over the table.
        let (limit, period) = if attacker % 64 == 0 {
            (1, Period::Hour)
        } else {
            (2, Period::Second)
        };
        let key = table.key(limit, &u64::from(attacker).to_le_bytes());
        let rate = RateLimit::default().with(period, 3);
        let now_ms = NOW_MS + u64::from(attacker / 10);
        admitted += u64::from(rate.take(&table, now_ms, key).admitted);
    }
    assert!(
        admitted > 100_000 / u64::from(SCALE),
        "keys that find room are served, {admitted}"
    );
    assert!(
        table.overflowed() > 1_000_000 / u64::from(SCALE),
        "the table was full, {}",
        table.overflowed()
    );
    let bound = (table.capacity() + limits::QUOTA_OVERFLOW_COUNTERS) * 18;
    assert!(
        before < bound && table.resident_bytes() < bound,
        "{} bytes",
        table.resident_bytes()
    );
    let survived = victims
        .iter()
        .filter(|key| !rate.take(&table, NOW_MS + 1_000_001, **key).admitted)
        .count();
    assert_eq!(survived, victims.len(), "a limited key was forgotten");
}

#[test]
fn a_full_table_never_admits_more_than_the_limit_to_a_key() {
    let table = Table::new(1); // 240 counters
    let rate = RateLimit::default().with(Period::Minute, 2);
    let keys: Vec<_> = (0..2000u32).map(|key| table.key(9, &key.to_be_bytes())).collect();
    for minute in 0..3 {
        let mut admitted = vec![0; keys.len()];
        for round in 0..4 {
            for (key, admitted) in keys.iter().zip(&mut admitted) {
                *admitted += u32::from(rate.take(&table, NOW_MS + minute * 60_000 + round, *key).admitted);
            }
        }
        assert!(admitted.iter().all(|admitted| *admitted <= 2));
        assert_eq!(
            admitted.iter().sum::<u32>(),
            2 * 240 + 2,
            "every counter is used, and one overflow"
        );
    }
}

#[test]
fn a_key_in_overflow_stays_there_while_its_window_lasts() {
    let table = Table::new(1);
    let short = RateLimit::default().with(Period::Second, 1);
    let long = RateLimit::default().with(Period::Hour, 1);
    for key in 0..2000u32 {
        short.take(&table, NOW_MS, table.key(1, &key.to_be_bytes()));
    }
    let key = table.key(2, b"late");
    assert!(
        long.take(&table, NOW_MS, key).admitted,
        "counted in the overflow of limit 2"
    );
    assert!(table.overflowed() > 0);
    // A second later every counter in the table is spent, yet the key must not start anew.
    assert!(!long.take(&table, NOW_MS + 1000, key).admitted);
    let other = table.key(3, b"late");
    assert!(
        long.take(&table, NOW_MS + 1000, other).admitted,
        "another limit finds room"
    );
    assert!(
        long.take(&table, NOW_MS + 3_600_000, key).admitted,
        "the next hour"
    );
}

#[test]
fn memory_appears_only_where_keys_are() {
    let table = Table::new(limits::QUOTA_COUNTERS);
    assert_eq!(table.capacity(), limits::QUOTA_COUNTERS);
    let empty = table.resident_bytes();
    assert!(empty < 100 * 1024, "{empty}");
    let rate = RateLimit::default().with(Period::Minute, 1);
    rate.take(&table, NOW_MS, table.key(1, b"a"));
    assert_eq!(table.resident_bytes() - empty, 4096);
    table.expect(limits::QUOTA_KNOWN_CALLERS - 1);
    assert_eq!(table.resident_bytes() - empty, 4096, "a few callers need no more");
    table.expect(limits::QUOTA_KNOWN_CALLERS);
    assert_eq!(
        table.resident_bytes() - empty,
        limits::QUOTA_COUNTERS / 15 * 256,
        "as many as there are pages come to use all of them"
    );
    assert!(rate.take(&table, NOW_MS, table.key(1, b"b")).admitted);
    assert!(
        !rate.take(&table, NOW_MS, table.key(1, b"a")).admitted,
        "and nothing is lost"
    );
}

#[test]
fn digests_of_identifiers_are_counted_apart_from_each_other_and_from_bytes() {
    let table = Table::new(15 * 4096);
    let rate = RateLimit::default().with(Period::Hour, 1);
    for limit in 0..30u64 {
        for digest in (0..30u64).chain((0..64).map(|bit| !(1 << bit))) {
            assert!(
                rate.take(&table, NOW_MS, table.key_of_digest(limit, digest))
                    .admitted
            );
            assert!(
                !rate
                    .take(&table, NOW_MS, table.key_of_digest(limit, digest))
                    .admitted
            );
            assert!(
                rate.take(&table, NOW_MS, table.key(limit, &digest.to_le_bytes()))
                    .admitted
            );
        }
    }
    assert_eq!(table.overflowed(), 0);
}

#[test]
fn threads_that_enter_the_same_keys_into_full_sets_agree_on_one_counter() {
    for round in 0..20u64 {
        let table = Table::new(1);
        let rate = RateLimit::default().with(Period::Minute, 3);
        let admitted: Vec<AtomicU64> = (0..600).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let (table, rate, admitted) = (&table, &rate, &admitted);
                scope.spawn(move || {
                    for step in 0..4 * 600 {
                        let index = (step * 7 + thread * 13) % 600;
                        let key = table.key(1, &index.to_le_bytes());
                        if rate.take(table, NOW_MS + round, key).admitted {
                            admitted[index].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let most = admitted
            .iter()
            .map(|admitted| admitted.load(Ordering::Relaxed))
            .max();
        assert_eq!(most, Some(3), "round {round}");
    }
}
