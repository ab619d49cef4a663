//! A snapshot on one worker, with what this worker alone knows about it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use policy::table::{self, Id};

use super::peers::{Loads, Missed, Peer, Peers, Selection};
use super::{Snapshot, Upstream};
use crate::limits;
use crate::upstream::health::Seen;
use crate::upstream::queue::{Line, Place};
use crate::upstream::resolve::Names;
use crate::worker::{self, Deadline, clock, race};

/// A snapshot on one worker.
pub struct Epoch {
    /// What all workers share.
    pub snapshot: Arc<Snapshot>,
    number: usize,
    names: Names,
    peers: RefCell<Vec<Peers>>,
    /// By upstream: where its requests wait on this worker, if they may.
    lines: Vec<Option<Rc<Line>>>,
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
        let line = |upstream: &Upstream| {
            let bound = upstream.bound.as_ref()?;
            Some(Line::of(&bound.queue, number, names.mailbox()))
        };
        let lines = snapshot.upstreams.iter().map(line).collect();
        Rc::new(Self {
            lines,
            snapshot,
            number,
            names,
            peers,
        })
    }

    /// An address of a target of an upstream for one try, passing over those tried before. `key` is what the request is
    /// hashed on.
    ///
    /// # Errors
    /// When there is none to be had. [`Missed::Full`] also where others wait already.
    pub fn choose(
        &self,
        upstream: Id<table::Upstream>,
        key: u64,
        tried: &[usize],
    ) -> Result<Selection, Missed> {
        let line = &self.lines[upstream.index()];
        if line.as_ref().is_some_and(|line| line.queue().waiting() > 0) {
            return Err(Missed::Full);
        }
        self.look(upstream, key, tried)
    }

    /// The same once more, after [`Epoch::choose`] `missed`: looks a name up, or waits for room as long as the upstream
    /// allows it.
    ///
    /// # Errors
    /// As before; [`Missed::Full`] when there is no place in the queue, or the time is over.
    pub async fn wait(
        &self,
        upstream: Id<table::Upstream>,
        key: u64,
        tried: &[usize],
        mut missed: Missed,
    ) -> Result<Selection, Missed> {
        let row = &self.snapshot.upstreams[upstream.index()];
        let (Some(bound), Some(line)) = (&row.bound, &self.lines[upstream.index()]) else {
            return Err(missed);
        };
        let end = clock::now() + bound.patience;
        let (deadline, mut place, mut lookups) = (Deadline::on_waker(), None, 0..=row.targets.len());
        loop {
            match (missed, &place) {
                (Missed::Nobody, _) => return Err(missed),
                (Missed::Unknown(target), _) => {
                    let server = &row.targets[target].server;
                    let found = self.names.resolve(&server.host, server.port).await;
                    if found.is_none() || lookups.next().is_none() {
                        return Err(missed);
                    }
                }
                // Room may have come before it was in line: it looks again at once.
                (Missed::Full, None) => {
                    place = line.enter(bound.queue_most);
                    if place.is_none() {
                        bound.queue.refuse();
                        return Err(missed);
                    }
                }
                (Missed::Full, Some(mine)) => {
                    if clock::now() >= end {
                        bound.queue.refuse();
                        return Err(missed);
                    }
                    let look = clock::now() + Duration::from_millis(limits::QUEUE_LOOK_MS);
                    deadline.arm(look.min(end));
                    race(mine.called(), deadline.wait()).await;
                    // What a drain ends makes room, and whoever took it now would be ended without an answer.
                    if worker::is_closing() {
                        bound.queue.refuse();
                        return Err(missed);
                    }
                }
            }
            if place.as_ref().is_none_or(Place::is_next) {
                match self.look(upstream, key, tried) {
                    Ok(selection) => return Ok(selection),
                    Err(again) => missed = again,
                }
            }
        }
    }

    /// Takes in what a try with a selected peer saw.
    pub fn saw(&self, upstream: Id<table::Upstream>, peer: &Peer, seen: Seen) {
        let row = &self.snapshot.upstreams[upstream.index()];
        if row.checks.is_some() || row.outliers.is_some() {
            self.peers.borrow()[upstream.index()].saw(row, peer, seen);
        }
    }

    fn look(&self, upstream: Id<table::Upstream>, key: u64, tried: &[usize]) -> Result<Selection, Missed> {
        let line = self.lines[upstream.index()].as_ref();
        let peers = &mut self.peers.borrow_mut()[upstream.index()];
        let upstream = &self.snapshot.upstreams[upstream.index()];
        peers.follow(upstream, self.number, &self.names);
        peers.choose(upstream, key, tried, line)
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
