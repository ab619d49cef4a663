//! Every name that this node uses: what is known of it, who is told, and when it is looked up again.
//!
//! One thread owns it all; look-ups run on others. An answer is refreshed before its time ends while its name is in
//! use, so that no worker waits for it; when servers fail, the older answer stays for a bounded time (RFC 8767), and
//! when they say that a name has nothing, it has nothing. Kong's times (3.9) where it has any.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::lookup::{Finder, Outcome};
use super::message::Kind;
use super::settings::DnsSettings;
use super::transport::Transport;
use super::{Address, Answer, Counts, Names, now};
use crate::limits;
use crate::settable::{self, Limit};
use crate::worker::Mailbox;

/// What the directory is told and asked.
pub(super) enum Letter {
    /// A worker needs a name, and is told of it from now on.
    Ask {
        /// The name.
        host: Box<str>,
        /// Where it is told.
        reply: Mailbox,
    },
    /// These names, and no others, are kept fresh whether or not anybody uses them.
    Watch(BTreeSet<Box<str>>),
    /// A look-up has ended.
    Done(Box<str>, Outcome),
    /// What is known.
    List(Sender<Vec<Listed>>),
}

/// A name, as operators see it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name.
    pub name: Box<str>,
    /// The type of record that it has, if it has any.
    pub kind: Option<Kind>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Since a server, or the hosts file, last said so; `None` before.
    pub age: Option<Duration>,
    /// For how long that was to be used.
    pub ttl: Duration,
    /// Look-ups that failed since.
    pub failures: u32,
}

/// What is known of one name.
struct Entry {
    answer: Arc<Answer>,
    kind: Option<Kind>,
    told: Vec<Mailbox>,
    /// When it was last answered, and for how long.
    answered: Option<Instant>,
    ttl: Duration,
    /// Until when the answer serves, though nobody confirms it.
    usable: Instant,
    /// Until when nobody needs to ask.
    fresh: Instant,
    /// When it is to be looked at again.
    due: Instant,
    /// When it was last seen to be used.
    used: Instant,
    running: bool,
    watched: bool,
    failures: u32,
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self {
            answer: Arc::default(),
            kind: None,
            told: Vec::new(),
            answered: None,
            ttl: Duration::ZERO,
            usable: now,
            fresh: now,
            due: now,
            used: now,
            running: false,
            watched: false,
            failures: 0,
        }
    }

    /// Tells one worker.
    fn tell(&self, host: &str, reply: &Mailbox, now: Instant) {
        let (host, answer): (Box<str>, _) = (host.into(), Arc::clone(&self.answer));
        let fresh = self.fresh.saturating_duration_since(now);
        let usable = self.usable.saturating_duration_since(now);
        reply.send(move || Names::deliver(&host, answer, fresh, usable));
    }

    /// Whether it is to be known before anybody asks again.
    fn wanted(&mut self, now: Instant) -> bool {
        if self.answer.take_use() {
            self.used = now;
        }
        let in_use = !self.answer.addresses.is_empty() && now - self.used < in_use();
        self.watched || in_use
    }

    /// When nobody can need it any more.
    fn end(&self) -> Instant {
        self.usable.max(self.used + in_use())
    }
}

const fn in_use() -> Duration {
    Duration::from_secs(limits::DNS_IN_USE_S)
}

const fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds as u64)
}

/// What the directory's thread owns.
pub(super) struct Directory {
    settings: Arc<DnsSettings>,
    counts: Arc<Counts>,
    names: BTreeMap<Box<str>, Entry>,
    jobs: Sender<Job>,
    finders: Finders,
    /// Look-ups that run or wait for a thread.
    running: usize,
}

type Job = (Box<str>, Option<Kind>);

/// The threads that look up.
struct Finders {
    settings: Arc<DnsSettings>,
    transport: Arc<Transport>,
    jobs: Receiver<Job>,
    done: Sender<Letter>,
    count: usize,
}

impl Finders {
    fn start_one(&mut self) -> std::io::Result<()> {
        let mut finder = Finder::new(Arc::clone(&self.settings), Arc::clone(&self.transport));
        let (jobs, done) = (self.jobs.clone(), self.done.clone());
        std::thread::Builder::new()
            .name(format!("resolver-{}", self.count))
            .spawn(move || {
                for (host, last) in jobs {
                    let found = catch_unwind(AssertUnwindSafe(|| finder.find(&host, last)));
                    // The directory lives as long as the process.
                    let _ = done.send(Letter::Done(host, found.unwrap_or(Outcome::Failed)));
                }
            })?;
        self.count += 1;
        Ok(())
    }
}

impl Directory {
    /// Starts its thread, and a first one that looks up.
    pub(super) fn start(settings: DnsSettings, counts: Arc<Counts>) -> std::io::Result<Sender<Letter>> {
        let (letters, inbox) = unbounded();
        let (jobs, waiting) = unbounded();
        let settings = Arc::new(settings);
        let mut finders = Finders {
            settings: Arc::clone(&settings),
            transport: Arc::new(Transport::new(Arc::clone(&counts))),
            jobs: waiting,
            done: letters.clone(),
            count: 0,
        };
        finders.start_one()?;
        let mut directory = Self {
            settings,
            counts,
            names: BTreeMap::new(),
            jobs,
            finders,
            running: 0,
        };
        std::thread::Builder::new()
            .name("names".to_owned())
            .spawn(move || directory.serve(&inbox))?;
        Ok(letters)
    }

