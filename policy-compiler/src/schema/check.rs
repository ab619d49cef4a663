//! One plugin configuration against its schema: types, bounds, names, aliases, defaults, secrets.

use regex::{Regex, RegexBuilder};
use serde_json::Value as Json;

use super::{Field, KongCompat, PluginSchema, alias, rules, versions};
use crate::diagnostic::{Diagnostic, Report, nearest};
use crate::source::{Entry, Node, Secret, Span, Value};

/// What the check leaves.
pub struct Checked {
    /// The completed configuration, always a mapping.
    pub config: Node,
    /// Fields left out whose default depends on the version.
    pub reliances: Vec<Reliance>,
}

/// A field left out whose default depends on the version.
#[derive(Clone, Debug)]
pub struct Reliance {
    /// Dotted path in the configuration.
    pub field: Box<str>,
    /// JSON text; `none` if there was no default.
    pub default_3_9: Box<str>,
    /// JSON text; `none` if there is no default.
    pub default_3_15: Box<str>,
}

/// Checks `config` (absent: empty) of the plugin `name`. `at` is where the plugin is named; completed fields carry it.
/// Every problem is reported; the result is only meaningful if none was an error.
pub fn check(
    name: &str,
    schema: &PluginSchema,
    config: Option<Node>,
    at: Span,
    compat: KongCompat,
    report: &Report,
) -> Checked {
    let config = config.filter(|node| !node.is_null());
    let config = config.unwrap_or(Node {
        span: at,
        value: Value::Map(Box::default()),
    });
    let errors_before = report.errors();
    let mut checker = Checker {
        name,
        compat,
        report,
        at,
        path: Vec::new(),
        reliances: Vec::new(),
    };
    let config = checker.value(&schema.config, config);
    let reliances = checker.reliances;
    // Rules look at several fields at once and would only repeat what is already wrong with one.
    if report.errors() == errors_before {
        rules::check(name, &config, at, report);
    }
    Checked { config, reliances }
}

/// Checks a record that stands alone, `what` in words, where no plugin's configuration holds it.
pub fn check_record(what: &str, field: &Field, record: Node, compat: KongCompat, report: &Report) {
    let mut checker = Checker {
        name: what,
        compat,
        report,
        at: record.span,
        path: Vec::new(),
        reliances: Vec::new(),
    };
    checker.value(field, record);
}

struct Checker<'c> {
    name: &'c str,
    compat: KongCompat,
    report: &'c Report,
    at: Span,
    path: Vec<Box<str>>,
    reliances: Vec<Reliance>,
}

