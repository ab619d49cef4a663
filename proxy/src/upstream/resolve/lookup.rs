//! One look-up: the hosts file, the search list, the order of types, aliases, and the hosts that SRV records name.
//!
//! Enters: a name as a policy has it. Leaves: an [`Outcome`]. Both files are read again when they change. Blocks; runs on
//! the resolver's threads alone.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::hosts::Hosts;
use super::message::{Kind, Question, Reply, Service};
use super::now;
use super::resolv_conf::ResolvConf;
use super::settings::DnsSettings;
use super::transport::Transport;
use super::{Address, answer};
use crate::limits;
use crate::settable::{self, Limit};

/// What a look-up came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Addresses in order, the type that brought them, and the seconds for which they may be used.
    Found(Vec<Address>, Kind, u32),
    /// There are none; believed for so many seconds.
    Nothing(u32),
    /// Nobody could tell.
    Failed,
}

/// Looks names up. One for each thread.
pub(super) struct Finder {
    settings: Arc<DnsSettings>,
    transport: Arc<Transport>,
    conf: Watched<ResolvConf>,
    hosts: Watched<Hosts>,
}

/// A file, as it was when it last changed.
struct Watched<T> {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
    parse: fn(&str) -> T,
    content: T,
}

impl<T> Watched<T> {
    fn new(path: &Path, parse: fn(&str) -> T) -> Self {
        Self {
            path: path.to_owned(),
            seen: None,
            parse,
            content: parse(""),
        }
    }

    /// A file that cannot be read, or that is gone, is empty.
    fn refresh(&mut self) {
        let meta = std::fs::metadata(&self.path).ok();
        let seen = meta.and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        let mut text = Vec::new();
        if let Ok(file) = File::open(&self.path) {
            let _ = file.take(limits::DNS_FILE_BYTES).read_to_end(&mut text);
        }
        self.content = (self.parse)(&String::from_utf8_lossy(&text));
    }
}

/// What is left of one look-up's questions and time.
struct Allowance {
    questions: usize,
    deadline: Instant,
}

impl Finder {
    pub(super) fn new(settings: Arc<DnsSettings>, transport: Arc<Transport>) -> Self {
        Self {
            conf: Watched::new(&settings.resolv_conf, ResolvConf::parse),
            hosts: Watched::new(&settings.hosts_file, Hosts::parse),
            settings,
            transport,
        }
    }

    /// The addresses of a name. `last` is the type that brought them before.
    pub(super) fn find(&mut self, name: &str, last: Option<Kind>) -> Outcome {
        self.conf.refresh();
        self.hosts.refresh();
        if !self.settings.servers.is_empty() {
            self.conf.content.servers.clone_from(&self.settings.servers);
        }
        let kinds = self.kinds(name, last);
        if let Some(outcome) = self.in_hosts(name, &kinds) {
            return outcome;
        }
        let mut left = Allowance {
            questions: limits::DNS_QUESTIONS,
            deadline: now() + settable::dns_lookup_s(),
        };
        let mut worst = Outcome::Nothing(limits::DNS_NOT_FOUND_S);
        for candidate in self.conf.content.candidates(name) {
            match self.absolute(&candidate, &kinds, &mut left) {
                found @ Outcome::Found(..) => return found,
                Outcome::Nothing(ttl_s) => {
                    if let Outcome::Nothing(least) = &mut worst {
                        *least = ttl_s.min(*least);
                    }
                }
                Outcome::Failed => worst = Outcome::Failed,
            }
        }
        if now() >= left.deadline {
            settable::reached(Limit::DnsLookupS);
        }
        worst
    }

    /// `_service._proto.name` can only be SRV (RFC 2782); any other name is what the order says, the last success first.
    fn kinds(&self, name: &str, last: Option<Kind>) -> Vec<Kind> {
        if is_service(name) {
            return vec![Kind::Srv];
        }
        let order = &self.settings.order;
        let mut kinds = order.kinds.clone();
        if let Some(last) = last.filter(|last| order.last && kinds.contains(last)) {
            kinds.retain(|kind| *kind != last);
            kinds.insert(0, last);
        }
        kinds
    }

    fn in_hosts(&self, name: &str, kinds: &[Kind]) -> Option<Outcome> {
        for kind in kinds {
            let found = self.hosts.content.get(name, *kind)?;
            if !found.is_empty() {
                let addresses = found.into_iter().map(Address::plain).collect();
                return Some(Outcome::Found(answer(addresses), *kind, limits::DNS_HOSTS_TTL_S));
            }
        }
        Some(Outcome::Nothing(limits::DNS_HOSTS_TTL_S))
    }