    fn serve(&mut self, inbox: &Receiver<Letter>) {
        loop {
            let due = self
                .names
                .values()
                .filter(|entry| !entry.running)
                .map(|entry| entry.due);
            let wait = due
                .min()
                .map_or(in_use(), |due| due.saturating_duration_since(now()));
            match inbox.recv_timeout(wait) {
                Ok(letter) => self.open(letter, now()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.tend(now());
        }
    }

    fn open(&mut self, letter: Letter, now: Instant) {
        match letter {
            Letter::Ask { host, reply } => self.ask(host, reply, now),
            Letter::Watch(hosts) => self.watch(&hosts, now),
            Letter::Done(host, outcome) => self.done(&host, outcome, now),
            Letter::List(reply) => {
                // Who asked may have given up.
                let _ = reply.send(self.list(now));
            }
        }
    }

    fn ask(&mut self, host: Box<str>, reply: Mailbox, now: Instant) {
        let entry = self.names.entry(host.clone()).or_insert_with(|| Entry::new(now));
        entry.used = now;
        if now < entry.fresh {
            entry.tell(&host, &reply, now);
        }
        let must_look = now >= entry.fresh && !entry.running;
        if !entry.told.iter().any(|told| told.is(&reply)) {
            entry.told.push(reply);
        }
        if must_look {
            self.look_up(&host);
        }
    }

    fn watch(&mut self, hosts: &BTreeSet<Box<str>>, now: Instant) {
        for (host, entry) in &mut self.names {
            entry.watched = hosts.contains(host);
        }
        for host in hosts {
            if !self.names.contains_key(host) {
                let entry = Entry {
                    watched: true,
                    ..Entry::new(now)
                };
                self.names.insert(host.clone(), entry);
            }
        }
    }

    fn look_up(&mut self, host: &str) {
        let Some(entry) = self.names.get_mut(host) else {
            return;
        };
        entry.running = true;
        self.running += 1;
        // A thread that cannot be started is done without: the others take one name after the other.
        if self.running > self.finders.count {
            if self.finders.count < settable::resolver_threads() {
                let _ = self.finders.start_one();
            } else {
                settable::reached(Limit::ResolverThreads);
            }
        }
        let _ = self.jobs.send((host.into(), entry.kind));
    }

    fn done(&mut self, host: &str, outcome: Outcome, now: Instant) {
        self.running -= 1;
        let Some(entry) = self.names.get_mut(host) else {
            return;
        };
        entry.running = false;
        match outcome {
            Outcome::Found(addresses, kind, ttl_s) => {
                let bounded = seconds(ttl_s.clamp(limits::DNS_TTL_MIN_S, limits::DNS_TTL_MAX_S));
                let ttl = self.settings.valid_ttl.unwrap_or(bounded);
                // Who has this answer already keeps it, and what it learnt about the addresses.
                if addresses != entry.answer.addresses {
                    entry.answer = Arc::new(Answer::new(addresses));
                }
                (entry.kind, entry.answered, entry.ttl) = (Some(kind), Some(now), ttl);
                (entry.fresh, entry.usable) = (now + ttl, now + ttl + self.settings.stale_ttl);
                entry.due = now + ttl * 9 / 10;
                entry.failures = 0;
            }
            Outcome::Nothing(ttl_s) => {
                let ttl = seconds(ttl_s.clamp(limits::DNS_TTL_MIN_S, limits::DNS_NOT_FOUND_S));
                entry.answer = Arc::default();
                (entry.kind, entry.answered, entry.ttl) = (None, Some(now), ttl);
                (entry.fresh, entry.usable, entry.due) = (now + ttl, now + ttl, now + ttl);
                entry.failures = 0;
            }
            Outcome::Failed => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                entry.failures = entry.failures.saturating_add(1);
                entry.fresh = now + seconds(limits::DNS_FAILED_S);
                entry.due = entry.fresh;
                if entry.answer.addresses.is_empty() || now >= entry.usable {
                    entry.answer = Arc::default();
                    entry.usable = entry.fresh;
                } else if entry.answered.is_none_or(|answered| now >= answered + entry.ttl) {
                    self.counts.stale.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        for reply in &entry.told {
            entry.tell(host, reply, now);
        }
    }

    /// Looks up what is due and wanted, and forgets what nobody has used for long.
    fn tend(&mut self, now: Instant) {
        let mut wanted = Vec::new();
        self.names.retain(|host, entry| {
            if entry.running || entry.due > now {
                return true;
            }
            if entry.wanted(now) {
                wanted.push(host.clone());
                return true;
            }
            entry.due = entry.end();
            if entry.due > now {
                return true;
            }
            for reply in &entry.told {
                let host = host.clone();
                reply.send(move || Names::forget(&host));
            }
            false
        });
        for host in wanted {
            self.look_up(&host);
        }
    }

    fn list(&self, now: Instant) -> Vec<Listed> {
        let listed = self.names.iter().map(|(name, entry)| Listed {
            name: name.clone(),
            kind: entry.kind,
            addresses: entry.answer.addresses.clone(),
            age: entry.answered.map(|answered| now - answered),
            ttl: entry.ttl,
            failures: entry.failures,
        });
        listed.collect()
    }
}
