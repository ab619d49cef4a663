//! Routes, at top level or nested in a service.

use super::entity::{PathHandling, Protocol, Route, RouteIndex, RoutePath, SensitivityKind, ServiceIndex};
use super::fields::{Fields, Text};
use super::matcher::{headers, hosts, methods, snis};
use super::plugin::Parent;
use super::service::narrow;
use super::{Reader, defaults, row, syntax};
use crate::diagnostic::Diagnostic;
use crate::source::{Entry, Span, Spanned};

/// What happens to a route that is not enforced.
const LEFT_OUT: &str = "the route is left out: other routes may take its requests";

impl Reader<'_> {
    pub(super) fn routes(&mut self, file: &mut Fields<'_>) {
        for node in file.list("routes") {
            if let Some(fields) = Fields::open("route", node, self.report) {
                self.route(fields, None);
            }
        }
    }

    pub(super) fn route(&mut self, mut fields: Fields<'_>, parent: Option<ServiceIndex>) {
        if let Some(defaults) = &self.info.defaults.route {
            fields.complete(defaults);
        }
        let name = self.name(&mut fields, "name");
        // DB-less files may leave a route nameless: its place is then its key.
        let key = match &name {
            Some(name) => name.value.to_string(),
            None => format!("#{}", self.model.routes.len()),
        };
        let meta = self.meta(&mut fields, &key, name.as_ref().map(|name| name.span));
        let service = self.route_service(&mut fields, parent, &key);
        let nested_plugins = fields.list("plugins");
        self.filter_chains(&mut fields);
        let (protocols, stated) = self.route_protocols(&mut fields, meta.span);
        let is_grpc = protocols
            .iter()
            .any(|p| matches!(p, Protocol::Grpc | Protocol::Grpcs));
        let mut route = Route {
            name: name.map(|name| name.value),
            service,
            methods: methods(&mut fields),
            hosts: hosts(&mut fields),
            paths: self.paths(&mut fields),
            headers: headers(&mut fields),
            snis: snis(&mut fields, &protocols),
            sources: Vec::new(),
            destinations: Vec::new(),
            regex_priority: fields
                .int("regex_priority", i64::MIN..=i64::MAX)
                .map_or(0, |n| n.value),
            strip_path: strip_path(&mut fields, is_grpc),
            path_handling: path_handling(&mut fields),
            preserve_host: fields.flag("preserve_host").unwrap_or(false),
            https_redirect_status_code: redirect_status(&mut fields),
            request_buffering: self.buffering(&mut fields, "request_buffering"),
            response_buffering: self.buffering(&mut fields, "response_buffering"),
            enforced: true,
            protocols,
            meta,
        };
        self.matchers(&mut fields, &mut route, stated);
        // A disabled service takes its routes out by itself; one that is not enforced was reported.
        route.enforced &= route
            .service
            .is_none_or(|index| self.model[index].enforced || !self.model[index].enabled);
        fields.close();
        let index = RouteIndex(row(self.model.routes.len()));
        self.routes.enter(
            route.name.as_deref(),
            route.meta.id,
            index,
            route.meta.span,
            self.report,
        );
        self.model.routes.push(route);
        self.nested_plugins(nested_plugins, Parent::Route(index));
    }

    fn route_service(
        &self,
        fields: &mut Fields<'_>,
        parent: Option<ServiceIndex>,
        name: &str,
    ) -> Option<ServiceIndex> {
        let Some(reference) = fields.reference("service") else {
            return parent;
        };
        let found = self
            .services
            .resolve(&reference, &format!("route {name}"), self.report);
        if parent.is_some() && found.is_some() && found != parent {
            fields.refuse(reference.span, "this route is nested in another service");
        }
        found
    }

    /// The protocols, and where they are stated.
    fn route_protocols(&mut self, fields: &mut Fields<'_>, name: Span) -> (Vec<Protocol>, Option<Span>) {
        let Some(texts) = fields.texts("protocols").filter(|texts| !texts.is_empty()) else {
            let kind = SensitivityKind::RouteProtocols;
            self.note(kind, name);
            return (defaults::route_protocols(self.options.compat), None);
        };
        let span = texts[0].span.to(texts[texts.len() - 1].span);
        let protocols = protocols(&texts, fields);
        let family = |protocol: &Protocol| match protocol {
            Protocol::Http | Protocol::Https => 0,
            Protocol::Grpc | Protocol::Grpcs => 1,
            Protocol::Tcp | Protocol::Tls | Protocol::Udp => 2,
            Protocol::TlsPassthrough => 3,
            Protocol::Ws | Protocol::Wss => 4,
        };
        if let Some(first) = protocols.first().map(family)
            && protocols.iter().any(|protocol| family(protocol) != first)
        {
            fields.refuse(
                span,
                "only these protocols can be combined: http with https, grpc with grpcs, tcp with tls and udp, ws with wss",
            );
        }
        (protocols, Some(span))
    }

    /// Kong's default holds bodies back too, but only a file that says so is told that Tollgate does not.
    fn buffering(&mut self, fields: &mut Fields<'_>, key: &'static str) -> bool {
        let Some(flag) = fields.flag_at(key) else {
            return true;
        };
        if flag.value {
            self.buffered.entry(key).or_default().push(flag.span);
        }
        flag.value
    }

    /// One finding for each of the two flags, at the first route that has it: a dump writes them into every route.
    pub(super) fn say_what_streams(&self) {
        for (key, spans) in &self.buffered {
            let Some(first) = spans.iter().min() else { continue };
            let (whose, help) = match *key {
                "request_buffering" => (
                    "requests",
                    "the body goes on as it comes, through bounded buffers, and the request is tried again only \
                     while nothing of it was sent; `false` says so",
                ),
                _ => (
                    "responses",
                    "the body goes on as it comes, through bounded buffers, so a slow client slows its upstream \
                     down; `false` says so",
                ),
            };
            let words = format!(
                "`{key}: true` is not followed: bodies of {whose} are streamed, unless a plugin needs them whole"
            );
            let label = match spans.len() {
                1 => String::new(),
                count => format!("on {count} routes"),
            };
            let finding = Diagnostic::warning("streamed-body", words).at(*first);
            self.report.push(finding.label(label).help(help));
        }
    }

    fn paths(&mut self, fields: &mut Fields<'_>) -> Vec<Spanned<RoutePath>> {
        let texts = fields.texts("paths").unwrap_or_default();
        texts
            .into_iter()
            .filter_map(|text| self.path(&text, fields))
            .collect()
    }

    fn path(&self, text: &Text, fields: &Fields<'_>) -> Option<Spanned<RoutePath>> {
        let span = text.span;
        let is_old_regex = self.info.is_format_1 && syntax::looks_like_regex(&text.value);
        let regex = if is_old_regex {
            Some(&*text.value)
        } else {
            text.value.strip_prefix('~')
        };
        if let Some(regex) = regex {
            if !is_old_regex && !regex.starts_with('/') {
                fields.refuse(span, "a regex path starts with `~/`");
                return None;
            }
            return Some(Spanned {
                value: RoutePath::Regex(regex.into()),
                span,
            });
        }
        if let Err(words) = syntax::prefix_path(&text.value) {
            fields.refuse(span, words);
            return None;
        }
        if syntax::looks_like_regex(&text.value) {
            let words = "this path looks like a regex but lacks the leading `~`";
            let finding = Diagnostic::warning("route-regex-path-format", words).at(span);
            self.report.push(
                finding
                    .label("matched as a plain prefix")
                    .help(format!("write `~{}`", text.value)),
            );
        }
        Some(Spanned {
            value: RoutePath::Prefix(text.value.clone()),
            span,
        })
    }

    /// Which matchers a route may and must have, and whether Tollgate can enforce it.
    fn matchers(&self, fields: &mut Fields<'_>, route: &mut Route, stated: Option<Span>) {
        let has_classic = !route.methods.is_empty()
            || !route.hosts.is_empty()
            || !route.paths.is_empty()
            || !route.headers.is_empty()
            || !route.snis.is_empty();
        let expression = fields.take("expression");
        let priority = fields.int("priority", 0..=(1 << 46) - 1);
        let stream = [fields.take("sources"), fields.take("destinations")];
        if let Some(expression) = expression {
            if has_classic {
                let words = "`expression` excludes methods, hosts, paths, headers and snis";
                fields.refuse(expression.key_span, words);
            }
            route.enforced = false;
            let words = "routes with an `expression` are not enforced";
            self.unsupported("unsupported-route", expression.key_span, words, LEFT_OUT);
            return;
        }
        if let Some(priority) = priority {
            fields.refuse(priority.span, "`priority` belongs to routes with an `expression`");
        }
        if route.is_stream() {
            self.stream_matchers(fields, route, stream, stated);
            self.same_subsystem(fields, route, stated);
            return;
        }
        self.same_subsystem(fields, route, stated);
        if !route.protocols.iter().all(|protocol| protocol.is_carried()) {
            route.enforced = false;
            let names: Vec<&str> = route.protocols.iter().map(|protocol| protocol.name()).collect();
            let words = format!("routes for {} are not enforced", names.join(", "));
            let span = stated.unwrap_or(route.meta.span);
            self.unsupported("unsupported-route", span, words, LEFT_OUT);
        }
        let stream = stream.into_iter().flatten().next();
        http_matchers(fields, route, stream.as_ref(), has_classic);
    }
}

