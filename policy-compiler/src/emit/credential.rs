//! Credentials as digests under the artifact's salt, in the order of their perfect hash.

use policy::digest::{self, CREDENTIAL_MAX, Domain};
use policy::index;
use policy::table::{Credential, Id, Proof, Rows, Seed};

use crate::deck::entity::Password;
use crate::diagnostic::Diagnostic;
use crate::lower::{Context, is_reference, report_fault};
use crate::source::Span;

/// Where the credentials stand.
pub(super) struct Credentials {
    pub(super) keys: Rows<Credential>,
    pub(super) key_seeds: Rows<Seed>,
    pub(super) basics: Rows<Credential>,
    pub(super) basic_seeds: Rows<Seed>,
}

pub(super) fn write(context: &mut Context<'_>) -> Credentials {
    let keys = keys(context);
    let (keys, key_seeds) = indexed(context, &keys);
    let basics = basics(context);
    let (basics, basic_seeds) = indexed(context, &basics);
    Credentials {
        keys,
        key_seeds,
        basics,
        basic_seeds,
    }
}

fn keys(context: &mut Context<'_>) -> Vec<Credential> {
    let model = context.model;
    let mut rows = Vec::with_capacity(model.keyauth_credentials.len());
    for credential in &model.keyauth_credentials {
        let (key, span) = (credential.key.expose(), credential.meta.span);
        if !usable(context, key, key.len(), span) {
            continue;
        }
        if credential.expires_at.is_some() {
            context.unsupported(span, "`ttl` of a key is not enforced", "the key never expires");
        }
        let id = context.builder.unique_text(&credential.meta.id.to_string());
        rows.push(Credential {
            lookup: digest::keyed(&context.salt, Domain::Key, &[key.as_bytes()]),
            proof: Proof::Lookup,
            digest: [0; digest::LEN],
            consumer: Id::new(credential.consumer.0),
            id,
            identifier: id,
        });
    }
    rows
}

fn basics(context: &mut Context<'_>) -> Vec<Credential> {
    let model = context.model;
    let mut rows = Vec::with_capacity(model.basicauth_credentials.len());
    for credential in &model.basicauth_credentials {
        let span = credential.meta.span;
        let user = &credential.username;
        let (proof, domain, password) = match &credential.password {
            Password::Plain(password) => (Proof::Keyed, Domain::Password, password.expose()),
            Password::Hashed { hash, id_is_given } => {
                if let Some(why) = unprovable(hash.expose(), *id_is_given) {
                    let words = format!("this password is hashed already and cannot be proved: {why}");
                    context.unsupported(span, words, "the user cannot log in");
                    continue;
                }
                (Proof::Hashed, Domain::Hashed, hash.expose())
            }
        };
        if !usable(context, password, user.len() + 1 + password.len(), span) {
            continue;
        }
        let parts = [user.as_bytes(), password.as_bytes()];
        rows.push(Credential {
            lookup: digest::keyed(&context.salt, Domain::User, &[user.as_bytes()]),
            proof,
            digest: digest::keyed(&context.salt, domain, &parts),
            consumer: Id::new(credential.consumer.0),
            id: context.builder.unique_text(&credential.meta.id.to_string()),
            identifier: context.builder.unique_text(user),
        });
    }
    rows
}

/// Why a password cannot be compared with what Kong made of it.
fn unprovable(hash: &str, id_is_given: bool) -> Option<&'static str> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !id_is_given {
        Some("Kong hashed it with the consumer's id, which the file does not give")
    } else if hash.len() != digest::KONG_HASH_LEN || !hash.bytes().all(is_digit) {
        Some("it is not a SHA-1 in lower-case hex, as Kong stores passwords before 3.14")
    } else {
        None
    }
}

/// Whether a secret can ever be presented: it is known here, and not longer than what is looked up.
fn usable(context: &Context<'_>, secret: &str, len: usize, span: Span) -> bool {
    if is_reference(secret) {
        context.unsupported(
            span,
            "a credential that stands in a vault cannot be hashed here",
            "nobody can use the credential",
        );
        return false;
    }
    if len > CREDENTIAL_MAX {
        let words = format!("a credential longer than {CREDENTIAL_MAX} bytes is never accepted");
        context
            .report
            .push(Diagnostic::error("credential-too-long", words).at(span));
        return false;
    }
    true
}

/// Stores credentials in slot order.
fn indexed(context: &mut Context<'_>, rows: &[Credential]) -> (Rows<Credential>, Rows<Seed>) {
    let hashes: Vec<u64> = rows.iter().map(|row| digest::index_hash(&row.lookup)).collect();
    match index::build(&hashes) {
        Ok(index) => {
            let ordered: Vec<Credential> = index.order.iter().map(|&key| rows[key as usize]).collect();
            let seeds: Vec<Seed> = index.seeds.iter().map(|&seed| Seed { seed }).collect();
            (
                context.builder.unique_list(&ordered),
                context.builder.unique_list(&seeds),
            )
        }
        Err(error) => {
            // The reader has refused equal keys, so this takes two of 2^64 hashes to meet.
            report_fault(
                context.report,
                format!("credentials cannot be indexed: {error:?}"),
            );
            (Rows::NONE, Rows::NONE)
        }
    }
}
