use std::collections::HashMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::quota::window::Period;

const NOW_MS: u64 = 1_709_208_000_000;

fn table() -> Arc<Table> {
    Arc::new(Table::new(1000))
}

fn fixed(seconds: u32) -> Span {
    Span::Fixed(NonZeroU32::new(seconds).unwrap())
}

fn sliding(seconds: u32) -> Span {
    Span::Sliding(NonZeroU32::new(seconds).unwrap())
}

fn budget(table: &Table, limit_id: u64, span: Span, limit: u64, amount: u64) -> Budget {
    Budget {
        key: table.key(limit_id, b"team"),
        span,
        limit,
        amount,
    }
}

fn held(reserve: Reserve) -> Reservation {
    match reserve {
        Reserve::Held(reservation) => reservation,
        Reserve::Denied { index, standing } => panic!("denied by {index}: {standing:?}"),
    }
}

fn denied(reserve: Reserve) -> (usize, Standing) {
    match reserve {
        Reserve::Held(_) => panic!("admitted"),
        Reserve::Denied { index, standing } => (index, standing),
    }
}

fn remaining(table: &Table, now_ms: u64, budget: &Budget) -> u64 {
    standing(table, now_ms, budget.key, budget.span, budget.limit).remaining
}

#[test]
fn what_is_held_is_not_given_twice() {
    let table = table();
    let ask = budget(&table, 1, fixed(60), 100, 40);
    let first = held(reserve(&table, NOW_MS, &[ask]));
    let second = held(reserve(&table, NOW_MS, &[ask]));
    let (index, standing) = denied(reserve(&table, NOW_MS, &[ask]));
    assert_eq!((index, standing.remaining, standing.reset_s), (0, 20, 60));
    assert_eq!(
        (
            first.standing(0).unwrap().remaining,
            second.standing(0).unwrap().remaining
        ),
        (60, 20)
    );
    assert_eq!((table.held(), table.reservations()), (80, 2));
    assert_eq!(first.settle(NOW_MS, |_| 10).returned(0), 30);
    assert_eq!(remaining(&table, NOW_MS, &ask), 50);
    assert_eq!(
        second.settle(NOW_MS, |_| 55).returned(0),
        -15,
        "an excess is charged"
    );
    assert_eq!(remaining(&table, NOW_MS, &ask), 35);
    assert_eq!((table.held(), table.reservations()), (0, 0));
}

#[test]
fn a_refusal_leaves_earlier_scopes_unchanged() {
    let table = table();
    let organisation = budget(&table, 1, Span::Calendar(Period::Month), 1000, 60);
    let team = budget(&table, 2, sliding(60), 500, 60);
    let user = budget(&table, 3, fixed(60), 50, 60);
    let (index, standing) = denied(reserve(&table, NOW_MS, &[organisation, team, user]));
    assert_eq!((index, standing.remaining), (2, 50));
    assert_eq!(remaining(&table, NOW_MS, &organisation), 1000);
    assert_eq!(remaining(&table, NOW_MS, &team), 500);
    assert_eq!((table.held(), table.reservations()), (0, 0));
}

#[test]
fn every_end_of_a_call_settles_it_once_for_what_was_observed() {
    let table = table();
    let ask = budget(&table, 1, fixed(3600), 1000, 100);
    // The client leaves.
    let mut reservation = held(reserve(&table, NOW_MS, &[ask]));
    reservation.observe(NOW_MS, 0, 30);
    reservation.observe(NOW_MS, 0, 20);
    drop(reservation);
    assert_eq!(remaining(&table, NOW_MS, &ask), 970);
    // A panic in the middle of the stream.
    let mut reservation = held(reserve(&table, NOW_MS, &[ask]));
    let stream = AssertUnwindSafe(|| {
        reservation.observe(NOW_MS, 0, 7);
        let _owned = reservation;
        std::panic::resume_unwind(Box::new("a bug"));
    });
    assert!(catch_unwind(stream).is_err());
    assert_eq!(remaining(&table, NOW_MS, &ask), 963);
    // An explicit settlement does not count what was observed again.
    let mut reservation = held(reserve(&table, NOW_MS, &[ask]));
    reservation.observe(NOW_MS, 0, 90);
    reservation.settle(NOW_MS, |_| 3);
    assert_eq!(remaining(&table, NOW_MS, &ask), 960);
    // Nothing was sent to anybody.
    drop(held(reserve(&table, NOW_MS, &[ask])));
    assert_eq!(remaining(&table, NOW_MS, &ask), 960);
    assert_eq!((table.held(), table.reservations()), (0, 0));
}

