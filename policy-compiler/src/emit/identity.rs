//! The policy id: a digest of what the model means, whatever the file looks like.
//!
//! Places, comments, key order inside entities and the spelling of defaults do not count; every value, secrets
//! included, does. Fields are fed with their length, so no two models run together.

use crate::deck::entity::{Model, Password, RoutePath};
use crate::extension::Extensions;
use crate::source::{Node, Value};

pub(super) fn digest(model: &Model) -> [u8; 32] {
    let mut feed = Feed(blake3::Hasher::new());
    feed.text("tollgate policy 1");
    feed.text(&model.compat.to_string());
    feed.text(model.workspace.as_deref().unwrap_or_default());
    services(&mut feed, model);
    routes(&mut feed, model);
    consumers(&mut feed, model);
    credentials(&mut feed, model);
    plugins(&mut feed, model);
    upstreams(&mut feed, model);
    certificates(&mut feed, model);
    *feed.0.finalize().as_bytes()
}

struct Feed(blake3::Hasher);

impl Feed {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    fn texts<'t>(&mut self, texts: impl ExactSizeIterator<Item = &'t str>) {
        self.count(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    fn maybe(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    /// An index into the model, or none.
    fn index(&mut self, index: Option<u32>) {
        self.number(index.map_or(0, |index| u64::from(index) + 1));
    }

    /// Of an entity whose tags mean nothing else.
    fn extensions(&mut self, extensions: &Extensions) {
        for extension in extensions.iter() {
            self.text(extension.tag.name);
            self.number(u64::from(extension.value));
        }
        self.text("");
    }

    fn id(&mut self, id: &uuid::Uuid) {
        self.0.update(id.as_bytes());
    }

    fn node(&mut self, node: &Node) {
        match &node.value {
            Value::Null => self.number(0),
            Value::Bool(truth) => self.number(1 + u64::from(*truth)),
            Value::Int(number) => {
                self.number(3);
                self.0.update(&number.to_le_bytes());
            }
            Value::Float(number) => {
                self.number(4);
                self.number(number.to_bits());
            }
            Value::Str(text) => {
                self.number(5);
                self.text(text);
            }
            Value::Secret(secret) => {
                self.number(5);
                self.text(secret.expose());
            }
            Value::List(items) => {
                self.number(6);
                self.count(items.len());
                items.iter().for_each(|item| self.node(item));
            }
            Value::Map(entries) => {
                self.number(7);
                self.count(entries.len());
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by(|left, right| left.key.cmp(&right.key));
                for entry in sorted {
                    self.text(&entry.key);
                    self.node(&entry.node);
                }
            }
        }
    }
}

fn services(feed: &mut Feed, model: &Model) {
    feed.count(model.services.len());
    for service in &model.services {
        feed.id(&service.meta.id);
        feed.texts(service.meta.tags.iter().map(|tag| &**tag));
        feed.maybe(service.name.as_deref());
        feed.number(service.protocol as u64);
        feed.text(&service.host);
        feed.index(service.upstream.map(|index| index.0));
        feed.maybe(service.path.as_deref());
        for number in [
            u32::from(service.port),
            u32::from(service.retries),
            service.connect_timeout_ms,
            service.write_timeout_ms,
            service.read_timeout_ms,
            u32::from(service.enabled && service.enforced),
            u32::from(service.tls_verify),
        ] {
            feed.number(u64::from(number));
        }
        feed.index(service.tls_verify_depth.map(u32::from));
        feed.index(service.client_certificate.map(|index| index.0));
        let authorities = service.ca_certificates.as_deref().unwrap_or_default();
        feed.count(authorities.len());
        authorities
            .iter()
            .for_each(|index| feed.number(u64::from(index.0)));
    }
}

fn routes(feed: &mut Feed, model: &Model) {
    feed.count(model.routes.len());
    for route in &model.routes {
        feed.id(&route.meta.id);
        feed.texts(route.meta.tags.iter().map(|tag| &**tag));
        feed.maybe(route.name.as_deref());
        feed.index(route.service.map(|index| index.0));
        feed.count(route.protocols.len());
        route
            .protocols
            .iter()
            .for_each(|protocol| feed.number(*protocol as u64));
        feed.texts(route.methods.iter().map(|method| &**method));
        feed.texts(route.hosts.iter().map(|host| &*host.value));
        feed.count(route.paths.len());
        for path in &route.paths {
            let (kind, text) = match &path.value {
                RoutePath::Prefix(prefix) => (0, prefix),
                RoutePath::Regex(regex) => (1, regex),
            };
            feed.number(kind);
            feed.text(text);
        }
        feed.count(route.headers.len());
        for header in &route.headers {
            feed.text(&header.name);
            feed.texts(header.values.iter().map(|value| &*value.value));
        }
        feed.texts(route.snis.iter().map(|sni| &*sni.value));
        for list in [&route.sources, &route.destinations] {
            feed.count(list.len());
            for one in list {
                feed.maybe(one.address.as_deref());
                feed.index(one.port.map(u32::from));
            }
        }
        feed.0.update(&route.regex_priority.to_le_bytes());
        feed.number(u64::from(route.https_redirect_status_code));
        for flag in [
            route.strip_path,
            route.preserve_host,
            route.request_buffering,
            route.response_buffering,
            route.enforced,
        ] {
            feed.number(u64::from(flag));
        }
    }
}

fn consumers(feed: &mut Feed, model: &Model) {
    feed.count(model.consumer_groups.len());
    for group in &model.consumer_groups {
        feed.id(&group.meta.id);
        feed.text(&group.name);
    }
    feed.count(model.consumers.len());
    for consumer in &model.consumers {
        feed.id(&consumer.meta.id);
        feed.texts(consumer.meta.tags.iter().map(|tag| &**tag));
        feed.maybe(consumer.username.as_deref());
        feed.maybe(consumer.custom_id.as_deref());
        feed.count(consumer.groups.len());
        consumer
            .groups
            .iter()
            .for_each(|group| feed.number(u64::from(group.0)));
    }
    feed.count(model.acls.len());
    for acl in &model.acls {
        feed.number(u64::from(acl.consumer.0));
        feed.text(&acl.group);
    }
}

fn credentials(feed: &mut Feed, model: &Model) {
    feed.count(model.keyauth_credentials.len());
    for credential in &model.keyauth_credentials {
        feed.id(&credential.meta.id);
        feed.number(u64::from(credential.consumer.0));
        feed.text(credential.key.expose());
    }
    feed.count(model.basicauth_credentials.len());
    for credential in &model.basicauth_credentials {
        feed.id(&credential.meta.id);
        feed.number(u64::from(credential.consumer.0));
        feed.text(&credential.username);
        let (kind, password) = match &credential.password {
            Password::Plain(password) => (0, password),
            Password::Hashed { hash, .. } => (1, hash),
        };
        feed.number(kind);
        feed.text(password.expose());
    }
}

fn plugins(feed: &mut Feed, model: &Model) {
    feed.count(model.plugins.len());
    for plugin in &model.plugins {
        feed.id(&plugin.meta.id);
        feed.text(&plugin.name);
        feed.number(u64::from(plugin.enabled && plugin.enforced));
        feed.0.update(&plugin.priority.to_le_bytes());
        let scope = plugin.scope;
        feed.index(scope.service.map(|index| index.0));
        feed.index(scope.route.map(|index| index.0));
        feed.index(scope.consumer.map(|index| index.0));
        feed.index(scope.consumer_group.map(|index| index.0));
        feed.count(plugin.protocols.len());
        plugin
            .protocols
            .iter()
            .for_each(|protocol| feed.number(*protocol as u64));
        feed.node(&plugin.config);
    }
}

fn upstreams(feed: &mut Feed, model: &Model) {
    feed.count(model.upstreams.len());
    for upstream in &model.upstreams {
        feed.id(&upstream.meta.id);
        feed.extensions(&upstream.meta.extensions);
        feed.text(&upstream.name);
        feed.number(upstream.algorithm as u64);
        feed.maybe(upstream.host_header.as_deref());
        for hash in [&upstream.hash_on, &upstream.hash_fallback] {
            feed.text(&format!("{hash:?}"));
        }
        feed.index(upstream.client_certificate.map(|index| index.0));
        feed.text(&format!("{:?}", upstream.sticky_sessions));
        feed.text(&format!("{:?}", upstream.healthchecks));
    }
    feed.count(model.targets.len());
    for target in &model.targets {
        feed.extensions(&target.meta.extensions);
        feed.number(u64::from(target.upstream.0));
        feed.text(&target.host);
        feed.number(u64::from(target.port));
        feed.number(u64::from(target.weight));
    }
}

fn certificates(feed: &mut Feed, model: &Model) {
    feed.count(model.certificates.len());
    for certificate in &model.certificates {
        feed.id(&certificate.meta.id);
        feed.text(&certificate.cert);
        feed.text(certificate.key.expose());
    }
    feed.count(model.snis.len());
    for sni in &model.snis {
        feed.text(&sni.name);
        feed.number(u64::from(sni.certificate.0));
    }
    feed.texts(model.ca_certificates.iter().map(|authority| &*authority.cert));
}
