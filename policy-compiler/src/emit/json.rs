//! Entities as Kong writes them into log lines: compact JSON, without times and without secrets.

use serde::Serialize;

use crate::deck::entity::{AddressMatch, Consumer, Model, Protocol, Route, RoutePath, Service};

#[derive(Serialize)]
struct Reference {
    id: String,
}

#[derive(Serialize)]
struct ServiceLine<'s> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'s str>,
    protocol: &'static str,
    host: &'s str,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'s str>,
    retries: u16,
    connect_timeout: u32,
    write_timeout: u32,
    read_timeout: u32,
    enabled: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'s [Box<str>],
}

#[derive(Serialize)]
struct AddressLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

impl<'a> AddressLine<'a> {
    fn of(list: &'a [AddressMatch]) -> Vec<Self> {
        let line = |one: &'a AddressMatch| Self {
            ip: one.address.as_deref(),
            port: one.port,
        };
        list.iter().map(line).collect()
    }
}

#[derive(Serialize)]
struct RouteLine<'r> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'r str>,
    protocols: Vec<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    methods: &'r [Box<str>],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<&'r str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    headers: serde_json::Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    snis: Vec<&'r str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<AddressLine<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    destinations: Vec<AddressLine<'r>>,
    regex_priority: i64,
    strip_path: bool,
    path_handling: &'static str,
    preserve_host: bool,
    https_redirect_status_code: u16,
    request_buffering: bool,
    response_buffering: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Reference>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'r [Box<str>],
}

#[derive(Serialize)]
struct ConsumerLine<'c> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_id: Option<&'c str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'c [Box<str>],
}

pub(super) fn service(service: &Service) -> String {
    line(&ServiceLine {
        id: service.meta.id.to_string(),
        name: service.name.as_deref(),
        protocol: protocol(service.protocol),
        host: &service.host,
        port: service.port,
        path: service.path.as_deref(),
        retries: service.retries,
        connect_timeout: service.connect_timeout_ms,
        write_timeout: service.write_timeout_ms,
        read_timeout: service.read_timeout_ms,
        enabled: service.enabled,
        tags: &service.meta.tags,
    })
}

pub(super) fn route(model: &Model, route: &Route) -> String {
    let paths = route.paths.iter().map(|path| match &path.value {
        RoutePath::Prefix(prefix) => prefix.to_string(),
        RoutePath::Regex(regex) => format!("~{regex}"),
    });
    let headers = route.headers.iter().map(|header| {
        let values: Vec<&str> = header.values.iter().map(|value| &*value.value).collect();
        (header.name.to_string(), values.into())
    });
    line(&RouteLine {
        id: route.meta.id.to_string(),
        name: route.name.as_deref(),
        protocols: route.protocols.iter().map(|p| protocol(*p)).collect(),
        methods: &route.methods,
        hosts: route.hosts.iter().map(|host| &*host.value).collect(),
        paths: paths.collect(),
        headers: headers.collect(),
        snis: route.snis.iter().map(|sni| &*sni.value).collect(),
        sources: AddressLine::of(&route.sources),
        destinations: AddressLine::of(&route.destinations),
        regex_priority: route.regex_priority,
        strip_path: route.strip_path,
        path_handling: match route.path_handling {
            crate::deck::entity::PathHandling::V0 => "v0",
            crate::deck::entity::PathHandling::V1 => "v1",
        },
        preserve_host: route.preserve_host,
        https_redirect_status_code: route.https_redirect_status_code,
        request_buffering: route.request_buffering,
        response_buffering: route.response_buffering,
        service: route.service.map(|service| Reference {
            id: model[service].meta.id.to_string(),
        }),
        tags: &route.meta.tags,
    })
}

pub(super) fn consumer(consumer: &Consumer) -> String {
    line(&ConsumerLine {
        id: consumer.meta.id.to_string(),
        username: consumer.username.as_deref(),
        custom_id: consumer.custom_id.as_deref(),
        tags: &consumer.meta.tags,
    })
}

fn line(entity: &impl Serialize) -> String {
    serde_json::to_string(entity).expect("texts, numbers and lists of them always have a JSON form")
}

/// The word that operators write.
pub(super) const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Https => "https",
        Protocol::Grpc => "grpc",
        Protocol::Grpcs => "grpcs",
        Protocol::Tcp => "tcp",
        Protocol::Tls => "tls",
        Protocol::TlsPassthrough => "tls_passthrough",
        Protocol::Udp => "udp",
        Protocol::Ws => "ws",
        Protocol::Wss => "wss",
    }
}