#[test]
fn a_call_that_outlives_its_window_counts_in_the_next() {
    for span in [fixed(60), Span::Calendar(Period::Minute), sliding(60)] {
        let table = table();
        let ask = budget(&table, 1, span, 100, 80);
        let slow = held(reserve(&table, NOW_MS + 59_000, &[ask]));
        assert_eq!(
            remaining(&table, NOW_MS + 61_000, &ask),
            20,
            "{span:?}: still held"
        );
        denied(reserve(&table, NOW_MS + 61_000, &[ask]));
        slow.settle(NOW_MS + 62_000, |_| 70);
        assert_eq!(
            remaining(&table, NOW_MS + 62_000, &ask),
            30,
            "{span:?}: charged where it ended"
        );
    }
}

#[test]
fn a_dropped_call_is_charged_to_the_newest_window_it_can_know_of() {
    let table = table();
    let ask = budget(&table, 1, fixed(60), 100, 80);
    let mut slow = held(reserve(&table, NOW_MS, &[ask]));
    slow.observe(NOW_MS + 1000, 0, 50);
    reserve(&table, NOW_MS + 120_000, &[budget(&table, 2, fixed(1), 1, 1)]);
    drop(slow);
    assert_eq!(remaining(&table, NOW_MS + 120_000, &ask), 50);
}

#[test]
fn a_dropped_call_may_be_the_first_to_see_a_window() {
    let table = table();
    let ask = budget(&table, 1, fixed(60), 100, 80);
    let mut slow = held(reserve(&table, NOW_MS + 59_000, &[ask]));
    slow.observe(NOW_MS + 60_500, 0, 50);
    drop(slow);
    assert_eq!(
        remaining(&table, NOW_MS + 59_900, &ask),
        50,
        "seen by a worker that is behind"
    );
    assert_eq!(remaining(&table, NOW_MS + 61_000, &ask), 50);
    held(reserve(&table, NOW_MS + 59_900, &[Budget { amount: 50, ..ask }]));
    denied(reserve(&table, NOW_MS + 61_000, &[Budget { amount: 51, ..ask }]));
}

#[test]
fn sliding_windows_fade_and_say_when_an_amount_fits() {
    let table = table();
    let ask = budget(&table, 1, sliding(60), 100, 100);
    held(reserve(&table, NOW_MS + 30_000, &[ask])).settle(NOW_MS + 30_000, |_| 100);
    let small = Budget { amount: 25, ..ask };
    let (_, standing) = denied(reserve(&table, NOW_MS + 30_000, &[small]));
    // 25 of 100 have faded a quarter into the next window: 30 s to its begin and 15 s more.
    assert_eq!((standing.remaining, standing.reset_s), (0, 45));
    denied(reserve(&table, NOW_MS + 74_000, &[small]));
    let (_, standing) = denied(reserve(&table, NOW_MS + 74_000, &[small]));
    assert_eq!(standing.reset_s, 1);
    held(reserve(&table, NOW_MS + 75_000, &[small]));
}

#[test]
fn a_call_may_ask_for_more_on_its_way() {
    let table = table();
    let wide = budget(&table, 1, fixed(60), 100, 10);
    let narrow = budget(&table, 2, fixed(60), 30, 10);
    let mut reservation = held(reserve(&table, NOW_MS, &[wide, narrow]));
    reservation.extend(NOW_MS, |_| 15).unwrap();
    assert_eq!(
        (reservation.amount(0), reservation.amount(1), table.held()),
        (25, 25, 50)
    );
    let (index, standing) = reservation.extend(NOW_MS, |_| 15).unwrap_err();
    assert_eq!((index, standing.remaining), (1, 5));
    assert_eq!(
        (reservation.amount(0), reservation.amount(1), table.held()),
        (25, 25, 50),
        "all or none"
    );
    reservation.settle(NOW_MS, |_| 20);
    assert_eq!(
        (
            remaining(&table, NOW_MS, &wide),
            remaining(&table, NOW_MS, &narrow)
        ),
        (80, 10)
    );
    assert_eq!(table.held(), 0);
}

