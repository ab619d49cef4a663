//! What a decision reads of a caller: one cache line for each credential, made of verified rows at load.
//!
//! A credential's row, its consumer's and that one's texts lie in three places, each of which a look-up in a large
//! policy would wait for. Deliberately absent: what only logs and headers read.

use alloc::boxed::Box;

use crate::artifact::Policy;
use crate::digest::LEN;
use crate::table::{Consumer, Credential, Id, Membership, Rows, Text, Word};

/// A credential and its consumer, as decisions see them.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Caller {
    pub(crate) lookup: [u8; LEN],
    identity: u64,
    pub(crate) consumer: Id<Consumer>,
    pub(crate) member: Member,
}

const _: () = assert!(size_of::<Caller>() == 64, "a caller is one cache line");

/// What a consumer belongs to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Member {
    pub(crate) acl: Rows<Word>,
    pub(crate) groups: Rows<Membership>,
}

/// The lines of all credentials, by row.
pub(crate) fn lines(policy: &Policy) -> Box<[Caller]> {
    let credentials = policy.rows(policy.all::<Credential>());
    credentials
        .map(|credential| {
            let consumer = policy.get(credential.consumer);
            Caller {
                lookup: credential.lookup,
                identity: identity(policy, consumer.id),
                consumer: credential.consumer,
                member: member(&consumer),
            }
        })
        .collect()
}

/// What this consumer belongs to; from the line of its credential, where there is one.
pub(crate) fn member_of(
    policy: &Policy,
    consumer: Id<Consumer>,
    credential: Option<Id<Credential>>,
) -> Member {
    match line(policy, consumer, credential) {
        Some(caller) => caller.member,
        None => member(&policy.get(consumer)),
    }
}

/// See [`crate::vm::State::identity`].
#[inline]
pub(crate) fn identity_of(
    policy: &Policy,
    consumer: Id<Consumer>,
    credential: Option<Id<Credential>>,
) -> u64 {
    match line(policy, consumer, credential) {
        Some(caller) => caller.identity,
        None => identity(policy, policy.get(consumer).id),
    }
}

#[inline]
fn line(policy: &Policy, consumer: Id<Consumer>, credential: Option<Id<Credential>>) -> Option<&Caller> {
    let caller = policy.caller(credential?);
    (caller.consumer == consumer).then_some(caller)
}

const fn member(consumer: &Consumer) -> Member {
    Member {
        acl: consumer.acl,
        groups: consumer.groups,
    }
}

fn identity(policy: &Policy, id: Text) -> u64 {
    // Without the artifact's salt, which is another after the next change of the source.
    xxhash_rust::xxh3::xxh3_64(policy.bytes(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Builder, Limits};
    use crate::table::{Meta, Proof, Route};

    fn policy(salt: u8, ids: &[&str]) -> Policy {
        let mut builder = Builder::new();
        builder.row(&Route::EMPTY);
        let workspace = builder.text("default");
        for id in ids {
            let id = builder.text(id);
            let consumer = builder.row(&Consumer {
                id,
                username: Text::EMPTY,
                custom_id: Text::EMPTY,
                acl: Rows::NONE,
                acl_header: Text::EMPTY,
                groups: Rows::NONE,
                json: Text::EMPTY,
            });
            builder.row(&Credential {
                lookup: [salt; LEN],
                consumer,
                proof: Proof::Lookup,
                digest: [0; LEN],
                id,
                identifier: id,
            });
        }
        builder.row(&Meta {
            salt: [salt; LEN],
            workspace,
            ..Meta::EMPTY
        });
        let file = builder.finish([0; LEN], 1).expect("sound rows");
        Policy::load(&file, Limits::default()).expect("the builder proved it")
    }

    #[test]
    fn an_identity_is_a_consumers_own_in_every_artifact_and_however_it_came() {
        let (first, second) = (policy(1, &["a", "b"]), policy(2, &["c", "b", "a"]));
        let of = |policy, consumer, credential: Option<u32>| {
            identity_of(policy, Id::new(consumer), credential.map(Id::new))
        };
        for credential in [None, Some(0), Some(1)] {
            assert_eq!(of(&first, 0, credential), of(&second, 2, None));
            assert_eq!(of(&first, 1, credential), of(&second, 1, Some(1)));
            assert_ne!(of(&first, 0, credential), of(&first, 1, credential));
        }
    }
}
