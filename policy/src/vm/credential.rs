//! Looks presented credentials up. Unknown and wrong ones take the same steps as right ones.

use base64ct::{Base64, Encoding as _};

use crate::artifact::Policy;
use crate::digest::{self, CREDENTIAL_MAX, Domain};
use crate::index;
use crate::table::{Credential, Id, Proof, Rows, Seed};

/// The key-auth credential with this key.
pub(super) fn by_key(policy: &Policy, key: &[u8]) -> Option<Id<Credential>> {
    if key.is_empty() || key.len() > CREDENTIAL_MAX {
        return None;
    }
    let meta = policy.meta();
    let lookup = policy.salted().digest(Domain::Key, &[key]);
    let credential = in_place(policy, meta.keys, meta.key_seeds, &lookup)?;
    digest::equal(&policy.caller(credential).lookup, &lookup).then_some(credential)
}

/// The basic-auth credential that an `Authorization` value proves (RFC 7617 §2).
pub(super) fn by_basic(policy: &Policy, value: &[u8]) -> Option<Id<Credential>> {
    let (scheme, token) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut decoded = [0; CREDENTIAL_MAX];
    let decoded = Base64::decode(token.trim_ascii(), &mut decoded).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
    let meta = policy.meta();
    let lookup = policy.salted().digest(Domain::User, &[user]);
    // Somebody is in the place of an unknown name too; the credentials of a file are all proved alike.
    let credential = in_place(policy, meta.basics, meta.basic_seeds, &lookup)?;
    let row = policy.get(credential);
    let proof = match row.proof {
        Proof::Hashed => {
            let hash = digest::kong_hash(password, policy.bytes(policy.get(row.consumer).id));
            policy.salted().digest(Domain::Hashed, &[user, &hash])
        }
        Proof::Keyed | Proof::Lookup => policy.salted().digest(Domain::Password, &[user, password]),
    };
    let is_known = digest::equal(&row.lookup, &lookup);
    let is_proved = digest::equal(&row.digest, &proof);
    (is_known & is_proved & (row.proof != Proof::Lookup)).then_some(credential)
}

/// The credential in the place that a look-up leads to, whoever it belongs to.
fn in_place(
    policy: &Policy,
    credentials: Rows<Credential>,
    seeds: Rows<Seed>,
    lookup: &[u8; 32],
) -> Option<Id<Credential>> {
    let slot = index::slot(digest::index_hash(lookup), policy.seeds(seeds), credentials.count)?;
    Some(Id::new(credentials.first + slot))
}
