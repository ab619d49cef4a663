//! Deprecated spellings that Kong still reads: `redis_host` for `redis.host` and the like.
//!
//! Known translations are applied, so that later rooms see one spelling. Spellings of plugins that Tollgate does not
//! enforce are accepted and dropped: nothing reads them.

use std::sync::Arc;

use super::Field;
use crate::diagnostic::{Diagnostic, Report};
use crate::source::{Entry, Node, Value};

/// `entries` of a record with every deprecated spelling replaced. A setting given in both spellings keeps the new one,
/// as Kong does, with a warning if the two differ.
pub(super) fn resolve(field: &Field, entries: Vec<Entry>, path: &str, report: &Report) -> Vec<Entry> {
    if field.aliases.is_empty() {
        return entries;
    }
    let (old, mut current): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| {
        field.aliases.contains_key(&*entry.key) && !field.fields.contains_key(&*entry.key)
    });
    for entry in old {
        if entry.node.is_null() {
            continue;
        }
        let targets = targets(&entry.key, field);
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}.")
        };
        let names: Vec<String> = targets
            .iter()
            .map(|target| format!("`{prefix}{target}`"))
            .collect();
        let finding = Diagnostic::warning(
            "deprecated-field",
            format!("`{prefix}{}` is deprecated", entry.key),
        );
        let finding = finding.at(entry.key_span);
        report.push(if names.is_empty() {
            finding
        } else {
            finding.help(format!("use {}", names.join(", ")))
        });
        for target in &targets {
            let node = translate(&entry);
            let key_span = entry.key_span;
            insert(
                &mut current,
                target,
                Entry {
                    key: Arc::clone(&entry.key),
                    key_span,
                    node,
                },
                report,
            );
        }
    }
    current
}

/// The paths, below the record, that the deprecated field `old` stands for.
fn targets(old: &str, field: &Field) -> Vec<&'static str> {
    match old {
        "redis_host" => vec!["redis.host"],
        "redis_port" => vec!["redis.port"],
        "redis_database" => vec!["redis.database"],
        "redis_password" => vec!["redis.password"],
        "redis_username" => vec!["redis.username"],
        "redis_server_name" => vec!["redis.server_name"],
        "redis_ssl" => vec!["redis.ssl"],
        "redis_ssl_verify" => vec!["redis.ssl_verify"],
        "redis_timeout" => vec!["redis.timeout"],
        "timeout" => vec!["connect_timeout", "send_timeout", "read_timeout"],
        "cluster_addresses" => vec!["cluster_nodes"],
        "sentinel_addresses" => vec!["sentinel_nodes"],
        "endpoint" if field.fields.contains_key("traces_endpoint") => vec!["traces_endpoint"],
        _ => Vec::new(),
    }
}

/// The value in the new form: addresses become records, everything else stays.
fn translate(entry: &Entry) -> Node {
    let host_key = match &*entry.key {
        "cluster_addresses" => "ip",
        "sentinel_addresses" => "host",
        _ => return entry.node.clone(),
    };
    let Some(addresses) = entry.node.as_list() else {
        return entry.node.clone();
    };
    let nodes = addresses.iter().map(|address| {
        let Some((host, port)) = address.as_str().and_then(|text| text.rsplit_once(':')) else {
            return address.clone();
        };
        let Ok(port) = port.parse() else {
            return address.clone();
        };
        let field = |key: &str, value| Entry {
            key: key.into(),
            key_span: address.span,
            node: Node {
                span: address.span,
                value,
            },
        };
        let fields = [
            field(host_key, Value::Str(host.into())),
            field("port", Value::Int(port)),
        ];
        Node {
            span: address.span,
            value: Value::Map(Box::new(fields)),
        }
    });
    Node {
        span: entry.node.span,
        value: Value::List(nodes.collect()),
    }
}

/// Puts `entry`'s value at the dotted `target`, unless something stands there.
fn insert(entries: &mut Vec<Entry>, target: &str, entry: Entry, report: &Report) {
    let (first, rest) = match target.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (target, None),
    };
    let at = entries
        .iter()
        .position(|known| &*known.key == first && !known.node.is_null());
    match (at, rest) {
        (Some(at), None) => {
            let known = &entries[at];
            if known.node.value != entry.node.value {
                let words = format!("`{}` differs from `{first}`, which wins", entry.key);
                let finding = Diagnostic::warning("deprecated-field", words).at(entry.key_span);
                report.push(finding.also(known.key_span, "the value that is used"));
            }
        }
        (Some(at), Some(rest)) => {
            let record = &mut entries[at].node;
            if let Value::Map(inner) = &mut record.value {
                let mut fields = std::mem::take(inner).into_vec();
                insert(&mut fields, rest, entry, report);
                *inner = fields.into_boxed_slice();
            }
        }
        (None, rest) => {
            entries.retain(|known| &*known.key != first);
            let span = entry.node.span;
            let key_span = entry.key_span;
            let node = match rest {
                None => entry.node,
                Some(rest) => {
                    let mut fields = Vec::new();
                    insert(&mut fields, rest, entry, report);
                    Node {
                        span,
                        value: Value::Map(fields.into_boxed_slice()),
                    }
                }
            };
            entries.push(Entry {
                key: first.into(),
                key_span,
                node,
            });
        }
    }
}
