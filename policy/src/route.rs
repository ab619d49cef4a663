//! Finds the route of a request: hosts by perfect hash, paths by tree and automata, then what remains.
//!
//! Every host pattern that fits gives a bucket; in each bucket the tree, the regexes and the pathless subroutes
//! are candidates. The lowest rank wins over all of them, which is Kong's first match in priority order.

use regex_automata::dfa::Automaton as _;
use regex_automata::{Anchored, Input};

use crate::artifact::Policy;
use crate::field::{Exchange, Method};
use crate::index;
use crate::table::{Bucket, Candidate, Host, Id, Name, Node, Regex, Route, Rows, Subroute};
use crate::walk;

/// Longest path that is searched, in bytes; longer request targets are refused before.
pub const PATH_MAX: u32 = 8192;
/// Longest host that is looked up, in bytes (RFC 1035 §2.3.4), with a port.
pub const HOST_MAX: usize = 264;
/// Labels of a host at which wildcards are tried.
pub const LABELS_MAX: u32 = 128;

/// A route that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The route.
    pub route: Id<Route>,
    /// The entry of Kong's order that matched.
    pub subroute: Id<Subroute>,
    /// Bytes of the path that matched: the prefix, or the regex's match.
    pub matched_len: u32,
}

/// The request's route; `None` when no route fits.
pub fn find<E: Exchange>(policy: &Policy, exchange: &E) -> Option<Match> {
    let mut search = Search {
        policy,
        exchange,
        best: None,
    };
    let meta = policy.meta();
    let host = exchange.host();
    if !host.is_empty() && host.len() <= HOST_MAX - 8 {
        search.host(host, b"");
        if meta.port_hosts {
            let mut port = [0; 6];
            search.host(host, write_port(exchange.port(), &mut port));
        }
    }
    if let Some(bucket) = meta.any_host {
        search.bucket(bucket);
    }
    search.best
}

struct Search<'s, E> {
    policy: &'s Policy,
    exchange: &'s E,
    best: Option<Match>,
}

impl<E: Exchange> Search<'_, E> {
    fn host(&mut self, host: &[u8], port: &[u8]) {
        let meta = self.policy.meta();
        self.key(host, port);
        if meta.suffix_hosts {
            let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.');
            for (at, _) in dots.take(LABELS_MAX as usize) {
                self.key(&host[at..], port);
            }
        }
        if meta.prefix_hosts {
            let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.');
            for (at, _) in dots.take(LABELS_MAX as usize) {
                self.key(&host[..=at], port);
            }
        }
    }

    fn key(&mut self, host: &[u8], port: &[u8]) {
        if port.is_empty() {
            return self.exact(host);
        }
        let mut key = [0; HOST_MAX];
        let len = host.len() + port.len();
        key[..host.len()].copy_from_slice(host);
        key[host.len()..len].copy_from_slice(port);
        self.exact(&key[..len]);
    }

    fn exact(&mut self, key: &[u8]) {
        if let Some(host) = host_of(self.policy, key) {
            self.bucket(host.bucket);
        }
    }

    fn bucket(&mut self, bucket: Id<Bucket>) {
        let bucket = self.policy.get(bucket);
        if let Some(root) = bucket.prefixes {
            self.tree(root);
        }
        self.candidates(bucket.bare, 0);
        for candidate in self.policy.rows(bucket.regexes) {
            if !self.better(candidate.subroute) {
                break;
            }
            let subroute = self.policy.get(candidate.subroute);
            let Some(regex) = subroute.regex else { continue };
            if let Some(end) = self.regex_end(regex, self.exchange.path())
                && self.residual(&subroute)
            {
                let subroute_id = candidate.subroute;
                self.best = Some(Match {
                    route: subroute.route,
                    subroute: subroute_id,
                    matched_len: end,
                });
                break;
            }
        }
    }

    fn tree(&mut self, root: Id<Node>) {
        let path = self.exchange.path();
        let (mut node, mut depth) = (walk::root(self.policy, root), 0);
        while let Some(step) = node {
            let Some(behind) = step.walk(self.policy, path, depth) else {
                return;
            };
            depth = behind;
            self.candidates(step.candidates, depth);
            node = path.get(depth).and_then(|&next| step.child(self.policy, next));
        }
    }

    fn candidates(&mut self, candidates: Rows<Candidate>, depth: usize) {
        for candidate in self.policy.rows(candidates) {
            if !self.better(candidate.subroute) {
                return;
            }
            let subroute = self.policy.get(candidate.subroute);
            if self.residual(&subroute) {
                let matched_len = u32::try_from(depth).unwrap_or(PATH_MAX);
                self.best = Some(Match {
                    route: subroute.route,
                    subroute: candidate.subroute,
                    matched_len,
                });
                return;
            }
        }
    }

    fn better(&self, subroute: Id<Subroute>) -> bool {
        self.best
            .is_none_or(|best| subroute.number() < best.subroute.number())
    }

    fn residual(&self, subroute: &Subroute) -> bool {
        self.method(subroute) && self.server_name(subroute) && self.headers(subroute)
    }

    fn method(&self, subroute: &Subroute) -> bool {
        let method = self.exchange.method();
        if subroute.methods == 0 {
            return true;
        }
        if method == Method::OTHER {
            let name = self.exchange.method_name();
            return self
                .policy
                .rows(subroute.other_methods)
                .any(|other| self.policy.bytes(other.text) == name);
        }
        subroute.methods & method.0 != 0
    }

    fn server_name(&self, subroute: &Subroute) -> bool {
        if subroute.snis.is_empty() || !self.exchange.secure() {
            return true;
        }
        let name = self.exchange.server_name();
        self.policy
            .rows(subroute.snis)
            .any(|sni: Name| name_fits(self.policy.bytes(sni.text), name))
    }

    fn headers(&self, subroute: &Subroute) -> bool {
        self.policy.rows(subroute.headers).all(|test| {
            self.exchange
                .any_header(self.policy.text(test.name), &mut |value| {
                    self.policy
                        .rows(test.values)
                        .any(|wanted| self.policy.bytes(wanted.text).eq_ignore_ascii_case(value))
                        || test.regex.is_some_and(|regex| self.header_regex(regex, value))
                })
        })
    }

    fn header_regex(&self, regex: Id<Regex>, value: &[u8]) -> bool {
        // Compiled case-insensitively, so the value is matched as it stands.
        self.regex_end(regex, value).is_some()
    }

    fn regex_end(&self, regex: Id<Regex>, text: &[u8]) -> Option<u32> {
        regex_end(self.policy, regex, text)
    }
}

