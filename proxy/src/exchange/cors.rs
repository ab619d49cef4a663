//! CORS answers (Kong's cors plugin): which origin is allowed, and what a preflight or an actual response says.

use policy::Policy;
use policy::route::regex_end;
use policy::table::{Cors, Id, Origin, OriginTest};

use super::Exchange;
use crate::http::headers::HeaderView;
use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;

/// What `Access-Control-Allow-Origin` says.
enum Allowed<'a> {
    /// `*`.
    Any,
    /// This origin, which depends on the request or is the only one.
    Origin(&'a [u8]),
    /// Nothing: the header is removed.
    None,
}

impl Exchange<'_> {
    /// The headers of a preflight answer.
    pub(super) fn write_preflight(&self, id: Id<Cors>, fields: &mut Outgoing<'_>) {
        let policy = &self.epoch.snapshot.policy;
        let cors = policy.get(id);
        let headers = self.scratch.head.headers.on(&self.scratch.received);
        write_origin(policy, &cors, headers, fields);
        let requested = headers.find(b"Access-Control-Request-Headers");
        if !cors.headers.is_empty() {
            fields.set(b"Access-Control-Allow-Headers", policy.bytes(cors.headers));
        } else if let Some(requested) = requested {
            fields.set(b"Access-Control-Allow-Headers", requested);
        }
        fields.set(b"Access-Control-Allow-Methods", policy.bytes(cors.methods));
        if !cors.max_age.is_empty() {
            fields.set(b"Access-Control-Max-Age", policy.bytes(cors.max_age));
        }
        let asked = headers.find(b"Access-Control-Request-Private-Network") == Some(b"true");
        if cors.private_network && asked {
            fields.set(b"Access-Control-Allow-Private-Network", b"true");
        }
    }

    /// The headers of an actual response.
    pub(super) fn write_cors(&self, id: Id<Cors>, fields: &mut Outgoing<'_>) {
        let policy = &self.epoch.snapshot.policy;
        let cors = policy.get(id);
        let headers = self.scratch.head.headers.on(&self.scratch.received);
        let preflight = self.scratch.head.method == crate::http::head::Method::Options
            && headers.contains(KnownHeader::Origin)
            && headers.find(b"Access-Control-Request-Method").is_some();
        if preflight {
            return;
        }
        write_origin(policy, &cors, headers, fields);
        if !cors.exposed.is_empty() {
            fields.set(b"Access-Control-Expose-Headers", policy.bytes(cors.exposed));
        }
    }
}

fn write_origin(policy: &Policy, cors: &Cors, headers: HeaderView<'_>, fields: &mut Outgoing<'_>) {
    let request = headers.get(KnownHeader::Origin);
    if request.is_none() && !cors.allow_origin_absent {
        return;
    }
    let allowed = match (allowed(policy, cors, request), request) {
        // Browsers refuse `*` beside credentials.
        (Allowed::Any, Some(origin)) if cors.credentials => Allowed::Origin(origin),
        (allowed, _) => allowed,
    };
    match allowed {
        Allowed::Any => {
            fields.set(b"Access-Control-Allow-Origin", b"*");
        }
        Allowed::Origin(origin) => {
            fields.set(b"Access-Control-Allow-Origin", origin);
            let varies = fields.get(b"Vary").is_some_and(|vary| {
                vary.split(|byte| *byte == b',')
                    .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"origin"))
            });
            if !varies {
                fields.append(b"Vary", b"Origin");
            }
        }
        Allowed::None => {
            fields.remove(b"Access-Control-Allow-Origin");
            return;
        }
    }
    if cors.credentials {
        fields.set(b"Access-Control-Allow-Credentials", b"true");
    }
}

fn allowed<'a>(policy: &'a Policy, cors: &Cors, request: Option<&'a [u8]>) -> Allowed<'a> {
    let mut origins = policy.rows(cors.origins);
    let (first, count) = (origins.next(), cors.origins.count);
    let Some(first) = first else { return Allowed::Any };
    if count == 1 {
        match first.test {
            OriginTest::Any => return Allowed::Any,
            // A single plain origin is always the answer, whoever asks.
            OriginTest::Exact => return Allowed::Origin(policy.bytes(first.text)),
            OriginTest::Origin | OriginTest::Host => {}
        }
    }
    let Some(request) = request else {
        return Allowed::None;
    };
    let mut listed = policy.rows(cors.origins);
    if listed.any(|origin| fits(policy, &origin, request)) {
        Allowed::Origin(request)
    } else {
        Allowed::None
    }
}

fn fits(policy: &Policy, origin: &Origin, request: &[u8]) -> bool {
    let request = without_default_port(request);
    let whole = |text: &[u8]| {
        origin
            .regex
            .is_some_and(|regex| regex_end(policy, regex, text).is_some_and(|end| end as usize == text.len()))
    };
    match origin.test {
        OriginTest::Any => true,
        OriginTest::Exact => policy.bytes(origin.text) == request,
        OriginTest::Origin => whole(request),
        OriginTest::Host => whole(host(request)),
    }
}

fn without_default_port(origin: &[u8]) -> &[u8] {
    let stripped = if origin.starts_with(b"https://") {
        origin.strip_suffix(b":443")
    } else {
        origin.strip_suffix(b":80")
    };
    stripped.unwrap_or(origin)
}

fn host(origin: &[u8]) -> &[u8] {
    let rest = match origin.windows(3).position(|window| window == b"://") {
        Some(at) => &origin[at + 3..],
        None => origin,
    };
    match rest.iter().rposition(|byte| *byte == b':') {
        Some(colon) if rest.last() != Some(&b']') => &rest[..colon],
        _ => rest,
    }
}
