//! Tasks of a worker: spawning, sleeping, waiting for the first of two.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::limits;

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
    /// Operations that the running task may still begin before it pauses.
    static TURNS: Cell<u32> = const { Cell::new(0) };
}

/// Runs a future beside the others of this worker. A panic in it ends it alone, and is counted.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    // The handle is not awaited: tasks end by themselves. A panic is counted, and has printed itself.
    drop(monoio::spawn(Caught::new(future)));
}

/// Tasks of this worker that panicked.
pub fn panics() -> u64 {
    PANICS.with(Cell::get)
}

/// Counts an operation of the running task, and pauses it when it has had its share. Where operations end at once, as they
/// do on epoll while a peer keeps up, a task would otherwise never end its turn. A task that only wakes itself is put
/// before all others again by the runtime, and timers wait until no task is ready: so it sleeps.
pub async fn take_turn() {
    let left = TURNS.with(Cell::get);
    TURNS.with(|turns| turns.set(left.saturating_sub(1)));
    if left == 0 {
        sleep(Duration::from_millis(limits::TURN_PAUSE_MS)).await;
    }
}

/// Waits; the granularity is a millisecond.
pub async fn sleep(duration: Duration) {
    // Boxed: a timer of the runtime takes ten cache lines, aligned to two, and every future that may wait would carry them.
    Box::pin(monoio::time::sleep(duration)).await;
}

/// A future whose panic is its output, counted. What it held is dropped before that.
pub(super) struct Caught<F> {
    future: Option<F>,
}

impl<F> Caught<F> {
    pub(super) const fn new(future: F) -> Self {
        Self { future: Some(future) }
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = std::thread::Result<F::Output>;

    #[expect(unsafe_code, reason = "pin projection to the only field")]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the future is never moved: it is polled and dropped where it is. The struct has no destructor.
        let mut future = unsafe { self.map_unchecked_mut(|caught| &mut caught.future) };
        TURNS.with(|turns| turns.set(limits::TURN_OPERATIONS));
        let polled = catch(|| {
            future
                .as_mut()
                .as_pin_mut()
                .map_or(Poll::Pending, |future| future.poll(context))
        });
        let output = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        // The runtime would let a panic of a destructor through.
        match catch(|| future.set(None)) {
            Ok(()) => Poll::Ready(output),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// Runs what may panic, and counts it if it does.
pub(super) fn catch<T>(act: impl FnOnce() -> T) -> std::thread::Result<T> {
    catch_unwind(AssertUnwindSafe(act))
        .inspect_err(|_panic| PANICS.with(|panics| panics.set(panics.get() + 1)))
}

/// Which of two futures ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First<L, R> {
    /// The first.
    Left(L),
    /// The second.
    Right(R),
}

/// Waits for the first of two futures and leaves the other as it is.
///
/// Pass futures by `&mut` where they must go on. A read or write must never be dropped halfway: only waits for
/// readability and deadlines may be.
pub async fn race<L: Future, R: Future>(left: L, right: R) -> First<L::Output, R::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|context| {
        if let Poll::Ready(output) = left.as_mut().poll(context) {
            return Poll::Ready(First::Left(output));
        }
        right.as_mut().poll(context).map(First::Right)
    })
    .await
}
