//! What the exchanges of one worker share, and the memory that one exchange after the other uses.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use policy::vm::{Effects, State};

use super::edits::EditMemory;
use super::request_id::RequestIds;
use crate::crowd::Crowd;
use crate::http::date::HttpDate;
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::outgoing::OutgoingHeaders;
use crate::limits;
use crate::memory::give_back_freed;
use crate::node::Node;
use crate::overload::{Memory, Overload};
use crate::quota;
use crate::snapshot::Epoch;
use crate::telemetry::access_log::LogSender;
use crate::telemetry::counter::{Recorder, Tally};
use crate::upstream::pool::{Pool, Shelf};
use crate::upstream::resolve::Names;
use crate::upstream::retry::RetryBudget;
use crate::worker::Buffer;

/// One worker's belongings. Lives as long as the worker.
pub struct Context {
    /// Settings of this machine.
    pub node: Arc<Node>,
    /// The epoch that new exchanges pin.
    pub epoch: RefCell<Rc<Epoch>>,
    /// Idle upstream connections.
    pub pool: RefCell<Pool>,
    /// Tries that may be made again.
    pub retries: RetryBudget,
    /// Resolved names.
    pub names: Names,
    /// Request ids.
    pub ids: RequestIds,
    /// What time it is, for `Date`.
    pub date: HttpDate,
    /// Whether answers say that their connection ends: the worker takes no new work.
    pub draining: Rc<Cell<bool>>,
    /// Whether connections that wait for a request end.
    pub leaving: Cell<bool>,
    /// How busy it is.
    pub presence: Arc<Presence>,
    /// The client connections of all workers.
    pub crowd: Arc<Crowd>,
    /// What it admits.
    pub overload: Overload,
    /// What it counts with.
    pub instruments: Instruments,
    /// Connections that were given a number.
    numbered: Cell<u64>,
    /// Silent connections that hold a buffer.
    waiting: Cell<usize>,
    #[expect(clippy::vec_box, reason = "exchanges get the box: a scratch is large to move")]
    spare: RefCell<Vec<Box<Scratch>>>,
}

/// What all workers have together.
#[derive(Clone)]
pub struct Shared {
    /// The memory of the process.
    pub memory: Arc<Memory>,
    /// Idle upstream connections that any of them may take.
    pub shelf: Arc<Shelf>,
    /// Client connections.
    pub crowd: Arc<Crowd>,
}

impl Shared {
    /// As many places as a node has.
    pub fn new(node: &Node) -> Self {
        Self {
            memory: Arc::new(Memory::new(node.memory_most)),
            shelf: Arc::new(Shelf::new(node.workers)),
            crowd: Crowd::new(node.workers * node.connections),
        }
    }
}

impl Context {
    /// For a worker that starts with this epoch.
    pub fn new(
        node: Arc<Node>,
        epoch: Rc<Epoch>,
        names: Names,
        presence: Arc<Presence>,
        shared: Shared,
        instruments: Instruments,
    ) -> Rc<Self> {
        Rc::new(Self {
            overload: Overload::new(node.shed_after, shared.memory),
            retries: RetryBudget::new(node.retry_budget),
            node,
            epoch: RefCell::new(epoch),
            pool: RefCell::new(Pool::beside(shared.shelf)),
            names,
            ids: RequestIds::default(),
            date: HttpDate::default(),
            draining: Rc::default(),
            leaving: Cell::new(false),
            presence,
            crowd: shared.crowd,
            instruments,
            numbered: Cell::new(0),
            waiting: Cell::new(0),
            spare: RefCell::default(),
        })
    }

    /// The epoch of an exchange that begins now.
    pub fn pin(&self) -> Rc<Epoch> {
        Rc::clone(&self.epoch.borrow())
    }

    /// A connection was opened.
    pub fn opened(&self) {
        self.presence.connections.fetch_add(1, Ordering::Release);
        self.instruments.recorder.tally(Tally::ConnectionsAccepted);
    }

    /// A connection was closed.
    pub fn closed(&self) {
        self.presence.connections.fetch_sub(1, Ordering::Release);
        self.instruments.recorder.tally(Tally::ConnectionsClosed);
    }

    /// A number that no other connection of this worker has or had.
    pub fn number(&self) -> u64 {
        self.numbered.set(self.numbered.get() + 1);
        self.numbered.get()
    }

