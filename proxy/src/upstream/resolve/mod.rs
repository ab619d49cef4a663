//! Names to addresses: a DNS client on threads of its own, and on each worker what it was told.
//!
//! Enters: a host name. Leaves: one of its addresses, at once when any answer is known, for answers are refreshed before
//! they end (`directory`). One look-up serves all workers. A name's addresses take turns by their weights; one that
//! failed lately is passed over. What a server must bring to be believed is in `message` and `transport`.

mod directory;
mod hosts;
mod lookup;
pub mod message;
mod resolv_conf;
mod settings;
#[cfg(test)]
mod tests;
mod transport;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, bounded};

use super::balance::wheel::Wheel;
use crate::limits;
use crate::settable::{self, Limit};
use crate::worker::clock::{self, Moment};
use crate::worker::{self, Deadline, First, Mailbox, race};
pub use directory::Listed;
use directory::{Directory, Letter};
use message::Service;
pub use settings::{DnsOrder, DnsServer, DnsSettings, NotAServer, NotAnOrder};

/// The time on the resolver's own threads.
#[expect(
    clippy::disallowed_methods,
    reason = "off the data path, where no worker's clock runs"
)]
fn now() -> Instant {
    Instant::now()
}

/// One address of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Where.
    pub ip: IpAddr,
    /// The port, where an SRV record says it.
    pub port: Option<u16>,
    /// The share, where an SRV record says it: its weight in [`SHARES`].
    pub weight: Option<u32>,
}

/// Parts of one unit of weight, so that the addresses of one SRV record's host can share its weight.
pub const SHARES: u32 = 256;

impl Address {
    const fn plain(ip: IpAddr) -> Self {
        Self {
            ip,
            port: None,
            weight: None,
        }
    }

    /// The addresses of the host of an SRV record.
    fn of_service(service: &Service, host: &[Self]) -> impl Iterator<Item = Self> {
        let weight = u32::from(service.weight.max(1)) * SHARES;
        let each = weight / u32::try_from(host.len().max(1)).unwrap_or(u32::MAX);
        let port = Some(service.port).filter(|port| *port != 0);
        host.iter().map(move |address| Self {
            ip: address.ip,
            port,
            weight: Some(each.max(1)),
        })
    }

    /// The address with the port that it has where nothing else is said.
    pub fn socket(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(port))
    }
}

/// Addresses in an order of their own, each once: servers turn them round from answer to answer.
fn answer(mut addresses: Vec<Address>) -> Vec<Address> {
    addresses.sort();
    addresses.dedup();
    addresses
}

/// The addresses of a name. The same one is shared by all workers until they change.
#[derive(Debug, Default)]
pub struct Answer {
    /// In order, each once.
    pub addresses: Vec<Address>,
    /// Whether anybody used it since it was last looked at.
    used: AtomicBool,
}

impl Answer {
    const fn new(addresses: Vec<Address>) -> Self {
        Self {
            addresses,
            used: AtomicBool::new(false),
        }
    }

