//! The main thread: starts the workers, publishes epochs, listens to signals, watches the policy file, drains.
//!
//! Enters: settings and the path of a policy. Leaves: the process' exit. Workers never wait for it.

mod error;
mod listeners;
mod memory;
mod panel;
mod prepare;
mod prober;
mod publish;
mod signal;
mod socket_file;
mod source;
mod takeover;
mod targets;
mod workers;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, select, tick, unbounded};

use crate::exchange::Shared;
use crate::limits;
use crate::node::Node;
use crate::quota;
use crate::settable;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counter::Counters;
use crate::upstream::resolve::Resolver;
use crate::worker::{self, Driver};
pub use error::StartError;
use listeners::{Listeners, Serves};
use memory::MemoryWatch;
use panel::{Gauged, NodePanel};
use prepare::Prepared;
use prober::Prober;
use publish::Publisher;
pub use source::{Source, SourceError};
pub use takeover::TakeOverError;
use workers::{Crew, WorkerHandle};

/// Something that the main thread acts on.
pub(crate) enum Event {
    /// Load the policy again, and say what came of it.
    Reload(Option<Sender<Result<String, String>>>),
    /// Open the access logs anew, after a rotation.
    ReopenLogs,
    /// Finish and end.
    Drain,
    /// Another process accepts from the listeners now: finish and end.
    HandedOver,
    /// A worker could accept.
    Prepared,
    /// A worker cannot run.
    Failed(io::Error),
}

/// Runs the gateway until it is told to stop, or until another takes over from it. `ready` gets one line of JSON once
/// it accepts connections. With `take_over`, it gets its sockets from the gateway that runs, which ends once this one
/// accepts; when this one cannot start, that one goes on.
///
/// # Errors
/// [`StartError`] when it cannot start.
pub fn run(node: Node, source: Source, take_over: bool, ready: impl FnOnce(&str)) -> Result<(), StartError> {
    settable::apply(&node.limits);
    let node = Arc::new(node);
    let Prepared {
        driver,
        open,
        mut publisher,
        first,
        counters,
        log,
        process,
    } = prepare::prepare(&node, source, take_over)?;
    let (events, inbox) = unbounded();
    signal::listen(events.clone()).map_err(StartError::Thread)?;
    log.begin().map_err(StartError::Thread)?;
    let quotas = Arc::new(quota::Table::new(node.quota_entries));
    quotas.expect(first.policy.callers().len());
    let resolver = Resolver::start(node.dns.clone()).map_err(StartError::Thread)?;
    let shared = Shared::new(&node);
    let crew = Crew {
        shared: &shared,
        driver,
        node: &node,
        first: &first,
        resolver: &resolver,
        events: &events,
    };
    let workers = Arc::new(crew.start_all(&quotas, &counters, &log)?);
    prepared(&inbox, workers.len())?;
    let prober = Prober::new(driver, resolver.clone(), events.clone());
    publisher
        .started(first, Arc::clone(&workers), prober)
        .map_err(StartError::Thread)?;
    let line = ready_line(&open.listeners, &node, driver, &publisher);
    let gauged = Gauged {
        counters,
        memory: Arc::clone(&shared.memory),
        shelf: Arc::clone(&shared.shelf),
        quotas,
        log: Arc::downgrade(&log),
        resolver,
    };
    let sockets = Arc::clone(&process.sockets);
    let panel = NodePanel::new(
        events,
        publisher.shared(),
        Arc::clone(&workers),
        driver,
        gauged,
        process,
    );
    let metrics = open.begin(&node, &workers, Arc::new(panel), &sockets)?;
    ready(&line);
    let mut memory = MemoryWatch::new(shared.memory);
    let ending = serve(&inbox, &mut publisher, &log, &mut || memory.look(&workers));
    drop(metrics);
    // Nothing is handed over any more, and the listeners end with the workers' own.
    let listeners = sockets.lock().ok().and_then(|mut sockets| sockets.take());
    if let Some(listeners) = listeners {
        listeners.end(ending == Ending::HandedOver);
    }
    // Who still needs one opens it: servers get back what nobody uses, however long this takes.
    shared.shelf.close();
    drain(&node, &inbox, &workers, ending, &mut || memory.look(&workers));
    // The last owner of the log waits until everything is written.
    drop(publisher);
    drop(log);
    if ending == Ending::Stopped {
        let _ = std::fs::remove_file(&node.admin);
    }
    Ok(())
}

/// What the gateway listens on, to be handed to another process; nothing any more once it drains.
#[expect(clippy::disallowed_types, reason = "cold: taken when a process takes over")]
type Sockets = Arc<std::sync::Mutex<Option<Listeners>>>;

