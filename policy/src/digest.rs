//! Digests: BLAKE3 of sections, salted SHA-256 of credentials.
//!
//! A credential is looked up by a digest that begins with the artifact's salt, so that equal keys in two artifacts have
//! unequal digests and no table made beforehand helps. The salt is public: guard artifacts as you would guard
//! password files. SHA-256 because processors compute it: a key costs one block of 64 bytes, half of what the same block
//! costs with BLAKE3.

use sha2::block_api::compress256;

/// Bytes of a digest.
pub const LEN: usize = 32;

/// Longest key or user name and password that is looked up, in bytes; longer ones are unknown.
pub const CREDENTIAL_MAX: usize = 1024;

/// Hexadecimal digits of a password as Kong stores it.
pub const KONG_HASH_LEN: usize = 40;

/// Bytes that SHA-256 takes in at once.
const BLOCK: usize = 64;

/// Where the last block says how many bits there were (FIPS 180-4 §5.1.1).
const LENGTH_AT: usize = BLOCK - 8;

/// What SHA-256 starts from (FIPS 180-4 §5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// What a credential digest is about; keeps the kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A key-auth key.
    Key,
    /// A basic-auth user name.
    User,
    /// A basic-auth user name, a zero byte, and the password.
    Password,
    /// A basic-auth user name, a zero byte, and Kong's hash of the password.
    Hashed,
}

impl Domain {
    const ALL: [Self; 4] = [Self::Key, Self::User, Self::Password, Self::Hashed];

    /// At most half a block.
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Key => b"key-auth",
            Self::User => b"basic-auth-user",
            Self::Password => b"basic-auth-password",
            Self::Hashed => b"basic-auth-kong-hash",
        }
    }
}

/// Digest of a section or of the source.
pub fn plain(bytes: &[u8]) -> [u8; LEN] {
    *blake3::hash(bytes).as_bytes()
}

/// A salt, and SHA-256 as it stands for each domain when it has taken the salt in.
#[derive(Clone, Debug)]
pub struct Salted {
    states: [[u32; 8]; Domain::ALL.len()],
}

impl Salted {
    /// Takes the salt in: the first block is the salt and the domain's tag, padded with zeros.
    pub fn new(salt: &[u8; LEN]) -> Self {
        let states = Domain::ALL.map(|domain| {
            let mut block = [0; BLOCK];
            block[..LEN].copy_from_slice(salt);
            block[LEN..LEN + domain.tag().len()].copy_from_slice(domain.tag());
            let mut state = START;
            compress256(&mut state, &[block]);
            state
        });
        Self { states }
    }

    /// SHA-256 of the first block and the parts with a zero byte between them.
    #[inline]
    pub fn digest(&self, domain: Domain, parts: &[&[u8]]) -> [u8; LEN] {
        let state = self.states[domain as usize];
        match parts {
            [part] if part.len() < LENGTH_AT => in_one_block(state, part),
            _ => in_blocks(state, parts),
        }
    }
}

/// Ends in the block that `part` leaves unfilled: almost every key there is.
fn in_one_block(mut state: [u32; 8], part: &[u8]) -> [u8; LEN] {
    const CHUNK: usize = size_of::<u128>();
    let mut chunks = [0_u128; BLOCK / CHUNK];
    let (whole, rest) = part.as_chunks::<CHUNK>();
    for (chunk, bytes) in chunks.iter_mut().zip(whole) {
        *chunk = u128::from_le_bytes(*bytes);
    }
    // Shifts instead of a copy of unknown length, which would be a call.
    let tail = match part.last_chunk::<CHUNK>() {
        _ if rest.is_empty() => 0,
        Some(last) => u128::from_le_bytes(*last) >> (8 * (CHUNK - rest.len())),
        None => rest
            .iter()
            .rev()
            .fold(0, |tail, byte| tail << 8 | u128::from(*byte)),
    };
    chunks[whole.len()] = tail | 0x80 << (8 * rest.len());
    let bits = 8 * (BLOCK + part.len()) as u64;
    chunks[BLOCK / CHUNK - 1] |= u128::from(bits.swap_bytes()) << 64;
    compress256(&mut state, &[bytemuck::cast(chunks)]);
    bytes_of(state)
}

