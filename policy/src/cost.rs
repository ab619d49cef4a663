//! Worst cases, in units of about a nanosecond.
//!
//! The builder states them, the verifier proves them again. Every bound is over the longest input that the
//! gateway lets through, never over an expected one.

use alloc::vec::Vec;

use crate::artifact::Policy;
use crate::field::{HEAD_MAX, HEADERS_MAX};
use crate::isa::{Instr, Op};
use crate::ranges::Sums;
use crate::route::{self, LABELS_MAX, PATH_MAX};
use crate::table::{
    Acl, AddressTest, Bucket, Candidate, Consumer, Cors, HeaderTest, Id, IpRule, Level, Node, Quota, Rows,
    Select, StreamRoute, Subject, Subroute,
};

const HEADER: u32 = 300;
const HASH_LOOKUP: u32 = 60;
const ROW: u32 = 10;
/// One value of a header test against one header line; most differ in length.
const VALUE: u32 = 3;

/// What the tables add to operations.
pub(crate) struct Costs<'c> {
    policy: &'c Policy,
    levels: Sums,
    acl: u32,
    ip: u32,
    take: u32,
    preflight: u32,
}

impl<'c> Costs<'c> {
    pub(crate) fn of(policy: &'c Policy) -> Self {
        let largest = |values: &mut dyn Iterator<Item = u32>| values.max().unwrap_or(0);
        let consumers = policy.rows(policy.all::<Consumer>());
        let groups = largest(&mut consumers.map(|consumer| consumer.groups.count));
        Self {
            policy,
            levels: Sums::of(policy, |level: Level| {
                let lookup = ROW + bits(level.instances.count) * ROW;
                match level.subject {
                    Subject::Anyone => ROW,
                    Subject::Consumer => lookup,
                    Subject::Group => lookup.saturating_mul(groups),
                }
            }),
            acl: largest(&mut policy.rows(policy.all::<Acl>()).map(|acl| {
                let by_group = acl.consumer_groups.count.saturating_mul(groups);
                acl.groups.count.saturating_mul(2).saturating_add(by_group)
            })),
            ip: largest(
                &mut policy
                    .rows(policy.all::<IpRule>())
                    .map(|rule| (bits(rule.deny.count) + bits(rule.allow.count)) * ROW),
            ),
            take: largest(
                &mut policy
                    .rows(policy.all::<Quota>())
                    .map(|quota| quota.periods.count.saturating_mul(100)),
            ),
            preflight: largest(&mut policy.rows(policy.all::<Cors>()).map(|cors| cors.origins.count)),
        }
    }

    /// Worst case of one instruction.
    pub(crate) fn of_instr(&self, instr: Instr) -> u32 {
        let table = match instr.op {
            Op::Select => self
                .levels
                .over(self.policy.get(Id::<Select>::new(instr.imm)).levels),
            Op::Acl => self.acl,
            Op::Ip => self.ip,
            Op::Take => self.take,
            Op::Preflight => self.preflight,
            _ => 0,
        };
        instr.op.cost().saturating_add(table)
    }
}

/// Worst case of finding a route, for a request or a connection.
pub(crate) fn route_search(policy: &Policy) -> u32 {
    request_search(policy).max(connection_search(policy))
}

/// Worst case of [`crate::stream::find`], which looks at everything.
fn connection_search(policy: &Policy) -> u32 {
    let tests = Sums::of(policy, |test: AddressTest| ROW + bits(test.addresses.count) * ROW);
    let routes = policy.rows(policy.all::<StreamRoute>()).map(|row| {
        let names = row.snis.count.saturating_mul(ROW);
        (2 * ROW)
            .saturating_add(names)
            .saturating_add(tests.over(row.sources))
            .saturating_add(tests.over(row.destinations))
    });
    routes.fold(0, u32::saturating_add)
}

/// Worst case of [`crate::route::find`].
fn request_search(policy: &Policy) -> u32 {
    let meta = policy.meta();
    let search = SearchCosts::of(policy);
    let buckets: Vec<u32> = policy
        .rows(policy.all::<Bucket>())
        .map(|bucket| search.bucket(bucket))
        .collect();
    let wildcards = u32::from(meta.suffix_hosts) + u32::from(meta.prefix_hosts);
    let ports = 1 + u32::from(meta.port_hosts);
    let lookups = (1 + wildcards * LABELS_MAX) * ports;
    let any_host = meta.any_host.map_or(0, |bucket| buckets[bucket.index()]);
    (lookups * HASH_LOOKUP)
        .saturating_add(any_host)
        .saturating_add(heaviest_host(policy, &buckets))
}

