//! What the admin socket shows and does on this node.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};

use super::listeners::Listeners;
use super::publish::{Published, Shared};
use super::targets::{Described, addresses, described, shows_targets, upstreams};
use super::workers::WorkerHandle;
use super::{Event, Sockets, takeover};
use crate::admin::Panel;
use crate::confine::{Confinement, descriptors};
use crate::exchange::{Presence, RequestIds};
use crate::limits;
use crate::overload::Memory;
use crate::quota;
use crate::settable;
use crate::snapshot::{Snapshot, Upstream};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counter::Counters;
use crate::telemetry::prometheus::{self, DnsCounts, Gauges, Lateness, TargetHealth};
use crate::upstream::pool::Shelf;
use crate::upstream::resolve::message::Kind;
use crate::upstream::resolve::{Listed, Resolver};
use crate::worker::Driver;

/// The node's panel.
pub(super) struct NodePanel {
    events: Sender<Event>,
    shared: Shared,
    workers: Arc<Vec<WorkerHandle>>,
    driver: Driver,
    gauged: Gauged,
    process: Process,
    /// Whether a process is being handed the sockets.
    handing_over: AtomicBool,
    /// Drawn at start, as Kong's.
    node_id: String,
}

/// What metrics are read from.
pub(super) struct Gauged {
    pub(super) counters: Arc<Counters>,
    pub(super) memory: Arc<Memory>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) quotas: Arc<quota::Table>,
    /// Weak: the log's end must not wait for the admin socket.
    pub(super) log: Weak<AccessLog>,
    pub(super) resolver: Resolver,
}

/// What is told of the process itself.
pub(super) struct Process {
    /// What it would hand over.
    pub(super) sockets: Sockets,
    /// Process id of the gateway that it took over from.
    pub(super) predecessor: Option<i32>,
    /// Who it became, if it did.
    pub(super) user: Option<String>,
    /// What it gave up, if it did.
    pub(super) confinement: Option<Confinement>,
}

