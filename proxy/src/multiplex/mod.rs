//! An HTTP/2 connection that many exchanges share: a task that reads, a task that writes, and a [`Handle`] for each stream.
//!
//! Enters: a stream of bytes whose two ends agreed on HTTP/2. Leaves: handles. `connection` keeps the protocol's state
//! and does no I/O; what it wants sent is gathered and goes out in one write.

mod budget;
mod connection;
mod handle;
mod stream;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::limits;
use crate::settable;
use crate::tls::{Reader, Stream, Writer};
use crate::worker::{self, Buffer, IdleDeadline, clock};
use connection::{Connection, Role};
pub use handle::{Handle, StreamAborter};

/// What the tasks and handles of one connection share.
struct Shared {
    state: RefCell<Connection>,
    writer: RefCell<Option<Waker>>,
    /// Ends the connection when it has no streams for long. Gone when the reading task is.
    idle: RefCell<Option<IdleDeadline>>,
    patience: Duration,
    /// Whether no new streams are taken.
    draining: Rc<Cell<bool>>,
    /// Whether all that is to be sent has been.
    sent: Cell<bool>,
}

impl Shared {
    fn new(role: Role, idle: IdleDeadline, patience: Duration, draining: Rc<Cell<bool>>) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(Connection::new(role, clock::now())),
            writer: RefCell::new(None),
            idle: RefCell::new(Some(idle)),
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
        if self.draining.get() {
            state.leave();
        }
        if state.open_streams() == 0 {
            self.rest(&state);
        }
        drop(state);
        self.wake_writer();
    }

    /// Lets the connection end when it stays without streams.
    fn rest(&self, state: &Connection) {
        self.limit(if state.leaving {
            settable::linger_s()
        } else {
            self.patience
        });
    }

    fn limit(&self, within: Duration) {
        if let Some(idle) = &*self.idle.borrow() {
            idle.arm(within);
        }
    }

    /// A stream is at work: its own deadlines count from here on.
    fn occupy(&self) {
        if let Some(idle) = &*self.idle.borrow() {
            idle.disarm();
        }
    }
}

/// Serves a client's connection to its end. `received` is what came of it already; `opened` gets each stream that the
/// client opens; once `draining` is set, no more are taken.
pub async fn serve(stream: Stream, received: Buffer, draining: Rc<Cell<bool>>, opened: impl FnMut(Handle)) {
    let (reader, writer, idle) = stream.split();
    let shared = Shared::new(Role::Server, idle, settable::client_idle_s(), draining);
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
        let (reader, writer, idle) = stream.split();
        let shared = Shared::new(
            Role::Client,
            idle,
            Duration::from_secs(limits::UPSTREAM_IDLE_S),
            Rc::default(),
        );
        worker::spawn(send(Rc::clone(&shared), writer));
        let receiving = Rc::clone(&shared);
        worker::spawn(async move {
            receive(receiving, reader, Buffer::empty(), drop).await;
        });
        Self(shared)
    }

    /// Opens a stream; `None` when the server takes no more for now.
    pub fn open(&self) -> Option<Handle> {
        let id = self.0.state.borrow_mut().open()?;
        self.0.occupy();
        Some(Handle::new(Rc::clone(&self.0), id))
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
        if shared.draining.get() {
            shared.state.borrow_mut().leave();
        }
        shared.wake_writer();
        if shared.state.borrow().is_dead() {
            break;
        }
        let resting = shared.state.borrow().open_streams() == 0;
        let began = !input.is_empty() || shared.state.borrow().is_in_block();
        if !resting {
            shared.occupy();
        } else if !began {
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
        self.0.idle.take();
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
