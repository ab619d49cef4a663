//! Which target of an upstream is next: one [`Balancer`] for each worker and upstream.
//!
//! Enters: weights, what the targets carry, which of them may be chosen. Leaves: the number of a target and a [`Hold`],
//! which says that the target has one exchange more until it is dropped, however the exchange ends. No I/O, no
//! lock, and no memory is taken for a choice.

mod latency;
mod least;
mod load;
mod rendezvous;
mod sticky;
#[cfg(test)]
mod tests;
pub(super) mod wheel;

use std::rc::Rc;

use policy::table::Algorithm;

use crate::worker::clock::Moment;
use latency::TwoChoices;
use least::Least;
pub use load::{Hold, Load};
use rendezvous::Rendezvous;
use sticky::Sticky;
use wheel::Wheel;

/// The targets of one upstream as one worker chooses among them.
pub struct Balancer {
    members: Box<[Member]>,
    chooser: Chooser,
}

/// A target, as choosing sees it.
struct Member {
    /// Its share; 0 takes it out.
    weight: u32,
    /// What it carries.
    load: Rc<Load>,
}

/// `algorithm` of an upstream (Kong 3.x), with what it remembers.
enum Chooser {
    RoundRobin(Wheel),
    LeastConnections(Least),
    Latency(TwoChoices),
    ConsistentHashing(Rendezvous),
    StickySessions(Sticky),
}

/// A target for one try.
pub struct Choice {
    /// Its number within the upstream.
    pub number: usize,
    /// Counts the try among what the target carries, until it is dropped.
    pub hold: Hold,
    /// What names the target from now on, when that is not the key which the request came with.
    pub mark: Option<u64>,
}

impl Balancer {
    /// For targets with these names, weights and loads. Loads may be shared with the balancer of another epoch.
    ///
    /// `worker` is the worker's number: not all of them begin with the same target.
    pub fn new<'n>(
        algorithm: Algorithm,
        targets: impl Iterator<Item = (&'n str, u32, Rc<Load>)>,
        worker: usize,
    ) -> Self {
        let (names, members): (Vec<_>, Vec<_>) = targets
            .map(|(name, weight, load)| (name, Member { weight, load }))
            .unzip();
        let wheel = || Wheel::new(members.iter().map(|member| member.weight), worker);
        let chooser = match algorithm {
            Algorithm::RoundRobin => Chooser::RoundRobin(wheel()),
            Algorithm::LeastConnections => Chooser::LeastConnections(Least::new(worker)),
            Algorithm::Latency => Chooser::Latency(TwoChoices::new(worker)),
            Algorithm::ConsistentHashing => Chooser::ConsistentHashing(Rendezvous::new(names.into_iter())),
            Algorithm::StickySessions => Chooser::StickySessions(Sticky::new(wheel(), names.into_iter())),
        };
        Self {
            members: members.into(),
            chooser,
        }
    }

    /// A healthy target with weight, passing over those already tried unless no other is left. `key` is what the
    /// request is hashed on, or the mark that it brings, for who asks for it.
    pub fn choose(
        &mut self,
        key: u64,
        tried: &[usize],
        now: Moment,
        healthy: impl Fn(usize) -> bool,
    ) -> Option<Choice> {
        let number = self
            .among(key, now, |number| !tried.contains(&number) && healthy(number))
            .or_else(|| self.among(key, now, &healthy))?;
        let timed = matches!(self.chooser, Chooser::Latency(_));
        Some(Choice {
            number,
            hold: Hold::new(&self.members[number].load, timed),
            mark: match &self.chooser {
                Chooser::StickySessions(sticky) => Some(sticky.mark(number)).filter(|mark| *mark != key),
                _ => None,
            },
        })
    }

    /// Gives a target another weight from now on.
    pub fn reweigh(&mut self, number: usize, weight: u32) {
        if self.members[number].weight == weight {
            return;
        }
        self.members[number].weight = weight;
        match &mut self.chooser {
            Chooser::RoundRobin(wheel) => wheel.reweigh(number, weight),
            Chooser::StickySessions(sticky) => sticky.reweigh(number, weight),
            Chooser::LeastConnections(_) | Chooser::Latency(_) | Chooser::ConsistentHashing(_) => {}
        }
    }

    fn among(&mut self, key: u64, now: Moment, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        match &mut self.chooser {
            Chooser::RoundRobin(wheel) => wheel.next(allowed),
            Chooser::LeastConnections(least) => least.next(&self.members, allowed),
            Chooser::Latency(choices) => choices.next(&self.members, now, allowed),
            Chooser::ConsistentHashing(rendezvous) => rendezvous.next(&self.members, key, allowed),
            Chooser::StickySessions(sticky) => sticky.next(&self.members, key, allowed),
        }
    }

    /// What a target carries, for the balancer of a later epoch.
    pub fn load(&self, number: usize) -> &Rc<Load> {
        &self.members[number].load
    }
}
