//! The targets of an upstream as one worker balances them: a peer for each address of each target, as in Kong.
//!
//! Enters: targets, and what this worker was told of their names. Leaves: a peer for each try. A target whose name is not
//! known yet is one peer without an address, which the exchange resolves; one whose name has no address is none. When
//! addresses change, the peers that stay keep what they carry and how they are; only then is memory taken.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::Upstream;
use crate::upstream::balance::{Balancer, Choice, Load};
use crate::upstream::health::AddressHealth;
use crate::upstream::resolve::{Answer, Names, SHARES};
use crate::worker::clock;

/// One address of a target.
pub struct Peer {
    /// The target's number within the upstream.
    pub target: usize,
    /// Where; `None` while its name is not known.
    pub address: Option<SocketAddr>,
    /// How it is, when anybody checks.
    pub health: Option<Arc<AddressHealth>>,
    weight: u32,
}

impl Peer {
    fn is_healthy(&self) -> bool {
        self.health.as_ref().is_none_or(|health| health.is_healthy())
    }
}

/// What is chosen for a try.
pub struct Selection {
    /// Where it goes.
    pub peer: Rc<Peer>,
    /// As which number, and with what mark.
    pub choice: Choice,
}

/// Loads by the target's name and address.
pub(super) type Loads = HashMap<(Box<str>, Option<SocketAddr>), Rc<Load>>;

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

    pub(super) fn choose(&mut self, upstream: &Upstream, key: u64, tried: &[usize]) -> Option<Selection> {
        let peers = &self.peers;
        if let Some(checks) = &upstream.checks
            && !checks.suffice(peers.iter().map(|peer| (peer.weight, peer.is_healthy())))
        {
            return None;
        }
        let healthy = |number: usize| peers[number].is_healthy();
        let choice = self.balancer.choose(key, tried, clock::now(), healthy)?;
        Some(Selection {
            peer: Rc::clone(&peers[choice.number]),
            choice,
        })
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
        let health = upstream.checks.as_ref().map(|checks| &checks.targets[number]);
        let peer = |address: Option<SocketAddr>, weight: u32| {
            Rc::new(Peer {
                target: number,
                address,
                health: health.and_then(|health| Some(health.of(address?))),
                weight,
            })
        };
        match answer {
            None => peers.push(peer(target.server.literal, weight)),
            Some(answer) => {
                // Without weight a target takes no traffic, whatever its records say.
                let share = |own: Option<u32>| if weight == 0 { 0 } else { own.unwrap_or(weight) };
                let addresses: Vec<SocketAddr> = answer
                    .addresses
                    .iter()
                    .map(|it| it.socket(target.server.port))
                    .collect();
                let each = addresses.iter().zip(&answer.addresses);
                peers.extend(each.map(|(socket, address)| peer(Some(*socket), share(address.weight))));
                if let Some(health) = health {
                    health.keep(&addresses);
                }
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
