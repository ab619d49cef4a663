//! decK and DB-less files as a typed, completed, resolved [`Model`].
//!
//! The spanned tree enters, the model leaves, and a [`Report`] of everything that is wrong, in one pass per kind of
//! entity: what is referred to is read before what refers. `entity` is the model, `fields` takes mappings apart,
//! `reference` finds entities, `identity` makes ids, the rest is one room per kind of entity.
//! Invariant: nothing in the file is dropped without a word. Absent: what plugins do and how routes rank.

mod certificate;
mod consumer;
mod credential;
mod defaults;
pub mod entity;
mod fields;
mod foreign;
mod healthcheck;
mod identity;
mod info;
mod matcher;
mod plugin;
mod reference;
mod route;
mod service;
mod shared;
mod stream;
mod syntax;
#[cfg(test)]
mod tests;
mod upstream;
mod vault;
mod version;

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

pub use entity::Model;

use crate::diagnostic::{Diagnostic, Report};
use crate::extension::{self, Extensions};
use crate::schema::{Catalogue, Entities, KongCompat};
use crate::source::{Node, Span};
use entity::{
    CaCertificateIndex, CertificateIndex, ConsumerGroupIndex, ConsumerIndex, Meta, RouteIndex, Scope,
    ServiceIndex, UpstreamIndex,
};
use fields::{Fields, Text};
use info::Info;
use plugin::Pending;
use reference::Directory;
use shared::{Clone, Partial};

/// What the command line decides about reading.
#[derive(::core::clone::Clone, Debug, Default)]
pub struct Options {
    /// Whose defaults complete the file.
    pub compat: KongCompat,
    /// Turns what Tollgate knows but does not enforce from errors into warnings.
    pub allow_unsupported: bool,
    /// Tags given to every entity; must agree with `_info.select_tags` if both are there.
    pub select_tags: Vec<Box<str>>,
}

/// Reads `root`, the merged tree of all files. The model is only meaningful if `report` has no errors.
pub fn read(root: Node, options: &Options, report: &Report) -> Model {
    let Some(mut file) = Fields::open("the declarative file", root, report) else {
        return Model::default();
    };
    let info = Info::read(&mut file, options, report);
    let mut reader = Reader::new(options, info, report);
    reader.note_entity(&file);
    reader.shared(&mut file);
    reader.vaults(&mut file);
    reader.certificates(&mut file);
    reader.upstreams(&mut file);
    reader.services(&mut file);
    reader.routes(&mut file);
    reader.consumer_groups(&mut file);
    reader.consumers(&mut file);
    reader.credentials(&mut file);
    reader.plugins(&mut file);
    reader.foreign(&mut file);
    file.close();
    reader.finish()
}

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Everything that is known while a file is read.
struct Reader<'r> {
    options: &'r Options,
    report: &'r Report,
    info: Info,
    catalogue: Catalogue,
    entities: Entities,
    model: Model,
    services: Directory<ServiceIndex>,
    routes: Directory<RouteIndex>,
    consumers: Directory<ConsumerIndex>,
    custom_ids: Directory<ConsumerIndex>,
    consumer_groups: Directory<ConsumerGroupIndex>,
    upstreams: Directory<UpstreamIndex>,
    certificates: Directory<CertificateIndex>,
    ca_certificates: Directory<CaCertificateIndex>,
    partials: Vec<Partial>,
    clones: Vec<Clone>,
    custom_plugins: Vec<Text>,
    plugin_configs: Option<Node>,
    /// Plugins wait until everything they may refer to has been read.
    pending: Vec<Pending>,
    /// DB-less `plugins_partials`: plugin, partial, path.
    plugin_partials: Vec<(Text, Text, Option<Text>)>,
    /// `consumers` of a group, until consumers are read.
    members: Vec<(ConsumerGroupIndex, Text)>,
    /// Routes and plugins of services, until all services are read.
    nested: Vec<(ServiceIndex, Vec<Node>, Vec<Node>)>,
    /// Where routes ask for bodies to be held, by the flag.
    buffered: BTreeMap<&'static str, Vec<Span>>,
    explicit_ids: Map<(&'static str, Uuid), Span>,
    plugin_scopes: Map<(Box<str>, Scope), Span>,
}

