//! The targets of an upstream as one worker balances them: a peer for each address of each target, as in Kong.
//!
//! Enters: targets, and what this worker was told of their names. Leaves: a peer for each try. A target whose name is not
//! known yet is one peer without an address, which the exchange resolves; one whose name has no address is none. When
//! addresses change, the peers that stay keep what they carry and how they are; only then is memory taken.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Upstream;
use crate::upstream::balance::{Balancer, Choice, Load};
use crate::upstream::health::{AddressHealth, Outliers, Seen};
use crate::upstream::queue::{Line, Slot};
use crate::upstream::resolve::{Answer, Names, SHARES};
use crate::worker::{Address, clock};

/// One address of a target.
pub struct Peer {
    /// The target's number within the upstream.
    pub target: usize,
    /// Where; `None` while its name is not known.
    pub address: Option<Address>,
    /// How it is, once its address is known.
    pub health: Option<Arc<AddressHealth>>,
    weight: u32,
}

impl Peer {
    fn is_healthy(&self) -> bool {
        self.health.as_ref().is_none_or(|health| health.is_healthy())
    }

    fn is_ejected(&self, now_ns: u64) -> bool {
        self.health
            .as_ref()
            .is_some_and(|health| health.is_ejected(now_ns))
    }

    /// Whether it serves fewer requests than `most`. Nobody knows while its address is not known.
    fn has_room(&self, most: u32) -> bool {
        self.health.as_ref().is_none_or(|health| health.running() < most)
    }

    /// The weight that has grown by now: a straight line from a tenth to all of it.
    fn grown(&self, slow_start: Duration, now_ns: u64) -> u32 {
        let age = self.health.as_ref().and_then(|health| health.age(now_ns));
        let Some(age) = age.filter(|age| *age < slow_start) else {
            return self.weight;
        };
        let (part, all) = (age.max(slow_start / 10).as_nanos(), slow_start.as_nanos());
        let grown = u128::from(self.weight) * part / all.max(1);
        // Who has weight takes part, however little it is.
        u32::try_from(grown)
            .unwrap_or(self.weight)
            .max(self.weight.min(1))
    }
}

/// What is chosen for a try.
pub struct Selection {
    /// Where it goes.
    pub peer: Rc<Peer>,
    /// As which number, and with what mark.
    pub choice: Choice,
    #[expect(dead_code, reason = "it is given back when the selection is dropped")]
    slot: Option<Slot>,
}

/// Why nobody was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nobody is healthy, or too few are.
    Nobody,
    /// Everybody serves as many requests as are allowed.
    Full,
    /// The address of this target is not known, and whether it has room neither.
    Unknown(usize),
}

/// Which peers may be chosen: healthy ones that are not ejected, or all healthy ones where that leaves none.
fn usable<'p>(peers: &'p [Rc<Peer>], upstream: &Upstream) -> impl Fn(usize) -> bool + Copy + use<'p> {
    let now_ns = clock::uptime_ns();
    let is_in = move |peer: &Peer| peer.is_healthy() && !peer.is_ejected(now_ns);
    let ejects = upstream.outliers.is_some() && peers.iter().any(|peer| peer.weight > 0 && is_in(peer));
    move |number: usize| {
        let peer = &peers[number];
        if ejects { is_in(peer) } else { peer.is_healthy() }
    }
}

fn selection(peers: &[Rc<Peer>], choice: Choice, slot: Option<Slot>) -> Selection {
    Selection {
        peer: Rc::clone(&peers[choice.number]),
        choice,
        slot,
    }
}

/// Loads by the target's name and address.
pub(super) type Loads = HashMap<(Box<str>, Option<Address>), Rc<Load>>;

/// The peers of one upstream.
pub(super) struct Peers {
    balancer: Balancer,
    peers: Vec<Rc<Peer>>,
    /// By target: what its name was known to be; `None` for an address, too.
    answers: Vec<Option<Arc<Answer>>>,
    /// Whether any target is a name.
    named: bool,
    /// Changes of names that were looked at.
    changes: u64,
}