/// Where the leftmost-first match that starts at the first byte ends; `None` when the regex does not match there.
pub fn regex_end(policy: &Policy, regex: Id<Regex>, text: &[u8]) -> Option<u32> {
    let input = Input::new(text).anchored(Anchored::Yes);
    // An automaton without quit bytes cannot fail on an anchored search, and the verifier admits no other.
    let found = policy.automaton(regex).try_search_fwd(&input).ok().flatten()?;
    u32::try_from(found.offset()).ok()
}

/// Whether a server name fits an exact name, `*.x` or `x.*`.
pub fn name_fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.strip_prefix(b"*"), pattern.strip_suffix(b"*")) {
        (Some(suffix), _) => name.len() > suffix.len() && name.ends_with(suffix),
        (_, Some(prefix)) => name.len() > prefix.len() && name.starts_with(prefix),
        _ => pattern == name,
    }
}

/// The host that is written so.
pub(crate) fn host_of(policy: &Policy, key: &[u8]) -> Option<Host> {
    let meta = policy.meta();
    let hash = host_hash(&meta.salt, key);
    let slot = index::slot(hash, policy.seeds(meta.host_seeds), meta.hosts.count)?;
    let host = policy.get(Id::<Host>::new(meta.hosts.first + slot));
    (policy.bytes(host.key) == key).then_some(host)
}

/// Hash of a host key for the artifact's host index.
pub fn host_hash(salt: &[u8; 32], key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key, crate::digest::index_hash(salt))
}

/// The look-ups without which a host key is never found.
pub(crate) struct Lookups {
    pub(crate) suffix: bool,
    pub(crate) prefix: bool,
    pub(crate) port: bool,
}

/// What [`Search::host`] must try for this key.
pub(crate) fn lookups_of(key: &[u8]) -> Lookups {
    let (name, port) = split_port(key);
    Lookups {
        suffix: name.starts_with(b"."),
        prefix: name.ends_with(b"."),
        port: !port.is_empty(),
    }
}

/// Name of a host key, and its port with the colon; empty if it has none.
pub(crate) fn split_port(key: &[u8]) -> (&[u8], &[u8]) {
    let colon = key.iter().rposition(|&byte| byte == b':');
    // The last colon of a bare IPv6 address stands inside brackets.
    let port = colon.filter(|&at| key[at + 1..].iter().all(u8::is_ascii_digit));
    key.split_at(port.unwrap_or(key.len()))
}

fn write_port(port: u16, out: &mut [u8; 6]) -> &[u8] {
    let mut at = out.len();
    let mut rest = port;
    loop {
        at -= 1;
        out[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    at -= 1;
    out[at] = b':';
    &out[at..]
}
