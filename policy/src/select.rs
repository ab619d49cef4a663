//! Which instance of a plugin runs: Kong's order of precedence, by consumer and group.

use crate::artifact::Policy;
use crate::table::{Consumer, Group, Id, Instance, Membership, Rows, Select, Subject};

/// Row of the most specific instance for this consumer, or of none.
pub fn find(policy: &Policy, select: Id<Select>, consumer: Option<Id<Consumer>>) -> Option<u32> {
    policy
        .rows(policy.get(select).levels)
        .find_map(|level| match level.subject {
            Subject::Anyone => policy.rows(level.instances).next().map(|instance| instance.row),
            Subject::Consumer => at(policy, level.instances, consumer?.number()),
            Subject::Group => groups(policy, consumer?)
                .find_map(|group: Id<Group>| at(policy, level.instances, group.number())),
        })
}

/// A consumer's groups in the order of their names.
pub fn groups(policy: &Policy, consumer: Id<Consumer>) -> impl Iterator<Item = Id<Group>> + '_ {
    policy
        .rows(policy.get(consumer).groups)
        .map(|membership: Membership| membership.group)
}

fn at(policy: &Policy, instances: Rows<Instance>, subject: u32) -> Option<u32> {
    let (mut low, mut high) = (instances.first, instances.first + instances.count);
    while low < high {
        let middle = low + (high - low) / 2;
        let instance = policy.get(Id::<Instance>::new(middle));
        match instance.subject.cmp(&subject) {
            core::cmp::Ordering::Equal => return Some(instance.row),
            core::cmp::Ordering::Less => low = middle + 1,
            core::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}
