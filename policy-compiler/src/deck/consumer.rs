//! Consumers, consumer groups and credentials.

use super::collect::{Collected, Parent, owner};
use super::entity::{
    AclGroup, BasicAuthCredential, Consumer, ConsumerGroup, ConsumerGroupIndex, ConsumerIndex,
    CredentialKind, KeyAuthCredential, Model, OtherCredential, Password,
};
use super::fields::Fields;
use super::identity::{Names, meta};
use super::tls::hide;
use super::{Reader, Tables, reference, row};
use crate::diagnostic::Diagnostic;
use crate::source::{Node, Secret};

const CONSUMER_FIELDS: [&str; 10] = [
    "username",
    "custom_id",
    "plugins",
    "groups",
    "keyauth_credentials",
    "basicauth_credentials",
    "acls",
    "hmacauth_credentials",
    "jwt_secrets",
    "mtls_auth_credentials",
];
const CONSUMER_NAMES: [&str; 3] = ["username", "id", "custom_id"];

pub(super) fn read(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &mut Tables) {
    groups(reader, all, model, names);
    consumers(reader, all, model, names);
    memberships(reader, all, model, names);
    for consumer in &mut model.consumers {
        consumer.groups.sort_unstable();
        consumer.groups.dedup();
    }
    keys(reader, all, model, names);
    basics(reader, all, model, names);
    acls(reader, all, model, names);
    others(reader, all, model, names);
}

fn groups(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &mut Tables) {
    for raw in &all.groups {
        let fields = Fields::new(reader, "consumer group", raw.node);
        fields.only(&["name", "plugins", "consumers"]);
        if !fields.require("name") {
            continue;
        }
        let Some(name) = fields.text("name") else { continue };
        let index = row(model.consumer_groups.len());
        let meta = meta(reader, &fields, "consumer_group", name);
        names
            .groups
            .add(reader, "consumer group", "name", name, index, meta.span);
        names.groups.add(
            reader,
            "consumer group",
            "id",
            &meta.id.to_string(),
            index,
            meta.span,
        );
        names.groups.place(raw.node, index);
        model.consumer_groups.push(ConsumerGroup {
            meta,
            name: name.into(),
        });
    }
}

fn consumers(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &mut Tables) {
    let mut custom = Names::default();
    for raw in &all.consumers {
        let fields = Fields::new(reader, "consumer", raw.node);
        let known: Vec<&str> = CONSUMER_FIELDS
            .into_iter()
            .chain(["oauth2_credentials"])
            .collect();
        fields.only(&known);
        let (username, custom_id) = (fields.scalar("username"), fields.scalar("custom_id"));
        let Some(key) = username.as_deref().or(custom_id.as_deref()) else {
            fields.refuse(
                "missing-field",
                fields.span(),
                "a consumer needs `username` or `custom_id`",
            );
            continue;
        };
        let index = row(model.consumers.len());
        let meta = meta(reader, &fields, "consumer", key);
        if let Some(username) = &username {
            names
                .consumers
                .add(reader, "consumer", "username", username, index, meta.span);
        }
        names
            .consumers
            .add(reader, "consumer", "id", &meta.id.to_string(), index, meta.span);
        if let Some(custom_id) = &custom_id {
            custom.add(reader, "consumer", "custom_id", custom_id, index, meta.span);
        }
        names.consumers.place(raw.node, index);
        let mut groups = Vec::new();
        for node in fields.list("groups") {
            if let Some((name, span)) = reference(node, &["name", "id"])
                && let Some(group) = reader.resolve(&names.groups, "consumer group", name, span)
            {
                groups.push(ConsumerGroupIndex(group));
            }
        }
        model.consumers.push(Consumer {
            meta,
            username,
            custom_id,
            groups,
        });
    }
}

/// Membership from the group's side, and the DB-less list.
fn memberships(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &Tables) {
    for raw in &all.groups {
        let Some(group) = names.groups.of_node(raw.node) else {
            continue;
        };
        for node in raw
            .node
            .get("consumers")
            .and_then(Node::as_list)
            .unwrap_or_default()
        {
            join(reader, model, names, node, group);
        }
    }
    for raw in &all.memberships {
        let fields = Fields::new(reader, "consumer group membership", raw.node);
        fields.only(&["consumer", "consumer_group"]);
        let group = fields
            .get("consumer_group")
            .and_then(|node| reference(node, &["name", "id"]));
        let group =
            group.and_then(|(name, span)| reader.resolve(&names.groups, "consumer group", name, span));
        if let (Some(group), Some(node)) = (group, fields.get("consumer")) {
            join(reader, model, names, node, group);
        }
    }
}

fn join(reader: &Reader<'_>, model: &mut Model, names: &Tables, node: &Node, group: u32) {
    let Some((name, span)) = reference(node, &CONSUMER_NAMES) else {
        return;
    };
    let by_custom_id = node.get("username").is_none() && node.get("custom_id").is_some();
    let found = if by_custom_id {
        let consumers = model
            .consumers
            .iter()
            .position(|consumer| consumer.custom_id.as_deref() == Some(name));
        consumers.map(row)
    } else {
        reader.resolve(&names.consumers, "consumer", name, span)
    };
    if let Some(consumer) = found.and_then(|index| model.consumers.get_mut(index as usize)) {
        consumer.groups.push(ConsumerGroupIndex(group));
    }
}

