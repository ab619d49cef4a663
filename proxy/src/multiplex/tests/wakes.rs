//! No wake-up is lost: two connections with a gateway between them, whose tasks run only when they were woken, in any order.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use proptest::prelude::*;

use super::*;
use crate::http::h2::hpack::encode;

/// Remembers that it was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Woken>,
}

impl Task {
    fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Self {
            future: Some(Box::pin(future)),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }
    }

    /// Runs it if it was woken; whether it was.
    fn run(&mut self) -> bool {
        let (Some(future), true) = (&mut self.future, self.woken.0.swap(false, Ordering::Relaxed)) else {
            return false;
        };
        let waker = Arc::clone(&self.woken).into();
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.future = None;
        }
        true
    }
}

/// One direction of a connection: what one end's sending task writes, and the other's reading task reads.
struct Pipe {
    from: Rc<Shared>,
    to: Rc<Shared>,
    writing: Vec<u8>,
    input: Buffer,
}

impl Pipe {
    fn both(one: &Rc<Shared>, other: &Rc<Shared>) -> [Self; 2] {
        [(one, other), (other, one)].map(|(from, to)| Self {
            from: Rc::clone(from),
            to: Rc::clone(to),
            writing: Vec::new(),
            input: Buffer::empty(),
        })
    }

    /// Takes what gathers, or carries at most `most` bytes of what was taken; false when there is nothing.
    fn step(&mut self, most: usize, opened: &mut Vec<Handle>) -> bool {
        if self.writing.is_empty() {
            let mut state = self.from.state.borrow_mut();
            self.writing = std::mem::take(&mut *state.out);
            return !self.writing.is_empty();
        }
        let piece: Vec<u8> = self.writing.drain(..most.min(self.writing.len())).collect();
        self.input.extend_from_slice(&piece);
        assert!(
            advance(&self.to, &mut self.input, &mut |handle| opened.push(handle)),
            "nobody breaks the protocol"
        );
        if self.writing.is_empty() {
            self.from.state.borrow_mut().wake_writers();
        }
        true
    }
}

/// An end whose streams take `window` bytes; less than what it gives back at once would be a promise it does not keep.
fn end(role: Role, window: u32) -> Rc<Shared> {
    let shared = Rc::new(Shared {
        state: RefCell::new(Connection::new(role, clock::now())),
        writer: RefCell::new(None),
        silence: RefCell::new(None),
        goodbye: Deadline::on_waker(),
        patience: Duration::ZERO,
        draining: Rc::default(),
        sent: Cell::new(false),
    });
    frame::push_settings(&[(4, window)], &mut shared.state.borrow_mut().out);
    shared
}

/// Sends a body and its end, in pieces.
async fn say(handle: Rc<RefCell<Handle>>, body: usize, piece: usize, trailers: bool) {
    let mut left = body;
    loop {
        let next = left.min(piece);
        left -= next;
        let mut buffer = Buffer::take();
        buffer.resize(next, 7);
        let mut handle = beside(&handle.borrow());
        if left == 0 && !trailers {
            handle.end();
        }
        handle.write_all(&mut buffer).await.expect("it is wanted");
        if left == 0 {
            if trailers {
                handle.send_head(true, |out| {
                    encode::field(b"x", crate::http::known::KnownHeader::Other, b"y", out)
                });
            }
            return;
        }
    }
}

/// The same stream, without owning it.
fn beside(handle: &Handle) -> Handle {
    let mut beside = Handle::new(Rc::clone(&handle.shared), handle.id);
    beside.owns = false;
    beside
}

/// Takes a body to its end, and counts it.
async fn hear(handle: Rc<RefCell<Handle>>, heard: Rc<Cell<usize>>) {
    let mut buffer = Buffer::empty();
    let mut handle = beside(&handle.borrow());
    loop {
        match handle.read(&mut buffer).await {
            Ok(count) => heard.set(heard.get() + count),
            Err(StreamError::Conn(ConnError::Closed)) => return,
            Err(error) => panic!("{error:?}"),
        }
        buffer.clear();
    }
}

