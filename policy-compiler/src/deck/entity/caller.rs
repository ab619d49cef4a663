//! Who calls: consumers, their groups and credentials.

use super::{ConsumerGroupIndex, ConsumerIndex, Meta};
use crate::source::Secret;

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Id, place, tags.
    pub meta: Meta,
    /// Unique; at least one of the two names is there.
    pub username: Option<Box<str>>,
    /// Unique.
    pub custom_id: Option<Box<str>>,
    /// Membership from either side of the file, each group once, in ascending order of index.
    pub groups: Vec<ConsumerGroupIndex>,
}

/// A named set of consumers; who is in it stands in [`Consumer::groups`].
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    /// Id, place, tags.
    pub meta: Meta,
    /// Unique.
    pub name: Box<str>,
}

/// A key of the key-auth plugin.
#[derive(Clone, Debug)]
pub struct KeyAuthCredential {
    /// Id, place, tags.
    pub meta: Meta,
    /// Whose it is.
    pub consumer: ConsumerIndex,
    /// Unique, not empty.
    pub key: Secret,
    /// Unix seconds: `created_at + ttl`. None never expires.
    pub expires_at: Option<u64>,
}

/// A user of the basic-auth plugin.
#[derive(Clone, Debug)]
pub struct BasicAuthCredential {
    /// Id, place, tags.
    pub meta: Meta,
    /// Whose it is.
    pub consumer: ConsumerIndex,
    /// Unique, not empty.
    pub username: Box<str>,
    /// As the file holds it.
    pub password: Password,
}

/// How a file holds a basic-auth password.
#[derive(Clone, Debug)]
pub enum Password {
    /// The password itself.
    Plain(Secret),
    /// `_info.skip_hash_for_basic_auth`: already Kong's hash, of the password and the consumer's id.
    Hashed {
        /// As the file holds it.
        hash: Secret,
        /// Whether the file gives the consumer's id. A derived one is not what Kong hashed.
        id_is_given: bool,
    },
}

/// A membership that the acl plugin reads.
#[derive(Clone, Debug)]
pub struct AclGroup {
    /// Id, place, tags.
    pub meta: Meta,
    /// Whose it is.
    pub consumer: ConsumerIndex,
    /// The group's name; groups exist only by being named.
    pub group: Box<str>,
}

/// A credential that no enforced plugin reads.
#[derive(Clone, Debug)]
pub struct OtherCredential {
    /// Id, place, tags.
    pub meta: Meta,
    /// Whose it is.
    pub consumer: ConsumerIndex,
    /// Which list it stood in.
    pub kind: CredentialKind,
}

/// Credential lists that are checked and then reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CredentialKind {
    /// `hmacauth_credentials`
    HmacAuth,
    /// `jwt_secrets`
    Jwt,
    /// `mtls_auth_credentials`
    MtlsAuth,
    /// `oauth2_credentials`
    Oauth2,
}
