//! What keeps a caller with one target: the value that consistent hashing reads (Kong 3.x `hash_on`), or the mark in the
//! cookie of sticky sessions.
//!
//! Enters: the request as the upstream will get it. Leaves: a number, and a cookie to be set when the client does not
//! have the one that leads to its target. Values are hashed where they stand.

use std::rc::Rc;

use policy::table::{Algorithm, HashOn, Id, Upstream};
use policy::unix;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Exchange;
use super::place::Place;
use super::request_id::Uuid;
use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;
use crate::http::query;
use crate::snapshot::Endpoint;

/// A cookie that the client gets with the upstream's answer.
pub(super) struct HashCookie {
    upstream: Id<Upstream>,
    value: CookieValue,
}

enum CookieValue {
    /// To be hashed.
    Random(Uuid),
    /// Names a target.
    Mark(u64),
}

impl Exchange<'_> {
    /// The request's key: `hash_on`, else `hash_fallback`, else the hash of nothing, which is the same for all. For
    /// sticky sessions, the mark of the target that the client's cookie names, or 0.
    pub(super) fn hash_key(&mut self, id: Id<Upstream>) -> u64 {
        let epoch = Rc::clone(&self.epoch);
        let policy = &epoch.snapshot.policy;
        let upstream = policy.get(id);
        let first = policy.text(upstream.hash_name);
        match upstream.algorithm {
            Algorithm::ConsistentHashing => {}
            Algorithm::StickySessions => return self.mark(first.as_bytes()),
            Algorithm::RoundRobin | Algorithm::LeastConnections | Algorithm::Latency => return 0,
        }
        let second = policy.text(upstream.hash_fallback_name);
        self.hash_of(upstream.hash_on, first, id)
            .or_else(|| self.hash_of(upstream.hash_fallback, second, id))
            .unwrap_or_else(|| xxh3_64(b""))
    }

    fn hash_of(&mut self, what: HashOn, name: &str, upstream: Id<Upstream>) -> Option<u64> {
        match what {
            HashOn::None => None,
            HashOn::Consumer => self.hash_of_consumer(),
            HashOn::Ip => Some(hash_of_client(self.record.client)),
            HashOn::Header => self.hash_of_header(name.as_bytes()),
            HashOn::Cookie => Some(self.hash_of_cookie(name.as_bytes(), upstream)),
            HashOn::Path => Some(xxh3_64(&self.scratch.path)),
            HashOn::QueryArg => self.hash_of_argument(name.as_bytes()),
            HashOn::UriCapture => {
                let named = self.captured().named;
                let found = named.iter().find(|(group, _)| *group == name.as_bytes());
                found.map(|(_, text)| xxh3_64(text))
            }
        }
    }

    /// The consumer, else the credential.
    fn hash_of_consumer(&self) -> Option<u64> {
        let (policy, state) = (&self.epoch.snapshot.policy, &self.scratch.state);
        let consumer = state.consumer.map(|id| policy.get(id).id);
        let id = consumer.or_else(|| state.credential.map(|id| policy.get(id).id))?;
        Some(xxh3_64(policy.bytes(id)))
    }

    /// A header as plugins left it; several values in their order. What the gateway itself writes for the upstream,
    /// Host and forwarding fields, counts as it was received.
    fn hash_of_header(&mut self, name: &[u8]) -> Option<u64> {
        let known = KnownHeader::of(name);
        if known == KnownHeader::Host || known.is_forwarding() {
            let headers = self.scratch.head.headers.on(&self.scratch.received);
            return hash_in_order(headers.find_all(name));
        }
        let scratch = &mut *self.scratch;
        let fields = scratch.outgoing.resume(&scratch.received);
        hash_in_order(
            fields
                .iter()
                .filter(|field| field.is(name, known))
                .map(|field| field.value),
        )
    }

    /// A cookie of the client; one is made for who has none.
    fn hash_of_cookie(&mut self, name: &[u8], upstream: Id<Upstream>) -> u64 {
        if let Some(value) = self.cookie(name) {
            return xxh3_64(value);
        }
        let value = self.context.ids.uuid();
        self.record.hash_cookie = Some(HashCookie {
            upstream,
            value: CookieValue::Random(value),
        });
        xxh3_64(&value)
    }

    fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        let headers = self.scratch.head.headers.on(&self.scratch.received);
        headers
            .get_all(KnownHeader::Cookie)
            .find_map(|cookies| cookie(cookies, name))
    }

    fn mark(&self, name: &[u8]) -> u64 {
        let digits = self.cookie(name).and_then(|value| str::from_utf8(value).ok());
        digits
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .unwrap_or(0)
    }

    /// A target of sticky sessions answered: the client's cookie is to name it.
    pub(super) fn stick(&mut self, endpoint: &Endpoint, place: &Place<'_>) {
        if let (Some(upstream), Some(mark)) = (endpoint.upstream, place.mark()) {
            self.record.hash_cookie = Some(HashCookie {
                upstream,
                value: CookieValue::Mark(mark),
            });
        }
    }

    /// An argument as plugins left it, decoded. The order of several values does not matter.
    fn hash_of_argument(&mut self, name: &[u8]) -> Option<u64> {
        let mut text = std::mem::take(&mut self.scratch.text);
        let mut found: Option<u64> = None;
        let values = query::pairs(&self.scratch.upstream_query).filter(|(it, _)| query::decodes_to(it, name));
        for (_, value) in values {
            text.clear();
            query::decode(value.unwrap_or_default(), &mut text);
            found = Some(found.unwrap_or(0).wrapping_add(xxh3_64(&text)));
        }
        self.scratch.text = text;
        found
    }

    /// Gives the client the cookie that its next requests are hashed by.
    pub(super) fn write_hash_cookie(&self, fields: &mut Outgoing<'_>) {
        let Some(cookie) = &self.record.hash_cookie else {
            return;
        };
        let policy = &self.epoch.snapshot.policy;
        let row = policy.get(cookie.upstream);
        let path = policy.text(row.cookie_path);
        let set = match &cookie.value {
            CookieValue::Mark(mark) => {
                let name = policy.text(row.hash_name);
                format!("{name}={mark:016x}; Path={path}; SameSite=Lax; HttpOnly")
            }
            CookieValue::Random(value) => {
                let name = match row.hash_on {
                    HashOn::Cookie => row.hash_name,
                    _ => row.hash_fallback_name,
                };
                let (name, value) = (policy.text(name), str::from_utf8(value).unwrap_or_default());
                // Kong spells the attribute like this, so that browsers fall back to Lax by their own default.
                format!("{name}={value}; Path={path}; Same-Site=Lax; HttpOnly")
            }
        };
        fields.append(b"Set-Cookie", set.as_bytes());
    }
}

