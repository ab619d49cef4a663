//! Routes.

use super::collect::{Collected, Parent, Raw};
use super::entity::{
    HeaderMatch, Meta, Model, PathHandling, Protocol, Route, RoutePath, SensitivityKind, ServiceIndex,
};
use super::fields::Fields;
use super::identity::meta;
use super::service::PROTOCOLS;
use super::{Reader, Tables, reference, row};
use crate::diagnostic::{Diagnostic, nearest};
use crate::schema::KongCompat;
use crate::source::{Node, Spanned};

const FIELDS: [&str; 21] = [
    "name",
    "protocols",
    "methods",
    "hosts",
    "paths",
    "headers",
    "snis",
    "sources",
    "destinations",
    "https_redirect_status_code",
    "regex_priority",
    "strip_path",
    "path_handling",
    "preserve_host",
    "request_buffering",
    "response_buffering",
    "service",
    "expression",
    "priority",
    "plugins",
    "filter_chains",
];

pub(super) fn read(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &mut Tables) {
    let defaults = all.root.and_then(|root| reader.defaults(root, "route"));
    for raw in &all.routes {
        let fields = Fields::new(reader, "route", raw.node).with_defaults(defaults);
        fields.only(&FIELDS);
        let index = row(model.routes.len());
        let span = fields.span();
        // A nested route may be nameless in the DB-less dialect: its place is then its key.
        let key = match fields.text("name").or(fields.text("id")) {
            Some(key) => key.to_owned(),
            None => format!("#{index}"),
        };
        let meta = meta(reader, &fields, "route", &key);
        if let Some(name) = fields.text("name") {
            names.routes.add(reader, "route", "name", name, index, span);
        }
        names
            .routes
            .add(reader, "route", "id", &meta.id.to_string(), index, span);
        names.routes.place(raw.node, index);
        let service = owner(reader, *raw, &fields, names);
        let route = route(reader, &fields, meta, service, model);
        model.routes.push(route);
    }
}

fn owner(reader: &Reader<'_>, raw: Raw<'_>, fields: &Fields<'_, '_>, names: &Tables) -> Option<ServiceIndex> {
    if let Some(Parent::Service(node)) = raw.parent {
        return names.services.of_node(node).map(ServiceIndex);
    }
    let node = fields.get("service")?;
    let Some((name, span)) = reference(node, &["name", "id"]) else {
        fields.refuse(
            "wrong-type",
            node.span,
            "`service` of a route must name a service",
        );
        return None;
    };
    reader
        .resolve(&names.services, "service", name, span)
        .map(ServiceIndex)
}

fn route(
    reader: &Reader<'_>,
    fields: &Fields<'_, '_>,
    meta: Meta,
    service: Option<ServiceIndex>,
    model: &Model,
) -> Route {
    let protocols = protocols(reader, fields, &meta);
    let grpc = protocols
        .iter()
        .any(|protocol| matches!(protocol, Protocol::Grpc | Protocol::Grpcs));
    if grpc && fields.flag("strip_path") == Some(true) {
        let words =
            "schema violation (strip_path: cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs')";
        fields.refuse("grpc-strip-path", meta.span, words);
    }
    let paths = paths(reader, fields);
    let methods: Vec<Box<str>> = fields
        .texts("methods")
        .into_iter()
        .inspect(|method| {
            if method.value.bytes().any(|byte| byte.is_ascii_lowercase()) {
                fields.refuse("invalid-method", method.span, "methods are written in upper case");
            }
        })
        .map(|method| method.value)
        .collect();
    let service_enforced = service.is_none_or(|index| model[index].enforced || !model[index].enabled);
    let enforced = enforced(reader, fields, &meta, &protocols) && service_enforced;
    let matched = [
        "methods",
        "hosts",
        "headers",
        "paths",
        "snis",
        "expression",
        "sources",
        "destinations",
    ];
    if !matched.iter().any(|key| fields.has(key)) {
        fields.refuse(
            "no-matcher",
            meta.span,
            "a route needs at least one of methods, hosts, headers, paths or snis",
        );
    }
    Route {
        name: fields.text("name").map(Into::into),
        service,
        methods,
        hosts: hosts(fields),
        paths,
        headers: headers(fields),
        snis: lower(fields.texts("snis")),
        regex_priority: fields.number("regex_priority", i64::MIN, i64::MAX).unwrap_or(0),
        strip_path: fields.flag("strip_path").unwrap_or(!grpc),
        path_handling: fields
            .choice(
                "path_handling",
                &[("v0", PathHandling::V0), ("v1", PathHandling::V1)],
            )
            .unwrap_or(PathHandling::V0),
        preserve_host: fields.flag("preserve_host").unwrap_or(false),
        https_redirect_status_code: redirect(fields),
        request_buffering: fields.flag("request_buffering").unwrap_or(true),
        response_buffering: fields.flag("response_buffering").unwrap_or(true),
        enforced,
        protocols,
        meta,
    }
}

