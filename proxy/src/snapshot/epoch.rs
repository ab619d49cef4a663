//! A snapshot on one worker, with what this worker alone knows about it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use policy::table::{self, Id};

use super::Snapshot;
use super::peers::{Loads, Peers, Selection};
use crate::upstream::resolve::Names;

/// A snapshot on one worker.
pub struct Epoch {
    /// What all workers share.
    pub snapshot: Arc<Snapshot>,
    number: usize,
    names: Names,
    peers: RefCell<Vec<Peers>>,
}

impl Epoch {
    /// Takes a snapshot into use on worker `number`, which knows these `names`. Targets that the epoch before had too
    /// keep what they carry: its exchanges still run.
    pub fn new(snapshot: Arc<Snapshot>, number: usize, names: Names, before: Option<&Self>) -> Rc<Self> {
        let known = before.map(Self::loads).unwrap_or_default();
        let peers = snapshot.upstreams.iter().map(|upstream| {
            let loads = known.get(&*upstream.id);
            Peers::new(upstream, number, &names, loads.unwrap_or(&Loads::new()))
        });
        let peers = RefCell::new(peers.collect());
        Rc::new(Self {
            snapshot,
            number,
            names,
            peers,
        })
    }

    /// An address of a target of an upstream for one try, passing over those tried before. `key` is what the request is
    /// hashed on. `None` when there is none to be had, or too few are healthy.
    pub fn choose(&self, upstream: Id<table::Upstream>, key: u64, tried: &[usize]) -> Option<Selection> {
        let peers = &mut self.peers.borrow_mut()[upstream.index()];
        let upstream = &self.snapshot.upstreams[upstream.index()];
        peers.follow(upstream, self.number, &self.names);
        peers.choose(upstream, key, tried)
    }

    /// Loads by the upstream's id: what an operator's edit leaves the same.
    fn loads(&self) -> HashMap<Box<str>, Loads> {
        let peers = self.peers.borrow();
        let upstreams = self.snapshot.upstreams.iter().zip(peers.iter());
        upstreams
            .map(|(upstream, peers)| (upstream.id.clone(), peers.loads(upstream)))
            .collect()
    }
}
