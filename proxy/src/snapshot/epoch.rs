//! A snapshot on one worker, with what this worker alone knows about it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use policy::table::{self, Id};

use super::Snapshot;
use crate::upstream::balance::{Balancer, Choice, Load};
use crate::worker::clock;

/// A snapshot on one worker.
pub struct Epoch {
    /// What all workers share.
    pub snapshot: Arc<Snapshot>,
    balancers: RefCell<Vec<Balancer>>,
}

impl Epoch {
    /// Takes a snapshot into use on worker `number`. Targets that the epoch before had too keep what they carry: its
    /// exchanges still run.
    pub fn new(snapshot: Arc<Snapshot>, number: usize, before: Option<&Self>) -> Rc<Self> {
        let known = before.map(Self::loads).unwrap_or_default();
        let balancers = snapshot
            .upstreams
            .iter()
            .map(|upstream| {
                let targets = upstream.targets.iter().map(|target| {
                    let key = (&*upstream.id, &*target.name);
                    let load = known.get(&key).cloned().unwrap_or_default();
                    (&*target.name, target.weight, load)
                });
                Balancer::new(upstream.algorithm, targets, number)
            })
            .collect();
        Rc::new(Self {
            snapshot,
            balancers: RefCell::new(balancers),
        })
    }

    /// A target of an upstream for one try, passing over those tried before. `key` is what the request is hashed on.
    /// `None` when there is no target to be had, or too few are healthy.
    pub fn choose(&self, upstream: Id<table::Upstream>, key: u64, tried: &[usize]) -> Option<Choice> {
        let checks = self.snapshot.upstreams[upstream.index()].sufficient()?;
        let healthy = |number: usize| checks.is_none_or(|checks| checks.targets[number].is_healthy());
        self.balancers.borrow_mut()[upstream.index()].choose(key, tried, clock::now(), healthy)
    }

    /// Loads by the upstream's id and the target's name: what an operator's edit leaves the same.
    fn loads(&self) -> HashMap<(&str, &str), Rc<Load>> {
        let balancers = self.balancers.borrow();
        let mut loads = HashMap::new();
        for (upstream, balancer) in self.snapshot.upstreams.iter().zip(balancers.iter()) {
            for (number, target) in upstream.targets.iter().enumerate() {
                loads.insert((&*upstream.id, &*target.name), Rc::clone(balancer.load(number)));
            }
        }
        loads
    }
}
