//! Entities for tests that need no file: each says little, and the rest is set over it.

use serde_json::Value as Json;
use uuid::Uuid;

use super::{Meta, PathHandling, Plugin, Protocol, Route, RoutePath, Scope};
use crate::extension::Extensions;
use crate::schema::PluginKind;
use crate::source::{Entry, FileId, Node, Span, Spanned, Value};

/// An entity at byte `at` of the first file. In a file of empty lines its line then tells which it is.
pub(crate) fn meta(id: u128, at: usize) -> Meta {
    Meta {
        id: Uuid::from_u128(id),
        span: place(at),
        tags: Vec::new(),
        extensions: Extensions::default(),
    }
}

fn place(at: usize) -> Span {
    let at = u32::try_from(at).expect("a short file");
    Span {
        file: FileId(0),
        start: at,
        end: at,
    }
}

pub(crate) fn spanned<T>(value: T) -> Spanned<T> {
    Spanned {
        value,
        span: Span::default(),
    }
}

/// A configuration as a tree.
pub(crate) fn node(json: &Json) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().expect("a number")),
        },
        Json::String(text) => Value::Str(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(node).collect()),
        Json::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, json)| Entry {
                    key: key.as_str().into(),
                    key_span: Span::default(),
                    node: node(json),
                })
                .collect(),
        ),
    };
    Node {
        span: Span::default(),
        value,
    }
}

/// A route with these paths, of which those with `~` are regexes.
pub(crate) fn route(id: u128, paths: &[&str]) -> Route {
    let path = |path: &&str| match path.strip_prefix('~') {
        Some(regex) => RoutePath::Regex(regex.into()),
        None => RoutePath::Prefix((*path).into()),
    };
    Route {
        meta: meta(id, 0),
        name: None,
        service: None,
        protocols: vec![Protocol::Http, Protocol::Https],
        methods: Vec::new(),
        hosts: Vec::new(),
        paths: paths.iter().map(path).map(spanned).collect(),
        headers: Vec::new(),
        snis: Vec::new(),
        sources: Vec::new(),
        destinations: Vec::new(),
        regex_priority: 0,
        strip_path: true,
        path_handling: PathHandling::V0,
        preserve_host: false,
        https_redirect_status_code: 426,
        request_buffering: true,
        response_buffering: true,
        enforced: true,
    }
}

/// An instance of a plugin.
pub(crate) fn plugin(name: &str, priority: i32, scope: Scope, config: &Json) -> Plugin {
    Plugin {
        meta: meta(0, 0),
        name: name.into(),
        kind: PluginKind::of(name),
        priority,
        instance_name: None,
        enabled: true,
        scope,
        protocols: Vec::new(),
        config: node(config),
        enforced: true,
    }
}