    /// A place among the connections that wait for a request with a buffer, if there is one left.
    pub fn may_wait_with_buffer(&self) -> Option<impl Drop> {
        struct Place<'c>(&'c Cell<usize>);
        impl Drop for Place<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        let waiting = self.waiting.get();
        (waiting < limits::IDLE_BUFFERS).then(|| {
            self.waiting.set(waiting + 1);
            Place(&self.waiting)
        })
    }

    /// Memory for one exchange.
    pub fn scratch(&self) -> Box<Scratch> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives the memory back to the system that is kept for later.
    pub fn forget_spares(&self) {
        self.spare.take();
        Buffer::give_back();
        give_back_freed();
    }

    /// Takes the memory back.
    pub fn give_back(&self, mut scratch: Box<Scratch>) {
        scratch.clear();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < limits::SCRATCHES_SPARE {
            spare.push(scratch);
        }
    }
}

/// What a worker counts with.
pub struct Instruments {
    /// The counters of quotas and budgets, one table for all workers.
    pub quotas: Arc<quota::Table>,
    /// Its own metrics.
    pub recorder: Recorder,
    /// Its end of the access log.
    pub log: RefCell<LogSender>,
}

/// How busy a worker is, for other threads to see. Only the worker writes.
#[derive(Debug, Default)]
pub struct Presence {
    connections: AtomicUsize,
    exchanges: AtomicUsize,
    late_us: AtomicU32,
    shed_permille: AtomicU32,
}

impl Presence {
    /// How late its last tick came.
    pub fn late(&self) -> Duration {
        Duration::from_micros(self.late_us.load(Ordering::Relaxed).into())
    }

    /// Share of the requests that may be turned away which are, 0 to 1.
    pub fn shed(&self) -> f64 {
        f64::from(self.shed_permille.load(Ordering::Relaxed)) / 1000.0
    }

    /// Its tick came so late, and it admits this share of requests now.
    pub fn ticked(&self, late: Duration, admitted: f64) {
        let us = u32::try_from(late.as_micros()).unwrap_or(u32::MAX);
        self.late_us.store(us, Ordering::Relaxed);
        let permille = Duration::from_secs_f64((1.0 - admitted).max(0.0)).as_millis();
        self.shed_permille
            .store(u32::try_from(permille).unwrap_or(1000), Ordering::Relaxed);
    }

    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Running exchanges.
    pub fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::Relaxed)
    }

    /// An exchange begins.
    pub(super) fn begun(&self) {
        // One writer: no locked instruction for each request.
        self.exchanges.store(self.exchanges() + 1, Ordering::Relaxed);
    }

    /// An exchange has ended.
    pub(super) fn ended(&self) {
        self.exchanges.store(self.exchanges() - 1, Ordering::Relaxed);
    }
}

/// Memory of one exchange. Kept from one to the next, so that nothing allocates once warm.
#[derive(Default)]
pub struct Scratch {
    /// The request head.
    pub head: RequestHead,
    /// The bytes that it points into.
    pub received: Vec<u8>,
    /// Canonical path.
    pub path: Vec<u8>,
    /// Lower-case host without port.
    pub host: Vec<u8>,
    /// Decoded values that policy looked up.
    pub decoded: Vec<u8>,
    /// Path for the upstream.
    pub upstream_path: Vec<u8>,
    /// Query for the upstream, when it was edited.
    pub upstream_query: Vec<u8>,
    /// The whole request body, when it had to be read.
    pub body: Vec<u8>,
    /// Header fields of the message being written.
    pub outgoing: OutgoingHeaders,
    /// The response head.
    pub response: ResponseHead,
    /// The bytes that it points into.
    pub response_received: Vec<u8>,
    /// What policy knows.
    pub state: State,
    /// What the request entry decided to apply.
    pub effects: Option<Effects>,
    /// Texts on their way.
    pub text: Vec<u8>,
    /// What edits need.
    pub(crate) edits: EditMemory,
}

impl Scratch {
    fn clear(&mut self) {
        self.head.clear();
        self.response.clear();
        self.state = State::default();
        self.effects = None;
        // Its lists grow with the body they were made of.
        if self.body.capacity().max(self.edits.capacity()) > limits::SCRATCH_KEPT_BYTES {
            self.edits = EditMemory::default();
        }
        for memory in [
            &mut self.received,
            &mut self.path,
            &mut self.host,
            &mut self.decoded,
            &mut self.upstream_path,
            &mut self.upstream_query,
            &mut self.body,
            &mut self.response_received,
            &mut self.text,
        ] {
            memory.clear();
            if memory.capacity() > limits::SCRATCH_KEPT_BYTES {
                *memory = Vec::new();
            }
        }
    }
}
