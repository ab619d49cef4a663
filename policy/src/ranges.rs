//! Answers about consecutive rows. Lists may share rows, so an artifact of a few megabytes can name billions of
//! list members; here every list is answered without walking it.

use alloc::vec;
use alloc::vec::Vec;

use crate::artifact::Policy;
use crate::table::{Id, Row, Rows};

/// For every row, where the run of rows that may follow one another ends.
pub(crate) struct Runs(Vec<u32>);

impl Runs {
    /// Runs of a table in which every row and the next one satisfy `follows`.
    pub(crate) fn of<R: Row>(policy: &Policy, follows: impl Fn(&R, &R) -> bool) -> Self {
        let count = policy.count(R::TABLE);
        let mut ends = vec![count; count as usize];
        let mut end = count;
        let mut after: Option<R> = None;
        for number in (0..count).rev() {
            let row = policy.get(Id::<R>::new(number));
            if !after.is_some_and(|after| follows(&row, &after)) {
                end = number + 1;
            }
            ends[number as usize] = end;
            after = Some(row);
        }
        Self(ends)
    }

    /// Whether a list lies in one run.
    pub(crate) fn hold<R>(&self, rows: Rows<R>) -> bool {
        rows.is_empty() || rows.first + rows.count <= self.0[rows.first as usize]
    }
}

/// Sums of a value over any list of a table.
pub(crate) struct Sums(Vec<u64>);

impl Sums {
    /// The value of every row of a table.
    pub(crate) fn of<R: Row>(policy: &Policy, value: impl Fn(R) -> u32) -> Self {
        let mut sum = 0u64;
        let mut before = vec![0];
        before.extend(policy.rows(policy.all::<R>()).map(|row| {
            sum += u64::from(value(row));
            sum
        }));
        Self(before)
    }

    /// The sum over a list, at most `u32::MAX`.
    pub(crate) fn over<R>(&self, rows: Rows<R>) -> u32 {
        let sum = self.0[rows.first as usize + rows.count as usize] - self.0[rows.first as usize];
        u32::try_from(sum).unwrap_or(u32::MAX)
    }
}

/// The largest value over any list of a table: a segment tree, leaves last.
pub(crate) struct Largest(Vec<u32>);

impl Largest {
    /// The value of every row of a table.
    pub(crate) fn of<R: Row>(policy: &Policy, value: impl Fn(R) -> u32) -> Self {
        let mut tree = vec![0; policy.count(R::TABLE) as usize];
        tree.extend(policy.rows(policy.all::<R>()).map(value));
        for parent in (1..tree.len() / 2).rev() {
            tree[parent] = tree[2 * parent].max(tree[2 * parent + 1]);
        }
        Self(tree)
    }

    /// The largest value in a list; `None` when it is empty.
    pub(crate) fn over<R>(&self, rows: Rows<R>) -> Option<u32> {
        let leaves = self.0.len() / 2;
        let (mut low, mut high) = (leaves + rows.first as usize, leaves);
        high += rows.first as usize + rows.count as usize;
        let mut largest = None;
        while low < high {
            if low % 2 == 1 {
                largest = largest.max(Some(self.0[low]));
                low += 1;
            }
            if high % 2 == 1 {
                high -= 1;
                largest = largest.max(Some(self.0[high]));
            }
            (low, high) = (low / 2, high / 2);
        }
        largest
    }
}
