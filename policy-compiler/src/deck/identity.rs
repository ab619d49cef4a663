//! Ids. An entity without `id` gets one derived from its kind and natural key, so that the same file always gives the
//! same ids: UUID version 5 in the namespace below over `<kind>:<key>`.

use std::collections::HashMap;

use uuid::Uuid;

use super::Reader;
use super::entity::Meta;
use super::fields::Fields;
use crate::diagnostic::Diagnostic;
use crate::source::{Node, Span};

/// The namespace: version 5 of `tollgate` in the DNS namespace.
fn namespace() -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"tollgate")
}

/// The id of an entity that gives none.
pub(super) fn derived(kind: &str, key: &str) -> Uuid {
    Uuid::new_v5(&namespace(), format!("{kind}:{key}").as_bytes())
}

/// Id, place and tags of an entity whose natural key is `key`.
pub(super) fn meta(reader: &Reader<'_>, fields: &Fields<'_, '_>, kind: &str, key: &str) -> Meta {
    let given = fields.text("id");
    let parsed = given.and_then(|text| Uuid::parse_str(text).ok());
    if let (Some(text), None, Some(node)) = (given, parsed, fields.get("id")) {
        reader.report.push(
            Diagnostic::error("invalid-id", format!("`{text}` is not a UUID"))
                .at(node.span)
                .help("leave `id` out: it is then derived from the name"),
        );
    }
    let tags = fields
        .texts("tags")
        .into_iter()
        .map(|tag| tag.value)
        .chain(reader.select_tags.iter().cloned());
    Meta {
        id: parsed.unwrap_or_else(|| derived(kind, key)),
        span: fields.span(),
        tags: tags.collect(),
    }
}

/// Names and ids of one kind of entity, for references and to refuse duplicates.
#[derive(Default)]
pub(super) struct Names {
    by_name: HashMap<Box<str>, (u32, Span), ahash::RandomState>,
    by_node: HashMap<usize, u32, ahash::RandomState>,
}

impl Names {
    /// Notes that row `index` is called `name`; refuses a second one.
    pub(super) fn add(
        &mut self,
        reader: &Reader<'_>,
        kind: &str,
        field: &str,
        name: &str,
        index: u32,
        span: Span,
    ) {
        if let Some((known, first)) = self.by_name.get(name)
            && *known != index
        {
            let words = format!("two {kind}s have the {field} `{name}`");
            let finding = Diagnostic::error("duplicate", words)
                .at(span)
                .also(*first, "the first one");
            reader.report.push(finding);
            return;
        }
        self.by_name.insert(name.into(), (index, span));
    }

    /// [`Names::add`] for a name that must not be shown.
    pub(super) fn add_secret(
        &mut self,
        reader: &Reader<'_>,
        kind: &str,
        field: &str,
        secret: &str,
        index: u32,
        span: Span,
    ) {
        if let Some((_, first)) = self.by_name.get(secret) {
            let words = format!("two {kind}s have the same {field}");
            let finding = Diagnostic::error("duplicate", words)
                .at(span)
                .also(*first, "the first one");
            reader.report.push(finding);
            return;
        }
        self.by_name.insert(secret.into(), (index, span));
    }

    /// Notes that row `index` was read from `node`, for what is nested in it.
    pub(super) fn place(&mut self, node: &Node, index: u32) {
        self.by_node.insert(std::ptr::from_ref(node).addr(), index);
    }

    /// The row that was read from `node`.
    pub(super) fn of_node(&self, node: &Node) -> Option<u32> {
        self.by_node.get(&std::ptr::from_ref(node).addr()).copied()
    }

    /// The row of a name or id.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).map(|(index, _)| *index)
    }

    /// Every name and id.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }
}
