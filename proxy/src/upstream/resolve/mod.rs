//! Names to addresses, by the system's resolver on a thread of its own, so that a worker never blocks. Answers are kept for a while, and longer when the resolver fails.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};

use crate::limits;
use crate::worker::clock::{self, Moment};
use crate::worker::{Deadline, First, Mailbox, race};

struct Question {
    host: Box<str>,
    reply: Mailbox,
}

/// The resolver thread, shared by all workers.
#[derive(Clone)]
pub struct Resolver {
    questions: Sender<Question>,
}

impl Resolver {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let (questions, inbox) = unbounded();
        for number in 0..limits::RESOLVER_THREADS {
            let inbox = inbox.clone();
            std::thread::Builder::new()
                .name(format!("resolver-{number}"))
                .spawn(move || serve(&inbox))?;
        }
        Ok(Self { questions })
    }
}

fn serve(inbox: &Receiver<Question>) {
    for Question { host, reply } in inbox {
        let found: Vec<IpAddr> = match (&*host, 0).to_socket_addrs() {
            Ok(addresses) => preferred(addresses.map(|address| address.ip())),
            Err(_) => Vec::new(),
        };
        reply.send(move || Names::deliver(&host, found));
    }
}

/// The IPv4 addresses, or all when there are none: Kong 3.9 asks for A records only, and many a host that has both
/// cannot be reached by IPv6.
fn preferred(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    for address in addresses {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    if all.iter().any(IpAddr::is_ipv4) {
        all.retain(IpAddr::is_ipv4);
    }
    all
}

#[derive(Default)]
struct Name {
    addresses: Rc<[IpAddr]>,
    expires: Moment,
    asked: bool,
    answered: bool,
    next: usize,
    waiting: Vec<Waker>,
}

thread_local! {
    static NAMES: RefCell<HashMap<Box<str>, Name, ahash::RandomState>> = RefCell::default();
}

/// What one worker knows of names.
#[derive(Clone)]
pub struct Names {
    resolver: Resolver,
    mailbox: Mailbox,
}

impl Names {
    /// Asks `resolver`; answers come to this worker's mailbox.
    pub const fn new(resolver: Resolver, mailbox: Mailbox) -> Self {
        Self { resolver, mailbox }
    }

    /// An address of a host name; one after the other when it has several. `None` when it has none, or when nobody
    /// knows within [`limits::RESOLVE_WAIT_S`].
    pub async fn resolve(&self, host: &str, port: u16) -> Option<SocketAddr> {
        let address = match self.poll(host, Waker::noop()) {
            Poll::Ready(address) => address,
            Poll::Pending => Box::pin(self.wait(host)).await,
        };
        Some(SocketAddr::new(address?, port))
    }

    async fn wait(&self, host: &str) -> Option<IpAddr> {
        let patience = Deadline::on_waker();
        patience.arm_in(Duration::from_secs(limits::RESOLVE_WAIT_S));
        let answer = poll_fn(|context| self.poll(host, context.waker()));
        match race(answer, patience.wait()).await {
            First::Left(address) => address,
            First::Right(()) => None,
        }
    }

    fn poll(&self, host: &str, waker: &Waker) -> Poll<Option<IpAddr>> {
        NAMES.with(|names| {
            let names = &mut *names.borrow_mut();
            let name = match names.get_mut(host) {
                Some(name) => name,
                None => names.entry(host.into()).or_default(),
            };
            if name.expires <= clock::now() && !name.asked {
                name.asked = true;
                // The threads live as long as the process.
                let _ = self.resolver.questions.send(Question {
                    host: host.into(),
                    reply: self.mailbox.clone(),
                });
            }
            // An answer that has expired serves until the new one is there.
            if name.answered && (!name.addresses.is_empty() || !name.asked) {
                name.next = name.next.wrapping_add(1);
                let address = name
                    .addresses
                    .get(name.next % name.addresses.len().max(1))
                    .copied();
                return Poll::Ready(address);
            }
            if !name.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
                name.waiting.push(waker.clone());
            }
            Poll::Pending
        })
    }

    fn deliver(host: &str, addresses: Vec<IpAddr>) {
        let waiting = NAMES.with(|names| {
            let names = &mut *names.borrow_mut();
            let Some(name) = names.get_mut(host) else {
                return Vec::new();
            };
            let kept_s = if addresses.is_empty() {
                limits::RESOLVE_FAILED_S
            } else {
                limits::RESOLVE_KEPT_S
            };
            // A name that was known stays known when the resolver fails.
            if !addresses.is_empty() || name.addresses.is_empty() {
                name.addresses = addresses.into();
            }
            name.expires = clock::refresh() + Duration::from_secs(kept_s);
            name.asked = false;
            name.answered = true;
            std::mem::take(&mut name.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }
}
