//! Model checks: every interleaving of a few workers on one set, within the C++ memory model, by loom.
//!
//! The set under test is the one that serves traffic; only its word is another. A 128-bit value is represented by
//! its number in a list of all values seen, so that loom's 64-bit atomic stands for it exactly.

use std::cell::RefCell;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

use super::counter::{Counter, Fingerprint, Word};
use super::set::{Claim, Set};

thread_local! {
    /// Loom runs all threads of a model on one.
    static VALUES: RefCell<Vec<u128>> = RefCell::new(vec![0]);
}

fn number_of(value: u128) -> u64 {
    VALUES.with_borrow_mut(|values| {
        let found = values.iter().position(|known| *known == value);
        found.unwrap_or_else(|| {
            values.push(value);
            values.len() - 1
        }) as u64
    })
}

fn value_of(number: u64) -> u128 {
    VALUES.with_borrow(|values| values[usize::try_from(number).unwrap()])
}

#[derive(Debug, Default)]
struct LoomWord(AtomicU64);

impl Word for LoomWord {
    fn load(&self) -> u128 {
        value_of(self.0.load(Ordering::Acquire))
    }

    fn swap(&self, from: u128, to: u128) -> bool {
        let (from, to) = (number_of(from), number_of(to));
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

type SmallSet<'w> = Set<'w, LoomWord, 2>;

type Single<'w> = Set<'w, LoomWord, 1>;

/// The words of a set.
fn words<const WORDS: usize>() -> Arc<[LoomWord; WORDS]> {
    Arc::new(std::array::from_fn(|_| LoomWord::default()))
}

const NOW_S: u32 = 100;
const UNTIL_S: u32 = 160;

fn key(number: u64) -> Fingerprint {
    Fingerprint::new(number << 40, false)
}

/// What the table does for one request on its own set: find or enter the key, then one atomic step. `None` when
/// the set is full.
fn take(
    set: SmallSet<'_>,
    key: Fingerprint,
    start: usize,
    limit: u64,
    now_s: &impl Fn() -> u32,
) -> Option<bool> {
    loop {
        while let Some((slot, counter)) = set.find(key, start) {
            let usage = if counter.until_s == UNTIL_S {
                counter.count
            } else {
                0
            };
            if usage >= limit {
                return Some(false);
            }
            if set.swap(
                slot,
                counter,
                Counter {
                    until_s: UNTIL_S,
                    count: usage + 1,
                    ..counter
                },
            ) {
                return Some(true);
            }
        }
        if let Claim::Full(_) = set.claim(key, start, now_s, |_head| true) {
            return None;
        }
    }
}

fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn workers_that_enter_one_key_together_count_in_one_counter() {
    check(3, || {
        let set = words::<3>();
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let set = Arc::clone(&set);
                thread::spawn(move || take(SmallSet::new(&set), key(1), 0, 1, &|| NOW_S).unwrap())
            })
            .collect();
        let admitted = workers.into_iter().map(|worker| worker.join().unwrap());
        assert_eq!(admitted.filter(|admitted| *admitted).count(), 1);
        assert_eq!(SmallSet::new(&set).counters().count(), 1);
    });
}

#[test]
fn two_keys_that_want_one_spent_counter_both_keep_their_count() {
    check(3, || {
        let set = words::<3>();
        // One counter is spent, the other is live and must survive.
        assert!(take(SmallSet::new(&set), key(8), 0, 9, &|| NOW_S - 60).unwrap());
        let spent = SmallSet::new(&set).find(key(8), 0).unwrap();
        assert!(SmallSet::new(&set).swap(
            spent.0,
            spent.1,
            Counter {
                until_s: NOW_S,
                ..spent.1
            }
        ));
        assert!(take(SmallSet::new(&set), key(9), 0, 9, &|| NOW_S - 60).unwrap());
        let other = {
            let set = Arc::clone(&set);
            thread::spawn(move || take(SmallSet::new(&set), key(2), 0, 1, &|| NOW_S))
        };
        let mine = take(SmallSet::new(&set), key(1), 0, 1, &|| NOW_S);
        let other = other.join().unwrap();
        assert_eq!(
            [mine, other].iter().flatten().count(),
            1,
            "one finds room, one learns that it is full"
        );
        assert_eq!(
            SmallSet::new(&set).find(key(9), 0).unwrap().1.count,
            1,
            "a live counter is never taken"
        );
        assert_eq!(
            SmallSet::new(&set)
                .find(key(if mine.is_some() { 1 } else { 2 }), 0)
                .unwrap()
                .1
                .count,
            1
        );
    });
}

