//! BLAKE3, plain for sections and keyed for credentials.
//!
//! Credentials are looked up by a hash keyed with the artifact's salt, so that equal keys in two artifacts have
//! unequal digests and no table made beforehand helps. The salt is public: guard artifacts as you would guard
//! password files.

/// Bytes of a digest.
pub const LEN: usize = 32;

/// Longest key or user name and password that is looked up, in bytes; longer ones are unknown.
pub const CREDENTIAL_MAX: usize = 1024;

/// What a credential digest is about; keeps the kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A key-auth key.
    Key,
    /// A basic-auth user name.
    User,
    /// A basic-auth user name, a zero byte, and the password.
    Password,
}

impl Domain {
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Key => b"key-auth\0",
            Self::User => b"basic-auth-user\0",
            Self::Password => b"basic-auth-password\0",
        }
    }
}

/// Digest of a section or of the source.
pub fn plain(bytes: &[u8]) -> [u8; LEN] {
    *blake3::hash(bytes).as_bytes()
}

/// Digest of a credential under the artifact's salt.
pub fn keyed(salt: &[u8; LEN], domain: Domain, parts: &[&[u8]]) -> [u8; LEN] {
    // Usual credentials are hashed in one piece, which spares the hasher's set-up.
    let mut whole = [0; 256];
    let mut len = 0;
    for piece in pieces(domain, parts) {
        let Some(place) = whole.get_mut(len..len + piece.len()) else {
            return keyed_in_pieces(salt, domain, parts);
        };
        place.copy_from_slice(piece);
        len += piece.len();
    }
    *blake3::keyed_hash(salt, &whole[..len]).as_bytes()
}

fn keyed_in_pieces(salt: &[u8; LEN], domain: Domain, parts: &[&[u8]]) -> [u8; LEN] {
    let mut hasher = blake3::Hasher::new_keyed(salt);
    for piece in pieces(domain, parts) {
        hasher.update(piece);
    }
    *hasher.finalize().as_bytes()
}

/// The tag, and the parts with a zero byte between them.
fn pieces<'p>(domain: Domain, parts: &'p [&'p [u8]]) -> impl Iterator<Item = &'p [u8]> {
    let separated = parts.iter().enumerate().flat_map(|(number, part)| {
        let separator: &[u8] = if number > 0 { &[0] } else { &[] };
        [separator, part]
    });
    core::iter::once(domain.tag()).chain(separated)
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

    #[test]
    fn short_and_long_credentials_are_hashed_alike() {
        for len in [0, 1, 200, 235, 236, 237, 255, 256, 257, CREDENTIAL_MAX] {
            let long = vec![b'k'; len];
            let parts: [&[u8]; 2] = [b"user", &long];
            let whole = keyed(&[9; LEN], Domain::Password, &parts);
            assert_eq!(
                whole,
                keyed_in_pieces(&[9; LEN], Domain::Password, &parts),
                "{len} bytes"
            );
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
