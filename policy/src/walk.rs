//! Path trees as the search walks them: half a cache line for each node, made of verified rows at load.
//!
//! A node's row names its label in the text section, so that every comparison would wait for another line and call
//! for a copy of unknown length. Here the first bytes of the label stand beside what the node leads to.

use alloc::boxed::Box;

use crate::artifact::Policy;
use crate::table::{Candidate, Id, Node, Rows, Text};

/// Bytes of a label that stand in its node.
const HEAD: usize = size_of::<u64>();

/// A node of a path tree.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub struct Step {
    /// The first bytes of the label, the rest zero.
    head: u64,
    label: Text,
    children: Rows<Node>,
    pub(crate) candidates: Rows<Candidate>,
}

const _: () = assert!(size_of::<Step>() == 32, "two nodes are one cache line");

/// The steps of all nodes, by row.
pub(crate) fn steps(policy: &Policy) -> Box<[Step]> {
    let nodes = policy.rows(policy.all::<Node>());
    nodes
        .map(|node| Step {
            head: word(policy.bytes(node.label)),
            label: node.label,
            children: node.children,
            candidates: node.candidates,
        })
        .collect()
}

impl Step {
    /// How much of the path is behind this node, if the path goes through it from `depth` on.
    #[inline]
    pub(crate) fn walk(&self, policy: &Policy, path: &[u8], depth: usize) -> Option<usize> {
        let len = self.label.len as usize;
        let rest = path.get(depth..)?;
        if rest.len() < len {
            return None;
        }
        // As many bytes as the label has; none of an empty one.
        let differs = match HEAD.saturating_sub(len) {
            HEAD => 0,
            beyond => (ahead(path, depth) ^ self.head) << (8 * beyond),
        };
        if differs != 0 || len > HEAD && rest[HEAD..len] != policy.bytes(self.label)[HEAD..] {
            return None;
        }
        Some(depth + len)
    }

    /// The child whose label begins with this byte.
    #[inline]
    pub(crate) fn child<'p>(&self, policy: &'p Policy, byte: u8) -> Option<&'p Self> {
        let children = policy.steps(self.children);
        let first = |step: &Self| step.head.to_le_bytes()[0];
        if children.len() > LINEAR_MAX {
            let found = children.binary_search_by_key(&byte, first);
            return children.get(found.ok()?);
        }
        children.iter().find(|step| first(step) == byte)
    }
}

/// Up to so many children are looked at one after the other: no slower, and the processor can guess the way.
const LINEAR_MAX: usize = 8;

/// The bytes of a path from `depth` on, as many as a label's head has, the rest zero.
#[inline]
fn ahead(path: &[u8], depth: usize) -> u64 {
    if let Some(next) = path.get(depth..).and_then(<[u8]>::first_chunk) {
        return u64::from_le_bytes(*next);
    }
    match path.last_chunk() {
        _ if depth >= path.len() => 0,
        // Fewer than eight are left, and there are as many before them as it takes.
        Some(last) => u64::from_le_bytes(*last) >> (8 * (HEAD + depth - path.len())),
        None => word(&path[depth..]),
    }
}

fn word(bytes: &[u8]) -> u64 {
    let head = bytes.iter().take(HEAD).rev();
    head.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The root of a tree.
#[inline]
pub(crate) fn root(policy: &Policy, root: Id<Node>) -> Option<&Step> {
    policy.steps(Rows::<Node>::new(root.number(), 1)).first()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_ahead_is_the_bytes_that_are_there(
            path in proptest::collection::vec(any::<u8>(), 0..40), depth in 0..40_usize,
        ) {
            let depth = depth.min(path.len());
            prop_assert_eq!(ahead(&path, depth), word(&path[depth..]));
        }
    }
}