fn hash_in_order<'v>(values: impl Iterator<Item = &'v [u8]>) -> Option<u64> {
    values.fold(None, |hash, value| {
        Some(hash.map_or_else(|| xxh3_64(value), |hash| xxh3_64_with_seed(value, hash)))
    })
}

/// The first cookie of that name (RFC 6265 §4.2.1), compared without regard to case as nginx does.
fn cookie<'c>(cookies: &'c [u8], name: &[u8]) -> Option<&'c [u8]> {
    cookies.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let sign = memchr::memchr(b'=', pair)?;
        pair[..sign].eq_ignore_ascii_case(name).then(|| &pair[sign + 1..])
    })
}

/// Clients on Unix sockets have no address to be told apart by.
pub(crate) fn hash_of_client(address: Option<u128>) -> u64 {
    match address {
        Some(address) => xxh3_64(&address.to_be_bytes()),
        None => xxh3_64(unix::PREFIX.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        for (cookies, value) in [
            (&b"sid=1"[..], Some(&b"1"[..])),
            (b"a=b; SID=x=y ;sid=2", Some(b"x=y")),
            (b"sid=", Some(b"")),
            (b"sid; sidx=1; xsid=2", None),
            (b"", None),
        ] {
            assert_eq!(cookie(cookies, b"sid"), value, "{}", cookies.escape_ascii());
        }
    }

    #[test]
    fn values_are_told_apart_by_their_order() {
        let hash = |values: &[&'static [u8]]| hash_in_order(values.iter().copied());
        assert_eq!(hash(&[]), None);
        assert_eq!(hash(&[b"a"]), Some(xxh3_64(b"a")));
        assert_ne!(hash(&[b"a", b"b"]), hash(&[b"b", b"a"]));
    }
}
