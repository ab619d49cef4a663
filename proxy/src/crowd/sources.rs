//! How many connections come from each address, or from each /64 of IPv6, which is one customer's: a table of fixed size.
//!
//! A word holds a source and its count. Words of one source lie within a window behind its place; a source whose window is
//! full of others is refused, which the table is too large for. Nobody waits: who finds a word changed looks again.

use std::sync::atomic::Ordering::SeqCst;

use ahash::RandomState;
use portable_atomic::AtomicU128;

use crate::memory::{Aligned, zeroed};

/// Words of a cache line.
const LINE: usize = 4;
/// Lines in which a source's words are looked for.
const WINDOW: usize = 8;
/// Bits of a word that hold the count; the source is above them.
const COUNT_BITS: u32 = 32;

/// The word that counts a connection.
#[derive(Debug)]
pub(super) struct Slot(usize);

#[derive(Debug)]
pub(super) struct Sources {
    lines: Box<[Aligned<LINE>]>,
    hasher: RandomState,
}

impl Sources {
    /// For so many connections. No more than half of the words are ever in use.
    pub(super) fn new(connections: usize) -> Self {
        let lines = (connections * 2 / LINE).next_power_of_two().max(WINDOW);
        Self {
            lines: zeroed(lines),
            hasher: RandomState::new(),
        }
    }

    /// Counts one more of an address, IPv4 mapped; `None` when there are `most`.
    pub(super) fn enter(&self, address: u128, most: u32) -> Option<Slot> {
        let source = source_of(address);
        loop {
            let seen = self.look(source);
            if seen.count >= most {
                return None;
            }
            let (at, old, new) = match seen.own {
                Some((at, word)) => (at, word, word + 1),
                None => (seen.free?, 0, source << COUNT_BITS | 1),
            };
            if self.word(at).compare_exchange(old, new, SeqCst, SeqCst).is_err() {
                continue;
            }
            // Two may have begun two words for one source; each sees what the other did, or was seen by it.
            if self.look(source).count <= most {
                return Some(Slot(at));
            }
            self.leave(Slot(at));
        }
    }

    /// Counts one less.
    pub(super) fn leave(&self, Slot(at): Slot) {
        let less = |word: u128| Some(if count_of(word) <= 1 { 0 } else { word - 1 });
        // It gives a word for each.
        let _ = self.word(at).fetch_update(SeqCst, SeqCst, less);
    }

    fn look(&self, source: u128) -> Seen {
        let first = usize::try_from(self.hasher.hash_one(source) >> 32).unwrap_or(0) * LINE;
        let mut seen = Seen::default();
        for at in first..first + WINDOW * LINE {
            let word = self.word(at).load(SeqCst);
            if word == 0 {
                seen.free.get_or_insert(at);
            } else if word >> COUNT_BITS == source {
                seen.count = seen.count.saturating_add(count_of(word));
                seen.own = Some((at, word));
            }
        }
        seen
    }

    fn word(&self, at: usize) -> &AtomicU128 {
        &self.lines[at / LINE % self.lines.len()].0[at % LINE]
    }
}

/// What one look at a source's window brought.
#[derive(Default)]
struct Seen {
    count: u32,
    own: Option<(usize, u128)>,
    free: Option<usize>,
}

const fn count_of(word: u128) -> u32 {
    let [.., a, b, c, d] = word.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The address where it is one of IPv4, else its network of 64 bits; told apart by a bit above them.
const fn source_of(address: u128) -> u128 {
    const MAPPED: u128 = 0xffff;
    if address >> 32 == MAPPED {
        address & 0xffff_ffff | 1 << 64
    } else {
        address >> 64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Barrier;

    use proptest::prelude::*;

    use super::*;
    use crate::node::address_bits;

    fn address(text: &str) -> u128 {
        address_bits(text.parse().unwrap())
    }

    impl Sources {
        fn is_empty(&self) -> bool {
            (0..self.lines.len() * LINE).all(|at| self.word(at).load(SeqCst) == 0)
        }
    }

    #[test]
    fn networks_of_ipv6_count_as_one_and_addresses_of_ipv4_each() {
        let sources = Sources::new(100);
        let enter = |text: &str| sources.enter(address(text), 1);
        for (first, second, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8:0:0:ffff::2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            // The network of all zeros is nobody's.
            ("::ffff:192.0.2.1", "::1", false),
        ] {
            let one = enter(first).unwrap();
            let two = enter(second);
            assert_eq!(two.is_none(), same, "{first} {second}");
            two.into_iter().chain([one]).for_each(|slot| sources.leave(slot));
        }
        assert!(sources.is_empty());
    }

    #[test]
    fn no_more_than_may_come_in_from_one_source_whoever_counts() {
        const MOST: u32 = 3;
        let (sources, barrier) = (Sources::new(64), Barrier::new(4));
        let inside: Vec<_> = (0..4).map(|_| portable_atomic::AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    for round in 0..20_000_u32 {
                        let who = (round % 4) as usize;
                        let Some(slot) = sources.enter(1 << 64 << who, MOST) else {
                            continue;
                        };
                        assert!(inside[who].fetch_add(1, SeqCst) < MOST);
                        inside[who].fetch_sub(1, SeqCst);
                        sources.leave(slot);
                    }
                });
            }
        });
        assert!(sources.is_empty());
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_list(steps in proptest::collection::vec((0_u128..12, any::<bool>()), 1..200)) {
            let sources = Sources::new(200);
            let mut model: HashMap<u128, Vec<Slot>> = HashMap::new();
            for (who, enters) in steps {
                let slots = model.entry(who).or_default();
                if enters {
                    let slot = sources.enter(who << 64, 4);
                    prop_assert_eq!(slot.is_some(), slots.len() < 4);
                    slots.extend(slot);
                } else if let Some(slot) = slots.pop() {
                    sources.leave(slot);
                }
            }
            model.into_values().flatten().for_each(|slot| sources.leave(slot));
            prop_assert!(sources.is_empty());
        }
    }
}
