//! The workers' threads: started with an epoch, told to accept, given other epochs, drained.
//!
//! Enters: what every worker shares, and letters from the main thread. A worker that is started takes no connection
//! before it is told to: what can still fail then costs no client anything.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};

use super::listeners::Serves;
use super::{Event, StartError};
use crate::crowd::Place;
use crate::downstream;
use crate::exchange::{Context, Instruments, Presence, Shared};
use crate::limits;
use crate::node::Node;
use crate::quota;
use crate::settable::{self, Limit};
use crate::snapshot::{Epoch, Snapshot};
use crate::stream;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counter::{Counters, Tally};
use crate::upstream::resolve::{Names, Resolver};
use crate::worker::{self, Accepted, Acceptor, Driver, Listening};

/// One worker as the main thread sees it.
pub(crate) struct WorkerHandle {
    pub(crate) mailbox: worker::Mailbox,
    pub(crate) presence: Arc<Presence>,
    pub(crate) drained: Arc<AtomicBool>,
}

impl WorkerHandle {
    /// Runs something on the worker's thread, soon.
    fn tell(&self, act: impl FnOnce(&Worker) + Send + 'static) {
        self.mailbox.send(|| {
            WORKER.with(|worker| {
                if let Some(worker) = worker.borrow().as_ref() {
                    act(worker);
                }
            });
        });
    }

    /// Lets it accept from these sockets.
    pub(super) fn accept(&self, sockets: Vec<(Listening, Serves)>) {
        self.tell(|worker| worker.accept(sockets));
    }

    /// Uses another epoch for exchanges that begin from now on.
    pub(super) fn publish(&self, snapshot: Arc<Snapshot>) {
        self.tell(|worker| worker.publish(snapshot));
    }

    /// Takes no new connections beyond those that are queued. Those that wait for a request end too, unless they may
    /// `linger`: then they get one more answer, which says that it is the last.
    pub(super) fn drain(&self, linger: bool) {
        self.tell(move |worker| worker.drain(linger));
    }

    /// Gives the memory back that is kept for later.
    pub(super) fn forget_spares(&self) {
        self.tell(|worker| worker.context.forget_spares());
    }

    /// Whether nothing is left to be done.
    pub(super) fn is_quiet(&self) -> bool {
        self.drained.load(Ordering::Acquire) && self.presence.connections() == 0
    }
}

/// A worker as its own thread sees it.
struct Worker {
    number: usize,
    context: Rc<Context>,
    acceptors: RefCell<Vec<Rc<Acceptor>>>,
    open: Rc<Open>,
    events: Sender<Event>,
}

/// How many listeners a worker accepts from; when a worker that drains has none left, it says so.
struct Open {
    listeners: Cell<usize>,
    draining: Cell<bool>,
    drained: Arc<AtomicBool>,
}

impl Open {
    fn closed(&self) {
        self.listeners.set(self.listeners.get().saturating_sub(1));
        self.settle();
    }

    fn settle(&self) {
        if self.draining.get() && self.listeners.get() == 0 {
            self.drained.store(true, Ordering::Release);
        }
    }
}

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

impl Worker {
    fn accept(&self, sockets: Vec<(Listening, Serves)>) {
        for (socket, serves) in sockets {
            let acceptor = match Acceptor::new(socket) {
                Ok(acceptor) => Rc::new(acceptor),
                // Who would accept what the kernel queues for this worker?
                Err(error) => {
                    let _ = self.events.send(Event::Failed(error));
                    return;
                }
            };
            self.open.listeners.set(self.open.listeners.get() + 1);
            worker::spawn(accept(
                Rc::clone(&self.context),
                Rc::clone(&acceptor),
                serves,
                Rc::clone(&self.open),
            ));
            self.acceptors.borrow_mut().push(acceptor);
        }
    }

    fn publish(&self, snapshot: Arc<Snapshot>) {
        let before = self.context.pin();
        let epoch = Epoch::new(snapshot, self.number, self.context.names.clone(), Some(&before));
        self.context.epoch.replace(epoch);
    }

    fn drain(&self, linger: bool) {
        self.context.draining.set(true);
        if !linger {
            self.context.leaving.set(true);
            worker::close_idle();
        }
        for acceptor in self.acceptors.take() {
            acceptor.close();
        }
        self.open.draining.set(true);
        self.open.settle();
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

/// What all workers are started with.
pub(super) struct Crew<'c> {
    pub(super) shared: &'c Shared,
    pub(super) driver: Driver,
    pub(super) node: &'c Arc<Node>,
    pub(super) first: &'c Arc<Snapshot>,
    pub(super) resolver: &'c Resolver,
    pub(super) events: &'c Sender<Event>,
}

impl Crew<'_> {
    /// Starts the node's workers, one to a core as long as there are cores.
    pub(super) fn start_all(
        &self,
        quotas: &Arc<quota::Table>,
        counters: &Arc<Counters>,
        log: &AccessLog,
    ) -> Result<Vec<WorkerHandle>, StartError> {
        let cores = worker::cores();
        let workers = (0..self.node.workers).map(|number| {
            let core = cores.get(number % cores.len().max(1)).copied();
            let instruments = instruments(number, quotas, counters, log)?;
            self.start(number, core, instruments)
        });
        workers.collect()
    }