impl Peers {
    pub(super) fn new(upstream: &Upstream, worker: usize, names: &Names, loads: &Loads) -> Self {
        let named = upstream
            .targets
            .iter()
            .any(|target| target.server.literal.is_none());
        let changes = Names::changes();
        let answers = answers(upstream, names);
        let peers = peers(upstream, &answers);
        let balancer = balancer(upstream, worker, &peers, loads);
        Self {
            balancer,
            peers,
            answers,
            named,
            changes,
        }
    }

    /// Takes over what this worker was told of names since.
    pub(super) fn follow(&mut self, upstream: &Upstream, worker: usize, names: &Names) {
        if !self.named || self.changes == Names::changes() {
            return;
        }
        self.changes = Names::changes();
        let answers = answers(upstream, names);
        let same = answers.iter().zip(&self.answers).all(|pair| match pair {
            (Some(new), Some(old)) => new.addresses == old.addresses,
            (None, None) => true,
            _ => false,
        });
        if !same {
            let loads = self.loads(upstream);
            *self = Self::new(upstream, worker, names, &loads);
        }
    }

    /// A peer for a try. Where `line` is given, it serves one request more from now on, if it has room for it.
    pub(super) fn choose(
        &mut self,
        upstream: &Upstream,
        key: u64,
        tried: &[usize],
        line: Option<&Rc<Line>>,
    ) -> Result<Selection, Missed> {
        if let Some(checks) = &upstream.checks
            && !checks.suffice(self.peers.iter().map(|peer| (peer.weight, peer.is_healthy())))
        {
            return Err(Missed::Nobody);
        }
        if !upstream.slow_start.is_zero() {
            self.grow(upstream.slow_start);
        }
        let peers = &self.peers;
        let usable = usable(peers, upstream);
        let Some((bound, line)) = upstream.bound.as_ref().zip(line) else {
            let choice = self.balancer.choose(key, tried, clock::now(), usable);
            return choice.map_or(Err(Missed::Nobody), |choice| Ok(selection(peers, choice, None)));
        };
        // Another worker may take the last slot between looking and taking.
        for _ in 0..=peers.len() {
            let has_room = |number: usize| usable(number) && peers[number].has_room(bound.most);
            let Some(choice) = self.balancer.choose(key, tried, clock::now(), has_room) else {
                break;
            };
            let Some(health) = &peers[choice.number].health else {
                return Err(Missed::Unknown(peers[choice.number].target));
            };
            if let Some(slot) = Slot::take(health, bound.most, line) {
                return Ok(selection(peers, choice, Some(slot)));
            }
        }
        let is_there = (0..peers.len()).any(|number| peers[number].weight > 0 && usable(number));
        Err(if is_there { Missed::Full } else { Missed::Nobody })
    }

    /// Takes in what a try with a peer saw.
    pub(super) fn saw(&self, upstream: &Upstream, peer: &Peer, seen: Seen) {
        let Some(health) = &peer.health else { return };
        if let Some(checks) = &upstream.checks {
            checks.saw(health, seen);
        }
        let Some(outliers) = &upstream.outliers else {
            return;
        };
        let now_ns = clock::uptime_ns();
        if health.is_outlier(seen, outliers, now_ns) {
            upstream.ejections.decide(|| {
                let may = self.may_eject(outliers, health, now_ns);
                if may {
                    health.eject(outliers, now_ns);
                }
                may
            });
        }
    }

    fn may_eject(&self, outliers: &Outliers, health: &Arc<AddressHealth>, now_ns: u64) -> bool {
        let weighed = || self.peers.iter().filter(|peer| peer.weight > 0);
        let is_it = |peer: &Peer| peer.health.as_ref().is_some_and(|it| Arc::ptr_eq(it, health));
        let out = weighed().filter(|peer| peer.is_ejected(now_ns)).count();
        let others = weighed().filter(|peer| peer.is_healthy() && !peer.is_ejected(now_ns) && !is_it(peer));
        outliers.allow(weighed().count(), out, others.count())
    }

    /// Gives every peer the weight that it has by now.
    fn grow(&mut self, slow_start: Duration) {
        let now_ns = clock::uptime_ns();
        for (number, peer) in self.peers.iter().enumerate() {
            self.balancer.reweigh(number, peer.grown(slow_start, now_ns));
        }
    }

