//! Publishing epochs: load on the side, hand the snapshot to every worker, keep the old one until it is unused.

use std::path::PathBuf;
use std::sync::Arc;

use policy::stream::{TCP, TLS, TLS_PASSTHROUGH};
use policy::table::StreamRoute;
use rustls::server::ProducesTickets;

use super::StartError;
use super::prober::Prober;
use super::source::Source;
use super::workers::WorkerHandle;
use crate::confine::Places;
use crate::node::Node;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counter::Counters;
use crate::tls::TlsSetupError;
use crate::worker::clock;

/// What other threads are told about epochs. A lock is fine here: only the main thread and the admin socket meet.
#[expect(
    clippy::disallowed_types,
    reason = "cold: taken on reload and by the admin socket"
)]
pub(crate) type Shared = Arc<std::sync::Mutex<Published>>;

/// The state of publishing.
pub(crate) struct Published {
    /// The epoch in use.
    pub(crate) current: Option<Arc<Snapshot>>,
    /// Epochs that exchanges may still use, oldest first.
    pub(crate) retired: Vec<Arc<Snapshot>>,
    /// Reloads that succeeded.
    pub(crate) reloads: u64,
    /// Reloads that were refused.
    pub(crate) failures: u64,
    /// Why the last reload was refused, if it was.
    pub(crate) last_error: Option<String>,
    /// The source as given.
    pub(crate) source: String,
}

/// Loads and publishes.
pub(crate) struct Publisher {
    node: Arc<Node>,
    source: Source,
    ticketer: Arc<dyn ProducesTickets>,
    counters: Arc<Counters>,
    log: Arc<AccessLog>,
    workers: Arc<Vec<WorkerHandle>>,
    prober: Option<Prober>,
    shared: Shared,
    epoch: u64,
    /// Where logs may be written, if not everywhere.
    places: Option<Places>,
}

impl Publisher {
    pub(crate) fn new(
        node: Arc<Node>,
        source: Source,
        counters: Arc<Counters>,
        log: Arc<AccessLog>,
    ) -> Result<Self, StartError> {
        let ticketer = rustls::crypto::ring::Ticketer::new().map_err(|_error| {
            StartError::Snapshot(SnapshotError::Tls(
                "session tickets".to_owned(),
                TlsSetupError::Provider,
            ))
        })?;
        let published = Published {
            current: None,
            retired: Vec::new(),
            reloads: 0,
            failures: 0,
            last_error: None,
            source: source.given().display().to_string(),
        };
        #[expect(clippy::disallowed_types, reason = "as `Shared`")]
        let shared = Arc::new(std::sync::Mutex::new(published));
        Ok(Self {
            node,
            source,
            ticketer,
            counters,
            log,
            workers: Arc::new(Vec::new()),
            prober: None,
            shared,
            epoch: 0,
            places: None,
        })
    }

    /// Loads the policy as the next epoch, without publishing it.
    pub(crate) fn load(&mut self) -> Result<Arc<Snapshot>, StartError> {
        let artifact = self.source.artifact()?;
        let before = self.with(|published| published.current.clone());
        let snapshot = Snapshot::load(
            &artifact,
            self.epoch + 1,
            &self.node,
            &self.ticketer,
            &self.counters,
            &self.log,
            before.as_deref(),
        );
        let snapshot = Arc::new(snapshot.map_err(StartError::Snapshot)?);
        if let Some(places) = &self.places
            && let Some(outside) = logs(&snapshot).into_iter().find(|log| !places.may_log(log))
        {
            return Err(StartError::LogOutside(outside));
        }
        self.epoch += 1;
        warn_of_unheard(&self.node, &snapshot);
        Ok(snapshot)
    }

    /// Refuses policies that log elsewhere: the process is confined and could not write there.
    pub(super) fn log_only_in(&mut self, places: Option<Places>) {
        self.places = places;
    }

    /// The workers run with this first epoch.
    pub(super) fn started(
        &mut self,
        first: Arc<Snapshot>,
        workers: Arc<Vec<WorkerHandle>>,
        mut prober: Prober,
    ) -> std::io::Result<()> {
        prober.watch(&first)?;
        self.prober = Some(prober);
        self.workers = workers;
        self.with(|published| published.current = Some(first));
        Ok(())
    }

