//! Vaults, and the references to them (`{vault://vault/name[/member]}`).
//!
//! The gateway reads environment variables and nothing else, when it loads an artifact. A reference through a vault of
//! the file becomes one to `env` here; one that leads nowhere, or stands where the gateway reads texts as they are, is
//! an error: it would be sent or matched as it is written.

use super::Reader;
use super::entity::Vault;
use super::fields::{Fields, Text};
use crate::diagnostic::{Diagnostic, nearest};
use crate::schema::PluginKind;
use crate::source::{Node, Secret, Span, Value};

/// What Kong reads from.
const BACKENDS: [&str; 6] = ["env", "aws", "azure", "conjur", "gcp", "hcv"];
/// The fields of enforced plugins that the gateway resolves.
const RESOLVED: [(PluginKind, &str); 2] = [
    (PluginKind::AiProxy, "auth.header_value"),
    (PluginKind::AiProxy, "auth.param_value"),
];
const OPEN: &str = "{vault://";

impl Reader<'_> {
    pub(super) fn vaults(&mut self, file: &mut Fields<'_>) {
        for node in file.list("vaults") {
            if let Some(fields) = Fields::open("vault", node, self.report) {
                self.vault(fields);
            }
        }
    }

    fn vault(&mut self, mut fields: Fields<'_>) {
        let name = fields.required("name");
        let prefix = fields.required("prefix");
        let key = prefix.as_ref().map_or("", |prefix| &*prefix.value).to_owned();
        let meta = self.meta(&mut fields, &key, prefix.as_ref().map(|prefix| prefix.span));
        fields.text("description");
        let config = fields.take("config").map(|entry| entry.node);
        fields.close();
        let (Some(name), Some(prefix)) = (name, prefix) else {
            return;
        };
        self.check_prefix(&prefix);
        let variables = match &*name.value {
            "env" => self.environment(config),
            backend => {
                self.refuse_backend(backend, name.span);
                None
            }
        };
        self.model.vaults.push(Vault {
            meta,
            name: name.value,
            prefix: prefix.value,
            variables: variables.unwrap_or_default(),
        });
    }

    fn check_prefix(&self, prefix: &Text) {
        let text = &*prefix.value;
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_formed = text.len() > 1
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(|byte| is_plain(byte) || byte == b'-');
        let words = if self.model.vaults.iter().any(|vault| *vault.prefix == *text) {
            let words = format!("two vaults have the prefix `{text}`");
            self.report
                .push(Diagnostic::error("duplicate-name", words).at(prefix.span));
            return;
        } else if BACKENDS.contains(&text) {
            "a vault's prefix cannot be the name of a backend"
        } else if !is_formed {
            "a vault's prefix has at least two lower-case letters, digits or hyphens, and starts with a letter"
        } else {
            return;
        };
        self.report
            .push(Diagnostic::error("invalid-value", words).at(prefix.span));
    }

    /// The prefix of the variables that an `env` vault reads.
    fn environment(&self, config: Option<Node>) -> Option<Box<str>> {
        let mut fields = Fields::open("the config of an env vault", config?, self.report)?;
        let variables = fields.text_or_empty("prefix");
        if let Some(entry) = fields.take("base64_decode")
            && entry.node.as_bool() != Some(false)
        {
            self.unsupported(
                "unsupported-field",
                entry.key_span,
                "`base64_decode` of a vault is not enforced",
                "values are used as they are",
            );
        }
        fields.close();
        variables.map(|text| text.value)
    }

    fn refuse_backend(&self, backend: &str, span: Span) {
        if BACKENDS.contains(&backend) {
            self.unsupported(
                "unsupported-vault",
                span,
                format!("vaults of the kind `{backend}` are not read, only `env` is"),
                "references to it are errors",
            );
            return;
        }
        let hint = nearest(backend, BACKENDS).map(|name| format!("did you mean `{name}`?"));
        let words = format!("there is no kind of vault `{backend}`");
        self.report
            .push(Diagnostic::error("invalid-value", words).at(span).help_if(hint));
    }

    /// A text whose references all lead to environment variables; None after reporting one that does not.
    pub(super) fn resolve_references(&self, text: &str, span: Span) -> Option<String> {
        let (mut out, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((before, after)) = rest.split_once(OPEN) {
            let parts = after
                .split_once('}')
                .and_then(|(reference, after)| Some((reference.split_once('/')?, after)));
            let Some(((vault, name), after)) = parts.filter(|((_, name), _)| !name.is_empty()) else {
                let finding =
                    Diagnostic::error("vault-reference", "this reference does not end or names nothing");
                self.report
                    .push(finding.at(span).help("write {vault://env/name}"));
                return None;
            };
            let variables = self.variables(vault, span)?;
            out.extend([before, OPEN, "env/", variables, name, "}"]);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    /// The prefix of the variables of a vault.
    fn variables(&self, name: &str, span: Span) -> Option<&str> {
        if name == "env" {
            return Some("");
        }
        let known = self.model.vaults.iter().find(|vault| *vault.prefix == *name);
        let words = match known {
            Some(vault) if &*vault.name == "env" => return Some(&vault.variables),
            Some(vault) => format!(
                "`{name}` is a vault of the kind `{}`, which is not read",
                vault.name
            ),
            None if BACKENDS.contains(&name) => format!("vaults of the kind `{name}` are not read"),
            None => format!("there is no vault with the prefix `{name}`"),
        };
        let finding = Diagnostic::error("vault-reference", words).at(span);
        self.report
            .push(finding.help("only environment variables are read: {vault://env/name}"));
        None
    }

    /// Resolves the references in the configuration of an enforced plugin, and refuses those in fields that the
    /// gateway reads as they are.
    pub(super) fn config_references(&self, kind: PluginKind, path: &str, node: &mut Node) {
        let below = |key: &str| match path {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        let span = node.span;
        match &mut node.value {
            Value::Map(entries) => {
                for entry in entries {
                    self.config_references(kind, &below(&entry.key), &mut entry.node);
                }
            }
            Value::List(items) => {
                for item in items {
                    self.config_references(kind, path, item);
                }
            }
            Value::Secret(secret) if RESOLVED.contains(&(kind, path)) => {
                if let Some(text) = self.resolve_references(secret.expose(), span) {
                    *secret = Secret::new(text);
                }
            }
            Value::Str(text) => self.refuse_reference(path, text, span),
            Value::Secret(text) => self.refuse_reference(path, text.expose(), span),
            _ => {}
        }
    }

    fn refuse_reference(&self, field: &str, text: &str, span: Span) {
        // What says how to reach a redis is reported by the field that asks for one.
        if !text.contains(OPEN) || field.split('.').any(|key| key == "redis") {
            return;
        }
        let words = format!("`{field}` is read as it is written, without looking into vaults");
        self.report
            .push(Diagnostic::error("vault-reference", words).at(span));
    }
}