#[test]
fn extremes_neither_overflow_nor_admit() {
    let table = table();
    for amount in [USAGE_MAX + 1, u64::MAX] {
        denied(reserve(
            &table,
            NOW_MS,
            &[budget(&table, 1, fixed(1), u64::MAX, amount)],
        ));
    }
    let all = held(reserve(
        &table,
        u64::MAX,
        &[budget(&table, 1, sliding(u32::MAX), u64::MAX, USAGE_MAX)],
    ));
    denied(reserve(
        &table,
        u64::MAX,
        &[budget(&table, 1, sliding(u32::MAX), u64::MAX, 1)],
    ));
    all.settle(u64::MAX, |_| u64::MAX);
    denied(reserve(
        &table,
        u64::MAX,
        &[budget(&table, 1, sliding(u32::MAX), u64::MAX, 1)],
    ));
    let many = vec![budget(&table, 5, fixed(1), 9, 0); limits::BUDGETS + 1];
    assert_eq!(denied(reserve(&table, NOW_MS, &many)).0, limits::BUDGETS);
    assert_eq!((table.held(), table.reservations()), (0, 0));
}

#[test]
fn a_full_table_never_lets_a_key_overspend() {
    let table = Arc::new(Table::new(1));
    let calls: Vec<_> = (0..500u32)
        .flat_map(|who| {
            let key = table.key(1, &who.to_be_bytes());
            [Budget {
                key,
                span: fixed(60),
                limit: 10,
                amount: 6,
            }; 2]
        })
        .map(|ask| reserve(&table, NOW_MS, &[ask]))
        .collect();
    let admitted: Vec<_> = calls
        .iter()
        .map(|call| matches!(call, Reserve::Held(_)))
        .collect();
    assert!(admitted.chunks(2).all(|pair| pair != [true, true]), "12 of 10");
    assert!(admitted.iter().filter(|admitted| **admitted).count() >= 200);
    for call in calls {
        if let Reserve::Held(reservation) = call {
            reservation.settle(NOW_MS, |_| 6);
        }
    }
    for who in 0..500u32 {
        let key = table.key(1, &who.to_be_bytes());
        if admitted[2 * who as usize] {
            assert!(standing(&table, NOW_MS, key, fixed(60), 10).remaining <= 4);
        }
    }
    assert_eq!((table.held(), table.reservations()), (0, 0));
}