    /// Starts worker `number` on a core. [`Event::Prepared`] tells when it could accept.
    fn start(
        &self,
        number: usize,
        core: Option<usize>,
        instruments: Instruments,
    ) -> Result<WorkerHandle, StartError> {
        let presence = Arc::new(Presence::default());
        let drained = Arc::new(AtomicBool::new(false));
        let (shared, node, first, resolver) = (
            self.shared.clone(),
            Arc::clone(self.node),
            Arc::clone(self.first),
            self.resolver.clone(),
        );
        let (own_presence, own_drained) = (Arc::clone(&presence), Arc::clone(&drained));
        let (events, failed) = (self.events.clone(), self.events.clone());
        let (mailbox_out, mailbox_in) = bounded(1);
        let main = move || async move {
            let Ok(mailbox) = mailbox_in.recv() else { return };
            let names = Names::new(resolver, mailbox);
            let epoch = Epoch::new(first, number, names.clone(), None);
            let context = Context::new(node, epoch, names, own_presence, shared, instruments);
            worker::on_tick(ticking(Rc::clone(&context)));
            let own = Worker {
                number,
                context: Rc::clone(&context),
                acceptors: RefCell::default(),
                open: Rc::new(Open {
                    listeners: Cell::new(0),
                    draining: Cell::new(false),
                    drained: own_drained,
                }),
                events: events.clone(),
            };
            WORKER.with(|worker| worker.replace(Some(own)));
            let _ = events.send(Event::Prepared);
            if context.node.workers > 1 {
                worker::spawn(park_surplus(Rc::clone(&context)));
            }
            sweep(context).await;
        };
        let report = move |error| {
            let _ = failed.send(Event::Failed(error));
        };
        let handle = worker::start(format!("worker-{number}"), core, self.driver, main, report)
            .map_err(StartError::Thread)?;
        let _ = mailbox_out.send(handle.mailbox.clone());
        Ok(WorkerHandle {
            mailbox: handle.mailbox,
            presence,
            drained,
        })
    }
}

/// Takes connections for as long as the listener is open. Pauses while the worker has as many as it may.
async fn accept(context: Rc<Context>, acceptor: Rc<Acceptor>, serves: Serves, open: Rc<Open>) {
    loop {
        while !acceptor.is_closed() && !has_room(&context) {
            worker::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
        }
        match acceptor.accept().await {
            Accepted::Conn(conn) => {
                let place = place(&context, &acceptor).await;
                serve_conn(&context, conn, serves, place);
                // Each wait for a connection is a turn of the worker, in which all others have theirs.
                let mut more = limits::ACCEPTED_AT_ONCE.min(room(&context).saturating_sub(1));
                while more > 0
                    && context.overload.accepts()
                    && let Some(place) = context.crowd.enter()
                    && let Some(conn) = acceptor.another()
                {
                    serve_conn(&context, conn, serves, place);
                    more -= 1;
                }
            }
            Accepted::Exhausted => context.instruments.recorder.tally(Tally::AcceptPaused),
            Accepted::Closed => break,
        }
    }
    // Who was queued is counted as a connection once its task runs, which it does before this one goes on.
    worker::sleep(Duration::from_millis(limits::TURN_PAUSE_MS)).await;
    open.closed();
}

/// Whether the worker may have one more connection.
fn has_room(context: &Context) -> bool {
    let may = context.overload.accepts() && room(context) > 0;
    if !may {
        context.instruments.recorder.tally(Tally::AcceptPaused);
    }
    may
}

/// How many connections more the worker may have.
fn room(context: &Context) -> usize {
    context
        .node
        .connections
        .saturating_sub(context.presence.connections())
}

/// A connection's place among those of the process. While there is none, it is kept waiting, and those behind it are left to
/// the kernel, which asks their clients for patience; a listener that closes serves all who are queued.
async fn place(context: &Context, acceptor: &Acceptor) -> Place {
    let mut told = false;
    loop {
        if let Some(place) = context.crowd.enter() {
            return place;
        }
        if acceptor.is_closed() {
            return context.crowd.press_in();
        }
        if !std::mem::replace(&mut told, true) {
            settable::reached(Limit::ConnectionsMost);
        }
        worker::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
    }
}

fn serve_conn(context: &Rc<Context>, conn: worker::Conn, serves: Serves, place: Place) {
    let tls = match serves {
        Serves::Stream { secure } => {
            return worker::spawn(stream::serve(Rc::clone(context), conn, secure, place));
        }
        Serves::Http => None,
        // A policy that lost its certificates cannot speak TLS: the connection is closed.
        Serves::Https => match context.pin().snapshot.server_tls.clone() {
            Some(tls) => Some(tls),
            None => return,
        },
    };
    worker::spawn(downstream::serve(Rc::clone(context), conn, tls, place));
}

/// Closes idle upstream connections now and then.
async fn sweep(context: Rc<Context>) {
    loop {
        worker::sleep(Duration::from_secs(limits::SWEEP_S)).await;
        context.pool.borrow_mut().sweep();
    }
}

/// Lets other workers use the idle upstream connections that this one does not need.
async fn park_surplus(context: Rc<Context>) {
    loop {
        worker::sleep(Duration::from_millis(limits::UPSTREAM_PARK_MS)).await;
        context.pool.borrow_mut().park_surplus();
    }
}

/// What is done at each tick: judges how late it came, and counts the tasks that panicked.
fn ticking(context: Rc<Context>) -> impl Fn(Duration) {
    let counted = Cell::new(0);
    move |late| {
        context.presence.ticked(late, context.overload.tick(late));
        let panics = worker::panics();
        (counted.replace(panics)..panics).for_each(|_| context.instruments.recorder.tally(Tally::Panics));
    }
}
