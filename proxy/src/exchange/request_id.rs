//! Request ids: 32 hexadecimal digits, unlike any other of this or another worker.

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _};

/// A request id as text.
pub type RequestId = [u8; 32];

/// One worker's source of ids: a random start, a counter, and a mix that makes them look unrelated.
pub struct RequestIds {
    high: u64,
    low: Cell<u64>,
    worker: Uuid,
    counted: Cell<u64>,
}

/// A UUID as text.
pub type Uuid = [u8; 36];

impl Default for RequestIds {
    fn default() -> Self {
        // The standard library seeds its hashers from the operating system's randomness.
        let random = || std::hash::RandomState::new().build_hasher().finish();
        let worker = uuid([random(), random()]);
        Self {
            high: random(),
            low: Cell::new(random()),
            worker,
            counted: Cell::new(0),
        }
    }
}

impl RequestIds {
    /// The next request id.
    pub fn next(&self) -> RequestId {
        hexadecimal(self.halves())
    }

    /// A random UUID (RFC 9562 §5.4).
    pub fn uuid(&self) -> Uuid {
        uuid(self.halves())
    }

    /// The worker's own UUID, and how often it was asked for.
    pub fn uuid_counter(&self) -> (Uuid, u64) {
        self.counted.set(self.counted.get() + 1);
        (self.worker, self.counted.get())
    }

    fn halves(&self) -> [u64; 2] {
        let low = self.low.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.low.set(low);
        [mix(low ^ self.high), mix(low)]
    }
}

fn hexadecimal(halves: [u64; 2]) -> RequestId {
    let mut id = [0; 32];
    let (words, _) = id.as_chunks_mut::<8>();
    let quarters = halves
        .into_iter()
        .flat_map(|half| [half >> 32, half & 0xffff_ffff]);
    for (word, quarter) in words.iter_mut().zip(quarters) {
        *word = eight_digits(quarter);
    }
    id
}

/// Eight digits of the lower half of a word at once: spreads its nibbles over the bytes, then makes each a digit.
const fn eight_digits(half: u64) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut spread = half & 0xffff | (half & 0xffff_0000) << 16;
    spread = spread & 0x0000_00ff_0000_00ff | (spread & 0x0000_ff00_0000_ff00) << 8;
    spread = spread & 0x000f_000f_000f_000f | (spread & 0x00f0_00f0_00f0_00f0) << 4;
    let letters = ((spread + EACH * 6) >> 4) & EACH;
    (spread + EACH * b'0' as u64 + letters * (b'a' - b'9' - 1) as u64).to_be_bytes()
}

fn uuid([high, low]: [u64; 2]) -> Uuid {
    let version = (high & !0xf000) | 0x4000;
    let variant = (low & !(3 << 62)) | (2 << 62);
    let digits = hexadecimal([version, variant]);
    let mut text = [b'-'; 36];
    for (from, to) in [(0..8, 0), (8..12, 9), (12..16, 14), (16..20, 19), (20..32, 24)] {
        let piece = &digits[from];
        text[to..to + piece.len()].copy_from_slice(piece);
    }
    text
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

    #[test]
    fn digits_are_those_of_the_number() {
        for half in [0, 1, 0x0123_4567, 0x89ab_cdef, 0xffff_ffff, 0x9a9a_a9a9] {
            assert_eq!(eight_digits(half), *format!("{half:08x}").as_bytes());
        }
    }

    #[test]
    fn uuids_say_their_version_and_variant() {
        let text = String::from_utf8(RequestIds::default().uuid().to_vec()).expect("text");
        assert_eq!((&text[14..15], text.matches('-').count()), ("4", 4));
        assert!("89ab".contains(&text[19..20]));
    }
}
