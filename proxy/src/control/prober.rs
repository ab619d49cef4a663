//! Active health checks: one thread beside the workers probes the targets for all of them.
//!
//! Enters: every snapshot that is published. Leaves: counts in the targets' health. The thread is a worker without
//! listeners, started when a policy first asks for checks. The rounds of an earlier epoch end by themselves; when the
//! next one is due outlives a reload, so that frequent reloads cannot put probes off for ever.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crossbeam::channel::Sender;

use super::Event;
use crate::limits;
use crate::snapshot::Snapshot;
use crate::upstream::health::probe::Probe;
use crate::upstream::resolve::{Names, Resolver};
use crate::worker::clock::{self, Moment};
use crate::worker::{self, Driver, Mailbox};

/// Starts the thread when it is needed, and tells it what to probe.
pub(super) struct Prober {
    driver: Driver,
    resolver: Resolver,
    events: Sender<Event>,
    mailbox: Option<Mailbox>,
}

impl Prober {
    pub(super) const fn new(driver: Driver, resolver: Resolver, events: Sender<Event>) -> Self {
        Self {
            driver,
            resolver,
            events,
            mailbox: None,
        }
    }

    /// Probes what this snapshot asks for, and nothing else from now on. The names of its targets are kept known.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn watch(&mut self, snapshot: &Snapshot) -> std::io::Result<()> {
        let targets = snapshot.upstreams.iter().flat_map(|upstream| &upstream.targets);
        let named = targets.filter(|target| target.server.literal.is_none());
        self.resolver
            .watch(named.map(|target| Box::from(&*target.server.host)).collect());
        let checks = snapshot
            .upstreams
            .iter()
            .filter_map(|upstream| upstream.checks.as_ref());
        let probes: Vec<Arc<Probe>> = checks.filter_map(|checks| checks.active.clone()).collect();
        let mailbox = match &self.mailbox {
            Some(mailbox) => mailbox,
            None if probes.is_empty() => return Ok(()),
            None => {
                let started = self.start()?;
                self.mailbox.insert(started)
            }
        };
        let names = Names::new(self.resolver.clone(), mailbox.clone());
        mailbox.send(move || supersede(&names, probes));
        Ok(())
    }

    fn start(&self) -> std::io::Result<Mailbox> {
        let events = self.events.clone();
        let failed = move |error| {
            let _ = events.send(Event::Failed(error));
        };
        let started = worker::start(
            "prober".to_owned(),
            None,
            self.driver,
            std::future::pending,
            failed,
        )?;
        Ok(started.mailbox)
    }
}

/// Rounds of an upstream: its id, and whether they are those of its healthy targets.
type Rounds = (Box<str>, bool);

thread_local! {
    /// Counts the calls of [`supersede`].
    static GENERATION: Cell<u64> = const { Cell::new(0) };
    /// When rounds are due, and their interval.
    static DUE: RefCell<HashMap<Rounds, (Moment, Duration)>> = RefCell::default();
}

/// Lets the rounds that run end, and begins others.
fn supersede(names: &Names, probes: Vec<Arc<Probe>>) {
    let generation = GENERATION.get() + 1;
    GENERATION.set(generation);
    let before = DUE.take();
    for probe in probes {
        // Names are known by the time the first round is due.
        for target in &probe.targets {
            let _ = target.server.addresses(names);
        }
        for healthy in [true, false] {
            let interval = probe.interval(healthy);
            if interval.is_zero() {
                continue;
            }
            let rounds = (probe.upstream.clone(), healthy);
            let due = match before.get(&rounds) {
                Some((due, same)) if *same == interval => *due,
                _ => clock::now() + interval,
            };
            DUE.with_borrow_mut(|all| all.insert(rounds, (due, interval)));
            worker::spawn(go_round(
                Arc::clone(&probe),
                names.clone(),
                healthy,
                generation,
                due,
            ));
        }
    }
}

/// Probes the addresses in one state again and again. As in Kong, rounds do not overlap.
async fn go_round(probe: Arc<Probe>, names: Names, healthy: bool, generation: u64, first: Moment) {
    let interval = probe.interval(healthy);
    let mut due = first;
    loop {
        loop {
            if GENERATION.get() != generation {
                return;
            }
            let left = due - clock::now();
            if left.is_zero() {
                break;
            }
            worker::sleep(left.min(Duration::from_secs(limits::PROBE_NAP_S))).await;
        }
        due = clock::now() + interval;
        let rounds = (probe.upstream.clone(), healthy);
        DUE.with_borrow_mut(|all| all.insert(rounds, (due, interval)));
        round(&probe, &names, healthy).await;
    }
}

/// Probes each address in that state once, so many at once as the operator allows.
async fn round(probe: &Probe, names: &Names, healthy: bool) {
    let mut addresses = Vec::new();
    for target in &probe.targets {
        let known = target.addresses(names).into_iter();
        let in_state = known.filter(|(_, health)| health.is_healthy() == healthy);
        addresses.extend(in_state.map(|(address, health)| (target, address, health)));
    }
    let next = Cell::new(0);
    let lane = || async {
        while let Some((target, address, health)) = addresses.get(next.replace(next.get() + 1)) {
            probe.check(target, *address, health).await;
        }
    };
    let mut lanes: Vec<Option<Pin<Box<_>>>> = (0..probe.concurrency.min(addresses.len()))
        .map(|_| Some(Box::pin(lane())))
        .collect();
    // Each is polled to its end: an operation that was started is never dropped.
    poll_fn(|context| {
        for lane in &mut lanes {
            if lane
                .as_mut()
                .is_some_and(|running| running.as_mut().poll(context).is_ready())
            {
                *lane = None;
            }
        }
        if lanes.iter().all(Option::is_none) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
