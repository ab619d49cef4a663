//! What the admin socket shows and does on this node.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};

use super::publish::{Published, Shared};
use super::{Event, WorkerHandle};
use crate::admin::Panel;
use crate::exchange::{Presence, RequestIds};
use crate::limits;
use crate::quota;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counter::Counters;
use crate::telemetry::prometheus::{self, Gauges};
use crate::worker::Driver;

/// The node's panel.
pub(super) struct NodePanel {
    events: Sender<Event>,
    shared: Shared,
    workers: Arc<Vec<WorkerHandle>>,
    driver: Driver,
    gauged: Gauged,
    /// Drawn at start, as Kong's.
    node_id: String,
}

/// What metrics are read from.
pub(super) struct Gauged {
    pub(super) counters: Arc<Counters>,
    pub(super) quotas: Arc<quota::Table>,
    /// Weak: the log's end must not wait for the admin socket.
    pub(super) log: Weak<AccessLog>,
}

impl NodePanel {
    pub(super) fn new(
        events: Sender<Event>,
        shared: Shared,
        workers: Arc<Vec<WorkerHandle>>,
        driver: Driver,
        gauged: Gauged,
    ) -> Self {
        let node_id = String::from_utf8_lossy(&RequestIds::default().uuid()).into_owned();
        Self {
            events,
            shared,
            workers,
            driver,
            gauged,
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
                    "draining": handle.drained.load(Ordering::Relaxed),
                })
            })
            .collect();
        self.with(|published| {
            let current = published.current.as_ref();
            serde_json::json!({
                "version": env!("CARGO_PKG_VERSION"),
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
            })
            .to_string()
        })
    }

    fn metrics(&self) -> String {
        let sum = |what: fn(&Presence) -> usize| -> usize {
            self.workers.iter().map(|handle| what(&handle.presence)).sum()
        };
        let waiting = sum(Presence::connections).saturating_sub(sum(Presence::exchanges));
        let (epoch, digest, reloads_refused) = self.with(|published| {
            let current = published.current.as_ref();
            let digest = current
                .map(|snapshot| snapshot.digest.clone())
                .unwrap_or_default();
            (
                current.map_or(0, |snapshot| snapshot.epoch),
                digest,
                published.failures,
            )
        });
        let Gauged {
            counters,
            quotas,
            log,
        } = &self.gauged;
        let gauges = Gauges {
            node_id: &self.node_id,
            version: env!("CARGO_PKG_VERSION"),
            connections_waiting: waiting as u64,
            epoch,
            artifact_digest: &digest,
            reloads_refused,
            drivers: &[(self.driver.name(), self.workers.len() as u64)],
            // No target is checked actively or passively.
            targets: &[],
            log: log.upgrade().map(|log| log.counts()).unwrap_or_default(),
            reservations: (quotas.reservations(), quotas.held()),
            quota_overflowed: quotas.overflowed(),
            quota_bytes: quotas.resident_bytes() as u64,
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

    fn drain(&self) -> String {
        let _ = self.events.send(Event::Drain);
        r#"{"draining":true}"#.to_owned()
    }
}
