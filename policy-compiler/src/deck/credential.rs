//! Credentials: nested in a consumer, or in top-level lists that name their consumer (DB-less).

use std::collections::HashMap;

use uuid::Uuid;

use super::Reader;
use super::entity::{
    AclGroup, BasicAuthCredential, ConsumerIndex, CredentialKind, KeyAuthCredential, OtherCredential,
    Password,
};
use super::fields::Fields;
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// Which list a credential stands in.
#[derive(Clone, Copy)]
enum List {
    KeyAuth,
    BasicAuth,
    Acl,
    Other(CredentialKind),
}

/// Field name, kind in words, list.
const LISTS: [(&str, &str, List); 7] = [
    ("keyauth_credentials", "key-auth credential", List::KeyAuth),
    ("basicauth_credentials", "basic-auth credential", List::BasicAuth),
    ("acls", "acl group", List::Acl),
    (
        "hmacauth_credentials",
        "hmac-auth credential",
        List::Other(CredentialKind::HmacAuth),
    ),
    ("jwt_secrets", "jwt secret", List::Other(CredentialKind::Jwt)),
    (
        "mtls_auth_credentials",
        "mtls-auth credential",
        List::Other(CredentialKind::MtlsAuth),
    ),
    (
        "oauth2_credentials",
        "oauth2 credential",
        List::Other(CredentialKind::Oauth2),
    ),
];

/// Latest moment a credential may expire at, in Unix seconds; only guards the sum.
const EXPIRES_AT_MAX: i64 = 1 << 40;

