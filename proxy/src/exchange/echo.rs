//! What request-termination's `echo` tells a client about its request, and about what would have become of it.

use serde_json::{Map, Value, json};

use super::Exchange;
use super::edits::Captured;
use crate::edit::body::BodyType;
use crate::http::known::KnownHeader;
use crate::http::query;

impl Exchange<'_> {
    /// Writes the document (Kong 3.x request-termination).
    pub(super) fn write_echo(&self, message: &str, text: &mut Vec<u8>) {
        let policy = &self.epoch.snapshot.policy;
        let (scratch, node) = (&*self.scratch, &self.context.node);
        let request = scratch.head.on(&scratch.received);
        let route = scratch.state.route.map(|id| policy.get(id));
        let stored = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        let document = json!({
            "message": message,
            "kong": {"node_id": node.id, "worker_pid": std::process::id(), "hostname": node.hostname},
            "request": {
                "scheme": if self.record.secure { "https" } else { "http" },
                "host": lossy(&scratch.host),
                "port": self.client.peer.local_port,
                "headers": gathered(request.headers().iter().map(|it| {
                    (lossy(it.name).to_ascii_lowercase(), lossy(it.value).into())
                })),
                "query": arguments(request.query().unwrap_or_default()),
                "body": self.parsed_body(),
                "raw_body": lossy(&scratch.body),
                "method": lossy(request.method()),
                "path": lossy(&scratch.path),
                "uri_captures": self.captures(),
            },
            "matched_route": route.map(|route| stored(policy.text(route.json))),
            "matched_service": route.and_then(|route| route.service)
                .map(|service| stored(policy.text(policy.get(service).json))),
        });
        text.extend_from_slice(document.to_string().as_bytes());
    }

    /// The body as its type says; null where it says nothing that can be read.
    fn parsed_body(&self) -> Value {
        let scratch = &*self.scratch;
        let headers = scratch.head.headers.on(&scratch.received);
        match headers.get(KnownHeader::ContentType).and_then(BodyType::of) {
            Some(BodyType::Json) => serde_json::from_slice(&scratch.body).unwrap_or(Value::Null),
            Some(BodyType::Form) => arguments(&scratch.body),
            Some(BodyType::Multipart(_)) | None => Value::Null,
        }
    }

    fn captures(&self) -> Value {
        let Captured { numbered, named } = self.captured();
        let numbered = (1_usize..)
            .zip(numbered)
            .map(|(number, text)| (number.to_string(), lossy(text)));
        let named = named.into_iter().map(|(name, text)| (lossy(name), lossy(text)));
        Value::Object(
            numbered
                .chain(named)
                .map(|(name, text)| (name, text.into()))
                .collect(),
        )
    }
}

fn arguments(encoded: &[u8]) -> Value {
    let text = |text: &[u8]| {
        let mut decoded = Vec::new();
        query::decode(text, &mut decoded);
        lossy(&decoded)
    };
    gathered(query::pairs(encoded).map(|(name, value)| {
        let value = value.map_or(Value::Bool(true), |value| text(value).into());
        (text(name), value)
    }))
}

/// An object; a name that comes several times has a list.
fn gathered(pairs: impl Iterator<Item = (String, Value)>) -> Value {
    let mut object = Map::new();
    for (name, value) in pairs {
        match object.get_mut(&name) {
            None => {
                object.insert(name, value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }
    Value::Object(object)
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