    /// What an absolute name has, by the first type that it has.
    fn absolute(&self, name: &str, kinds: &[Kind], left: &mut Allowance) -> Outcome {
        let mut worst = Outcome::Nothing(limits::DNS_NOT_FOUND_S);
        for kind in kinds {
            match self.ask(name, *kind, left) {
                Reply::Addresses(found, ttl_s) => {
                    let addresses = found.into_iter().map(Address::plain).collect();
                    return Outcome::Found(answer(addresses), *kind, ttl_s);
                }
                Reply::Services(services, ttl_s) => match self.services(services, ttl_s, left) {
                    Outcome::Nothing(_) => {}
                    Outcome::Failed => worst = Outcome::Failed,
                    found @ Outcome::Found(..) => return found,
                },
                // The time of a name without such records says little of the other types.
                Reply::Nothing { exists: true, ttl_s } => {
                    if let Outcome::Nothing(least) = &mut worst {
                        *least = ttl_s.unwrap_or(limits::DNS_TTL_MIN_S).min(*least);
                    }
                }
                // There is no such name: it has no records of any other type either (RFC 8020).
                Reply::Nothing { exists: false, ttl_s } => {
                    return Outcome::Nothing(ttl_s.unwrap_or(limits::DNS_TTL_MIN_S));
                }
                Reply::Alias(..) | Reply::Truncated | Reply::NotUnderstood | Reply::Failed => {
                    worst = Outcome::Failed;
                }
            }
        }
        worst
    }

    /// The addresses of the hosts that SRV records name: those of the lowest priority that has any. A record's weight
    /// is shared by the addresses of its host; a weight of 0 is the least, as in Kong.
    fn services(&self, mut services: Vec<Service>, mut ttl_s: u32, left: &mut Allowance) -> Outcome {
        services.sort();
        let kinds: Vec<Kind> = {
            let order = self.settings.order.kinds.iter();
            order.copied().filter(|kind| *kind != Kind::Srv).collect()
        };
        let mut worst = Outcome::Nothing(ttl_s);
        for group in services.chunk_by(|one, other| one.priority == other.priority) {
            let mut all = Vec::new();
            for service in group {
                match self.host(&service.target, &kinds, left) {
                    Outcome::Found(found, _, host_ttl_s) => {
                        ttl_s = ttl_s.min(host_ttl_s);
                        all.extend(Address::of_service(service, &found));
                    }
                    Outcome::Failed => worst = Outcome::Failed,
                    Outcome::Nothing(_) => {}
                }
            }
            if !all.is_empty() {
                if all.len() > settable::dns_records() {
                    settable::reached(Limit::DnsRecords);
                    all.truncate(settable::dns_records());
                }
                return Outcome::Found(answer(all), Kind::Srv, ttl_s);
            }
        }
        worst
    }

    fn host(&self, name: &str, kinds: &[Kind], left: &mut Allowance) -> Outcome {
        if let Ok(address) = name.parse::<IpAddr>() {
            // Not a name, though some servers send it; what it means is plain.
            return Outcome::Found(vec![Address::plain(address)], Kind::A, limits::DNS_TTL_MAX_S);
        }
        match self.in_hosts(name, kinds) {
            Some(outcome) => outcome,
            None => self.absolute(name, kinds, left),
        }
    }

    /// Asks for an absolute name, and follows aliases that a server leaves to us.
    fn ask(&self, name: &str, kind: Kind, left: &mut Allowance) -> Reply {
        let mut name: Box<str> = name.into();
        let mut least = u32::MAX;
        for _ in 0..=limits::DNS_ALIASES {
            let Some(question) = Question::new(&name, kind) else {
                return Reply::Nothing {
                    exists: false,
                    ttl_s: Some(limits::DNS_NOT_FOUND_S),
                };
            };
            if left.questions == 0 {
                return Reply::Failed;
            }
            left.questions -= 1;
            match self.transport.ask(&self.conf.content, &question, left.deadline) {
                Reply::Alias(next, ttl_s) => {
                    least = least.min(ttl_s);
                    name = next;
                }
                Reply::Addresses(found, ttl_s) => return Reply::Addresses(found, ttl_s.min(least)),
                Reply::Services(found, ttl_s) => return Reply::Services(found, ttl_s.min(least)),
                reply => return reply,
            }
        }
        Reply::Failed
    }
}

fn is_service(name: &str) -> bool {
    let mut labels = name.split('.');
    let underscored = |label: Option<&str>| label.is_some_and(|label| label.starts_with('_'));
    underscored(labels.next()) && underscored(labels.next())
}