    /// Notes that it is used. Mostly it is known, and nothing is written.
    fn use_it(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    fn take_use(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

/// What metrics show.
#[derive(Debug, Default)]
pub struct Counts {
    /// Questions sent to servers.
    pub questions: AtomicU64,
    /// Look-ups that no server could answer.
    pub failures: AtomicU64,
    /// Of these, those after which an older answer stayed in use.
    pub stale: AtomicU64,
}

/// The resolver, shared by all workers.
#[derive(Clone)]
pub struct Resolver {
    letters: Sender<Letter>,
    counts: Arc<Counts>,
}

impl Resolver {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(settings: DnsSettings) -> std::io::Result<Self> {
        let counts = Arc::<Counts>::default();
        let letters = Directory::start(settings, Arc::clone(&counts))?;
        Ok(Self { letters, counts })
    }

    /// Keeps these names fresh, whether or not anybody uses them, and no others.
    pub fn watch(&self, hosts: BTreeSet<Box<str>>) {
        // The directory lives as long as the process.
        let _ = self.letters.send(Letter::Watch(hosts));
    }

    /// Every name that is known, in order.
    pub fn list(&self) -> Vec<Listed> {
        let (reply, list) = bounded(1);
        let _ = self.letters.send(Letter::List(reply));
        list.recv_timeout(settable::resolve_wait_s()).unwrap_or_default()
    }

    /// What was counted since start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// A name, as one worker knows it.
#[derive(Default)]
struct Name {
    answer: Arc<Answer>,
    wheel: Wheel,
    /// By address: until when it is passed over.
    paused: Vec<Moment>,
    /// When the directory is to be asked again, and until when the answer serves meanwhile.
    fresh: Moment,
    usable: Moment,
    asked: bool,
    answered: bool,
    waiting: Vec<Waker>,
}

impl Name {
    /// The next address, past those that failed lately where there are others.
    fn next(&mut self, now: Moment) -> Option<Address> {
        self.answer.use_it();
        let (wheel, paused) = (&mut self.wheel, &self.paused);
        let number = wheel
            .next(|number| paused[number] <= now)
            .or_else(|| wheel.next(|_| true))?;
        Some(self.answer.addresses[number])
    }

    fn take(&mut self, answer: Arc<Answer>, start: usize) {
        let known = |address: &Address| self.answer.addresses.binary_search(address).ok();
        let paused = answer.addresses.iter();
        self.paused = paused
            .map(|address| known(address).map_or(Moment::default(), |number| self.paused[number]))
            .collect();
        let weights = answer.addresses.iter().map(|address| address.weight.unwrap_or(1));
        self.wheel = Wheel::new(weights, start % answer.addresses.len().max(1));
        self.answer = answer;
    }
}

type Known = HashMap<Box<str>, Name, ahash::RandomState>;

thread_local! {
    static NAMES: RefCell<Known> = RefCell::default();
    /// Counts the changes of addresses that this worker was told.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    /// Which of a name's addresses is first here: workers do not all begin with the same.
    static START: usize = {
        static WORKERS: AtomicUsize = AtomicUsize::new(0);
        WORKERS.fetch_add(1, Ordering::Relaxed)
    };
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

    /// Where letters to this worker go.
    pub const fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// An address of a host name; one after the other when it has several. `None` when it has none, or when nobody
    /// knows within [`limits::RESOLVE_WAIT_S`]. Whoever has an answer, however old, does not wait.
    pub async fn resolve(&self, host: &str, port: u16) -> Option<SocketAddr> {
        let address = match self.poll(host, Waker::noop()) {
            Poll::Ready(address) => address,
            Poll::Pending => Box::pin(self.wait(host)).await,
        };
        Some(address?.socket(port))
    }

    /// The addresses of a host, as they were last told: `None` until they are. Asks for them when nobody has.
    pub fn known(&self, host: &str) -> Option<Arc<Answer>> {
        NAMES.with_borrow_mut(|names| {
            let name = self.asked(names, host);
            name.answered.then(|| Arc::clone(&name.answer))
        })
    }

    /// Counts the changes of any name's addresses that this worker was told.
    pub fn changes() -> u64 {
        CHANGES.get()
    }

    /// Passes an address of a host over for a while, as it failed. `port` is the one that was resolved with.
    pub fn failed(&self, host: &str, port: u16, address: worker::Address) {
        NAMES.with_borrow_mut(|names| {
            let Some(name) = names.get_mut(host) else { return };
            let until = clock::now() + Duration::from_secs(limits::ADDRESS_PAUSE_S);
            for (known, paused) in name.answer.addresses.iter().zip(&mut name.paused) {
                if address.ip() == Some(known.socket(port)) {
                    *paused = until;
                }
            }
        });
    }

    /// Another address of a host than `than`, one that did not fail lately. `None` where there is none, or nobody knows: it
    /// does not wait.
    pub fn another(&self, host: &str, port: u16, than: worker::Address) -> Option<SocketAddr> {
        NAMES.with_borrow_mut(|names| {
            let (now, name) = (clock::now(), self.asked(names, host));
            if now >= name.usable {
                return None;
            }
            let (addresses, paused) = (&name.answer.addresses, &name.paused);
            let is_other =
                |number: usize| paused[number] <= now && than.ip() != Some(addresses[number].socket(port));
            let number = name.wheel.next(is_other)?;
            Some(addresses[number].socket(port))
        })
    }

    async fn wait(&self, host: &str) -> Option<Address> {
        let patience = Deadline::on_waker();
        patience.arm_in(settable::resolve_wait_s());
        let answer = poll_fn(|context| self.poll(host, context.waker()));
        match race(answer, patience.wait()).await {
            First::Left(address) => address,
            First::Right(()) => {
                settable::reached(Limit::ResolveWaitS);
                Self::give_up(host);
                None
            }
        }
    }

    /// Nobody else waits for a name for a moment, nor does a retry: servers that are silent would hold every request.
    fn give_up(host: &str) {
        NAMES.with_borrow_mut(|names| {
            if let Some(name) = names.get_mut(host) {
                CHANGES.set(CHANGES.get() + 1);
                name.take(Arc::default(), 0);
                name.answered = true;
                name.usable = clock::now() + Duration::from_secs(limits::DNS_FAILED_S.into());
            }
        });
    }

    fn poll(&self, host: &str, waker: &Waker) -> Poll<Option<Address>> {
        NAMES.with_borrow_mut(|names| {
            let now = clock::now();
            let name = self.asked(names, host);
            if name.answered && now < name.usable {
                return Poll::Ready(name.next(now));
            }
            if !name.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
                name.waiting.push(waker.clone());
            }
            Poll::Pending
        })
    }

    /// A name, asked for if that is due.
    fn asked<'n>(&self, names: &'n mut Known, host: &str) -> &'n mut Name {
        // Looked for twice: a borrow that may be returned would forbid the insertion.
        if !names.contains_key(host) {
            names.insert(host.into(), Name::default());
        }
        let name = names.get_mut(host).expect("it was inserted if it was not there");
        if name.fresh <= clock::now() && !name.asked {
            name.asked = true;
            // The directory lives as long as the process.
            let _ = self.resolver.letters.send(Letter::Ask {
                host: host.into(),
                reply: self.mailbox.clone(),
            });
        }
        name
    }

    /// Takes what the directory says: an answer, for how long nobody needs to ask again, and for how long it serves.
    fn deliver(host: &str, answer: Arc<Answer>, fresh: Duration, usable: Duration) {
        let waiting = NAMES.with_borrow_mut(|names| {
            let Some(name) = names.get_mut(host) else {
                return Vec::new();
            };
            if !name.answered || name.answer.addresses != answer.addresses {
                CHANGES.set(CHANGES.get() + 1);
            }
            if !Arc::ptr_eq(&name.answer, &answer) {
                name.take(answer, START.with(|start| *start));
            }
            let now = clock::refresh();
            (name.fresh, name.usable) = (now + fresh, now + usable);
            name.asked = false;
            name.answered = true;
            std::mem::take(&mut name.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Forgets a name that was not used for long, unless somebody has just asked for it.
    fn forget(host: &str) {
        NAMES.with_borrow_mut(|names| {
            if names.get(host).is_some_and(|name| !name.asked) {
                names.remove(host);
            }
        });
    }
}