impl Reader<'_> {
    /// Reads every credential list of one consumer, whose row is about to be written.
    pub(super) fn nested_credentials(
        &mut self,
        fields: &mut Fields<'_>,
        consumer: ConsumerIndex,
        owner: Uuid,
    ) {
        for (key, kind, list) in LISTS {
            if !fields.has(key) {
                fields.take(key);
                continue;
            }
            for (at, node) in fields.list(key).into_iter().enumerate() {
                if let Some(mut fields) = Fields::open(kind, node, self.report) {
                    // A dump may repeat the owner inside; it cannot be anybody else.
                    fields.take("consumer");
                    self.credential(fields, list, consumer, owner, at);
                }
            }
        }
    }

    /// Reads the top-level lists of DB-less files, and checks what must be unique over all consumers.
    pub(super) fn credentials(&mut self, file: &mut Fields<'_>) {
        let mut counts: HashMap<(ConsumerIndex, &str), usize> = HashMap::new();
        for (key, kind, list) in LISTS {
            for node in file.list(key) {
                let Some(mut fields) = Fields::open(kind, node, self.report) else {
                    continue;
                };
                let Some(reference) = fields.reference("consumer") else {
                    fields.missing("consumer");
                    continue;
                };
                let Some(consumer) = self.find_consumer(&reference, kind) else {
                    continue;
                };
                let owner = self.model[consumer].meta.id;
                let nested = self.credentials_of(consumer, list);
                let count = counts.entry((consumer, key)).or_insert(nested);
                let at = *count;
                *count += 1;
                self.credential(fields, list, consumer, owner, at);
            }
        }
        self.unique_credentials();
        self.report_others();
    }

    /// How many credentials of a list a consumer has already; lists are long, top-level lists rare.
    fn credentials_of(&self, consumer: ConsumerIndex, list: List) -> usize {
        match list {
            List::KeyAuth => self
                .model
                .keyauth_credentials
                .iter()
                .filter(|c| c.consumer == consumer)
                .count(),
            _ => 0,
        }
    }

    fn credential(
        &mut self,
        fields: Fields<'_>,
        list: List,
        consumer: ConsumerIndex,
        owner: Uuid,
        at: usize,
    ) {
        match list {
            List::KeyAuth => self.key_auth(fields, consumer, owner, at),
            List::BasicAuth => self.basic_auth(fields, consumer, owner),
            List::Acl => self.acl(fields, consumer, owner),
            List::Other(kind) => self.other(fields, kind, consumer, owner, at),
        }
    }

    fn key_auth(&mut self, mut fields: Fields<'_>, consumer: ConsumerIndex, owner: Uuid, at: usize) {
        let key = fields.secret("key");
        let ttl = fields.int("ttl", 0..=EXPIRES_AT_MAX);
        let created_at = fields.int("created_at", 0..=EXPIRES_AT_MAX);
        let span = key.as_ref().map(|key| key.span);
        let meta = self.meta(&mut fields, &format!("{owner} #{}", at + 1), span);
        fields.close();
        let expires_at = match (ttl.filter(|ttl| ttl.value > 0), created_at) {
            (Some(ttl), Some(created_at)) => u64::try_from(created_at.value + ttl.value).ok(),
            (Some(ttl), None) => {
                let words = "`ttl` counts from `created_at`, which this credential does not have: it would never expire";
                self.unsupported("unsupported-field", ttl.span, words, "the key never expires");
                None
            }
            (None, _) => None,
        };
        if let Some(key) = key {
            let key = key.value;
            self.model.keyauth_credentials.push(KeyAuthCredential {
                meta,
                consumer,
                key,
                expires_at,
            });
        }
    }

    fn basic_auth(&mut self, mut fields: Fields<'_>, consumer: ConsumerIndex, owner: Uuid) {
        let username = fields.required("username");
        let password = fields.secret("password");
        let key = format!("{owner} {}", username.as_ref().map_or("", |name| &name.value));
        let meta = self.meta(&mut fields, &key, username.as_ref().map(|name| name.span));
        fields.close();
        if let (Some(username), Some(password)) = (username, password) {
            let is_hashed = self.info.passwords_are_hashed;
            let password = if is_hashed {
                Password::Hashed {
                    hash: password.value,
                    id_is_given: self.explicit_ids.contains_key(&("consumer", owner)),
                }
            } else {
                Password::Plain(password.value)
            };
            let username = username.value;
            self.model.basicauth_credentials.push(BasicAuthCredential {
                meta,
                consumer,
                username,
                password,
            });
        }
    }

    fn acl(&mut self, mut fields: Fields<'_>, consumer: ConsumerIndex, owner: Uuid) {
        let group = fields.required("group");
        let key = format!("{owner} {}", group.as_ref().map_or("", |group| &group.value));
        let meta = self.meta(&mut fields, &key, group.as_ref().map(|group| group.span));
        fields.close();
        if let Some(group) = group {
            self.model.acls.push(AclGroup {
                meta,
                consumer,
                group: group.value,
            });
        }
    }

    /// Checked like the others, then set aside: no enforced plugin reads it.
    fn other(
        &mut self,
        mut fields: Fields<'_>,
        kind: CredentialKind,
        consumer: ConsumerIndex,
        owner: Uuid,
        at: usize,
    ) {
        let (required, optional, secrets): (&[&'static str], &[&'static str], &[&'static str]) = match kind {
            CredentialKind::HmacAuth => (&["username"], &[], &["secret"]),
            CredentialKind::Jwt => (&[], &["key", "algorithm", "rsa_public_key"], &["secret"]),
            CredentialKind::MtlsAuth => (&["subject_name"], &[], &[]),
            CredentialKind::Oauth2 => (&["name"], &["client_id", "client_type"], &["client_secret"]),
        };
        let mut named = None;
        for key in required {
            named = named.or(fields.required(key).map(|text| text.span));
        }
        for key in optional {
            fields.text(key);
        }
        // The gateway would make an absent secret up; nothing needs it here.
        for key in secrets
            .iter()
            .filter(|key| fields.has(key))
            .copied()
            .collect::<Vec<_>>()
        {
            fields.secret(key);
        }
        match kind {
            CredentialKind::MtlsAuth => drop(fields.reference("ca_certificate")),
            CredentialKind::Oauth2 => {
                fields.flag("hash_secret");
                fields.texts("redirect_uris");
            }
            CredentialKind::HmacAuth | CredentialKind::Jwt => {}
        }
        for key in secrets {
            fields.take(key);
        }
        let meta = self.meta(&mut fields, &format!("{owner} #{}", at + 1), named);
        fields.close();
        self.model
            .other_credentials
            .push(OtherCredential { meta, consumer, kind });
    }

    fn unique_credentials(&self) {
        let keys = self.model.keyauth_credentials.iter();
        let keys: Vec<(&str, Span)> = keys.map(|c| (c.key.expose(), c.meta.span)).collect();
        for (first, second) in repeated(&keys) {
            let finding = Diagnostic::error(
                "duplicate-credential",
                "two key-auth credentials have the same key",
            );
            self.report.push(
                finding
                    .at(second)
                    .label("the second one")
                    .also(first, "the first one"),
            );
        }
        let names = self.model.basicauth_credentials.iter();
        let names: Vec<(&str, Span)> = names.map(|c| (&*c.username, c.meta.span)).collect();
        for (first, second) in repeated(&names) {
            let words = "two basic-auth credentials have the same username";
            let finding = Diagnostic::error("duplicate-credential", words);
            self.report.push(
                finding
                    .at(second)
                    .label("the second one")
                    .also(first, "the first one"),
            );
        }
    }

    /// One warning per kind: the plugins that would read them are reported where they are used.
    fn report_others(&self) {
        for (_, words, list) in LISTS {
            let List::Other(kind) = list else { continue };
            let mut all = self.model.other_credentials.iter().filter(|c| c.kind == kind);
            if let Some(first) = all.next() {
                let count = 1 + all.count();
                let words = format!(
                    "{count} {words}{}: no enforced plugin reads them",
                    if count == 1 { "" } else { "s" }
                );
                let finding = Diagnostic::warning("unused-credential", words).at(first.meta.span);
                self.report.push(finding.label("the first one"));
            }
        }
    }
}

/// Pairs of places (earlier, later) that hold the same text. Hashes first, so that no text is copied.
fn repeated(texts: &[(&str, Span)]) -> Vec<(Span, Span)> {
    let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let mut order: Vec<(u64, usize)> = texts
        .iter()
        .enumerate()
        .map(|(at, (text, _))| (hasher.hash_one(text), at))
        .collect();
    order.sort_unstable();
    let mut pairs = Vec::new();
    for pair in order.windows(2) {
        let (first, second) = (texts[pair[0].1], texts[pair[1].1]);
        if pair[0].0 == pair[1].0 && first.0 == second.0 {
            pairs.push((first.1, second.1));
        }
    }
    pairs
}
