//! `consistent-hashing`: every key has its own order of the targets, and goes to the first that may be chosen.
//!
//! Weighted rendezvous hashing: a target's place in a key's order depends on that key and that target alone. When a
//! target leaves, only its own keys move, each to the next in its own order, and so in proportion to the others'
//! weights; when it comes back, they do. All workers and nodes agree, whatever the order of the file.

use xxhash_rust::xxh3::xxh3_64;

use super::Member;

/// The targets' own hashes, by number.
pub(super) struct Rendezvous {
    seeds: Box<[u64]>,
}

impl Rendezvous {
    /// For targets with these names, `host:port`.
    pub(super) fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        Self {
            seeds: names.map(|name| xxh3_64(name.as_bytes())).collect(),
        }
    }

    pub(super) fn next(
        &self,
        members: &[Member],
        key: u64,
        allowed: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for (number, (member, seed)) in members.iter().zip(&self.seeds).enumerate() {
            if member.weight == 0 || !allowed(number) {
                continue;
            }
            let wait = wait(key, *seed, member.weight);
            if best.is_none_or(|(shortest, _)| wait < shortest) {
                best = Some((wait, number));
            }
        }
        best.map(|(_, number)| number)
    }
}

/// An exponentially distributed time whose rate is the weight: the shortest of several belongs to each in proportion
/// to its weight.
fn wait(key: u64, seed: u64, weight: u32) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
    let uniform = ((mix(key ^ seed) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -uniform.ln() / f64::from(weight)
}

/// A permutation of 64 bits in which every bit of the input reaches every bit of the output (`SplitMix64`).
const fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
