use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits;

const TARGET: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(limits::TICK_MS);

fn overload(most: Option<u64>) -> (Overload, Arc<Memory>) {
    let memory = Arc::new(Memory::new(most));
    (Overload::new(TARGET, Arc::clone(&memory)), memory)
}

/// Ticks that all came so late, for so long.
fn late(overload: &Overload, late: Duration, lasts: Duration) -> f64 {
    let ticks = lasts.as_micros() / (TICK + late).as_micros();
    (0..ticks).map(|_| overload.tick(late)).last().unwrap_or(1.0)
}

/// Of so many requests, those that are served.
fn served(overload: &Overload, priority: Priority, known: bool, requests: usize) -> usize {
    (0..requests)
        .filter(|_| overload.admit(priority, known).is_ok())
        .count()
}

#[test]
fn bursts_are_no_overload() {
    let (overload, _memory) = overload(None);
    for tick in 0..1000 {
        let late = if tick % 3 == 2 { 0 } else { 300 };
        let admitted = overload.tick(Duration::from_millis(late));
        assert!((admitted - 1.0).abs() < f64::EPSILON, "{admitted} at {tick}");
        assert_eq!(overload.admit(Priority::Low, false), Ok(()));
    }
}

#[test]
fn a_standing_queue_is_shed_and_let_in_again() {
    let (overload, _memory) = overload(None);
    let during = late(&overload, 2 * TARGET, Duration::from_secs(5));
    assert!(during < 0.2, "{during}");
    let held = late(&overload, TARGET * 3 / 4, Duration::from_secs(5));
    assert!((held - during).abs() < 1e-9, "between the marks it stays: {held}");
    let after = late(&overload, Duration::ZERO, Duration::from_secs(11));
    assert!((after - 1.0).abs() < 1e-9, "{after}");
}

#[test]
fn a_target_of_zero_is_off() {
    let overload = Overload::new(Duration::ZERO, Arc::default());
    let admitted = late(&overload, Duration::from_secs(1), Duration::from_secs(60));
    assert!((admitted - 1.0).abs() < f64::EPSILON);
    assert_eq!(served(&overload, Priority::Low, false, 100), 100);
}

#[test]
fn the_least_important_go_first() {
    let (overload, _memory) = overload(None);
    let all = [
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ];
    let ranks: Vec<_> = all.into_iter().flat_map(|it| [(it, false), (it, true)]).collect();
    for _ in 0..40 {
        overload.tick(2 * TARGET);
        let got: Vec<usize> = ranks
            .iter()
            .map(|&(it, known)| served(&overload, it, known, 320))
            .collect();
        assert!(got.is_sorted(), "{got:?}");
        assert_eq!(&got[6..], [320, 320], "critical requests are never turned away");
        assert!(got[0] >= 10, "one of 32 may prove who it is: {got:?}");
    }
    let (low, high) = (
        served(&overload, Priority::Low, true, 320),
        served(&overload, Priority::High, true, 320),
    );
    assert!(low < 20 && high >= low, "{low} {high}");
}

#[test]
fn a_full_process_serves_critical_requests_alone() {
    let (overload, memory) = overload(Some(1 << 30));
    assert!(!memory.saw(800 << 20));
    overload.tick(Duration::ZERO);
    assert!(overload.accepts());
    assert_eq!(served(&overload, Priority::Low, false, 100), 100);
    assert!(memory.saw(1 << 30));
    overload.tick(Duration::ZERO);
    assert!(!overload.accepts());
    let shed = overload.admit(Priority::High, true).unwrap_err();
    assert_eq!(shed.reason, Reason::Memory);
    assert!((1..=8).contains(&shed.retry_after_s));
    assert_eq!(served(&overload, Priority::High, true, 100), 0);
    assert_eq!(served(&overload, Priority::Critical, false, 100), 100);
    memory.saw(1000 << 20);
    assert!(!overload.accepts(), "not before there is some room");
    memory.saw(900 << 20);
    assert!(overload.accepts());
    overload.tick(Duration::ZERO);
    assert!(
        served(&overload, Priority::High, true, 100) < 100,
        "not all at once"
    );
    for _ in 0..20 {
        memory.saw(800 << 20);
    }
    overload.tick(Duration::ZERO);
    assert_eq!(served(&overload, Priority::Low, false, 100), 100);
}