impl Checker<'_> {
    fn here(&self) -> String {
        self.path.join(".")
    }

    fn refuse(&self, span: Span, words: String) -> Diagnostic {
        Diagnostic::error("plugin-config", words).at(span)
    }

    fn value(&mut self, field: &Field, node: Node) -> Node {
        if field.takes('?') {
            return node;
        }
        let Node { span, value } = node;
        let value = match value {
            Value::Map(entries) if field.takes('r') => return self.record(field, span, entries),
            Value::Map(entries) if field.takes('m') => self.map(field, entries),
            Value::List(items) if field.takes('l') => self.list(field, span, items),
            Value::Str(text) if field.takes('s') => self.text(field, span, text),
            Value::Bool(truth) if field.takes('b') => Value::Bool(truth),
            number @ (Value::Int(_) | Value::Float(_)) if field.takes('i') || field.takes('n') => {
                let node = Node { span, value: number };
                self.number(field, &node);
                node.value
            }
            other => {
                let node = Node { span, value: other };
                self.wrong_type(field, &node);
                return node;
            }
        };
        // A field that became a list after 3.9 still reads one bare value; later rooms see lists only.
        if field.takes('l') && !matches!(value, Value::List(_)) {
            let only = Node { span, value };
            return Node {
                span,
                value: Value::List(Box::new([only])),
            };
        }
        Node { span, value }
    }

    fn wrong_type(&self, field: &Field, node: &Node) {
        let wanted = versions::words(&field.types);
        let words = format!("`{}` of {} must be {wanted}", self.here(), self.name);
        let finding = self
            .refuse(node.span, words)
            .label(format!("this is {}", node.kind()));
        let help = match (wanted, &node.value) {
            ("a string", Value::Int(_) | Value::Float(_) | Value::Bool(_)) => Some("put it in quotes"),
            ("a list", Value::Str(_) | Value::Int(_)) => Some("a list of one is written `[x]`"),
            _ => None,
        };
        self.report.push(finding.help_if(help.map(str::to_owned)));
    }

    fn record(&mut self, field: &Field, span: Span, entries: Box<[Entry]>) -> Node {
        let mut entries = alias::resolve(field, entries.into_vec(), &self.here(), self.report);
        entries.retain(|entry| !entry.node.is_null());
        let mut completed = Vec::with_capacity(entries.len() + field.fields.len());
        for entry in entries {
            self.path.push(Box::from(&*entry.key));
            match field.fields.get(&*entry.key) {
                Some(known) => completed.push(Entry {
                    node: self.value(known, entry.node),
                    ..entry
                }),
                None => self.unknown(field, &entry),
            }
            self.path.pop();
        }
        for (name, missing) in &field.fields {
            if completed.iter().any(|entry| *entry.key == **name) {
                continue;
            }
            self.path.push(name.clone());
            completed.extend(self.absent(name, missing, span));
            self.path.pop();
        }
        Node {
            span,
            value: Value::Map(completed.into_boxed_slice()),
        }
    }

    fn unknown(&self, field: &Field, entry: &Entry) {
        let known = field.fields.keys().map(|name| &**name);
        let hint = nearest(&entry.key, known).map(|name| format!("did you mean `{name}`?"));
        let path = self.path[..self.path.len() - 1].join(".");
        let place = if path.is_empty() {
            self.name.to_owned()
        } else {
            format!("`{path}` of {}", self.name)
        };
        let words = format!("{place} has no field `{}`", entry.key);
        let finding = Diagnostic::error("unknown-field", words).at(entry.key_span);
        self.report
            .push(finding.label("not known to Kong 3.9 or 3.15").help_if(hint));
    }

    /// The completed value of a field that was left out, or a complaint.
    fn absent(&mut self, name: &str, field: &Field, record: Span) -> Option<Entry> {
        if let Some((old, new)) = field.differing_defaults() {
            let words = |json: &Json| {
                if json.is_null() {
                    "none".into()
                } else {
                    json.to_string().into()
                }
            };
            self.reliances.push(Reliance {
                field: self.here().into(),
                default_3_9: words(old),
                default_3_15: words(new),
            });
        }
        let node = match field.default(self.compat) {
            Some(default) => self.value(field, node_of(default, self.at)),
            None if field.is_required => {
                let words = format!("{} needs `{}`", self.name, self.here());
                let span = if record == self.at {
                    self.at
                } else {
                    Span {
                        end: record.start,
                        ..record
                    }
                };
                self.report
                    .push(Diagnostic::error("missing-field", words).at(span));
                return None;
            }
            None if field.is_self_sufficient() => self.record(field, self.at, Box::default()),
            None => return None,
        };
        Some(Entry {
            key: name.into(),
            key_span: self.at,
            node,
        })
    }

    fn map(&mut self, field: &Field, entries: Box<[Entry]>) -> Value {
        let Some(item) = &field.item else {
            return Value::Map(entries);
        };
        let checked = entries.into_iter().map(|entry| {
            self.path.push(Box::from(&*entry.key));
            let node = self.value(item, entry.node);
            self.path.pop();
            Entry { node, ..entry }
        });
        Value::Map(checked.collect())
    }

    fn list(&mut self, field: &Field, span: Span, items: Box<[Node]>) -> Value {
        self.length(field, span, items.len(), "elements");
        let Some(item) = &field.item else {
            return Value::List(items);
        };
        let checked = items.into_iter().enumerate().map(|(at, node)| {
            self.path.push(format!("{}", at + 1).into());
            let node = self.value(item, node);
            self.path.pop();
            node
        });
        Value::List(checked.collect())
    }

    fn text(&mut self, field: &Field, span: Span, text: Box<str>) -> Value {
        if field.is_secret {
            self.report.hide(span);
        }
        let is_reference = text.contains("{vault://");
        if !is_reference && !field.takes('l') {
            self.length(field, span, text.chars().count(), "characters");
        }
        if !is_reference && !field.allowed.is_empty() {
            self.choice(field, span, &text);
        }
        if !is_reference {
            self.pattern(field, span, &text);
        }
        if field.is_secret {
            Value::Secret(Secret::new(text))
        } else {
            Value::Str(text)
        }
    }

    /// The form of a text. The text itself is not repeated: it may be a secret.
    fn pattern(&self, field: &Field, span: Span, text: &str) {
        if field.refused.iter().any(|refused| **refused == *text) {
            let words = format!("`{}` of {} cannot be this one", self.here(), self.name);
            self.report.push(self.refuse(span, words));
        }
        let wrong = field.patterns.iter().find(|pattern| {
            let regex = form(pattern).expect("each pattern is part of the program and tested");
            !regex.is_match(text)
        });
        if let Some(pattern) = wrong {
            let words = format!("`{}` of {} does not have the right form", self.here(), self.name);
            let finding = self.refuse(span, words);
            self.report.push(finding.label(format!("must match `{pattern}`")));
        }
    }

    fn choice(&self, field: &Field, span: Span, text: &str) {
        let allowed: Vec<&str> = field.allowed.iter().filter_map(Json::as_str).collect();
        if allowed.contains(&text) {
            return;
        }
        let hint = nearest(text, allowed.iter().copied()).map(|name| format!("did you mean `{name}`?"));
        let words = format!("`{}` of {} does not take this value", self.here(), self.name);
        let finding = self
            .refuse(span, words)
            .label(format!("expected one of: {}", allowed.join(", ")));
        self.report.push(finding.help_if(hint));
    }

    fn number(&self, field: &Field, node: &Node) {
        let Some(number) = node.as_float() else { return };
        if !field.takes('n') && node.as_int().is_none() {
            self.wrong_type(field, node);
        }
        let low = field
            .min
            .filter(|min| number < *min)
            .map(|min| format!("at least {min}"));
        let high = field
            .max
            .filter(|max| number > *max)
            .map(|max| format!("at most {max}"));
        if let Some(bound) = low.or(high) {
            self.report.push(self.refuse(
                node.span,
                format!("`{}` of {} must be {bound}", self.here(), self.name),
            ));
        }
        let allowed: Vec<f64> = field.allowed.iter().filter_map(Json::as_f64).collect();
        if !allowed.is_empty() && !allowed.contains(&number) {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let words = format!("`{}` of {} does not take this value", self.here(), self.name);
            self.report.push(
                self.refuse(node.span, words)
                    .label(format!("expected one of: {}", allowed.join(", "))),
            );
        }
    }

    fn length(&self, field: &Field, span: Span, len: usize, unit: &str) {
        let short = field
            .len_min
            .filter(|min| len < *min)
            .map(|min| format!("at least {min}"));
        let long = field
            .len_max
            .filter(|max| len > *max)
            .map(|max| format!("at most {max}"));
        if let Some(bound) = short.or(long) {
            let words = format!("`{}` of {} must have {bound} {unit}", self.here(), self.name);
            self.report
                .push(self.refuse(span, words).label(format!("this has {len}")));
        }
    }
}

/// A pattern as a regex; `.` is any character, as in Lua.
pub(super) fn form(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).dot_matches_new_line(true).build()
}

/// A default as a node that points at what it completes.
fn node_of(json: &Json, span: Span) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Str(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(|item| node_of(item, span)).collect()),
        Json::Object(fields) => Value::Map(
            fields
                .iter()
                .map(|(key, item)| Entry {
                    key: key.as_str().into(),
                    key_span: span,
                    node: node_of(item, span),
                })
                .collect(),
        ),
    };
    Node { span, value }
}
