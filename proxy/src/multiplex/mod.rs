//! An HTTP/2 connection that many exchanges share: a task that reads, a task that writes, and a [`Handle`] for each stream.
//!
//! Enters: a stream of bytes whose two ends agreed on HTTP/2. Leaves: handles. `connection` keeps the protocol's state
//! and does no I/O; what it wants sent is gathered and goes out in one write.

mod budget;
mod connection;
mod handle;
mod pass;
mod stream;

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::limits;
use crate::settable;
use crate::tls::{Reader, Stream, Writer};
use crate::worker::{self, Buffer, Deadline, SilenceDeadline, clock};
use connection::{Connection, Role};
pub use handle::{Handle, StreamAborter};

/// What the tasks and handles of one connection share.
struct Shared {
    state: RefCell<Connection>,
    writer: RefCell<Option<Waker>>,
    /// Ends a peer that leaves something half said. Gone when the reading task is.
    silence: RefCell<Option<SilenceDeadline>>,
    /// When to say goodbye: after long without streams, or when the worker drains.
    goodbye: Deadline,
    patience: Duration,
    /// Whether no new streams are taken.
    draining: Rc<Cell<bool>>,
    /// Whether all that is to be sent has been.
    sent: Cell<bool>,
}

impl Shared {
    fn new(role: Role, silence: SilenceDeadline, patience: Duration, draining: Rc<Cell<bool>>) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(Connection::new(role, clock::now())),
            writer: RefCell::new(None),
            silence: RefCell::new(Some(silence)),
            goodbye: Deadline::on_waker(),
            patience,
            draining,
            sent: Cell::new(false),
        })
    }

    fn wake_writer(&self) {
        if let Some(waker) = self.writer.borrow_mut().take() {
            waker.wake();
        }
    }

    fn release(&self, id: u32) {
        let mut state = self.state.borrow_mut();
        state.release(id);
        if state.open_streams() == 0 {
            self.rest(&state);
        }
        drop(state);
        self.wake_writer();
    }

    /// Lets the connection end when it stays without streams.
    fn rest(&self, state: &Connection) {
        if state.leaving {
            self.limit(settable::linger_s());
        } else if !state.is_parting() {
            self.goodbye.arm_idle(self.patience);
        }
    }

    fn limit(&self, within: Duration) {
        if let Some(silence) = &*self.silence.borrow() {
            silence.arm(within);
        }
    }

    /// A stream is at work: its own deadlines count from here on. Only a worker that drains says goodbye meanwhile.
    fn occupy(&self, state: &Connection) {
        self.unlimit();
        if state.is_parting() {
            return;
        }
        match state.is_server() {
            true => self.goodbye.arm_idle(Duration::MAX),
            // Exchanges that a worker still finishes may need the connection.
            false => self.goodbye.disarm(),
        }
    }

    fn unlimit(&self) {
        if let Some(silence) = &*self.silence.borrow() {
            silence.disarm();
        }
    }
}

/// Serves a client's connection to its end. `received` is what came of it already; `opened` gets each stream that the
/// client opens; once `draining` is set, no more are taken.
pub async fn serve(stream: Stream, received: Buffer, draining: Rc<Cell<bool>>, opened: impl FnMut(Handle)) {
    let (reader, writer, silence) = stream.split();
    let shared = Shared::new(Role::Server, silence, settable::client_idle_s(), draining);
    worker::spawn(send(Rc::clone(&shared), writer));
    receive(Rc::clone(&shared), reader, received, opened).await;
    shared.until_sent().await;
}

/// A connection to an upstream, on which streams can be opened.
#[derive(Clone)]
pub struct Multiplexed(Rc<Shared>);

impl Multiplexed {
    /// Begins HTTP/2 on a connection.
    pub fn connect(stream: Stream) -> Self {
        let (reader, writer, silence) = stream.split();
        let patience = settable::upstream_idle_s();
        let shared = Shared::new(Role::Client, silence, patience, Rc::default());
        worker::spawn(send(Rc::clone(&shared), writer));
        let receiving = Rc::clone(&shared);
        worker::spawn(async move {
            receive(receiving, reader, Buffer::empty(), drop).await;
        });
        Self(shared)
    }

    /// Opens a stream; `None` when the server takes no more for now.
    pub fn open(&self) -> Option<Handle> {
        let mut state = self.0.state.borrow_mut();
        let id = state.open()?;
        self.0.occupy(&state);
        drop(state);
        Some(Handle::new(Rc::clone(&self.0), id))
    }

