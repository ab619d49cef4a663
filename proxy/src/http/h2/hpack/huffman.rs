//! The Huffman code of RFC 7541 Appendix B. It is canonical: the lengths of its codes say all.

use super::Undecodable;

/// Bits of each byte's code; the last one is the end of a string, which must not be sent.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const LONGEST: usize = 30;
const END: u16 = 256;

/// The code by length, shortest first.
struct Code {
    /// Left-aligned in 32 bits: what is below it, and not below the one before, is a code of this length.
    above: [u64; LONGEST + 1],
    /// The first code of each length, and where its symbol stands.
    first: [(u32, u16); LONGEST + 1],
    symbols: [u16; 257],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut made = Code {
        above: [0; LONGEST + 1],
        first: [(0, 0); LONGEST + 1],
        symbols: [0; 257],
    };
    let (mut next, mut placed, mut length) = (0_u32, 0_u16, 1);
    while length <= LONGEST {
        next <<= 1;
        made.first[length] = (next, placed);
        let mut symbol = 0;
        while symbol <= END {
            if LENGTHS[symbol as usize] as usize == length {
                made.symbols[placed as usize] = symbol;
                placed += 1;
                next += 1;
            }
            symbol += 1;
        }
        made.above[length] = (next as u64) << (32 - length);
        length += 1;
    }
    made
}

/// Appends the text that a string stands for: at most 8/5 of its length.
///
/// # Errors
/// The string has the end symbol in it, or padding that is not the beginning of it, or too much padding (§5.2).
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
    let mut rest = coded.iter();
    // Unread bits, left-aligned.
    let (mut window, mut bits) = (0_u64, 0_usize);
    loop {
        while bits <= 56 {
            let Some(byte) = rest.next() else { break };
            window |= u64::from(*byte) << (56 - bits);
            bits += 8;
        }
        let top = window >> 32;
        let length = (5..=LONGEST)
            .find(|length| top < CODE.above[*length])
            .unwrap_or(LONGEST);
        if length > bits {
            let padding = if bits == 0 { 0 } else { window >> (64 - bits) };
            let is_padding = bits < 8 && padding + 1 == 1 << bits;
            return if is_padding { Ok(()) } else { Err(Undecodable) };
        }
        let (first, place) = CODE.first[length];
        let offset = (top >> (32 - length)) as usize - first as usize;
        match CODE.symbols[place as usize + offset] {
            END => return Err(Undecodable),
            symbol => out.push(symbol.to_le_bytes()[0]),
        }
        window <<= length;
        bits -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes a text in the code, padded as RFC 7541 §5.2 says.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        for byte in text {
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let (first, place) = CODE.first[length];
            let rank = CODE.symbols[usize::from(place)..]
                .iter()
                .position(|it| it == &u16::from(*byte))
                .unwrap();
            let code = first as usize + rank;
            bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
        }
        bits.resize(bits.len().next_multiple_of(8), true);
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        bits.chunks(8).map(byte).collect()
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Undecodable> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn the_rfcs_examples_decode() {
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("6402", "302"),
            (
                "d07abe941054d444a8200595040b8166e082a62d1bff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ] {
            let coded: Vec<u8> = (0..coded.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&coded[at..at + 2], 16).unwrap())
                .collect();
            assert_eq!(decoded(&coded).unwrap(), text.as_bytes());
            assert_eq!(encode(text.as_bytes()), coded);
        }
    }

    #[test]
    fn wrong_padding_and_the_end_symbol_are_refused() {
        // "0" is 00000, followed by: zeros; eight ones and more; the end symbol.
        for coded in [
            &[0b0000_0000][..],
            &[0b0000_0111, 0xff],
            &[0xff, 0xff, 0xff, 0xff],
            &[0xff],
        ] {
            assert_eq!(decoded(coded), Err(Undecodable), "{coded:?}");
        }
        assert_eq!(decoded(&[0b0000_0111]), Ok(b"0".to_vec()));
        assert_eq!(decoded(&[]), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn every_text_survives(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&encode(&text)), Ok(text));
        }

        #[test]
        fn nothing_makes_it_panic_and_the_output_is_bounded(coded in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(text) = decoded(&coded) {
                prop_assert!(text.len() * 5 <= coded.len() * 8);
            }
        }
    }
}
