//! Services, with the routes and plugins nested in them.

use super::entity::{Protocol, SensitivityKind, Service, ServiceIndex};
use super::fields::Fields;
use super::plugin::Parent;
use super::{Reader, defaults, row, syntax};
use crate::diagnostic::Diagnostic;
use crate::extension;
use crate::schema::KongCompat;
use crate::source::{Node, Span, Value};

impl Reader<'_> {
    pub(super) fn services(&mut self, file: &mut Fields<'_>) {
        for node in file.list("services") {
            if let Some(fields) = Fields::open("service", node, self.report) {
                self.service(fields);
            }
        }
        self.same_headers();
        self.nested_in_services();
    }

    /// A target expects a PROXY header on every connection, or on none.
    fn same_headers(&self) {
        let services = &self.model.services;
        let tag = |service: &Service| service.meta.extensions.value(&extension::PROXY_PROTOCOL);
        for (number, service) in services.iter().enumerate() {
            let shared = |other: &&Service| other.upstream.is_some() && other.upstream == service.upstream;
            let Some(first) = services[..number].iter().find(shared) else {
                continue;
            };
            if tag(first) != tag(service) {
                let words = "services of one upstream differ in `tollgate:proxy_protocol`";
                let finding = Diagnostic::error("proxy-protocol-differs", words).at(service.meta.span);
                self.report
                    .push(finding.also(first.meta.span, "another service of it"));
            }
        }
    }

    fn service(&mut self, mut fields: Fields<'_>) {
        url(&mut fields);
        if let Some(defaults) = &self.info.defaults.service {
            fields.complete(defaults);
        }
        self.note_entity(&fields);
        let name = self.name(&mut fields, "name");
        if name.is_none() && !fields.has("id") {
            fields.missing("name` or `id");
        }
        let key = name.as_ref().map_or("", |name| &*name.value).to_owned();
        let meta = self.meta(&mut fields, &key, name.as_ref().map(|name| name.span));
        let nested_routes = fields.list("routes");
        let nested_plugins = fields.list("plugins");
        self.filter_chains(&mut fields);

        let protocol = protocol(&mut fields);
        let host = fields.required("host");
        if let Some(host) = &host
            && let Err(words) = syntax::server(&host.value)
        {
            fields.refuse(host.span, words);
        }
        let mut service = Service {
            name: name.map(|name| name.value),
            protocol: protocol.0,
            upstream: host.as_ref().and_then(|host| self.upstreams.find(&host.value)),
            host: host.map(|host| host.value).unwrap_or_default(),
            port: narrow(
                fields
                    .int("port", 0..=65_535)
                    .map_or(defaults::SERVICE_PORT, |port| port.value),
            ),
            path: None,
            retries: narrow(
                fields
                    .int("retries", 0..=32_767)
                    .map_or(defaults::RETRIES, |n| n.value),
            ),
            connect_timeout_ms: timeout(&mut fields, "connect_timeout"),
            write_timeout_ms: timeout(&mut fields, "write_timeout"),
            read_timeout_ms: timeout(&mut fields, "read_timeout"),
            enabled: fields.flag("enabled").unwrap_or(true),
            client_certificate: None,
            tls_verify: false,
            tls_verify_depth: None,
            ca_certificates: None,
            enforced: true,
            meta,
        };
        self.service_path(&mut fields, &mut service);
        self.service_tls(&mut fields, &mut service);
        self.service_http(&service);
        let is_carried = match service.protocol {
            Protocol::Udp => false,
            protocol => protocol.is_stream() || protocol.is_carried(),
        };
        if !is_carried {
            service.enforced = false;
            if service.enabled {
                let words = format!("services that speak {} are not enforced", service.protocol.name());
                self.unsupported(
                    "unsupported-service",
                    protocol.1.unwrap_or(service.meta.span),
                    words,
                    "the service is left out, and its routes with it",
                );
            }
        }
        fields.close();
        self.hedged_service(&service);
        self.enter_service(service, nested_routes, nested_plugins);
    }

    /// Only requests can be sent twice, and those of gRPC never are: each is a POST.
    fn hedged_service(&self, service: &Service) {
        let tag = service.meta.extensions.get(&extension::HEDGE_AFTER);
        let (Some(tag), false) = (tag, matches!(service.protocol, Protocol::Http | Protocol::Https)) else {
            return;
        };
        let words = format!(
            "nothing that a service of protocol {} gets may be sent twice",
            service.protocol.name()
        );
        let finding = Diagnostic::error("hedge-protocol", words).at(tag.span);
        self.report
            .push(finding.help("`tollgate:hedge_after` is for services of protocol http and https"));
    }

    fn service_path(&mut self, fields: &mut Fields<'_>, service: &mut Service) {
        let Some(path) = fields.text("path") else { return };
        if let Err(words) = syntax::service_path(&path.value) {
            fields.refuse(path.span, words);
        }
        if !matches!(
            service.protocol,
            Protocol::Http | Protocol::Https | Protocol::Ws | Protocol::Wss
        ) {
            fields.refuse(path.span, "only http, https, ws and wss services have a path");
        }
        service.path = Some(path.value);
    }

    /// A version of HTTP is said of services that could be spoken to in another one.
    fn service_http(&self, service: &Service) {
        let Some(tag) = service.meta.extensions.get(&extension::HTTP) else {
            return;
        };
        let words = match service.protocol {
            Protocol::Https => return,
            Protocol::Http if tag.value < 2 => return,
            Protocol::Http => {
                "nothing is negotiated with a service of protocol http: say 1.1 or 2".to_owned()
            }
            protocol => format!(
                "`tollgate:http` says nothing about a service of protocol {}",
                protocol.name()
            ),
        };
        self.report
            .push(Diagnostic::error("http-version", words).at(tag.span));
    }

    fn service_tls(&mut self, fields: &mut Fields<'_>, service: &mut Service) {
        let is_tls = matches!(
            service.protocol,
            Protocol::Https | Protocol::Grpcs | Protocol::Tls | Protocol::Wss
        );
        let tls_fields = [
            "client_certificate",
            "tls_verify",
            "tls_verify_depth",
            "ca_certificates",
        ];
        if !is_tls && let Some(field) = tls_fields.into_iter().find(|field| fields.has(field)) {
            let words = format!("`{field}` is only for https, grpcs, tls and wss services");
            fields.refuse(service.meta.span, words);
        }
        let from = format!("service {}", service.name.as_deref().unwrap_or("without name"));
        if let Some(reference) = fields.reference("client_certificate") {
            service.client_certificate = self.certificates.resolve(&reference, &from, self.report);
        }
        service.tls_verify_depth = fields
            .int("tls_verify_depth", 0..=64)
            .map(|depth| narrow(depth.value));
        let authorities = fields.texts("ca_certificates");
        service.ca_certificates = authorities.map(|ids| {
            ids.iter()
                .filter_map(|id| self.ca_certificates.resolve(id, &from, self.report))
                .collect()
        });
        if let Some(sans) = fields.take("tls_sans") {
            self.unsupported(
                "unsupported-field",
                sans.key_span,
                "`tls_sans` is not enforced",
                "certificates are checked for the host that is called, not for these names",
            );
        }
        let stated = fields.flag_at("tls_verify");
        let tls_verify = stated.as_ref().map(|flag| flag.value);
        let kind = match tls_verify {
            None => Some(SensitivityKind::ServiceTlsVerify),
            Some(false) => Some(SensitivityKind::ServiceTlsUnverified),
            Some(true) => None,
        };
        if let Some(kind) = kind.filter(|_| is_tls) {
            self.note(kind, service.meta.span);
        }
        if let Some(flag) = stated.filter(|flag| is_tls && !flag.value)
            && self.options.compat == KongCompat::V3_15
        {
            let words = "Kong 3.15 refuses `tls_verify: false` while its gateway-wide verification is on";
            let finding = Diagnostic::warning("tls-verify-off", words).at(flag.span);
            self.report
                .push(finding.label("here the service is called without verifying its certificate"));
        }
        service.tls_verify =
            is_tls && tls_verify.unwrap_or_else(|| defaults::tls_verify(self.options.compat));
    }

    fn enter_service(&mut self, service: Service, routes: Vec<Node>, plugins: Vec<Node>) {
        let index = ServiceIndex(row(self.model.services.len()));
        let (id, span) = (service.meta.id, service.meta.span);
        self.services
            .enter(service.name.as_deref(), id, index, span, self.report);
        self.model.services.push(service);
        self.nested.push((index, routes, plugins));
    }

    /// What is nested in services, once all of them are known: a route may name another than its parent.
    fn nested_in_services(&mut self) {
        for (index, routes, plugins) in std::mem::take(&mut self.nested) {
            for node in routes {
                if let Some(fields) = Fields::open("route", node, self.report) {
                    self.route(fields, Some(index));
                }
            }
            self.nested_plugins(plugins, Parent::Service(index));
        }
    }

    /// Wasm filters, on services and routes.
    pub(super) fn filter_chains(&self, fields: &mut Fields<'_>) {
        if let Some(entry) = fields.take("filter_chains")
            && entry.node.as_list().is_none_or(|chains| !chains.is_empty())
        {
            self.unsupported(
                "unsupported-entity",
                entry.key_span,
                "Wasm filter chains are not enforced",
                "the filters are left out: nothing does their work",
            );
        }
    }
}

