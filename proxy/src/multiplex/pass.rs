//! From one stream to another: a body that is passed on beside its exchange, and trailers.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::Handle;
use super::stream::{Remote, Stream};
use crate::http::h2::encode;
use crate::tls::StreamError;
use crate::worker::{self, Buffer, ConnError};

impl Handle {
    /// Passes all that comes on this stream on to another, beside whatever else is done with the two, and counts its bytes.
    /// It ends with either stream. As long as it has counted nothing, nothing was taken out of this stream: once the other
    /// is reset or gone, the whole may be passed on to a third.
    pub fn pass_on(&self, other: &Self, counted: Rc<Cell<u64>>) {
        worker::spawn(self.passing(other, counted));
    }

    /// See [`Handle::pass_on`].
    pub(super) fn passing(&self, other: &Self, counted: Rc<Cell<u64>>) -> impl Future<Output = ()> + 'static {
        let [mut from, mut to] = [self, other].map(|handle| {
            let mut beside = Self::new(Rc::clone(&handle.shared), handle.id);
            beside.owns = false;
            beside
        });
        async move {
            let mut buffer = Buffer::empty();
            let mut ended = false;
            while !ended && from.has_something_for(&to).await {
                match from.read(&mut buffer).await {
                    Ok(count) => {
                        counted.set(counted.get() + count as u64);
                        ended = from.with(is_ended).unwrap_or(true);
                    }
                    Err(StreamError::Conn(ConnError::Closed)) => {
                        if from.pass_trailers(&to, encode::request_trailers) {
                            return;
                        }
                        ended = true;
                    }
                    // Who holds the streams sees it too.
                    Err(_) => return,
                }
                if ended {
                    to.end();
                }
                if to.write_all(&mut buffer).await.is_err() {
                    return;
                }
                buffer = Buffer::empty();
            }
        }
    }

    /// Waits until there is something to take, or the end of it; false when it would be of no use to the other.
    async fn has_something_for(&self, other: &Self) -> bool {
        poll_fn(|context| {
            let wanted = other.with(|stream| {
                stream.watcher = Some(context.waker().clone());
                !stream.ended && !stream.is_reset()
            });
            if wanted != Some(true) {
                return Poll::Ready(false);
            }
            let there = self.with(|stream| {
                let there = !stream.received.is_empty() || stream.remote != Remote::Open;
                if !there {
                    stream.reader = Some(context.waker().clone());
                }
                there
            });
            match there {
                None => Poll::Ready(false),
                Some(true) => Poll::Ready(true),
                Some(false) => Poll::Pending,
            }
        })
        .await
    }

    /// Whether trailers have come.
    pub fn has_trailers(&self) -> bool {
        self.with(|stream| stream.trailers.is_some()).unwrap_or(false)
    }

    /// Ends what is sent on another stream with the trailers that came on this one, as `write` writes them; false when
    /// none came, or none that may be passed on. They stay: another try may need them again.
    pub fn pass_trailers(
        &self,
        other: &Self,
        write: fn(&crate::http::h2::hpack::Fields, &mut Vec<u8>),
    ) -> bool {
        let mut block = Vec::new();
        self.with(|stream| {
            if let Some(trailers) = &stream.trailers {
                write(trailers, &mut block);
            }
        });
        if !block.is_empty() {
            other.send_head(true, |out| out.extend_from_slice(&block));
        }
        !block.is_empty()
    }
}

/// Whether all of it was taken, and no trailers follow.
fn is_ended(stream: &mut Stream) -> bool {
    stream.remote == Remote::Ended && stream.received.is_empty() && stream.trailers.is_none()
}
