//! Ids for entities that the file gives none.
//! Counters, journals and metrics outlive a reload, so an id depends neither on the order of the file nor on the day:
//! it is a UUIDv5 (RFC 9562 §5.5) in the namespace `TOLLGATE` over `<kind>` NUL `<key>`, where the key is what makes
//! the entity unique: the name (service, route, consumer group, upstream, vault, sni), the username or else
//! `custom_id:` and the custom_id (consumer), the certificate's text, `<upstream id> host:port` (target), the plugin
//! name and the ids of its scope (plugin), `<consumer id> <group>` or `<consumer id> <username>` (acl, basic-auth).
//! A key-auth credential counts the consumer's keys (`<consumer id> #1`): an id made from a key could be used to guess
//! it. Changing this renames every counter, so it must never change.

use uuid::Uuid;

/// Namespace of derived ids. A random constant.
const TOLLGATE: Uuid = Uuid::from_u128(0x6f1d_7c02_93a8_4b5e_8f60_2d1c_a94e_b7f3);

/// The id of the `kind` that `key` makes unique.
pub(super) fn derive(kind: &str, key: &str) -> Uuid {
    let mut name = Vec::with_capacity(kind.len() + 1 + key.len());
    name.extend_from_slice(kind.as_bytes());
    name.push(0);
    name.extend_from_slice(key.as_bytes());
    Uuid::new_v5(&TOLLGATE, &name)
}