fn timeout(fields: &mut Fields<'_>, key: &'static str) -> u32 {
    let millis = fields.int(key, 1..=defaults::TIMEOUT_MS_MAX);
    narrow(millis.map_or(defaults::TIMEOUT_MS, |millis| millis.value))
}

/// A number whose bounds were checked.
pub(super) fn narrow<T: TryFrom<i64> + Default>(number: i64) -> T {
    T::try_from(number).unwrap_or_default()
}

fn protocol(fields: &mut Fields<'_>) -> (Protocol, Option<Span>) {
    let Some(text) = fields.text("protocol") else {
        return (Protocol::Http, None);
    };
    match Protocol::parse(&text.value) {
        Some(protocol) => (protocol, Some(text.span)),
        None => {
            let finding = Diagnostic::error("invalid-value", "unknown protocol").at(text.span);
            fields
                .report
                .push(finding.label(format!("expected one of: {}", Protocol::NAMES.join(", "))));
            (Protocol::Http, Some(text.span))
        }
    }
}

/// Fields that `url` stands for; explicit ones win over its parts.
fn url(fields: &mut Fields<'_>) {
    let Some(url) = fields.text("url") else { return };
    match parts(&url.value) {
        Ok((scheme, host, port, path)) => {
            fields.imply("protocol", url.span, Value::Str(scheme.into()));
            fields.imply("host", url.span, Value::Str(host.into()));
            fields.imply("port", url.span, Value::Int(port));
            if let Some(path) = path {
                fields.imply("path", url.span, Value::Str(path.into()));
            }
        }
        Err(words) => {
            fields.refuse(url.span, words);
            // The host is not missing, it is not understood.
            fields.imply("host", url.span, Value::Str("invalid".into()));
        }
    }
}

/// Scheme, host, port and path of a service url; the port is that of the scheme if the url has none.
fn parts(url: &str) -> Result<(&str, &str, i64, Option<String>), &'static str> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or("a url is `scheme://host[:port][/path]`")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => (&rest[..at], Some(rest[at..].replace(' ', "%20"))),
        None => (rest, None),
    };
    if policy::unix::path(authority).is_some() {
        return Err(
            "a url names no Unix socket: write `host: unix:/path`, and `protocol` and `path` beside it",
        );
    }
    if authority.contains('@') || rest.contains(['?', '#']) {
        return Err("a service url has no user, query or fragment");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let words = "the port of this url is not a number between 0 and 65535";
            (host, port.parse::<u16>().map_err(|_not_a_port| words)?.into())
        }
        _ if matches!(scheme, "https" | "wss") => (authority, 443),
        _ => (authority, defaults::SERVICE_PORT),
    };
    Ok((scheme, host.trim_matches(['[', ']']), port, path))
}
