//! Request ids: 32 hexadecimal digits, unlike any other of this or another worker.

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _};

/// A request id as text.
pub type RequestId = [u8; 32];

/// One worker's source of ids: a random start, a counter, and a mix that makes them look unrelated.
pub struct RequestIds {
    high: u64,
    low: Cell<u64>,
}

impl Default for RequestIds {
    fn default() -> Self {
        // The standard library seeds its hashers from the operating system's randomness.
        let random = || std::hash::RandomState::new().build_hasher().finish();
        Self { high: random(), low: Cell::new(random()) }
    }
}

impl RequestIds {
    /// The next id.
    pub fn next(&self) -> RequestId {
        let low = self.low.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.low.set(low);
        let mut id = [0; 32];
        for (number, half) in [mix(low ^ self.high), mix(low)].into_iter().enumerate() {
            for (place, byte) in half.to_be_bytes().into_iter().enumerate() {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let at = number * 16 + place * 2;
                id[at] = DIGITS[usize::from(byte >> 4)];
                id[at + 1] = DIGITS[usize::from(byte & 15)];
            }
        }
        id
    }
}

/// A permutation of 64 bits: distinct counters stay distinct.
const fn mix(value: u64) -> u64 {
    let mut mixed = value;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_distinct() {
        let ids = RequestIds::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let id = ids.next();
            assert!(id.iter().all(u8::is_ascii_hexdigit));
            assert!(seen.insert(id));
        }
    }
}