fn in_blocks(mut state: [u32; 8], parts: &[&[u8]]) -> [u8; LEN] {
    let mut block = [0; BLOCK];
    let (mut filled, mut taken) = (0, BLOCK as u64);
    for (number, part) in parts.iter().enumerate() {
        let separator: &[u8] = if number > 0 { &[0] } else { &[] };
        for mut rest in [separator, part] {
            taken += rest.len() as u64;
            while filled + rest.len() >= BLOCK {
                let (now, later) = rest.split_at(BLOCK - filled);
                block[filled..].copy_from_slice(now);
                compress256(&mut state, &[block]);
                (block, filled, rest) = ([0; BLOCK], 0, later);
            }
            block[filled..filled + rest.len()].copy_from_slice(rest);
            filled += rest.len();
        }
    }
    block[filled] = 0x80;
    if filled >= LENGTH_AT {
        compress256(&mut state, &[block]);
        block = [0; BLOCK];
    }
    block[LENGTH_AT..].copy_from_slice(&(taken * 8).to_be_bytes());
    compress256(&mut state, &[block]);
    bytes_of(state)
}

fn bytes_of(state: [u32; 8]) -> [u8; LEN] {
    bytemuck::cast(state.map(u32::to_be))
}

/// [`Salted::digest`] for who needs few of them.
pub fn keyed(salt: &[u8; LEN], domain: Domain, parts: &[&[u8]]) -> [u8; LEN] {
    Salted::new(salt).digest(domain, parts)
}

/// How Kong stores a basic-auth password: SHA-1 over the password and the consumer's id, in lower-case hex.
pub fn kong_hash(password: &[u8], consumer: &[u8]) -> [u8; KONG_HASH_LEN] {
    let mut hasher = sha1_smol::Sha1::new();
    hasher.update(password);
    hasher.update(consumer);
    let mut hex = [0; KONG_HASH_LEN];
    for (digits, byte) in hex.chunks_exact_mut(2).zip(hasher.digest().bytes()) {
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
        digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    hex
}

/// Whether two digests are equal, in time that does not depend on where they differ.
pub fn equal(left: &[u8; LEN], right: &[u8; LEN]) -> bool {
    use subtle::ConstantTimeEq;
    // Every word is read and mixed whatever the others were; byte by byte would take ten times as long.
    let words = |digest: &[u8; LEN]| -> [u64; 4] { bytemuck::cast(*digest) };
    let pairs = words(left).into_iter().zip(words(right));
    let difference = pairs.fold(0, |all, (left, right)| all | (left ^ right));
    difference.ct_eq(&0).into()
}

/// The 64 bits of a digest that an index uses.
pub fn index_hash(digest: &[u8; LEN]) -> u64 {
    u64::from_le_bytes([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn a_credentials_digest_is_sha_256() {
        let salt = [9; LEN];
        for len in [
            0,
            1,
            17,
            50,
            54,
            55,
            56,
            58,
            59,
            63,
            64,
            119,
            120,
            200,
            CREDENTIAL_MAX,
        ] {
            let password = vec![b'k'; len];
            for (domain, parts) in [
                (Domain::Key, vec![&password[..]]),
                (Domain::User, vec![b"user"]),
                (Domain::Password, vec![b"user", &password[..]]),
            ] {
                let mut tag = [0; LEN];
                tag[..domain.tag().len()].copy_from_slice(domain.tag());
                let expected = Sha256::new()
                    .chain_update(salt)
                    .chain_update(tag)
                    .chain_update(parts.join(&0));
                assert_eq!(
                    keyed(&salt, domain, &parts),
                    *expected.finalize(),
                    "{domain:?}, {len} bytes"
                );
            }
        }
    }

    #[test]
    fn digests_are_equal_in_all_their_bytes() {
        let digest = plain(b"digest");
        assert!(equal(&digest, &digest));
        for bit in 0..LEN * 8 {
            let mut other = digest;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!equal(&digest, &other), "bit {bit}");
        }
    }
}