/// 1,000 calls at once against a budget for 10, settled while others ask, over several windows' edges.
#[test]
fn concurrent_calls_never_overspend() {
    let table = table();
    let ask = [
        budget(&table, 1, fixed(60), 1000, 100),
        budget(&table, 2, sliding(60), 5000, 100),
    ];
    let admitted: Vec<Reserve> = std::thread::scope(|scope| {
        let thread = || {
            (0..125)
                .map(|_| reserve(&table, NOW_MS, &ask))
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(thread)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(
        admitted
            .iter()
            .filter(|call| matches!(call, Reserve::Held(_)))
            .count(),
        10
    );
    assert_eq!(table.held(), 2000);
    drop(admitted);
    assert_eq!(table.held(), 0);
    let spent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (table, spent) = (&table, &spent);
            scope.spawn(move || {
                for step in 0..1500 {
                    if let Reserve::Held(call) = reserve(table, NOW_MS + 60_000, &ask) {
                        let used = (step * 31 + thread * 7) % 101;
                        call.settle(NOW_MS + 60_000, |_| used);
                        spent.fetch_add(used, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let spent = spent.into_inner();
    assert!(spent <= 1000 && spent > 900, "{spent} of 1000");
    assert_eq!(remaining(&table, NOW_MS + 60_000, &ask[0]), 1000 - spent);
    assert_eq!((table.held(), table.reservations()), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(u64),
    Settle(usize, u64),
    Drop(usize, u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..60u64).prop_map(Step::Reserve),
        2 => (any::<usize>(), 0..80u64).prop_map(|(which, actual)| Step::Settle(which, actual)),
        1 => (any::<usize>(), 0..40u64).prop_map(|(which, observed)| Step::Drop(which, observed)),
        2 => (0..15_000u64).prop_map(Step::Wait),
    ]
}

/// Usage by window, and the estimate from it.
#[derive(Default)]
struct Oracle(HashMap<u64, u64>);

impl Oracle {
    fn used(&self, span: Span, now_ms: u64) -> u64 {
        let window = span.window(now_ms);
        let of = |start_s: u64| *self.0.get(&start_s).unwrap_or(&0);
        let previous = match span {
            Span::Sliding(_) => {
                let length_ms = window.length_s() * 1000;
                (of(window.start_s - window.length_s()) * window.left_ms(now_ms)).div_ceil(length_ms)
            }
            _ => 0,
        };
        of(window.start_s) + previous
    }

    fn charge(&mut self, span: Span, now_ms: u64, amount: u64) {
        *self.0.entry(span.window(now_ms).start_s).or_default() += amount;
    }
}

proptest! {
    /// Any sequence is judged as by plain books: admitted exactly when held + used + amount fits, and what is
    /// held is the sum of the open calls at every step.
    #[test]
    fn every_sequence_is_judged_as_by_plain_books(
        steps in prop::collection::vec(step(), 1..120),
        span in prop::sample::select(vec![fixed(10), sliding(10), Span::Calendar(Period::Minute), sliding(7)]),
        limit in 1..200u64,
    ) {
        let table = table();
        let mut oracle = Oracle::default();
        let mut open: Vec<Reservation> = Vec::new();
        let mut now_ms = NOW_MS + 12_345;
        for step in steps {
            match step {
                Step::Wait(ms) => {
                    now_ms += ms;
                    table.lift(now_ms);
                }
                Step::Reserve(amount) => {
                    let sum: u64 = open.iter().map(|call| call.amount(0)).sum();
                    let fits = oracle.used(span, now_ms) + sum + amount <= limit;
                    match reserve(&table, now_ms, &[budget(&table, 1, span, limit, amount)]) {
                        Reserve::Held(call) => {
                            prop_assert!(fits);
                            open.push(call);
                        }
                        Reserve::Denied { .. } => prop_assert!(!fits),
                    }
                }
                Step::Settle(which, actual) if !open.is_empty() => {
                    let call = open.swap_remove(which % open.len());
                    let amount = call.amount(0).cast_signed();
                    prop_assert_eq!(call.settle(now_ms, |_| actual).returned(0), amount - actual.cast_signed());
                    oracle.charge(span, now_ms, actual);
                }
                Step::Drop(which, observed) if !open.is_empty() => {
                    let mut call = open.swap_remove(which % open.len());
                    call.observe(now_ms, 0, observed);
                    drop(call);
                    oracle.charge(span, now_ms, observed);
                }
                Step::Settle(..) | Step::Drop(..) => {}
            }
            prop_assert_eq!(table.held(), open.iter().map(|call| call.amount(0)).sum::<u64>());
            prop_assert_eq!(table.reservations(), open.len() as u64);
        }
    }

    /// As long as no call uses more than it held, no window is ever overspent.
    #[test]
    fn no_window_is_overspent_by_calls_that_keep_to_their_bound(
        steps in prop::collection::vec((0..5000u64, 1..50u64, 0..100u64, 0..20_000u64), 1..80),
    ) {
        let table = table();
        let mut used: HashMap<u64, u64> = HashMap::new();
        let mut open: Vec<(u64, u64, Reservation)> = Vec::new();
        let mut now_ms = NOW_MS;
        for (wait_ms, amount, percent, lasts_ms) in steps {
            now_ms += wait_ms;
            let (due, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|(end_ms, ..)| *end_ms <= now_ms);
            open = rest;
            for (_end_ms, actual, call) in due {
                call.settle(now_ms, |_| actual);
                *used.entry(fixed(10).window(now_ms).start_s).or_default() += actual;
            }
            if let Reserve::Held(call) = reserve(&table, now_ms, &[budget(&table, 1, fixed(10), 100, amount)]) {
                open.push((now_ms + lasts_ms, amount * percent / 100, call));
            }
        }
        prop_assert!(used.values().all(|used| *used <= 100), "{used:?}");
    }
}
