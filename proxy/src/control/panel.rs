//! What the admin socket shows and does on this node.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};

use super::publish::{Published, Shared};
use super::{Event, WorkerHandle};
use crate::admin::Panel;
use crate::limits;
use crate::worker::Driver;

/// The node's panel.
pub(super) struct NodePanel {
    events: Sender<Event>,
    shared: Shared,
    workers: Arc<Vec<WorkerHandle>>,
    driver: Driver,
}

impl NodePanel {
    pub(super) const fn new(
        events: Sender<Event>,
        shared: Shared,
        workers: Arc<Vec<WorkerHandle>>,
        driver: Driver,
    ) -> Self {
        Self { events, shared, workers, driver }
    }

    fn with<T>(&self, act: impl FnOnce(&Published) -> T) -> T {
        act(&self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
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
                    "connections": handle.busy.load(Ordering::Relaxed),
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
        String::new()
    }

    fn reload(&self) -> Result<String, String> {
        let (reply, answer) = bounded(1);
        let gone = || r#"{"error":"the gateway is stopping"}"#.to_owned();
        self.events.send(Event::Reload(Some(reply))).map_err(|_error| gone())?;
        answer.recv_timeout(Duration::from_secs(limits::RELOAD_S)).unwrap_or_else(|_error| Err(gone()))
    }

    fn drain(&self) -> String {
        let _ = self.events.send(Event::Drain);
        r#"{"draining":true}"#.to_owned()
    }
}