/// The buckets that one host meets at most. Of patterns written alike it meets those that fit into each other, such
/// as `*.a.test` and `*.test`, and no two beside each other; with a port in the pattern once more.
fn heaviest_host(policy: &Policy, buckets: &[u32]) -> u32 {
    // Of patterns without and with a port: the host itself, wildcards in front, wildcards at the end.
    let mut heaviest = [[0_u32; 3]; 2];
    for host in policy.rows(policy.meta().hosts) {
        let key = policy.bytes(host.key);
        let (name, port) = route::split_port(key);
        let fits = route::lookups_of(key);
        let dots = || (0..name.len()).filter(|at| name[*at] == b'.');
        let sum = |fitting: &mut dyn Iterator<Item = u32>| fitting.fold(0, u32::saturating_add);
        let of = |key: &[u8]| route::host_of(policy, key).map_or(0, |host| buckets[host.bucket.index()]);
        // A host may be spelled like a pattern, `.a.test`, and then meets it once more.
        let itself = buckets[host.bucket.index()];
        let in_front = if fits.suffix {
            sum(&mut dots().map(|at| of(&key[at..])))
        } else {
            0
        };
        let at_the_end = if fits.prefix {
            let shorter = |at: usize| [&name[..=at], port].concat();
            sum(&mut dots().map(|at| of(&shorter(at))))
        } else {
            0
        };
        let heaviest = &mut heaviest[usize::from(fits.port)];
        for (heaviest, found) in heaviest.iter_mut().zip([itself, in_front, at_the_end]) {
            *heaviest = (*heaviest).max(found);
        }
    }
    heaviest
        .as_flattened()
        .iter()
        .fold(0, |sum, cost| sum.saturating_add(*cost))
}

struct SearchCosts {
    /// The residual tests of candidates.
    candidates: Sums,
    /// For every node the heaviest way from it to a leaf.
    trees: Vec<u32>,
}

impl SearchCosts {
    fn of(policy: &Policy) -> Self {
        let tests = Sums::of(policy, header_test);
        let subroutes: Vec<u32> = policy
            .rows(policy.all::<Subroute>())
            .map(|subroute| residual(&subroute, &tests))
            .collect();
        let candidates = Sums::of(policy, |candidate: Candidate| {
            subroutes[candidate.subroute.index()]
        });
        let trees = trees(policy, &candidates);
        Self { candidates, trees }
    }

    fn bucket(&self, bucket: Bucket) -> u32 {
        let regexes: Rows<Candidate> = bucket.regexes;
        regexes
            .count
            .saturating_mul(PATH_MAX)
            .saturating_add(self.candidates.over(regexes))
            .saturating_add(bucket.prefixes.map_or(0, |root| self.trees[root.index()]))
            .saturating_add(self.candidates.over(bucket.bare))
    }
}

/// Children come after their parents, so one backward pass is enough.
fn trees(policy: &Policy, candidates: &Sums) -> Vec<u32> {
    let nodes = policy.all::<Node>();
    let mut below: Vec<u32> = alloc::vec![0; nodes.count as usize];
    for number in (0..nodes.count).rev() {
        let node = policy.get(Id::<Node>::new(number));
        let own = ROW + bits(node.children.count) * ROW + node.label.len / 8;
        let children = node.children.ids().map(|child| below[child.index()]);
        below[number as usize] = children
            .max()
            .unwrap_or(0)
            .saturating_add(own)
            .saturating_add(candidates.over(node.candidates));
    }
    below
}

fn residual(subroute: &Subroute, tests: &Sums) -> u32 {
    let names = subroute.other_methods.count.saturating_add(subroute.snis.count);
    names
        .saturating_mul(ROW)
        .saturating_add(ROW)
        .saturating_add(tests.over(subroute.headers))
}

/// Every value may meet every line of the head; a regex reads all lines together at most once.
fn header_test(test: HeaderTest) -> u32 {
    let values = test
        .values
        .count
        .saturating_mul(VALUE)
        .saturating_mul(HEADERS_MAX);
    let regex = if test.regex.is_some() { HEAD_MAX } else { 0 };
    HEADER.saturating_add(values).saturating_add(regex)
}

/// Steps of a binary search.
fn bits(count: u32) -> u32 {
    u32::BITS - count.leading_zeros()
}
