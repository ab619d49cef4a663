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
    let mut hasher = blake3::Hasher::new_keyed(salt);
    hasher.update(domain.tag());
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            hasher.update(&[0]);
        }
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Whether two digests are equal, in time that does not depend on where they differ.
pub fn equal(left: &[u8; LEN], right: &[u8; LEN]) -> bool {
    use subtle::ConstantTimeEq;
    left.ct_eq(right).into()
}

/// The 64 bits of a digest that an index uses.
pub fn index_hash(digest: &[u8; LEN]) -> u64 {
    u64::from_le_bytes([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
    ])
}