    /// Waits until the server has said how many streams it takes, or is gone. For one at a time; may be dropped.
    pub async fn settled(&self) {
        poll_fn(|context| {
            let mut state = self.0.state.borrow_mut();
            if state.is_settled() || state.is_dead() {
                return Poll::Ready(());
            }
            state.wake_settled(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether no stream will ever be opened again.
    pub fn is_spent(&self) -> bool {
        self.0.state.borrow().is_left()
    }

    /// Streams at work.
    pub fn streams(&self) -> usize {
        self.0.state.borrow().open_streams()
    }
}

/// Reads until the peer leaves, breaks the protocol, or has nothing more to say.
async fn receive(shared: Rc<Shared>, mut reader: Reader, mut input: Buffer, mut opened: impl FnMut(Handle)) {
    let reading = Reading(Rc::clone(&shared));
    let mut halfway = false;
    loop {
        if !advance(&shared, &mut input, &mut opened) {
            break;
        }
        shared.wake_writer();
        if shared.state.borrow().is_dead() {
            break;
        }
        let resting = shared.state.borrow().open_streams() == 0;
        let began = !input.is_empty() || shared.state.borrow().is_in_block();
        if !resting {
            shared.occupy(&shared.state.borrow());
        } else if !began {
            if !shared.state.borrow().leaving {
                shared.unlimit();
            }
            shared.rest(&shared.state.borrow());
            // Nobody knows for how long: no memory is held meanwhile.
            input = Buffer::empty();
            if reader.readable().await.is_err() {
                break;
            }
        } else if !halfway {
            // As long as a head of HTTP/1, however slowly its pieces come.
            shared.limit(settable::request_head_s());
        }
        halfway = resting && began;
        if reader.read(&mut input).await.is_err() {
            break;
        }
    }
    drop(reading);
}

/// The reading side of a connection. Whatever ends it, a panic too, ends the connection and whoever waits on it.
struct Reading(Rc<Shared>);

impl Drop for Reading {
    fn drop(&mut self) {
        // Before the descriptor is closed, and perhaps another's.
        self.0.silence.take();
        self.0.state.borrow_mut().die();
        self.0.wake_writer();
    }
}

/// Looks at all that was received; false when the connection must end.
fn advance(shared: &Rc<Shared>, input: &mut Buffer, opened: &mut impl FnMut(Handle)) -> bool {
    let mut done = 0;
    loop {
        let step = shared.state.borrow_mut().advance(&input[done..], clock::now());
        match step {
            Ok(step) if step.consumed == 0 => break,
            Ok(step) => {
                done += step.consumed;
                if let Some(id) = step.opened {
                    opened(Handle::new(Rc::clone(shared), id));
                }
            }
            Err(code) => {
                shared.state.borrow_mut().fail(code);
                return false;
            }
        }
    }
    input.consume(done);
    true
}

/// Sends what gathers, until the connection has nothing more to say.
async fn send(shared: Rc<Shared>, mut writer: Writer) {
    let within = settable::client_write_s();
    let mut buffer = Buffer::empty();
    while shared.gathered(&mut buffer, &writer).await {
        let sent = writer.write_all(&mut buffer, within).await;
        let mut state = shared.state.borrow_mut();
        if sent.is_err() {
            state.die();
            writer.abort();
            break;
        }
        state.wake_writers();
    }
    writer.finish().await;
    // The peer gets the time to read it.
    shared.rest(&shared.state.borrow());
    shared.sent.set(true);
    shared.wake_writer();
}

impl Shared {
    /// Waits for something to send; false when there will be nothing more.
    async fn gathered(&self, buffer: &mut Buffer, writer: &Writer) -> bool {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            self.part_in_time(&mut state, context);
            if !state.out.is_empty() || writer.wants_write() {
                std::mem::swap(&mut state.out, buffer);
                return Poll::Ready(true);
            }
            if state.is_dead() || state.leaving && state.open_streams() == 0 {
                return Poll::Ready(false);
            }
            // Idle connections hold no memory.
            state.out = Buffer::empty();
            *buffer = Buffer::empty();
            *self.writer.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Says goodbye when it is time for that, and listens for when it is.
    fn part_in_time(&self, state: &mut Connection, context: &mut Context<'_>) {
        // A client that said goodbye may still ask; on a server's connection that is left nothing is to come.
        let left = !state.is_server() && state.is_left() && state.open_streams() == 0;
        let told = self.draining.get() && !state.is_parting();
        if !state.leaving && (left || told || self.goodbye.fired()) {
            self.part(state);
        }
        if !state.leaving {
            // Whatever it says: it was asked.
            let _ = pin!(self.goodbye.wait()).poll(context);
        }
    }

    /// Takes the next step of leaving, and waits so long at most before the one after.
    fn part(&self, state: &mut Connection) {
        state.part();
        self.goodbye.arm_in(Duration::from_millis(limits::H2_GOODBYE_MS));
    }

    /// Waits until the sending task is done, which follows the reading one.
    async fn until_sent(&self) {
        poll_fn(|context| {
            if self.sent.get() {
                return Poll::Ready(());
            }
            *self.writer.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// For the fuzzer: a server's or a client's state that is fed with frames.
#[cfg(fuzzing)]
pub fn fuzzed(server: bool, frames: &[u8]) {
    connection::fuzzed(if server { Role::Server } else { Role::Client }, frames);
}

#[cfg(test)]
mod tests;