/// The rules for routes of http, grpc and WebSockets.
fn http_matchers(fields: &Fields<'_>, route: &Route, stream: Option<&Entry>, has_matcher: bool) {
    if let Some(entry) = stream {
        let words = format!("`{}` is only for tcp, tls and udp routes", entry.key);
        fields.refuse(entry.key_span, words);
    }
    let is_grpc = route
        .protocols
        .iter()
        .any(|p| matches!(p, Protocol::Grpc | Protocol::Grpcs));
    if is_grpc && !route.methods.is_empty() {
        fields.refuse(route.meta.span, "a grpc route has no `methods`");
    }
    if !has_matcher {
        let is_tls = route
            .protocols
            .iter()
            .any(|p| matches!(p, Protocol::Https | Protocol::Grpcs | Protocol::Wss));
        let matchers = if is_grpc {
            "hosts, headers, paths"
        } else {
            "methods, hosts, headers, paths"
        };
        let snis = if is_tls { ", snis" } else { "" };
        let words = format!("a route needs something to match: one of {matchers}{snis}");
        fields
            .report
            .push(Diagnostic::error("missing-field", words).at(route.meta.span));
    }
}

/// Protocol names; unknown ones are reported.
pub(super) fn protocols(texts: &[Text], fields: &Fields<'_>) -> Vec<Protocol> {
    let known = texts.iter().filter_map(|text| {
        let protocol = Protocol::parse(&text.value);
        if protocol.is_none() {
            let finding = Diagnostic::error("invalid-value", "unknown protocol").at(text.span);
            fields
                .report
                .push(finding.label(format!("expected one of: {}", Protocol::NAMES.join(", "))));
        }
        protocol
    });
    known.collect()
}

fn strip_path(fields: &mut Fields<'_>, is_grpc: bool) -> bool {
    let stated = fields.flag("strip_path");
    if is_grpc && stated == Some(true) {
        let words = "strip_path: cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'";
        fields.refuse(fields.span, words);
    }
    stated.unwrap_or(!is_grpc)
}

fn path_handling(fields: &mut Fields<'_>) -> PathHandling {
    match fields.text("path_handling") {
        None => PathHandling::V0,
        Some(text) => match &*text.value {
            "v0" => PathHandling::V0,
            "v1" => PathHandling::V1,
            _ => {
                fields.refuse(text.span, "`path_handling` is v0 or v1");
                PathHandling::V0
            }
        },
    }
}

fn redirect_status(fields: &mut Fields<'_>) -> u16 {
    let Some(status) = fields.int("https_redirect_status_code", 0..=999) else {
        return defaults::HTTPS_REDIRECT_STATUS_CODE;
    };
    if !matches!(status.value, 426 | 301 | 302 | 307 | 308) {
        fields.refuse(
            status.span,
            "`https_redirect_status_code` is 426, 301, 302, 307 or 308",
        );
    }
    narrow(status.value)
}