impl<'r> Reader<'r> {
    fn new(options: &'r Options, info: Info, report: &'r Report) -> Self {
        let model = Model {
            compat: options.compat,
            workspace: info.workspace.clone(),
            ..Model::default()
        };
        Self {
            options,
            report,
            info,
            catalogue: Catalogue::default(),
            entities: Entities::default(),
            model,
            services: Directory::new("service"),
            routes: Directory::new("route"),
            consumers: Directory::new("consumer"),
            custom_ids: Directory::new("consumer"),
            consumer_groups: Directory::new("consumer-group"),
            upstreams: Directory::new("upstream"),
            certificates: Directory::new("certificate"),
            ca_certificates: Directory::new("ca-certificate"),
            partials: Vec::new(),
            clones: Vec::new(),
            custom_plugins: Vec::new(),
            plugin_configs: None,
            pending: Vec::new(),
            plugin_partials: Vec::new(),
            members: Vec::new(),
            nested: Vec::new(),
            buffered: BTreeMap::new(),
            explicit_ids: Map::default(),
            plugin_scopes: Map::default(),
        }
    }

    /// Id, tags and place of an entity. `key` makes it unique within its kind; `span` is where it is named.
    fn meta(&mut self, fields: &mut Fields<'_>, key: &str, span: Option<Span>) -> Meta {
        let span = span.unwrap_or_else(|| fields.first_key());
        let kind = fields.kind;
        let id = fields.text("id");
        // Facts of the database the file was dumped from.
        for key in ["created_at", "updated_at"] {
            fields.number(key, 0.0..=f64::MAX);
        }
        let id = id
            .and_then(|text| self.explicit_id(kind, &text))
            .unwrap_or_else(|| identity::derive(kind, key));
        let (tags, extensions) = self.tags(fields);
        Meta {
            id,
            span,
            tags,
            extensions,
        }
    }

    fn tags(&self, fields: &mut Fields<'_>) -> (Vec<Box<str>>, Extensions) {
        let (mut tags, mut extensions) = (Vec::new(), Extensions::default());
        for tag in fields.texts("tags").unwrap_or_default() {
            if let Err(words) = syntax::tag(&tag.value) {
                fields.refuse(tag.span, words);
            }
            extensions.read(extension::TAGS, fields.kind, &tag, self.report);
            tags.push(tag.value);
        }
        extensions.close(self.report);
        for tag in &self.info.select_tags {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        (tags, extensions)
    }

    fn explicit_id(&mut self, kind: &'static str, text: &Text) -> Option<Uuid> {
        let Ok(id) = Uuid::try_parse(&text.value) else {
            let finding = Diagnostic::error("invalid-id", "an id must be a UUID").at(text.span);
            self.report
                .push(finding.help("leave it out: the id is then derived from the name"));
            return None;
        };
        if let Some(earlier) = self.explicit_ids.insert((kind, id), text.span) {
            let words = format!("two {kind}s have the id {id}");
            let finding = Diagnostic::error("duplicate-id", words).at(text.span);
            self.report.push(finding.also(earlier, "the first one"));
        }
        Some(id)
    }

    /// Reports something that Tollgate knows and does not enforce: an error, or a warning if the operator agreed.
    /// `instead` says what then happens.
    fn unsupported(&self, code: &'static str, span: Span, words: impl Into<String>, instead: &str) {
        self.report.push(if self.options.allow_unsupported {
            Diagnostic::warning(code, words).at(span).label(instead)
        } else {
            Diagnostic::error(code, words)
                .at(span)
                .help(format!("with --allow-unsupported it compiles: {instead}"))
        });
    }

    /// Checks a name and takes its text.
    fn name(&self, fields: &mut Fields<'_>, key: &'static str) -> Option<Text> {
        let name = fields.text(key)?;
        if let Err(words) = syntax::name(&name.value) {
            fields.refuse(name.span, words);
        }
        Some(name)
    }

    fn finish(mut self) -> Model {
        self.join_members();
        self.resolve_plugins();
        self.say_what_streams();
        for consumer in &mut self.model.consumers {
            consumer.groups.sort_unstable();
            consumer.groups.dedup();
        }
        self.model
    }
}

/// A row number as an index. A file holds far less than 2^32 entities: it is smaller than 1 GiB.
fn row(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
