//! Work sent to a worker from another thread: publish a snapshot, drain, deliver a resolved name.
//!
//! A letter is a closure that runs on the worker's thread between its tasks. Sending never blocks: letters go
//! through a lock-free queue, and one byte on a socket pair wakes the worker.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crossbeam::queue::SegQueue;
use monoio::io::AsyncReadRent as _;

type Letter = Box<dyn FnOnce() + Send>;

/// The sending side. Clones send to the same worker.
#[derive(Clone)]
pub struct Mailbox {
    letters: Arc<SegQueue<Letter>>,
    bell: Arc<UnixStream>,
}

impl Mailbox {
    /// Runs a closure on the worker's thread, soon.
    pub fn send(&self, letter: impl FnOnce() + Send + 'static) {
        self.letters.push(Box::new(letter));
        // A full socket already holds more than one wake-up.
        let _ = (&*self.bell).write(&[1]);
    }

    /// Whether both are of the same worker.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.letters, &other.letters)
    }
}

/// The receiving side, before its worker runs.
pub(super) struct Inbox {
    letters: Arc<SegQueue<Letter>>,
    bell: UnixStream,
}

/// A mailbox and its inbox.
pub(super) fn mailbox() -> std::io::Result<(Mailbox, Inbox)> {
    let (sender, receiver) = UnixStream::pair()?;
    sender.set_nonblocking(true)?;
    receiver.set_nonblocking(true)?;
    let letters = Arc::new(SegQueue::new());
    let inbox = Inbox {
        letters: Arc::clone(&letters),
        bell: receiver,
    };
    Ok((
        Mailbox {
            letters,
            bell: Arc::new(sender),
        },
        inbox,
    ))
}

impl Inbox {
    /// Opens letters for as long as the worker lives.
    pub(super) async fn serve(self) -> std::io::Result<()> {
        let mut bell = monoio::net::UnixStream::from_std(self.bell)?;
        let mut rings = vec![0; 64];
        loop {
            while let Some(letter) = self.letters.pop() {
                // A letter that panics is counted; the next ones are opened all the same.
                let _ = super::task::catch(letter);
            }
            let (result, returned) = bell.read(rings).await;
            rings = returned;
            // All senders are gone: nobody will write again.
            if result? == 0 {
                return Ok(());
            }
        }
    }
}
