//! Services.

use super::collect::Collected;
use super::entity::{CaCertificateIndex, Model, Protocol, SensitivityKind, Service, UpstreamIndex};
use super::fields::Fields;
use super::identity::meta;
use super::{Reader, Tables, row, tls};
use crate::schema::KongCompat;

pub(super) const PROTOCOLS: [(&str, Protocol); 10] = [
    ("http", Protocol::Http),
    ("https", Protocol::Https),
    ("grpc", Protocol::Grpc),
    ("grpcs", Protocol::Grpcs),
    ("tcp", Protocol::Tcp),
    ("tls", Protocol::Tls),
    ("tls_passthrough", Protocol::TlsPassthrough),
    ("udp", Protocol::Udp),
    ("ws", Protocol::Ws),
    ("wss", Protocol::Wss),
];

const FIELDS: [&str; 18] = [
    "name",
    "url",
    "protocol",
    "host",
    "port",
    "path",
    "retries",
    "connect_timeout",
    "write_timeout",
    "read_timeout",
    "enabled",
    "client_certificate",
    "tls_verify",
    "tls_verify_depth",
    "ca_certificates",
    "tls_sans",
    "routes",
    "plugins",
];

const TIMEOUT_MAX: i64 = 2_147_483_646;

/// `url` taken apart.
#[derive(Default)]
struct Url {
    protocol: Option<Protocol>,
    host: Option<Box<str>>,
    port: Option<u16>,
    path: Option<Box<str>>,
}

pub(super) fn read(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &mut Tables) {
    let defaults = all.root.and_then(|root| reader.defaults(root, "service"));
    for raw in &all.services {
        let fields = Fields::new(reader, "service", raw.node).with_defaults(defaults);
        fields.only(&FIELDS);
        if !fields.has("name") && !fields.has("id") {
            fields.require("name");
            continue;
        }
        let index = row(model.services.len());
        let key = fields.text("name").or(fields.text("id")).unwrap_or_default();
        let meta = meta(reader, &fields, "service", key);
        if let Some(name) = fields.text("name") {
            names
                .services
                .add(reader, "service", "name", name, index, meta.span);
        }
        names
            .services
            .add(reader, "service", "id", &meta.id.to_string(), index, meta.span);
        names.services.place(raw.node, index);
        let service = service(reader, &fields, names, meta);
        model.services.push(service);
    }
}

fn service(
    reader: &Reader<'_>,
    fields: &Fields<'_, '_>,
    names: &Tables,
    meta: super::entity::Meta,
) -> Service {
    let url = url(fields);
    let protocol = fields
        .choice("protocol", &PROTOCOLS)
        .or(url.protocol)
        .unwrap_or(Protocol::Http);
    let host = fields.text("host").map(Into::into).or(url.host);
    if host.is_none() {
        fields.refuse("missing-field", meta.span, "a service needs `host` or `url`");
    }
    let host: Box<str> = host.unwrap_or_default();
    let path: Option<Box<str>> = fields.text("path").map(Into::into).or(url.path);
    if let Some(path) = &path
        && (!path.starts_with('/') || path.contains("//"))
    {
        fields.refuse(
            "invalid-path",
            meta.span,
            "the path of a service must start with `/` and hold no `//`",
        );
    }
    let secure = matches!(
        protocol,
        Protocol::Https | Protocol::Grpcs | Protocol::Tls | Protocol::Wss
    );
    if secure && !fields.has("tls_verify") {
        reader.sensitive(SensitivityKind::ServiceTlsVerify, meta.span);
    }
    let enforced = matches!(protocol, Protocol::Http | Protocol::Https);
    let enabled = fields.flag("enabled").unwrap_or(true);
    if !enforced && enabled {
        let word = PROTOCOLS
            .iter()
            .find(|(_, known)| *known == protocol)
            .map_or("", |(word, _)| word);
        reader.unsupported(
            meta.span,
            format!("services that speak {word} are not enforced yet"),
            "the service and its routes are left out",
        );
    }
    let timeout = |key| fields.number(key, 1, TIMEOUT_MAX).unwrap_or(60_000);
    let authorities = fields.has("ca_certificates").then(|| {
        let listed = fields.texts("ca_certificates").into_iter();
        listed
            .filter_map(|id| reader.resolve(&names.authorities, "CA certificate", &id.value, id.span))
            .map(CaCertificateIndex)
            .collect()
    });
    Service {
        upstream: names.upstreams.find(&host).map(UpstreamIndex),
        name: fields.text("name").map(Into::into),
        protocol,
        port: fields.number("port", 0, 65_535).or(url.port).unwrap_or(80),
        path,
        retries: fields.number("retries", 0, 32_767).unwrap_or(5),
        connect_timeout_ms: timeout("connect_timeout"),
        write_timeout_ms: timeout("write_timeout"),
        read_timeout_ms: timeout("read_timeout"),
        enabled,
        client_certificate: tls::client(reader, fields, names),
        tls_verify: fields
            .flag("tls_verify")
            .unwrap_or(reader.options.compat == KongCompat::V3_15),
        tls_verify_depth: fields.number("tls_verify_depth", 0, 64),
        ca_certificates: authorities,
        enforced,
        host,
        meta,
    }
}

/// `url` is shorthand for protocol, host, port and path; explicit fields win.
fn url(fields: &Fields<'_, '_>) -> Url {
    let Some(text) = fields.text("url") else {
        return Url::default();
    };
    let refuse = |words: String| {
        fields.refuse(
            "invalid-url",
            fields.get("url").map_or(fields.span(), |node| node.span),
            words,
        );
        Url::default()
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return refuse(format!("`{text}` is no URL: it has no `://`"));
    };
    let Some((_, protocol)) = PROTOCOLS.iter().find(|(word, _)| *word == scheme) else {
        return refuse(format!("`{scheme}` is no protocol of a service"));
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port.map(str::parse) {
        Some(Err(_)) => return refuse(format!("`{text}` has no valid port")),
        Some(Ok(port)) => port,
        None if matches!(protocol, Protocol::Https | Protocol::Grpcs | Protocol::Wss) => 443,
        None => 80,
    };
    if host.is_empty() {
        return refuse(format!("`{text}` names no host"));
    }
    let path = path
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .replace(' ', "%20");
    Url {
        protocol: Some(*protocol),
        host: Some(host.into()),
        port: Some(port),
        path: (!path.is_empty()).then(|| path.into()),
    }
}