fn protocols(reader: &Reader<'_>, fields: &Fields<'_, '_>, meta: &Meta) -> Vec<Protocol> {
    let mut protocols = Vec::new();
    for text in fields.texts("protocols") {
        match PROTOCOLS.iter().find(|(word, _)| *word == &*text.value) {
            Some((_, protocol)) => protocols.push(*protocol),
            None => {
                let near = nearest(&text.value, PROTOCOLS.iter().map(|(word, _)| *word));
                let finding = Diagnostic::error("unknown-value", format!("`{}` is no protocol", text.value));
                let help = near.map(|near| format!("did you mean `{near}`?"));
                reader.report.push(finding.at(text.span).help_if(help));
            }
        }
    }
    if protocols.is_empty() {
        reader.sensitive(SensitivityKind::RouteProtocols, meta.span);
        protocols = match reader.options.compat {
            KongCompat::V3_9 => vec![Protocol::Http, Protocol::Https],
            KongCompat::V3_15 => vec![Protocol::Https],
        };
    }
    let family = |protocol: &Protocol| match protocol {
        Protocol::Http | Protocol::Https => 0,
        Protocol::Grpc | Protocol::Grpcs => 1,
        Protocol::Tcp | Protocol::Tls | Protocol::Udp => 2,
        Protocol::TlsPassthrough => 3,
        Protocol::Ws | Protocol::Wss => 4,
    };
    if protocols
        .windows(2)
        .any(|pair| family(&pair[0]) != family(&pair[1]))
    {
        fields.refuse(
            "mixed-protocols",
            meta.span,
            "these protocols cannot stand together on one route",
        );
    }
    protocols
}

/// Whether the route can be enforced; says so if not.
fn enforced(reader: &Reader<'_>, fields: &Fields<'_, '_>, meta: &Meta, protocols: &[Protocol]) -> bool {
    let http = protocols
        .iter()
        .all(|protocol| matches!(protocol, Protocol::Http | Protocol::Https));
    if fields.has("expression") {
        reader.unsupported(
            meta.span,
            "routes with `expression` are not enforced yet",
            "the route is left out of the router",
        );
        return false;
    }
    if !http {
        let words: Vec<&str> = PROTOCOLS
            .iter()
            .filter(|(_, protocol)| protocols.contains(protocol))
            .map(|(word, _)| *word)
            .collect();
        reader.unsupported(
            meta.span,
            format!("routes for {} are not enforced yet", words.join(", ")),
            "the route is left out of the router",
        );
    }
    http
}

fn paths(reader: &Reader<'_>, fields: &Fields<'_, '_>) -> Vec<Spanned<RoutePath>> {
    fields
        .texts("paths")
        .into_iter()
        .map(|Spanned { value, span }| {
            let path = match value.strip_prefix('~') {
                Some(regex) => RoutePath::Regex(regex.into()),
                None if reader.old_paths && !is_plain(&value) => RoutePath::Regex(value.clone()),
                None => RoutePath::Prefix(value.clone()),
            };
            match &path {
                RoutePath::Prefix(prefix) if !prefix.starts_with('/') => {
                    let words = format!("`{prefix}` must start with `/`, or with `~/` for a regex");
                    fields.refuse("invalid-path", span, words);
                }
                RoutePath::Prefix(prefix) if prefix.contains("//") => {
                    fields.refuse("invalid-path", span, format!("`{prefix}` holds an empty segment"));
                }
                RoutePath::Prefix(prefix) if !is_plain(prefix) => {
                    let words = format!("`{prefix}` looks like a regex, and is taken as it stands");
                    let finding = Diagnostic::warning("route-regex-path-format", words).at(span);
                    reader
                        .report
                        .push(finding.help(format!("for a regex write `~{prefix}`")));
                }
                RoutePath::Regex(regex) if !regex.starts_with('/') => {
                    fields.refuse(
                        "invalid-path",
                        span,
                        format!("the regex `{regex}` must start with `/`"),
                    );
                }
                _ => {}
            }
            Spanned { value: path, span }
        })
        .collect()
}

/// What format 1.1 took for a plain path.
fn is_plain(path: &str) -> bool {
    path.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._~/%-".contains(&byte))
}

fn lower(texts: Vec<Spanned<Box<str>>>) -> Vec<Spanned<Box<str>>> {
    let lower = |text: Spanned<Box<str>>| Spanned {
        value: text.value.to_lowercase().into(),
        span: text.span,
    };
    texts.into_iter().map(lower).collect()
}

fn hosts(fields: &Fields<'_, '_>) -> Vec<Spanned<Box<str>>> {
    let hosts = lower(fields.texts("hosts"));
    for host in &hosts {
        let stars = host.value.matches('*').count();
        let name = host.value.rsplit_once(':').map_or(&*host.value, |(name, _)| name);
        let at_end = name.starts_with("*.") || name.ends_with(".*");
        if stars > 1 || (stars == 1 && !at_end) {
            let words = format!(
                "`{}` may hold one `*`, as its leftmost or rightmost label",
                host.value
            );
            fields.refuse("invalid-host", host.span, words);
        }
    }
    hosts
}

fn headers(fields: &Fields<'_, '_>) -> Vec<HeaderMatch> {
    let entries = fields
        .get("headers")
        .and_then(Node::as_map)
        .unwrap_or_default()
        .iter();
    entries
        .filter_map(|entry| {
            let name = entry.key.to_lowercase();
            if name == "host" {
                fields.refuse(
                    "invalid-header",
                    entry.key_span,
                    "match the host with `hosts`, not with `headers`",
                );
            }
            let Some(items) = entry.node.as_list() else {
                fields.refuse(
                    "wrong-type",
                    entry.node.span,
                    "the values of a header must be a list",
                );
                return None;
            };
            let text = |item: &Node| {
                item.as_str().map(|text| Spanned {
                    value: text.into(),
                    span: item.span,
                })
            };
            Some(HeaderMatch {
                name: name.into(),
                values: items.iter().filter_map(text).collect(),
            })
        })
        .collect()
}

fn redirect(fields: &Fields<'_, '_>) -> u16 {
    let Some(status) = fields.number("https_redirect_status_code", 100, 599) else {
        return 426;
    };
    if !matches!(status, 426 | 301 | 302 | 307 | 308) {
        let span = fields
            .get("https_redirect_status_code")
            .map_or(fields.span(), |node| node.span);
        fields.refuse("out-of-range", span, "it must be one of 426, 301, 302, 307, 308");
    }
    status
}
