//! Numbers for labels: given once per snapshot, so that counting needs no look-up, and kept for good, so that
//! counters only rise.

use std::collections::HashMap;
use std::hash::Hash;

/// Names by number. Number 0 stands for all that came when the list was full.
#[derive(Debug)]
pub(super) struct Names<N> {
    numbers: HashMap<N, u32>,
    names: Vec<N>,
    most: usize,
}

impl<N: Clone + Eq + Hash> Names<N> {
    pub(super) fn new(overflow: N, most: usize) -> Self {
        Self {
            numbers: HashMap::new(),
            names: vec![overflow],
            most,
        }
    }

    pub(super) fn number(&mut self, name: N) -> u32 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let Some(number) = u32::try_from(self.names.len())
            .ok()
            .filter(|_| self.names.len() < self.most)
        else {
            return 0;
        };
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    pub(super) fn all(&self) -> &[N] {
        &self.names
    }
}