fn shared_handle(handle: Handle) -> Rc<RefCell<Handle>> {
    Rc::new(RefCell::new(handle))
}

/// Sizes of a question and its answer, of the pieces they are said in, and whether trailers end them.
type Talk = (usize, usize, usize, bool);

fn talk() -> impl Strategy<Value = Talk> {
    let size = || prop_oneof![Just(0_usize), 1..300_usize, 0..400_000_usize];
    (size(), size(), 1000..50_000_usize, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_order_tasks_run_in_all_is_said_and_heard(
        talks in proptest::collection::vec(talk(), 1..6),
        windows in proptest::array::uniform4(limits::H2_STREAM_WINDOW_BYTES / 2..=limits::H2_STREAM_WINDOW_BYTES),
        choices in proptest::collection::vec(any::<u16>(), 0..600),
    ) {
        clock::refresh();
        let ends = [
            end(Role::Client, windows[0]), end(Role::Server, windows[1]),
            end(Role::Client, windows[2]), end(Role::Server, windows[3]),
        ];
        let [client, inside, outside, server] = &ends;
        let mut pipes: Vec<Pipe> = Pipe::both(client, inside).into_iter().chain(Pipe::both(outside, server)).collect();
        let (mut opened, mut tasks, mut heard) = (Vec::new(), Vec::new(), Vec::new());
        // SETTINGS first, then every stream is opened, from end to end.
        let mut settle = |pipes: &mut Vec<Pipe>| {
            let mut all = Vec::new();
            while pipes.iter_mut().fold(false, |any, pipe| pipe.step(usize::MAX, &mut all) | any) {}
            opened.append(&mut all);
            std::mem::take(&mut opened)
        };
        settle(&mut pipes);
        let mut held = Vec::new();
        for &(asked, answered, piece, trailers) in &talks {
            let mut hands = Vec::new();
            for (from, _) in [(client, inside), (outside, server)] {
                let id = from.state.borrow_mut().open().expect("there is room");
                let handle = Handle::new(Rc::clone(from), id);
                post(&handle);
                let other = settle(&mut pipes).pop().expect("a stream was opened");
                other.send_head(false, |out| encode::status(200, out));
                settle(&mut pipes);
                hands.push(shared_handle(handle));
                hands.push(shared_handle(other));
            }
            let (asking, counted) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            tasks.push(Task::new(say(Rc::clone(&hands[0]), asked, piece, trailers)));
            tasks.push(Task::new(hands[1].borrow().passing(&hands[2].borrow(), Rc::default())));
            let (listening, answering, told) = (Rc::clone(&hands[3]), Rc::clone(&hands[3]), Rc::clone(&asking));
            tasks.push(Task::new(async move {
                hear(listening, told).await;
                say(answering, answered, piece, trailers).await;
            }));
            tasks.push(Task::new(hands[2].borrow().passing(&hands[1].borrow(), Rc::default())));
            tasks.push(Task::new(hear(Rc::clone(&hands[0]), Rc::clone(&counted))));
            heard.push((asking, counted));
            held.push(hands);
        }
        let (count, mut late) = (tasks.len(), Vec::new());
        for choice in choices {
            let choice = usize::from(choice);
            match choice % (count + 4) {
                task if task < count => drop(tasks[task].run()),
                pipe => drop(pipes[pipe - count].step(choice, &mut late)),
            }
        }
        loop {
            let ran = tasks.iter_mut().fold(false, |any, task| task.run() | any);
            let carried = pipes.iter_mut().fold(false, |any, pipe| pipe.step(9000, &mut late) | any);
            if !ran && !carried {
                break;
            }
        }
        let waiting: Vec<usize> = (0..count).filter(|task| tasks[*task].future.is_some()).collect();
        prop_assert!(waiting.is_empty(), "nobody wakes {:?}", waiting);
        for ((asked, answered, ..), (asking, counted)) in talks.iter().zip(heard) {
            prop_assert_eq!((*asked, *answered), (asking.get(), counted.get()));
        }
        drop(held);
    }
}
