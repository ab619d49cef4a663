//! Checks what look-ups rely on: indexes, orders, trees and automata. Lists may share rows, so nothing here walks
//! a list for each of its owners.

use alloc::vec;
use alloc::vec::Vec;

use regex_automata::dfa::Automaton as _;
use regex_automata::{Anchored, util::start};

use crate::artifact::Policy;
use crate::digest;
use crate::fault::{Fault, FaultKind};
use crate::field::Method;
use crate::index;
use crate::ranges::{Largest, Runs, Sums};
use crate::route;
use crate::stream;
use crate::table::{
    AddressTest, Bucket, Candidate, Cidr, Consumer, Credential, HttpVersion, Id, Instance, IpRule, Level,
    Membership, Node, Proof, Route, Row, Rows, Scheme, Seed, Select, Service, StreamRoute, Subject, Subroute,
    Table,
};
use crate::vm::join;

type Check = fn(&Policy) -> Result<(), Fault>;

pub(super) fn check(policy: &Policy) -> Result<(), Fault> {
    const CHECKS: [Check; 10] = [
        hosts,
        credentials,
        groups,
        candidates,
        nodes,
        automata,
        selects,
        addresses,
        streams,
        versions,
    ];
    CHECKS.iter().try_for_each(|check| check(policy))
}

pub(super) fn fault<R: Row>(id: Id<R>, kind: FaultKind) -> Fault {
    Fault {
        section: R::TABLE.name(),
        at: u64::from(id.number()),
        kind,
    }
}

fn hosts(policy: &Policy) -> Result<(), Fault> {
    let meta = policy.meta();
    for (slot, id) in (0..).zip(meta.hosts.ids()) {
        let key = policy.bytes(policy.get(id).key);
        if key.is_empty() || key.len() > route::HOST_MAX {
            return Err(fault(id, FaultKind::Value("key")));
        }
        let hash = route::host_hash(&meta.salt, key);
        if index::slot(hash, policy.seeds(meta.host_seeds), meta.hosts.count) != Some(slot) {
            return Err(fault(id, FaultKind::Hash));
        }
        // A pattern that no look-up is made for would silently never match.
        let needs = route::lookups_of(key);
        for (needed, made, column) in [
            (needs.suffix, meta.suffix_hosts, "suffix_hosts"),
            (needs.prefix, meta.prefix_hosts, "prefix_hosts"),
            (needs.port, meta.port_hosts, "port_hosts"),
        ] {
            if needed && !made {
                return Err(fault(id, FaultKind::Value(column)));
            }
        }
    }
    Ok(())
}

fn credentials(policy: &Policy) -> Result<(), Fault> {
    let meta = policy.meta();
    let indexed = |rows: Rows<Credential>, seeds: Rows<Seed>, proofs: &[Proof]| -> Result<(), Fault> {
        for (slot, id) in (0..).zip(rows.ids()) {
            let credential = policy.get(id);
            let hash = digest::index_hash(&credential.lookup);
            if index::slot(hash, policy.seeds(seeds), rows.count) != Some(slot) {
                return Err(fault(id, FaultKind::Hash));
            }
            if !proofs.contains(&credential.proof) {
                return Err(fault(id, FaultKind::Value("proof")));
            }
        }
        Ok(())
    };
    indexed(meta.keys, meta.key_seeds, &[Proof::Lookup])?;
    indexed(meta.basics, meta.basic_seeds, &[Proof::Keyed, Proof::Hashed])
}

fn groups(policy: &Policy) -> Result<(), Fault> {
    let runs = Runs::of(policy, |before: &Membership, after| {
        before.group.number() < after.group.number()
    });
    each(policy, |consumer: Consumer| {
        held(&runs, consumer.groups, "groups")
    })
}

/// Candidates stand in rank order, with a regex exactly where regexes are tested.
fn candidates(policy: &Policy) -> Result<(), Fault> {
    let runs = Runs::of(policy, |before: &Candidate, after| {
        before.subroute.number() < after.subroute.number()
    });
    let regexes = Sums::of(policy, |candidate: Candidate| {
        u32::from(policy.get(candidate.subroute).regex.is_some())
    });
    let list = |rows: Rows<Candidate>, with_regex: bool, column| {
        held(&runs, rows, column)?;
        let wanted = if with_regex { rows.count } else { 0 };
        if regexes.over(rows) == wanted {
            Ok(())
        } else {
            Err(FaultKind::Value(column))
        }
    };
    each(policy, |bucket: Bucket| {
        list(bucket.regexes, true, "regexes")?;
        list(bucket.bare, false, "bare")
    })?;
    each(policy, |node: Node| list(node.candidates, false, "candidates"))?;
    each(policy, |subroute: Subroute| {
        // No methods at all means any: a list of other methods without their bit would admit all.
        let others = subroute.methods & Method::OTHER.0 != 0;
        if others == subroute.other_methods.is_empty() {
            return Err(FaultKind::Value("methods"));
        }
        if subroute.prefix_len > route::PATH_MAX {
            return Err(FaultKind::Value("prefix_len"));
        }
        Ok(())
    })
}

fn nodes(policy: &Policy) -> Result<(), Fault> {
    let initial = |node: &Node| policy.bytes(node.label).first().copied();
    let runs = Runs::of(policy, |before: &Node, after| {
        initial(before).is_some() && initial(before) < initial(after)
    });
    for id in policy.all::<Node>().ids() {
        let Rows { first, count, .. } = policy.get(id).children;
        if count == 0 {
            continue;
        }
        // A child after its parent makes a cycle impossible.
        let labelled = !policy.get(Id::<Node>::new(first)).label.is_empty();
        if first <= id.number() || !labelled || !runs.hold(Rows::<Node>::new(first, count)) {
            return Err(fault(id, FaultKind::Order("children")));
        }
    }
    Ok(())
}

