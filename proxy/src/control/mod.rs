//! The main thread: starts the workers, publishes epochs, listens to signals, watches the policy file, drains.
//!
//! Enters: settings and the path of a policy. Leaves: the process' exit. Workers never wait for it.

mod panel;
mod prober;
mod publish;
mod signal;
mod source;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, select, tick, unbounded};

use crate::admin;
use crate::downstream;
use crate::exchange::{Context, Instruments, Presence};
use crate::limits;
use crate::node::{DEFAULT_TLS, Node};
use crate::quota;
use crate::snapshot::{Epoch, SnapshotError};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counter::{Counters, Tally};
use crate::upstream::resolve::{Names, Resolver};
use crate::worker::{self, Accepted, Acceptor, Driver};
use panel::{Gauged, NodePanel};
use prober::Prober;
use publish::Publisher;
pub use source::{Source, SourceError};

/// Why the gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// The policy cannot be had.
    Source(SourceError),
    /// The policy cannot be put to work.
    Snapshot(SnapshotError),
    /// An address cannot be bound.
    Bind(SocketAddr, io::Error),
    /// The admin socket cannot be bound.
    Admin(PathBuf, io::Error),
    /// The kernel refuses what was asked for.
    Driver(io::Error),
    /// A thread cannot be started.
    Thread(io::Error),
    /// TLS is to be served, and the policy has no certificate.
    NoCertificate,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "{error}"),
            Self::Snapshot(error) => write!(f, "{error}"),
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Admin(path, error) => {
                write!(f, "cannot open the admin socket {}: {error}", path.display())?;
                f.write_str("\nhelp: name another one with --admin")
            }
            Self::Driver(error) => {
                write!(
                    f,
                    "the kernel refuses io_uring: {error}\nhelp: use --driver auto or epoll"
                )
            }
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
            Self::NoCertificate => f.write_str(
                "a TLS listener was asked for, but the policy has no certificates\n\
                 help: add `certificates` with `snis` to the decK file",
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl From<SourceError> for StartError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// Something that the main thread acts on.
pub(crate) enum Event {
    /// Load the policy again, and say what came of it.
    Reload(Option<Sender<Result<String, String>>>),
    /// Open the access logs anew, after a rotation.
    ReopenLogs,
    /// Finish and end.
    Drain,
    /// A worker cannot run.
    Failed(io::Error),
}

/// One worker as the main thread sees it.
pub(crate) struct WorkerHandle {
    pub(crate) mailbox: worker::Mailbox,
    pub(crate) presence: Arc<Presence>,
    pub(crate) drained: Arc<AtomicBool>,
}

/// Runs the gateway until it is told to stop. `ready` gets one line of JSON once all listeners are open.
///
/// # Errors
/// [`StartError`] when it cannot start.
pub fn run(node: Node, source: Source, ready: impl FnOnce(&str)) -> Result<(), StartError> {
    let node = Arc::new(node);
    let driver = Driver::choose(node.driver).map_err(StartError::Driver)?;
    let (events, inbox) = unbounded();
    signal::listen(events.clone()).map_err(StartError::Thread)?;
    let counters = Counters::new(node.workers);
    let log = Arc::new(AccessLog::start(node.workers).map_err(StartError::Thread)?);
    let quotas = Arc::new(quota::Table::new(node.quota_entries));
    let mut publisher = Publisher::new(Arc::clone(&node), source, Arc::clone(&counters), Arc::clone(&log))?;
    let first = publisher.load()?;
    let tls = tls_addresses(&node, first.server_tls.is_some())?;
    let listeners = Listeners::open(&node, &tls)?;
    let resolver = Resolver::start(node.dns.clone()).map_err(StartError::Thread)?;
    let mut workers = Vec::new();
    let cores = worker::cores();
    for (number, sockets) in listeners.sockets.into_iter().enumerate() {
        let core = cores.get(number % cores.len().max(1)).copied();
        let instruments = instruments(number, &quotas, &counters, &log)?;
        let handle = start(
            number,
            core,
            driver,
            &node,
            &first,
            &resolver,
            sockets,
            &events,
            instruments,
        )?;
        workers.push(handle);
    }
    let workers = Arc::new(workers);
    let prober = Prober::new(driver, resolver.clone(), events.clone());
    publisher
        .started(first, Arc::clone(&workers), prober)
        .map_err(StartError::Thread)?;
    let gauged = Gauged {
        counters,
        quotas,
        log: Arc::downgrade(&log),
        resolver,
    };
    let panel = Arc::new(NodePanel::new(
        events,
        publisher.shared(),
        Arc::clone(&workers),
        driver,
        gauged,
    ));
    admin::serve_socket(&node.admin, Arc::clone(&panel) as Arc<dyn admin::Panel>)
        .map_err(|error| StartError::Admin(node.admin.clone(), error))?;
    let metrics = node.metrics_listen.map(|address| {
        admin::serve_metrics(address, Arc::clone(&panel) as Arc<dyn admin::Panel>)
            .map_err(|error| StartError::Bind(address, error))
    });
    let metrics = metrics.transpose()?;
    ready(&ready_line(
        &listeners.plain,
        &listeners.tls,
        metrics,
        &node,
        driver,
        &publisher,
    ));
    serve(&inbox, &mut publisher, &log);
    drain(&node, &workers);
    // The last owner of the log waits until everything is written.
    drop(publisher);
    drop(log);
    let _ = std::fs::remove_file(&node.admin);
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
    tls_addresses(node, snapshot.server_tls.is_some())?;
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

fn tls_addresses(node: &Node, certificates: bool) -> Result<Vec<SocketAddr>, StartError> {
    match (&node.listen_tls, certificates) {
        (Some(_), false) => Err(StartError::NoCertificate),
        (Some(addresses), true) => Ok(addresses.clone()),
        (None, true) => Ok(vec![DEFAULT_TLS]),
        (None, false) => Ok(Vec::new()),
    }
}

fn ready_line(
    plain: &[SocketAddr],
    tls: &[SocketAddr],
    metrics: Option<SocketAddr>,
    node: &Node,
    driver: Driver,
    publisher: &Publisher,
) -> String {
    let text = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    serde_json::json!({
        "event": "ready",
        "listen": text(plain),
        "listen_tls": text(tls),
        "metrics_listen": metrics.map(|address| address.to_string()),
        "admin": node.admin,
        "driver": driver.name(),
        "workers": node.workers,
        "epoch": publisher.epoch(),
        "digest": publisher.digest(),
        "pid": std::process::id(),
    })
    .to_string()
}

/// Acts on events until it is time to stop.
fn serve(inbox: &Receiver<Event>, publisher: &mut Publisher, log: &AccessLog) {
    let watch = tick(Duration::from_millis(limits::WATCH_MS));
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
                Ok(Event::Failed(error)) => {
                    eprintln!("tollgate: a worker cannot run: {error}");
                    std::process::exit(1);
                }
                Ok(Event::Drain) | Err(_) => return,
            },
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

/// Lets running exchanges end, at most as long as the grace period.
fn drain(node: &Node, workers: &[WorkerHandle]) {
    for handle in workers {
        handle.mailbox.send(|| {
            WORKER.with(|worker| {
                if let Some(worker) = worker.borrow().as_ref() {
                    worker.drain();
                }
            });
        });
    }
    let step = Duration::from_millis(20);
    let steps = node.grace_s * 1000 / 20;
    let (_never, waiting) = bounded::<()>(1);
    for _ in 0..steps {
        let quiet = workers
            .iter()
            .all(|handle| handle.drained.load(Ordering::Acquire) && handle.presence.connections() == 0);
        if quiet {
            return;
        }
        let _ = waiting.recv_timeout(step);
    }
}

/// The listening sockets, one set for each worker.
struct Listeners {
    plain: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    sockets: Vec<Vec<(std::net::TcpListener, bool)>>,
}

impl Listeners {
    fn open(node: &Node, tls: &[SocketAddr]) -> Result<Self, StartError> {
        let mut sockets: Vec<Vec<(std::net::TcpListener, bool)>> = Vec::new();
        sockets.resize_with(node.workers, Vec::new);
        let mut open = |address: SocketAddr, secure: bool| -> Result<SocketAddr, StartError> {
            let bind = |address| Acceptor::bind(address).map_err(|error| StartError::Bind(address, error));
            let mut bound = address;
            for (number, sockets) in sockets.iter_mut().enumerate() {
                let socket = bind(bound)?;
                if number == 0 {
                    // The first worker's port is the others' too, if the kernel was asked to choose.
                    bound = socket
                        .local_addr()
                        .map_err(|error| StartError::Bind(address, error))?;
                }
                sockets.push((socket, secure));
            }
            Ok(bound)
        };
        let plain = node
            .listen
            .iter()
            .map(|&address| open(address, false))
            .collect::<Result<_, _>>()?;
        let tls = tls
            .iter()
            .map(|&address| open(address, true))
            .collect::<Result<_, _>>()?;
        Ok(Self { plain, tls, sockets })
    }
}

/// A worker as its own thread sees it.
pub(crate) struct Worker {
    number: usize,
    pub(crate) context: Rc<Context>,
    acceptors: Vec<(Rc<Acceptor>, bool)>,
    drained: Arc<AtomicBool>,
}

thread_local! {
    pub(crate) static WORKER: std::cell::RefCell<Option<Worker>> = const { std::cell::RefCell::new(None) };
}

impl Worker {
    /// Uses another epoch for exchanges that begin from now on.
    pub(crate) fn publish(&self, snapshot: Arc<crate::snapshot::Snapshot>) {
        let before = self.context.pin();
        let epoch = Epoch::new(snapshot, self.number, self.context.names.clone(), Some(&before));
        self.context.epoch.replace(epoch);
    }

    fn drain(&self) {
        self.context.draining.set(true);
        for (acceptor, secure) in &self.acceptors {
            for conn in acceptor.close() {
                serve_conn(&self.context, conn, *secure);
            }
        }
        worker::close_idle();
        self.drained.store(true, Ordering::Release);
    }
}

/// What worker `number` counts with.
fn instruments(
    number: usize,
    quotas: &Arc<quota::Table>,
    counters: &Arc<Counters>,
    log: &AccessLog,
) -> Result<Instruments, StartError> {
    let taken = || StartError::Thread(io::Error::other(format!("worker {number} is started twice")));
    Ok(Instruments {
        quotas: Arc::clone(quotas),
        recorder: counters.recorder(number).ok_or_else(taken)?,
        log: log.sender(number).ok_or_else(taken)?.into(),
    })
}

#[expect(clippy::too_many_arguments, reason = "what a worker is made of")]
fn start(
    number: usize,
    core: Option<usize>,
    driver: Driver,
    node: &Arc<Node>,
    first: &Arc<crate::snapshot::Snapshot>,
    resolver: &Resolver,
    sockets: Vec<(std::net::TcpListener, bool)>,
    events: &Sender<Event>,
    instruments: Instruments,
) -> Result<WorkerHandle, StartError> {
    let presence = Arc::new(Presence::default());
    let drained = Arc::new(AtomicBool::new(false));
    let (node, first, resolver) = (Arc::clone(node), Arc::clone(first), resolver.clone());
    let (own_presence, worker_drained, failed) =
        (Arc::clone(&presence), Arc::clone(&drained), events.clone());
    let (mailbox_out, mailbox_in) = bounded(1);
    let main = move || async move {
        let Ok(mailbox) = mailbox_in.recv() else { return };
        let names = Names::new(resolver, mailbox);
        let context = Context::new(
            node,
            Epoch::new(first, number, names.clone(), None),
            names,
            own_presence,
            instruments,
        );
        let mut acceptors = Vec::new();
        for (socket, secure) in sockets {
            let Ok(acceptor) = Acceptor::new(socket) else {
                continue;
            };
            let acceptor = Rc::new(acceptor);
            worker::spawn(accept(Rc::clone(&context), Rc::clone(&acceptor), secure));
            acceptors.push((acceptor, secure));
        }
        let own = Worker {
            number,
            context: Rc::clone(&context),
            acceptors,
            drained: worker_drained,
        };
        WORKER.with(|worker| worker.replace(Some(own)));
        sweep(context).await;
    };
    let report = move |error| {
        let _ = failed.send(Event::Failed(error));
    };
    let handle =
        worker::start(format!("worker-{number}"), core, driver, main, report).map_err(StartError::Thread)?;
    let _ = mailbox_out.send(handle.mailbox.clone());
    Ok(WorkerHandle {
        mailbox: handle.mailbox,
        presence,
        drained,
    })
}

/// Takes connections for as long as the listener is open. Pauses while the worker has as many as it may.
async fn accept(context: Rc<Context>, acceptor: Rc<Acceptor>, secure: bool) {
    loop {
        while context.presence.connections() >= context.node.connections {
            worker::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
        }
        match acceptor.accept().await {
            Accepted::Conn(conn) => serve_conn(&context, conn, secure),
            Accepted::Exhausted => {}
            Accepted::Closed => return,
        }
    }
}

fn serve_conn(context: &Rc<Context>, conn: worker::Conn, secure: bool) {
    let tls = match secure {
        false => None,
        // A policy that lost its certificates cannot speak TLS: the connection is closed.
        true => match context.pin().snapshot.server_tls.clone() {
            Some(tls) => Some(tls),
            None => return,
        },
    };
    worker::spawn(downstream::serve(Rc::clone(context), conn, tls));
}

/// Closes idle upstream connections now and then, and counts the tasks that panicked.
async fn sweep(context: Rc<Context>) {
    let mut counted = 0;
    loop {
        worker::sleep(Duration::from_secs(limits::SWEEP_S)).await;
        context.pool.borrow_mut().sweep();
        let panics = worker::panics();
        (counted..panics).for_each(|_| context.instruments.recorder.tally(Tally::Panics));
        counted = panics;
    }
}
