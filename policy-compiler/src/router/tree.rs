//! A radix tree of path prefixes, numbered breadth first: children stand together, after their parent.

use std::collections::{BTreeMap, VecDeque};

/// A node, ready to become a row.
#[derive(Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// Bytes on the edge that leads here; empty only at the root.
    pub label: Box<str>,
    /// Number of the first child.
    pub first_child: u32,
    /// How many children.
    pub children: u32,
    /// Ranks of the subroutes whose prefix ends here, ascending and distinct.
    pub ranks: Vec<u32>,
}

/// The tree over `prefixes` (ASCII) with their ranks. Numbers count from 0, which is the root.
pub fn build(prefixes: &[(&str, u32)]) -> Vec<TreeNode> {
    let mut by_prefix: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for &(prefix, rank) in prefixes {
        by_prefix.entry(prefix).or_default().push(rank);
    }
    let sorted: Vec<(&str, Vec<u32>)> = by_prefix
        .into_iter()
        .map(|(prefix, mut ranks)| {
            ranks.sort_unstable();
            ranks.dedup();
            (prefix, ranks)
        })
        .collect();
    let mut nodes: Vec<TreeNode> = Vec::new();
    // Each open item is a range of `sorted` below a node, and the depth at which its label starts.
    let mut open = VecDeque::from([(0, sorted.len(), 0, 0)]);
    let mut next = 1;
    while let Some((first, end, start, depth)) = open.pop_front() {
        let range = &sorted[first..end];
        let here = range.first().is_some_and(|(prefix, _)| prefix.len() == depth);
        let ranks = if here { range[0].1.clone() } else { Vec::new() };
        let first_child = next;
        let mut at = first + usize::from(here);
        while at < end {
            let byte = sorted[at].0.as_bytes()[depth];
            let until = at + sorted[at..end].partition_point(|(prefix, _)| prefix.as_bytes()[depth] == byte);
            let shared = common(sorted[at].0, sorted[until - 1].0);
            open.push_back((at, until, depth, shared));
            next += 1;
            at = until;
        }
        let label = range
            .first()
            .map_or("", |(prefix, _)| prefix.get(start..depth).unwrap_or_default());
        nodes.push(TreeNode {
            label: label.into(),
            first_child,
            children: next - first_child,
            ranks,
        });
    }
    nodes
}

/// Bytes that two texts have in common at their start.
fn common(left: &str, right: &str) -> usize {
    left.bytes()
        .zip(right.bytes())
        .take_while(|(l, r)| l == r)
        .count()
}
