//! What routes for connections are matched by, and what they may say (Kong: tcp, tls, tls_passthrough).

use std::net::IpAddr;

use super::Reader;
use super::entity::{AddressMatch, Protocol, Route};
use super::fields::Fields;
use super::service::narrow;
use crate::diagnostic::Diagnostic;
use crate::source::{Entry, Span, Spanned, Value};

impl Reader<'_> {
    /// `sources` and `destinations`, and Kong's rules for routes that have them.
    pub(super) fn stream_matchers(
        &self,
        fields: &mut Fields<'_>,
        route: &mut Route,
        [sources, destinations]: [Option<Entry>; 2],
        stated: Option<Span>,
    ) {
        let span = stated.unwrap_or(route.meta.span);
        for (list, entry) in [
            (&mut route.sources, sources),
            (&mut route.destinations, destinations),
        ] {
            if let Some(entry) = entry {
                *list = addresses(fields, entry);
            }
        }
        let http = [
            ("methods", route.methods.is_empty()),
            ("hosts", route.hosts.is_empty()),
            ("paths", route.paths.is_empty()),
            ("headers", route.headers.is_empty()),
        ];
        for (field, _) in http.into_iter().filter(|(_, empty)| !empty) {
            let words = format!("a route for connections has no `{field}`: nobody reads what it carries");
            fields.refuse(span, words);
        }
        let passes_through = route.protocols.contains(&Protocol::TlsPassthrough);
        let unmatched = route.sources.is_empty() && route.destinations.is_empty();
        let missing = match passes_through {
            true if route.snis.is_empty() => Some("a tls_passthrough route needs `snis`"),
            false if unmatched && route.snis.is_empty() => {
                Some("a route needs something to match: one of sources, destinations, snis")
            }
            _ => None,
        };
        if let Some(words) = missing {
            fields
                .report
                .push(Diagnostic::error("missing-field", words).at(route.meta.span));
        }
        if route.protocols.contains(&Protocol::Udp) {
            route.enforced = route.protocols.iter().any(|p| *p != Protocol::Udp);
            let instead = if route.enforced {
                "the route takes connections only"
            } else {
                "the route is left out"
            };
            let words = "routes for udp are not enforced";
            self.unsupported("unsupported-route", span, words, instead);
        }
    }

    /// A route of one subsystem cannot lead to a service of the other.
    pub(super) fn same_subsystem(&self, fields: &Fields<'_>, route: &Route, stated: Option<Span>) {
        let Some(service) = route.service.map(|index| &self.model[index]) else {
            return;
        };
        let stream = route.is_stream();
        if !(service.enforced && route.enforced) || service.protocol.is_stream() == stream {
            return;
        }
        let words = if stream {
            "a route for connections cannot lead to a service that speaks HTTP"
        } else {
            "a route for requests cannot lead to a service that does not speak HTTP"
        };
        let finding = Diagnostic::error("protocol-mismatch", words)
            .at(stated.unwrap_or(route.meta.span))
            .label(format!("the service's protocol is {}", service.protocol.name()));
        fields.report.push(finding.also(service.meta.span, "the service"));
    }
}

fn addresses(fields: &Fields<'_>, entry: Entry) -> Vec<AddressMatch> {
    let span = entry.node.span;
    let Value::List(items) = entry.node.value else {
        fields.refuse(span, format!("`{}` is a list of `{{ip, port}}`", entry.key));
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        let span = item.span;
        let Some(mut item) = Fields::open("address", item, fields.report) else {
            continue;
        };
        let address = item.text("ip");
        if let Some(text) = &address
            && !is_network(&text.value)
        {
            item.refuse(text.span, "`ip` is an address or a network such as 10.0.0.0/8");
        }
        let port = item.int("port", 0..=65_535).map(|port| narrow(port.value));
        if address.is_none() && port.is_none() {
            item.refuse(span, "an element needs `ip`, `port` or both");
        }
        item.close();
        found.push(AddressMatch {
            address: address.map(|Spanned { value, .. }| value),
            port,
        });
    }
    found
}

fn is_network(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= width))
}
