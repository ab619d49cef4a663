//! Tasks of a worker: spawning, sleeping, waiting for the first of two.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Runs a future beside the others of this worker. A panic in it ends it alone, and is counted.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    // The handle is not awaited: tasks end by themselves.
    drop(monoio::spawn(Guarded { future }));
}

/// Tasks of this worker that panicked.
pub fn panics() -> u64 {
    PANICS.with(Cell::get)
}

/// Waits; the granularity is a millisecond.
pub async fn sleep(duration: Duration) {
    monoio::time::sleep(duration).await;
}

struct Guarded<F> {
    future: F,
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    #[expect(unsafe_code, reason = "pin projection to the only field")]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the field is never moved out of the pinned struct, which has no destructor of its own.
        let future = unsafe { self.map_unchecked_mut(|guarded| &mut guarded.future) };
        match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(poll) => poll,
            Err(_panic) => {
                PANICS.with(|panics| panics.set(panics.get() + 1));
                Poll::Ready(())
            }
        }
    }
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