    pub(super) fn loads(&self, upstream: &Upstream) -> Loads {
        let peers = self.peers.iter().enumerate();
        peers
            .map(|(number, peer)| {
                let target = upstream.targets[peer.target].name.clone();
                ((target, peer.address), Rc::clone(self.balancer.load(number)))
            })
            .collect()
    }
}

fn answers(upstream: &Upstream, names: &Names) -> Vec<Option<Arc<Answer>>> {
    let targets = upstream.targets.iter();
    let answer = |server: &super::Server| match server.literal {
        Some(_) => None,
        None => names.known(&server.host),
    };
    targets.map(|target| answer(&target.server)).collect()
}

/// A peer for each address. Weights are in [`SHARES`], so that those of SRV records, which may be parts of one, stand
/// beside those of targets.
fn peers(upstream: &Upstream, answers: &[Option<Arc<Answer>>]) -> Vec<Rc<Peer>> {
    let mut peers = Vec::new();
    for (number, (target, answer)) in upstream.targets.iter().zip(answers).enumerate() {
        let weight = target.weight.saturating_mul(SHARES);
        let peer = |address: Option<Address>, weight: u32| {
            Rc::new(Peer {
                target: number,
                address,
                health: address.map(|address| target.health.of(address)),
                weight,
            })
        };
        match answer {
            None => peers.push(peer(target.server.literal, weight)),
            Some(answer) => {
                // Without weight a target takes no traffic, whatever its records say.
                let share = |own: Option<u32>| if weight == 0 { 0 } else { own.unwrap_or(weight) };
                let addresses: Vec<Address> = answer
                    .addresses
                    .iter()
                    .map(|it| Address::Ip(it.socket(target.server.port)))
                    .collect();
                let each = addresses.iter().zip(&answer.addresses);
                peers.extend(each.map(|(socket, address)| peer(Some(*socket), share(address.weight))));
                target.health.keep(&addresses);
            }
        }
    }
    peers
}

/// Keys and marks follow a target's own name where that is an address, else name and address.
fn balancer(upstream: &Upstream, worker: usize, peers: &[Rc<Peer>], loads: &Loads) -> Balancer {
    let described: Vec<(String, u32, Rc<Load>)> = peers
        .iter()
        .map(|peer| {
            let target = &upstream.targets[peer.target];
            let name = match (target.server.literal, peer.address) {
                (None, Some(address)) => format!("{} {address}", target.name),
                _ => target.name.to_string(),
            };
            let load = loads.get(&(target.name.clone(), peer.address)).cloned();
            (name, peer.weight, load.unwrap_or_default())
        })
        .collect();
    let members = described
        .iter()
        .map(|(name, weight, load)| (&**name, *weight, Rc::clone(load)));
    Balancer::new(upstream.algorithm, members, worker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::health::TargetHealth;

    #[test]
    fn a_weight_grows_in_a_straight_line_from_a_tenth() {
        let address = Address::Ip("192.0.2.1:80".parse().unwrap());
        let peer = |arrives| Peer {
            target: 0,
            address: Some(address),
            health: Some(TargetHealth::new(arrives).of(address)),
            weight: 1000,
        };
        let (new, known, unresolved) = (
            peer(true),
            peer(false),
            Peer {
                health: None,
                ..peer(true)
            },
        );
        let came = clock::uptime_ns();
        for (passed_ms, weight) in [
            (0, 100),
            (900, 100),
            (2500, 250),
            (9990, 999),
            (10_000, 1000),
            (3_600_000, 1000),
        ] {
            let now_ns = came + passed_ms * 1_000_000;
            let grown = |peer: &Peer| peer.grown(Duration::from_secs(10), now_ns);
            assert_eq!(grown(&new), weight, "{passed_ms} ms");
            assert_eq!((grown(&known), grown(&unresolved)), (1000, 1000));
        }
        for (weight, little) in [(0, 0), (1, 1), (9, 1)] {
            let light = Peer { weight, ..peer(true) };
            assert_eq!(light.grown(Duration::from_secs(10), clock::uptime_ns()), little);
        }
    }
}