    /// Loads the policy again and publishes it. A policy that is refused changes nothing.
    pub(crate) fn reload(&mut self) -> Result<String, String> {
        match self.load() {
            Ok(snapshot) => {
                if let Some(Err(error)) = self.prober.as_mut().map(|prober| prober.watch(&snapshot)) {
                    eprintln!("tollgate: targets are not probed: {error}");
                }
                let told = serde_json::json!({"epoch": snapshot.epoch, "digest": snapshot.digest});
                // Who sees the new epoch at work and then asks for the status is told of it: both change under one lock.
                self.with(|published| {
                    for handle in self.workers.iter() {
                        handle.publish(Arc::clone(&snapshot));
                    }
                    published.retired.extend(published.current.replace(snapshot));
                    published.reloads += 1;
                    published.last_error = None;
                });
                eprintln!("tollgate: epoch {} is in use", self.epoch);
                Ok(told.to_string())
            }
            Err(error) => {
                let text = error.to_string();
                eprintln!(
                    "tollgate: the policy was not reloaded, epoch {} stays in use\n{text}",
                    self.epoch
                );
                self.with(|published| {
                    published.failures += 1;
                    published.last_error = Some(text.clone());
                });
                Err(serde_json::json!({"error": text, "epoch": self.epoch}).to_string())
            }
        }
    }

    /// Whether the source has changed since it was loaded.
    pub(crate) fn changed(&self) -> bool {
        self.source.changed()
    }

    /// Drops the epochs that nobody uses any more.
    pub(crate) fn collect(&self) {
        self.with(|published| {
            published
                .retired
                .retain(|snapshot| Arc::strong_count(snapshot) > 1)
        });
    }

    /// Says which targets of the current epoch were put in or out since it was last called.
    pub(crate) fn tell_health(&self) {
        let current = self.with(|published| published.current.clone());
        for upstream in current.iter().flat_map(|snapshot| &snapshot.upstreams) {
            if upstream.checks.is_none() && upstream.outliers.is_none() {
                continue;
            }
            for target in &upstream.targets {
                for (address, health) in target.health.all() {
                    let ejected = health.ejection_news(clock::refreshed_uptime_ns());
                    let ejected = ejected.map(|left| format!("ejected for {} s", left.as_secs_f64().round()));
                    let healthy = health.news().map(|healthy| state(healthy).to_owned());
                    let upstream = &upstream.name;
                    let at = match target.server.literal {
                        Some(_) => String::new(),
                        None => format!(" at {address}"),
                    };
                    for state in healthy.into_iter().chain(ejected) {
                        eprintln!(
                            "tollgate: target {}{at} of upstream {upstream} is {state}",
                            target.name
                        );
                    }
                }
            }
        }
    }

    pub(crate) fn shared(&self) -> Shared {
        Arc::clone(&self.shared)
    }

    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn digest(&self) -> String {
        self.with(|published| {
            published
                .current
                .as_ref()
                .map(|snapshot| snapshot.digest.clone())
                .unwrap_or_default()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Published) -> T) -> T {
        act(&mut self
            .shared
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// The log files that a policy names.
pub(super) fn logs(snapshot: &Snapshot) -> Vec<PathBuf> {
    let policy = &snapshot.policy;
    let rows = policy.rows(policy.all::<policy::table::Log>());
    rows.map(|row| PathBuf::from(policy.text(row.path))).collect()
}

const fn state(healthy: bool) -> &'static str {
    if healthy { "healthy" } else { "unhealthy" }
}

/// Warns when no connection can come to some routes for them, or none can be served.
fn warn_of_unheard(node: &Node, snapshot: &Snapshot) {
    let policy = &snapshot.policy;
    let routes = policy
        .rows(policy.all::<StreamRoute>())
        .map(|row| policy.get(row.route));
    let (mut plain, mut secure, mut terminated) = (0, 0, 0);
    for route in routes {
        plain += u32::from(route.protocols & TCP != 0);
        secure += u32::from(route.protocols & (TLS | TLS_PASSTHROUGH) != 0);
        terminated += u32::from(route.protocols & TLS != 0);
    }
    let heard = |secure| node.stream_listen.iter().any(|listen| listen.secure == secure);
    for (count, is_secure, what, how) in [
        (plain, false, "tcp", "ADDR"),
        (secure, true, "tls or tls_passthrough", "ADDR,ssl"),
    ] {
        if count > 0 && !heard(is_secure) {
            eprintln!(
                "tollgate: warning: {count} routes for {what} get no connection\nhelp: name a listener with \
                 --stream-listen {how}"
            );
        }
    }
    if terminated > 0 && snapshot.server_tls.is_none() {
        eprintln!(
            "tollgate: warning: {terminated} routes for tls cannot end it: the policy has no certificates\n\
             help: add `certificates` with `snis` to the decK file"
        );
    }
}
