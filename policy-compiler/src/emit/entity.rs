//! Rows of what operators name: groups, consumers, certificates and services; upstreams are `balancing`'s.

use policy::table::{
    Authority, Certificate, Consumer, Group, HttpVersion, Id, Membership, ProxyProtocol, Rows, Scheme,
    Service, Sni, Text, Verify,
};

use super::json;
use crate::deck::entity::{CaCertificateIndex, Protocol, Service as ServiceEntity};
use crate::extension;
use crate::lower::{Context, group_id};

/// Writes them in the order of the model, so that an index is a row.
pub(super) fn write(context: &mut Context<'_>) {
    groups(context);
    consumers(context);
    certificates(context);
    super::balancing::write(context);
    for service in &context.model.services {
        self::service(context, service);
    }
}

fn groups(context: &mut Context<'_>) {
    let mut groups: Vec<_> = context.model.consumer_groups.iter().collect();
    groups.sort_by_key(|group| &group.name);
    for group in groups {
        let row = Group {
            id: context.builder.unique_text(&group.meta.id.to_string()),
            name: context.text(&group.name),
        };
        context.builder.row(&row);
    }
}

fn consumers(context: &mut Context<'_>) {
    let model = context.model;
    let mut acls: Vec<Vec<&str>> = vec![Vec::new(); model.consumers.len()];
    for acl in &model.acls {
        acls[acl.consumer.0 as usize].push(&acl.group);
    }
    for (consumer, mut acls) in model.consumers.iter().zip(acls) {
        acls.sort_unstable();
        acls.dedup();
        let mut groups: Vec<u32> = consumer
            .groups
            .iter()
            .map(|group| context.group_row(*group))
            .collect();
        groups.sort_unstable();
        let groups: Vec<Membership> = groups
            .into_iter()
            .map(|row| Membership { group: group_id(row) })
            .collect();
        let maybe = |context: &mut Context<'_>, text: Option<&str>| match text {
            Some(text) => context.builder.unique_text(text),
            None => Text::EMPTY,
        };
        let row = Consumer {
            id: context.builder.unique_text(&consumer.meta.id.to_string()),
            username: maybe(context, consumer.username.as_deref()),
            custom_id: maybe(context, consumer.custom_id.as_deref()),
            acl: context.acl_words(acls.iter().copied()),
            acl_header: context.text(&acls.join(", ")),
            groups: context.builder.list(&groups),
            json: context.builder.unique_text(&json::consumer(consumer)),
        };
        context.builder.row(&row);
    }
}

fn certificates(context: &mut Context<'_>) {
    for certificate in &context.model.certificates {
        if certificate.alt.is_some() {
            context.unsupported(
                certificate.meta.span,
                "a second certificate of another key type is not offered",
                "only `cert` and `key` are used",
            );
        }
        let row = Certificate {
            id: context.text(&certificate.meta.id.to_string()),
            chain: context.text(&certificate.cert),
            key: context.secret(certificate.key.expose()),
        };
        context.builder.row(&row);
    }
}

/// Server names and their certificates.
pub(super) fn snis(context: &mut Context<'_>) -> Rows<Sni> {
    let mut snis: Vec<_> = context.model.snis.iter().collect();
    snis.sort_by_key(|sni| &sni.name);
    let rows: Vec<Sni> = snis
        .into_iter()
        .map(|sni| Sni {
            name: context.builder.text(&sni.name),
            certificate: Id::new(sni.certificate.0),
        })
        .collect();
    context.builder.unique_list(&rows)
}

/// Trusted authorities.
pub(crate) fn authorities(context: &mut Context<'_>, indices: &[CaCertificateIndex]) -> Rows<Authority> {
    let rows: Vec<Authority> = indices
        .iter()
        .map(|index| Authority {
            certificate: context.builder.text(&context.model[*index].cert),
        })
        .collect();
    context.builder.list(&rows)
}

fn service(context: &mut Context<'_>, service: &ServiceEntity) {
    let row = Service {
        id: context.text(&service.meta.id.to_string()),
        name: context.text(service.name.as_deref().unwrap_or_default()),
        source: context.source(service.meta.span),
        scheme: match service.protocol {
            Protocol::Http | Protocol::Ws => Scheme::Http,
            Protocol::Https | Protocol::Wss => Scheme::Https,
            Protocol::Grpc => Scheme::Grpc,
            Protocol::Grpcs => Scheme::Grpcs,
            Protocol::Tls => Scheme::Tls,
            Protocol::Tcp | Protocol::TlsPassthrough | Protocol::Udp => Scheme::Tcp,
        },
        host: context.text(&service.host),
        port: u32::from(service.port),
        path: context.text(service.path.as_deref().unwrap_or_default()),
        retries: u32::from(service.retries),
        connect_timeout: service.connect_timeout_ms,
        write_timeout: service.write_timeout_ms,
        read_timeout: service.read_timeout_ms,
        upstream: service.upstream.map(|index| Id::new(index.0)),
        verify: if service.tls_verify {
            Verify::On
        } else {
            Verify::Off
        },
        verify_depth: service.tls_verify_depth.map_or(u32::MAX, u32::from),
        authorities: authorities(context, service.ca_certificates.as_deref().unwrap_or_default()),
        client_certificate: service.client_certificate.map(|index| Id::new(index.0)),
        proxy_protocol: match service.meta.extensions.value(&extension::PROXY_PROTOCOL) {
            None => ProxyProtocol::Off,
            Some(0) => ProxyProtocol::V1,
            Some(_) => ProxyProtocol::V2,
        },
        http: match service.protocol {
            Protocol::Grpc | Protocol::Grpcs => HttpVersion::Http2,
            _ => match service.meta.extensions.value(&extension::HTTP) {
                None | Some(0) => HttpVersion::Http1,
                Some(1) => HttpVersion::Http2,
                Some(_) => HttpVersion::Negotiated,
            },
        },
        hedge_after: service
            .meta
            .extensions
            .value(&extension::HEDGE_AFTER)
            .unwrap_or(0),
        json: context.text(&json::service(service)),
    };
    context.builder.row(&row);
}
