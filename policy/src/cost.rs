//! Worst cases, in units of about a nanosecond.
//!
//! The builder states them, the verifier proves them again. Every bound is over the longest input that the
//! gateway lets through, never over an expected one.

use alloc::vec::Vec;

use crate::artifact::Policy;
use crate::isa::{Instr, Op};
use crate::route::{LABELS_MAX, PATH_MAX};
use crate::select::GROUPS_MAX;
use crate::table::{Acl, Bucket, Candidate, Cors, Id, IpRule, Node, Quota, Rows, Select, Subject, Subroute};

const HEADER: u32 = 300;
const HASH_LOOKUP: u32 = 60;
const ROW: u32 = 10;

/// What the tables add to operations.
pub(crate) struct Costs<'c> {
    policy: &'c Policy,
    acl: u32,
    ip: u32,
    take: u32,
    preflight: u32,
}

impl<'c> Costs<'c> {
    pub(crate) fn of(policy: &'c Policy) -> Self {
        let largest = |values: &mut dyn Iterator<Item = u32>| values.max().unwrap_or(0);
        Self {
            policy,
            acl: largest(
                &mut policy
                    .rows(policy.all::<Acl>())
                    .map(|acl| acl.groups.count * 2 + acl.consumer_groups.count * GROUPS_MAX),
            ),
            ip: largest(
                &mut policy
                    .rows(policy.all::<IpRule>())
                    .map(|rule| (bits(rule.deny.count) + bits(rule.allow.count)) * ROW),
            ),
            take: largest(
                &mut policy
                    .rows(policy.all::<Quota>())
                    .map(|quota| quota.periods.count * 100),
            ),
            preflight: largest(&mut policy.rows(policy.all::<Cors>()).map(|cors| cors.origins.count)),
        }
    }

    /// Worst case of one instruction.
    pub(crate) fn of_instr(&self, instr: Instr) -> u32 {
        let table = match instr.op {
            Op::Select => self.select(Id::new(instr.imm)),
            Op::Acl => self.acl,
            Op::Ip => self.ip,
            Op::Take => self.take,
            Op::Preflight => self.preflight,
            _ => 0,
        };
        instr.op.cost().saturating_add(table)
    }

    fn select(&self, select: Id<Select>) -> u32 {
        let levels = self.policy.rows(self.policy.get(select).levels);
        levels.fold(0, |sum: u32, level| {
            let lookup = ROW + bits(level.instances.count) * ROW;
            sum.saturating_add(match level.subject {
                Subject::Anyone => ROW,
                Subject::Consumer => lookup,
                Subject::Group => lookup * GROUPS_MAX,
            })
        })
    }
}

/// Worst case of [`crate::route::find`].
pub(crate) fn route_search(policy: &Policy) -> u32 {
    let meta = policy.meta();
    let trees = trees(policy);
    let buckets = policy.rows(policy.all::<Bucket>());
    let heaviest = buckets
        .map(|bucket| bucket_cost(policy, &trees, bucket))
        .max()
        .unwrap_or(0);
    let wildcards = [meta.suffix_hosts, meta.prefix_hosts]
        .iter()
        .filter(|on| **on)
        .count();
    let wildcards = u32::try_from(wildcards).unwrap_or(2) * LABELS_MAX.min(meta.hosts.count);
    let ports = 1 + u32::from(meta.port_hosts);
    let lookups = (1 + wildcards) * ports;
    let visited = lookups.min(meta.hosts.count) + u32::from(meta.any_host.is_some());
    (lookups * HASH_LOOKUP).saturating_add(visited.saturating_mul(heaviest))
}

fn bucket_cost(policy: &Policy, trees: &[u32], bucket: Bucket) -> u32 {
    let regexes = policy.rows(bucket.regexes).fold(0u32, |sum, candidate| {
        sum.saturating_add(PATH_MAX)
            .saturating_add(residual(policy, candidate.subroute))
    });
    let tree = bucket.prefixes.map_or(0, |root| trees[root.index()]);
    regexes
        .saturating_add(tree)
        .saturating_add(candidates(policy, bucket.bare))
}

/// For every node the heaviest way from it to a leaf. Children come after their parents, so one backward pass is
/// enough.
fn trees(policy: &Policy) -> Vec<u32> {
    let nodes = policy.all::<Node>();
    let mut below: Vec<u32> = alloc::vec![0; nodes.count as usize];
    for number in (0..nodes.count).rev() {
        let node = policy.get(Id::<Node>::new(number));
        let own = ROW + bits(node.children.count) * ROW + node.label.len / 8;
        let heaviest = node
            .children
            .ids()
            .map(|child| below[child.index()])
            .max()
            .unwrap_or(0);
        below[number as usize] = heaviest
            .saturating_add(own)
            .saturating_add(candidates(policy, node.candidates));
    }
    below
}

fn candidates(policy: &Policy, candidates: Rows<Candidate>) -> u32 {
    policy.rows(candidates).fold(0, |sum: u32, candidate| {
        sum.saturating_add(residual(policy, candidate.subroute))
    })
}

fn residual(policy: &Policy, subroute: Id<Subroute>) -> u32 {
    let subroute = policy.get(subroute);
    let headers = policy.rows(subroute.headers).fold(0u32, |sum, test| {
        let regex = if test.regex.is_some() { PATH_MAX } else { 0 };
        sum.saturating_add(HEADER + test.values.count * ROW + regex)
    });
    ROW + subroute.other_methods.count * ROW + subroute.snis.count * ROW + headers
}

/// Steps of a binary search.
fn bits(count: u32) -> u32 {
    u32::BITS - count.leading_zeros()
}