#[test]
fn an_owner_that_comes_back_keeps_its_counter_or_gets_a_new_one_but_never_two() {
    check(3, || {
        let set = words::<3>();
        for number in [8, 9] {
            assert!(take(SmallSet::new(&set), key(number), 0, 9, &|| NOW_S - 60).unwrap());
            let (slot, counter) = SmallSet::new(&set).find(key(number), 0).unwrap();
            assert!(SmallSet::new(&set).swap(
                slot,
                counter,
                Counter {
                    until_s: NOW_S,
                    ..counter
                }
            ));
        }
        let owner = {
            let set = Arc::clone(&set);
            thread::spawn(move || take(SmallSet::new(&set), key(8), 0, 1, &|| NOW_S))
        };
        let newcomer = take(SmallSet::new(&set), key(1), 0, 1, &|| NOW_S);
        let owner = owner.join().unwrap();
        assert_eq!(
            (newcomer, owner),
            (Some(true), Some(true)),
            "there is room for both"
        );
        for number in [1, 8] {
            let found = SmallSet::new(&set)
                .counters()
                .filter(|counter| counter.fingerprint == key(number));
            assert_eq!(found.map(|counter| counter.count).collect::<Vec<_>>(), [1]);
        }
    });
}

#[test]
fn a_worker_behind_never_starts_a_forgotten_window_anew() {
    check(3, || {
        let set = words::<2>();
        let newest_s = Arc::new(AtomicU32::new(UNTIL_S - 1));
        enter(Single::new(&set), key(1), &newest_s);
        let (slot, counter) = Single::new(&set).find(key(1), 0).unwrap();
        assert!(Single::new(&set).swap(
            slot,
            counter,
            Counter {
                until_s: UNTIL_S,
                count: 5,
                ..counter
            }
        ));
        let ahead = {
            let (set, newest_s) = (Arc::clone(&set), Arc::clone(&newest_s));
            thread::spawn(move || {
                newest_s.store(UNTIL_S, Ordering::Release);
                enter(Single::new(&set), key(2), &newest_s);
                // Spent again at once, so that the other can come in.
                if let Some((slot, counter)) = Single::new(&set).find(key(2), 0) {
                    Single::new(&set).swap(
                        slot,
                        counter,
                        Counter {
                            until_s: UNTIL_S - 1,
                            ..counter
                        },
                    );
                }
            })
        };
        // Has computed its window while the newest second was still inside it.
        let behind = thread::spawn(move || {
            enter(Single::new(&set), key(1), &newest_s);
            if let Some((_slot, counter)) = Single::new(&set).find(key(1), 0) {
                let anew = counter.until_s <= UNTIL_S && counter.count < 5;
                assert!(!anew, "entered into a window that had been counted: {counter:?}");
            }
        });
        ahead.join().unwrap();
        behind.join().unwrap();
    });
}

fn enter(set: Single<'_>, key: Fingerprint, newest_s: &AtomicU32) -> Claim {
    set.claim(key, 0, &|| newest_s.load(Ordering::Acquire), |_head| true)
}

/// A helper that stopped after it had seen an announcement goes on when that insertion is long done, its key gone
/// and its slot someone else's.
#[test]
fn a_helper_that_comes_too_late_enters_nothing() {
    check(3, || {
        let set = words::<2>();
        let newest_s = Arc::new(AtomicU32::new(NOW_S));
        let helper = {
            let (set, newest_s) = (Arc::clone(&set), Arc::clone(&newest_s));
            thread::spawn(move || enter(Single::new(&set), key(3), &newest_s))
        };
        enter(Single::new(&set), key(1), &newest_s);
        newest_s.store(NOW_S + 1, Ordering::Release);
        enter(Single::new(&set), key(2), &newest_s);
        newest_s.store(NOW_S + 2, Ordering::Release);
        helper.join().unwrap();
        assert_ne!(
            Single::new(&set).counters().next().unwrap().fingerprint,
            key(1),
            "was replaced, and nobody asked again"
        );
    });
}