/// Automata must be searchable from an anchored start and must never give up in a search.
fn automata(policy: &Policy) -> Result<(), Fault> {
    for id in policy.regexes() {
        let dfa = policy.automaton(id);
        let refused = fault(id, FaultKind::Automaton);
        let anchored = start::Config::new().anchored(Anchored::Yes);
        let start = dfa.start_state(&anchored).map_err(|_error| refused)?;
        let place = |state: regex_automata::util::primitives::StateID| state.as_usize() >> dfa.stride2();
        let mut seen: Vec<bool> = vec![false; place(start) + 1];
        let mut open = Vec::from([start]);
        seen[place(start)] = true;
        while let Some(state) = open.pop() {
            if dfa.is_quit_state(state) {
                return Err(refused);
            }
            let classes = dfa.byte_classes().representatives(..);
            for unit in classes {
                let next = match unit.as_u8() {
                    Some(byte) => dfa.next_state(state, byte),
                    None => dfa.next_eoi_state(state),
                };
                if place(next) >= seen.len() {
                    seen.resize(place(next) + 1, false);
                }
                if !core::mem::replace(&mut seen[place(next)], true) {
                    open.push(next);
                }
            }
        }
    }
    Ok(())
}

fn selects(policy: &Policy) -> Result<(), Fault> {
    let rows = Largest::of(policy, |instance: Instance| instance.row);
    let by_level = Largest::of(policy, |level: Level| {
        // One more than the largest row, so that 0 stands for a level without instances.
        rows.over(level.instances).map_or(0, |row| row.saturating_add(1))
    });
    each(policy, |select: Select| {
        let table = Table::ALL.get(select.kind as usize);
        let count = policy.count(*table.ok_or(FaultKind::Value("kind"))?);
        match by_level.over(select.levels) {
            Some(needed) if needed > count => Err(FaultKind::Reference("levels")),
            _ => Ok(()),
        }
    })?;
    let runs = Runs::of(policy, |before: &Instance, after| before.subject < after.subject);
    each(policy, |level: Level| {
        if level.subject == Subject::Anyone && level.instances.count != 1 {
            return Err(FaultKind::Value("instances"));
        }
        held(&runs, level.instances, "instances")
    })
}

fn addresses(policy: &Policy) -> Result<(), Fault> {
    let first = |range: &Cidr| join(range.first_high, range.first_low);
    let last = |range: &Cidr| join(range.last_high, range.last_low);
    each(policy, |range: Cidr| {
        if first(&range) > last(&range) {
            return Err(FaultKind::Order("first"));
        }
        Ok(())
    })?;
    let runs = Runs::of(policy, |before: &Cidr, after| last(before) < first(after));
    each(policy, |rule: IpRule| {
        held(&runs, rule.deny, "deny")?;
        held(&runs, rule.allow, "allow")
    })?;
    each(policy, |test: AddressTest| {
        held(&runs, test.addresses, "addresses")?;
        if test.port > 65_535 {
            return Err(FaultKind::Value("port"));
        }
        Ok(())
    })
}

/// Requests and connections keep to their own routes and services.
fn streams(policy: &Policy) -> Result<(), Fault> {
    const STREAM: u32 = stream::TCP | stream::TLS | stream::TLS_PASSTHROUGH;
    let leads = |route: Id<Route>, schemes: &[Scheme]| {
        let service = policy.get(route).service;
        service.is_none_or(|service| schemes.contains(&policy.get(service).scheme))
    };
    each(policy, |row: StreamRoute| {
        let protocols = policy.get(row.route).protocols;
        let together = protocols == stream::TLS_PASSTHROUGH || protocols & stream::TLS_PASSTHROUGH == 0;
        if protocols == 0 || protocols & !STREAM != 0 || !together {
            return Err(FaultKind::Value("route"));
        }
        if !leads(row.route, &[Scheme::Tcp, Scheme::Tls]) {
            return Err(FaultKind::Value("service"));
        }
        Ok(())
    })?;
    each(policy, |row: Subroute| {
        if policy.get(row.route).protocols & STREAM != 0 {
            return Err(FaultKind::Value("route"));
        }
        if !leads(
            row.route,
            &[Scheme::Http, Scheme::Https, Scheme::Grpc, Scheme::Grpcs],
        ) {
            return Err(FaultKind::Value("service"));
        }
        Ok(())
    })
}

/// A version of HTTP is one that the service's scheme can agree on.
fn versions(policy: &Policy) -> Result<(), Fault> {
    each(policy, |row: Service| {
        let fits = match row.scheme {
            Scheme::Http => row.http != HttpVersion::Negotiated,
            Scheme::Https => true,
            Scheme::Grpc | Scheme::Grpcs => row.http == HttpVersion::Http2,
            Scheme::Tcp | Scheme::Tls => row.http == HttpVersion::Http1,
        };
        if fits {
            Ok(())
        } else {
            Err(FaultKind::Value("http"))
        }
    })
}

/// Checks every row of a table.
pub(super) fn each<R: Row>(policy: &Policy, check: impl Fn(R) -> Result<(), FaultKind>) -> Result<(), Fault> {
    policy
        .all::<R>()
        .ids()
        .try_for_each(|id| check(policy.get(id)).map_err(|kind| fault(id, kind)))
}

fn held<R>(runs: &Runs, rows: Rows<R>, column: &'static str) -> Result<(), FaultKind> {
    if runs.hold(rows) {
        Ok(())
    } else {
        Err(FaultKind::Order(column))
    }
}