impl NodePanel {
    pub(super) fn new(
        events: Sender<Event>,
        shared: Shared,
        workers: Arc<Vec<WorkerHandle>>,
        driver: Driver,
        gauged: Gauged,
        process: Process,
    ) -> Self {
        let node_id = String::from_utf8_lossy(&RequestIds::default().uuid()).into_owned();
        Self {
            events,
            shared,
            workers,
            driver,
            gauged,
            process,
            handing_over: AtomicBool::new(false),
            node_id,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&Published) -> T) -> T {
        act(&self
            .shared
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Panel for NodePanel {
    fn status(&self) -> String {
        let workers: Vec<serde_json::Value> = self
            .workers
            .iter()
            .enumerate()
            .map(|(number, handle)| {
                serde_json::json!({
                    "worker": number,
                    "connections": handle.presence.connections(),
                    "late_ms": milliseconds(handle.presence.late()),
                    "shed": handle.presence.shed(),
                    "draining": handle.drained.load(Ordering::Relaxed),
                })
            })
            .collect();
        let known = self.gauged.resolver.list();
        let names: Vec<serde_json::Value> = known.iter().map(name).collect();
        self.with(|published| {
            let current = published.current.as_ref();
            serde_json::json!({
                "version": env!("CARGO_PKG_VERSION"),
                "pid": std::process::id(),
                "took_over_from": self.process.predecessor,
                "user": self.process.user,
                "confined": {
                    "files": self.process.confinement.is_some_and(|held| held.files),
                    "calls": self.process.confinement.and_then(|held| held.calls),
                },
                "descriptors": {"open": descriptors::open(), "limit": descriptors::limit()},
                "memory": {
                    "used": self.gauged.memory.used(),
                    "most": self.gauged.memory.most(),
                    "full": self.gauged.memory.is_full(),
                },
                "upstream_connections": {
                    "parked": self.gauged.shelf.parked(),
                    "adopted": self.gauged.shelf.adopted(),
                },
                "driver": self.driver.name(),
                "source": published.source,
                "epoch": current.map(|snapshot| snapshot.epoch),
                "digest": current.map(|snapshot| snapshot.digest.clone()),
                "generation": current.map(|snapshot| snapshot.policy.generation()),
                "retired_epochs": published.retired.iter().map(|snapshot| snapshot.epoch).collect::<Vec<_>>(),
                "reloads": published.reloads,
                "reload_failures": published.failures,
                "last_reload_error": published.last_error,
                "workers": workers,
                "upstreams": current.map(|snapshot| upstreams(snapshot, &known)),
                "names": names,
            })
            .to_string()
        })
    }

    fn metrics(&self) -> String {
        let sum = |what: fn(&Presence) -> usize| -> usize {
            self.workers.iter().map(|handle| what(&handle.presence)).sum()
        };
        let waiting = sum(Presence::connections).saturating_sub(sum(Presence::exchanges));
        let (current, reloads_refused) =
            self.with(|published| (published.current.clone(), published.failures));
        let current = current.as_deref();
        let known = match current {
            Some(current) if shows_targets(current) => described(current, &self.gauged.resolver.list()),
            _ => Vec::new(),
        };
        let targets: Vec<TargetHealth<'_>> = known.iter().flat_map(Described::gauges).collect();
        let Gauged {
            counters,
            memory,
            shelf,
            quotas,
            log,
            resolver,
        } = &self.gauged;
        let used = memory.used();
        let limits: Vec<_> = settable::counts().collect();
        let late: Vec<Lateness> = self.workers.iter().map(|it| lateness(&it.presence)).collect();
        let dns = resolver.counts();
        let gauges = Gauges {
            node_id: &self.node_id,
            version: env!("CARGO_PKG_VERSION"),
            connections_waiting: waiting as u64,
            epoch: current.map_or(0, |snapshot| snapshot.epoch),
            artifact_digest: current.map_or("", |snapshot| &snapshot.digest),
            reloads_refused,
            drivers: &[(self.driver.name(), self.workers.len() as u64)],
            targets: &targets,
            upstreams: &current.map(Snapshot::upstream_counts).unwrap_or_default(),
            log: log.upgrade().map(|log| log.counts()).unwrap_or_default(),
            reservations: (quotas.reservations(), quotas.held()),
            confined: self
                .process
                .confinement
                .map_or((false, false), |held| (held.files, held.calls.is_some())),
            descriptors: (descriptors::open(), descriptors::limit()),
            limits: &limits,
            late: &late,
            memory: ((used > 0).then_some(used), memory.most()),
            parked: (shelf.parked(), shelf.adopted()),
            quota_overflowed: quotas.overflowed(),
            quota_bytes: quotas.resident_bytes() as u64,
            dns: DnsCounts {
                questions: dns.questions.load(Ordering::Relaxed),
                failures: dns.failures.load(Ordering::Relaxed),
                stale: dns.stale.load(Ordering::Relaxed),
            },
        };
        prometheus::render(&counters.sums(), &gauges)
    }

    fn reload(&self) -> Result<String, String> {
        let (reply, answer) = bounded(1);
        let gone = || r#"{"error":"the gateway is stopping"}"#.to_owned();
        self.events
            .send(Event::Reload(Some(reply)))
            .map_err(|_error| gone())?;
        answer
            .recv_timeout(Duration::from_secs(limits::RELOAD_S))
            .unwrap_or_else(|_error| Err(gone()))
    }

    fn set_health(&self, upstream: &str, target: &str, healthy: bool) -> bool {
        let current = self.with(|published| published.current.clone());
        let named = |it: &&Upstream| &*it.name == upstream || &*it.id == upstream;
        let found = current
            .as_ref()
            .and_then(|snapshot| snapshot.upstreams.iter().find(named));
        // Without checks nothing is out but by ejection, which an operator may end.
        let is_watched = |it: &&Upstream| it.checks.is_some() || (healthy && it.outliers.is_some());
        let Some(upstream) = found.filter(is_watched) else {
            return false;
        };
        let Some(number) = upstream.targets.iter().position(|it| &*it.name == target) else {
            return false;
        };
        // Addresses that nobody has used yet are put in or out, too.
        for address in addresses(&upstream.targets[number].server, &self.gauged.resolver.list()) {
            upstream.targets[number].health.of(address).set(healthy);
        }
        true
    }

    fn hand_over(&self, to: &UnixStream) -> io::Result<()> {
        if self.handing_over.swap(true, Ordering::AcqRel) {
            return refuse(to, "another process is taking over");
        }
        let sockets = self.process.sockets.lock().ok();
        let sockets = sockets.and_then(|it| it.as_ref().map(Listeners::all));
        let relieved = match sockets {
            None => refuse(to, "the gateway is stopping").map(|()| false),
            Some(Err(error)) => refuse(to, &error.to_string()).map(|()| false),
            Some(Ok((sockets, files))) => takeover::hand_over(to, &sockets, &files),
        };
        if let Ok(true) = relieved {
            eprintln!("tollgate: another process accepts now; this one finishes what runs");
            let _ = self.events.send(Event::HandedOver);
        } else {
            eprintln!("tollgate: the process that was to take over does not; this one goes on");
            self.handing_over.store(false, Ordering::Release);
        }
        relieved.map(drop)
    }

    fn drain(&self) -> String {
        let _ = self.events.send(Event::Drain);
        r#"{"draining":true}"#.to_owned()
    }
}

fn lateness(presence: &Presence) -> Lateness {
    Lateness {
        late: presence.late(),
        shed: presence.shed(),
    }
}

/// With its fractions.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn refuse(mut to: &UnixStream, why: &str) -> io::Result<()> {
    write!(
        to,
        "HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{why}\n",
        why.len() + 1
    )
}

/// What is known of a name. An SRV record's addresses have its port and weight.
fn name(listed: &Listed) -> serde_json::Value {
    let addresses = listed.addresses.iter().map(|address| match address.port {
        Some(port) => SocketAddr::new(address.ip, port).to_string(),
        None => address.ip.to_string(),
    });
    serde_json::json!({
        "name": listed.name,
        "type": listed.kind.map(Kind::name),
        "addresses": addresses.collect::<Vec<_>>(),
        "age_s": listed.age.map(|age| age.as_secs()),
        "ttl_s": listed.ttl.as_secs(),
        "failures": listed.failures,
    })
}
