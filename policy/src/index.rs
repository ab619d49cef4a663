//! Minimal perfect hashing: `n` keys, `n` slots, one seed read and one slot read for each look-up.
//!
//! Keys fall into buckets of about four. A bucket's seed is tried upwards until all its keys land in free slots;
//! a bucket of one key names its slot outright. Rows are stored in slot order, so a look-up compares one row.

use alloc::vec;
use alloc::vec::Vec;

/// Seeds with this bit name a slot.
const DIRECT: u32 = 1 << 31;
/// Tries before a bucket is given up; never met with distinct hashes.
const TRIES_MAX: u32 = 1 << 24;

/// Why keys cannot be indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexError {
    /// Two keys have the same 64-bit hash: their numbers.
    SameHash(u32, u32),
    /// More keys than a table can hold.
    TooMany,
}

/// A finished index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// One seed for each bucket.
    pub seeds: Vec<u32>,
    /// For each slot, the number of its key.
    pub order: Vec<u32>,
}

/// Builds the index of keys with these hashes.
pub fn build(hashes: &[u64]) -> Result<Index, IndexError> {
    let count = u32::try_from(hashes.len())
        .ok()
        .filter(|&n| n < DIRECT)
        .ok_or(IndexError::TooMany)?;
    if count == 0 {
        return Ok(Index {
            seeds: Vec::new(),
            order: Vec::new(),
        });
    }
    refuse_equal(hashes)?;
    let buckets = count.div_ceil(4);
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); buckets as usize];
    for (number, &hash) in (0..count).zip(hashes) {
        members[bucket(hash, buckets) as usize].push(number);
    }
    let mut by_size: Vec<u32> = (0..buckets).collect();
    by_size.sort_by_key(|&b| (usize::MAX - members[b as usize].len(), b));
    let mut seeds = vec![0; buckets as usize];
    let mut order = vec![u32::MAX; count as usize];
    let mut free = 0;
    for &number in &by_size {
        let keys = &members[number as usize];
        seeds[number as usize] = match keys.as_slice() {
            [] => 0,
            [key] => {
                while order[free as usize] != u32::MAX {
                    free += 1;
                }
                order[free as usize] = *key;
                DIRECT | free
            }
            keys => place(keys, hashes, &mut order).ok_or(IndexError::TooMany)?,
        };
    }
    Ok(Index { seeds, order })
}

/// The slot of a hash among `count` slots. Any hash has one; whether it is the key's own must be compared.
pub fn slot(hash: u64, seeds: &[u32], count: u32) -> Option<u32> {
    let buckets = u32::try_from(seeds.len()).ok().filter(|&n| n > 0)?;
    let seed = seeds[bucket(hash, buckets) as usize];
    let slot = if seed & DIRECT == 0 {
        displaced(hash, seed, count)
    } else {
        seed & !DIRECT
    };
    (slot < count).then_some(slot)
}

fn refuse_equal(hashes: &[u64]) -> Result<(), IndexError> {
    let mut sorted: Vec<(u64, u32)> = hashes.iter().copied().zip(0..).collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(IndexError::SameHash(pair[0].1, pair[1].1)),
        None => Ok(()),
    }
}

fn place(keys: &[u32], hashes: &[u64], order: &mut [u32]) -> Option<u32> {
    let count = u32::try_from(order.len()).ok()?;
    let mut slots: Vec<u32> = Vec::with_capacity(keys.len());
    'seeds: for seed in 0..TRIES_MAX {
        slots.clear();
        for &key in keys {
            let slot = displaced(hashes[key as usize], seed, count);
            if order[slot as usize] != u32::MAX || slots.contains(&slot) {
                continue 'seeds;
            }
            slots.push(slot);
        }
        for (&slot, &key) in slots.iter().zip(keys) {
            order[slot as usize] = key;
        }
        return Some(seed);
    }
    None
}

/// Maps 32 well mixed bits onto `0..range`.
fn reduce(bits: u64, range: u32) -> u32 {
    let scaled = ((bits & 0xffff_ffff) * u64::from(range)) >> 32;
    u32::try_from(scaled).unwrap_or(0)
}

fn bucket(hash: u64, buckets: u32) -> u32 {
    reduce(hash >> 32, buckets)
}

fn displaced(hash: u64, seed: u32, count: u32) -> u32 {
    let mut mixed = hash ^ u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    reduce(mixed >> 32, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_key_finds_its_own_slot(mut hashes in proptest::collection::vec(any::<u64>(), 0..600)) {
            hashes.sort_unstable();
            hashes.dedup();
            let index = build(&hashes).expect("distinct hashes can be indexed");
            for (key, &hash) in (0..).zip(&hashes) {
                let slot = slot(hash, &index.seeds, u32::try_from(hashes.len()).expect("few keys")).expect("there is a slot");
                prop_assert_eq!(index.order[slot as usize], key);
            }
        }
    }

    #[test]
    fn a_hundred_thousand_keys_are_indexed() {
        let mut hash = 1u64;
        let hashes: Vec<u64> = (0..100_000)
            .map(|_| {
                hash ^= hash << 13;
                hash ^= hash >> 7;
                hash ^= hash << 17;
                hash
            })
            .collect();
        let index = build(&hashes).expect("distinct hashes can be indexed");
        let slots = hashes.iter().map(|&hash| slot(hash, &index.seeds, 100_000));
        assert!(
            slots
                .zip(0..)
                .all(|(slot, key)| slot.is_some_and(|slot| index.order[slot as usize] == key))
        );
    }

    #[test]
    fn equal_hashes_are_named() {
        assert_eq!(build(&[7, 8, 7]), Err(IndexError::SameHash(0, 2)));
    }

    #[test]
    fn no_keys_have_no_slot() {
        let index = build(&[]).expect("nothing can be indexed");
        assert_eq!(slot(5, &index.seeds, 0), None);
    }
}