fn keys(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &Tables) {
    let mut known = Names::default();
    for raw in &all.keys {
        let fields = Fields::new(reader, "key-auth credential", raw.node);
        fields.only(&["key", "ttl", "consumer"]);
        hide(reader, &fields, "key");
        if !fields.require("key") {
            continue;
        }
        let Some(key) = fields.scalar("key") else { continue };
        let Some(consumer) = owner(reader, *raw, "consumer", &CONSUMER_NAMES, &names.consumers) else {
            continue;
        };
        let span = fields.get("key").map_or(raw.node.span, |node| node.span);
        known.add_secret(
            reader,
            "key-auth credential",
            "key",
            &key,
            row(model.keyauth_credentials.len()),
            span,
        );
        let created: Option<u64> = fields.number("created_at", 0, i64::MAX);
        let ttl: Option<u64> = fields.number("ttl", 0, i64::MAX);
        model.keyauth_credentials.push(KeyAuthCredential {
            meta: meta(reader, &fields, "keyauth_credential", &key),
            consumer: ConsumerIndex(consumer),
            key: Secret::new(key),
            expires_at: ttl
                .filter(|ttl| *ttl > 0)
                .map(|ttl| created.unwrap_or(0).saturating_add(ttl)),
        });
    }
}

fn basics(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &Tables) {
    let hashed = all
        .root
        .and_then(|root| root.at("_info.skip_hash_for_basic_auth"))
        .and_then(Node::as_bool);
    let mut known = Names::default();
    for raw in &all.basics {
        let fields = Fields::new(reader, "basic-auth credential", raw.node);
        fields.only(&["username", "password", "consumer", "skip_hash"]);
        hide(reader, &fields, "password");
        let (true, true) = (fields.require("username"), fields.require("password")) else {
            continue;
        };
        let (Some(username), Some(password)) = (fields.scalar("username"), fields.scalar("password")) else {
            continue;
        };
        let Some(consumer) = owner(reader, *raw, "consumer", &CONSUMER_NAMES, &names.consumers) else {
            continue;
        };
        let meta = meta(reader, &fields, "basicauth_credential", &username);
        let index = row(model.basicauth_credentials.len());
        known.add(
            reader,
            "basic-auth credential",
            "username",
            &username,
            index,
            meta.span,
        );
        let secret = Secret::new(password);
        let skip = fields.flag("skip_hash").or(hashed).unwrap_or(false);
        model.basicauth_credentials.push(BasicAuthCredential {
            meta,
            consumer: ConsumerIndex(consumer),
            username,
            password: if skip {
                Password::Hashed(secret)
            } else {
                Password::Plain(secret)
            },
        });
    }
}

fn acls(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &Tables) {
    for raw in &all.acls {
        let fields = Fields::new(reader, "acl membership", raw.node);
        fields.only(&["group", "consumer"]);
        if !fields.require("group") {
            continue;
        }
        let Some(group) = fields.scalar("group") else {
            continue;
        };
        let Some(consumer) = owner(reader, *raw, "consumer", &CONSUMER_NAMES, &names.consumers) else {
            continue;
        };
        let key = format!("{consumer}:{group}");
        let meta = meta(reader, &fields, "acl", &key);
        model.acls.push(AclGroup {
            meta,
            consumer: ConsumerIndex(consumer),
            group,
        });
    }
}

fn others(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &Tables) {
    for (list, raw) in &all.other_credentials {
        let fields = Fields::new(reader, "credential", raw.node);
        for secret in ["secret", "client_secret", "key", "rsa_public_key"] {
            hide(reader, &fields, secret);
        }
        let consumer = match raw.parent {
            Some(Parent::Consumer(node)) => names.consumers.of_node(node),
            _ => owner(reader, *raw, "consumer", &CONSUMER_NAMES, &names.consumers),
        };
        let Some(consumer) = consumer else { continue };
        let (kind, plugin) = match *list {
            "hmacauth_credentials" => (CredentialKind::HmacAuth, "hmac-auth"),
            "jwt_secrets" => (CredentialKind::Jwt, "jwt"),
            "mtls_auth_credentials" => (CredentialKind::MtlsAuth, "mtls-auth"),
            _ => (CredentialKind::Oauth2, "oauth2"),
        };
        let span = raw
            .node
            .as_map()
            .and_then(|entries| entries.first())
            .map_or(raw.node.span, |entry| entry.key_span);
        let words = format!("credentials of {plugin} authenticate nobody: the plugin is not enforced");
        reader
            .report
            .push(Diagnostic::warning("unused-credential", words).at(span));
        let key = format!("{consumer}:{list}:{}", model.other_credentials.len());
        let meta = meta(reader, &fields, list, &key);
        model.other_credentials.push(OtherCredential {
            meta,
            consumer: ConsumerIndex(consumer),
            kind,
        });
    }
}