/// Waits until every worker could accept.
fn prepared(inbox: &Receiver<Event>, workers: usize) -> Result<(), StartError> {
    let mut waiting = workers;
    while waiting > 0 {
        match inbox.recv() {
            Ok(Event::Prepared) => waiting -= 1,
            Ok(Event::Failed(error)) => return Err(StartError::Worker(error)),
            Ok(Event::Drain | Event::HandedOver) | Err(_) => return Err(StartError::Stopped),
            Ok(Event::Reload(_) | Event::ReopenLogs) => {}
        }
    }
    Ok(())
}

/// Loads a policy as [`run`] would, and tells what it is.
///
/// # Errors
/// [`StartError`] when it could not start.
pub fn check(node: &Node, source: Source) -> Result<String, StartError> {
    let log = Arc::new(AccessLog::start(0).map_err(StartError::Thread)?);
    let mut publisher = Publisher::new(Arc::new(node.clone()), source, Counters::new(0), log)?;
    let snapshot = publisher.load()?;
    if node.listen_tls.is_some() && snapshot.server_tls.is_none() {
        return Err(StartError::NoCertificate);
    }
    let policy = &snapshot.policy;
    Ok(serde_json::json!({
        "ok": true,
        "digest": snapshot.digest,
        "generation": policy.generation(),
        "routes": policy.count(policy::table::Table::Route).saturating_sub(1),
        "services": snapshot.endpoints.len(),
        "consumers": policy.count(policy::table::Table::Consumer),
        "worst_search_cost": policy.meta().route_cost,
        "worst_route_cost": policy.rows(policy.all::<policy::table::Route>()).map(|route| route.cost).max(),
    })
    .to_string())
}

fn ready_line(listeners: &Listeners, node: &Node, driver: Driver, publisher: &Publisher) -> String {
    serde_json::json!({
        "event": "ready",
        "listen": listeners.addresses(|it| it == Serves::Http),
        "listen_tls": listeners.addresses(|it| it == Serves::Https),
        "stream_listen": listeners.addresses(|it| matches!(it, Serves::Stream { .. })),
        "metrics_listen": listeners.metrics_address().map(|address| address.to_string()),
        "admin": node.admin,
        "driver": driver.name(),
        "workers": node.workers,
        "epoch": publisher.epoch(),
        "digest": publisher.digest(),
        "pid": std::process::id(),
    })
    .to_string()
}

/// Why it is time to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It was told to.
    Stopped,
    /// Another process accepts now.
    HandedOver,
}

/// Acts on events until it is time to stop.
fn serve(
    inbox: &Receiver<Event>,
    publisher: &mut Publisher,
    log: &AccessLog,
    look_at_memory: &mut dyn FnMut(),
) -> Ending {
    let watch = tick(Duration::from_millis(limits::WATCH_MS));
    let look = tick(Duration::from_millis(limits::MEMORY_LOOK_MS));
    loop {
        select! {
            recv(inbox) -> event => match event {
                Ok(Event::Reload(reply)) => {
                    let result = publisher.reload();
                    if let Some(reply) = reply {
                        // Who asked may have given up.
                        let _ = reply.send(result);
                    }
                }
                Ok(Event::ReopenLogs) => log.reopen(),
                Ok(Event::Failed(error)) => give_up(&error),
                Ok(Event::HandedOver) => return Ending::HandedOver,
                Ok(Event::Drain) | Err(_) => return Ending::Stopped,
                Ok(Event::Prepared) => {}
            },
            recv(look) -> _ => look_at_memory(),
            recv(watch) -> _ => {
                if publisher.changed() {
                    let _ = publisher.reload();
                }
                publisher.collect();
                publisher.tell_health();
            }
        }
    }
}

fn give_up(error: &io::Error) -> ! {
    eprintln!(
        "tollgate: {}",
        StartError::Worker(io::Error::other(error.to_string()))
    );
    std::process::exit(1);
}

/// Lets running exchanges end by themselves for the grace period, then ends those that still wait for a peer. Where another
/// process goes on, connections that wait may do so, and learn with their next answer that it was the last: closing one
/// just when its client writes would lose that request.
fn drain(
    node: &Node,
    inbox: &Receiver<Event>,
    workers: &[WorkerHandle],
    ending: Ending,
    look_at_memory: &mut dyn FnMut(),
) {
    let begin = |linger| workers.iter().for_each(|worker| worker.drain(linger));
    begin(ending == Ending::HandedOver);
    let step = Duration::from_millis(20);
    let mut quiet_within = |steps: u64| {
        for _ in 0..steps {
            look_at_memory();
            if workers.iter().all(WorkerHandle::is_quiet) {
                return true;
            }
            match inbox.recv_timeout(step) {
                Ok(Event::Drain) => begin(false),
                Ok(Event::Failed(error)) => give_up(&error),
                Ok(_) | Err(_) => {}
            }
        }
        false
    };
    if !quiet_within(node.grace_s * 1000 / 20) {
        // The rest is ended, so that it is counted and logged.
        for handle in workers {
            handle.mailbox.send(worker::close_all);
        }
        quiet_within(limits::DRAIN_END_MS / 20);
    }
}