#[test]
fn waits_are_spread() {
    let (overload, memory) = overload(Some(1 << 30));
    memory.saw(2 << 30);
    overload.tick(Duration::ZERO);
    let mut waits: Vec<u32> = (0..64)
        .filter_map(|_| overload.admit(Priority::Low, false).err())
        .map(|shed| shed.retry_after_s)
        .collect();
    waits.sort_unstable();
    waits.dedup();
    assert_eq!(waits, [1, 2, 3, 4, 5, 6, 7, 8]);
}

/// A worker that does so much work in a second, and the requests that wait for it.
struct Queue {
    overload: Overload,
    work_left: f64,
}

/// What became of the requests of one rank.
#[derive(Default)]
struct Fate {
    offered: f64,
    served: f64,
}

impl Queue {
    /// Serves a tick's arrivals: `low` and `high` requests a second that cost 1 each, shed ones a fifth, when it can do
    /// `capacity` a second. Gives how late the tick was.
    fn turn(&mut self, capacity: f64, rates: [f64; 2], fates: &mut [Fate; 2]) -> Duration {
        let late = Duration::from_secs_f64(self.work_left / capacity);
        self.overload.tick(late);
        let passed = (TICK + late).as_secs_f64();
        let ranks = [Priority::Low, Priority::High];
        let mut work = 0.0;
        for ((priority, rate), fate) in ranks.into_iter().zip(rates).zip(fates) {
            let arrived = fate.offered + (rate * passed).round();
            while fate.offered < arrived {
                fate.offered += 1.0;
                if self.overload.admit(priority, true).is_ok() {
                    fate.served += 1.0;
                    work += 1.0;
                } else {
                    work += 0.2;
                }
            }
        }
        self.work_left = (self.work_left + work - capacity * passed).max(0.0);
        late
    }
}

proptest! {
    /// Whatever the load up to three times what can be served, lateness stays bounded, high priorities are served as long
    /// as they alone fit, and everything is once the load is gone.
    #[test]
    fn lateness_is_bounded_and_the_important_are_served(
        capacity in 500.0..5000.0,
        low in 1.1..2.5_f64,
        high in 0.05..0.4_f64,
    ) {
        let mut queue = Queue { overload: overload(None).0, work_left: 0.0 };
        let rates = [low * capacity, high * capacity];
        let mut fates = <[Fate; 2]>::default();
        for _ in 0..400 {
            queue.turn(capacity, rates, &mut fates);
        }
        // What the first seconds queued is worked off by now.
        let mut fates = <[Fate; 2]>::default();
        let mut latest = Duration::ZERO;
        for _ in 0..800 {
            latest = latest.max(queue.turn(capacity, rates, &mut fates));
        }
        prop_assert!(latest < 6 * TARGET, "{latest:?}");
        let share = |fate: &Fate| fate.served / fate.offered;
        prop_assert!(share(&fates[1]) > 0.8, "high: {}", share(&fates[1]));
        let load = low + high;
        let wanted = ((1.0 - 0.2 * load) / 0.8 - high) / low;
        prop_assert!(share(&fates[0]) > wanted * 0.6, "low: {}, of {wanted}", share(&fates[0]));
        for _ in 0..800 {
            queue.turn(capacity, [0.1 * capacity, 0.1 * capacity], &mut fates);
        }
        let mut after = <[Fate; 2]>::default();
        for _ in 0..100 {
            queue.turn(capacity, [0.1 * capacity, 0.1 * capacity], &mut after);
        }
        prop_assert!(share(&after[0]) > 0.999, "{}", share(&after[0]));
    }
}
