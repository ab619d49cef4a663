//! Connections of one worker that further requests may use: idle ones, newest first, and shared ones.
//!
//! A connection is only used again for a request that could have opened it: the key holds everything that makes two
//! connections different. Before use it is asked once whether the peer closed it or sent something unasked: that would
//! be taken for the answer to the next request, and every client after it would get another's.

mod opening;
mod shelf;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;

use policy::table::{HttpVersion, ProxyProtocol};

use super::ConnectError;
use crate::limits;
use crate::multiplex::Multiplexed;
use crate::settable::{self, Limit};
use crate::tls::{Stream, StreamError};
use crate::wire::Wire;
use crate::worker::Address;
use crate::worker::clock::{self, Moment};
use crate::worker::{self, race, sleep};
use opening::Opening;
pub use opening::{Opener, Waiting};
pub use shelf::Shelf;

/// What makes two connections different.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where it leads.
    pub address: Address,
    /// Identity of the TLS configuration, and server name; `None` for plaintext.
    pub tls: Option<(u128, Arc<str>)>,
    /// What may be spoken.
    pub http: HttpVersion,
    /// For whom it was opened, where the server was told.
    pub behalf: Option<Behalf>,
}

/// For whom a connection was opened that begins with a PROXY header: what such a header can say follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Behalf {
    /// How it was said.
    pub version: ProxyProtocol,
    /// Number of the client's connection.
    pub connection: u64,
    /// The client's address.
    pub client: Option<u128>,
}

struct Idle {
    stream: Stream,
    since: Moment,
    requests: u32,
}

/// A connection taken from the pool or newly opened, with its history.
pub struct Leased {
    /// The connection, or a stream of one.
    pub wire: Wire,
    /// Requests it has served before.
    pub requests: u32,
}

/// The idle connections of one worker.
#[derive(Default)]
pub struct Pool {
    idle: HashMap<Key, Vec<Idle>, ahash::RandomState>,
    count: usize,
    shared: HashMap<Key, Vec<Multiplexed>, ahash::RandomState>,
    opening: HashMap<Key, Vec<Weak<Opening>>, ahash::RandomState>,
    shelf: Arc<Shelf>,
}

/// What there is where no connection could be taken.
pub enum Missing {
    /// One is on its way, of which a stream may be had.
    Awaited(Waiting),
    /// One must be opened.
    Wanted(Opener),
}

impl Pool {
    /// A stream of a shared connection, or the newest idle connection for a key that is still good, or one that another
    /// worker does not need.
    pub fn take(&mut self, key: &Key) -> Option<Leased> {
        if key.http != HttpVersion::Http1
            && let Some(shared) = self.shared.get(key)
            && let Some(handle) = shared.iter().find_map(Multiplexed::open)
        {
            return Some(Leased {
                wire: Wire::Frames(handle),
                requests: 1,
            });
        }
        while let Some(idle) = self.idle.get_mut(key).and_then(Vec::pop) {
            self.count -= 1;
            let fresh = clock::now() - idle.since < settable::upstream_idle_s();
            if !fresh {
                settable::reached(Limit::UpstreamIdleS);
            }
            if fresh && !idle.stream.conn().is_stale() {
                return Some(Leased {
                    wire: Wire::Bytes(idle.stream),
                    requests: idle.requests,
                });
            }
        }
        self.adopt(key)
    }

    /// What to do when nothing could be taken: open a connection, or wait for one that is being opened, which `may_wait`
    /// allows. To be asked once for each connection that is opened.
    pub fn missing(&mut self, key: &Key, may_wait: bool) -> Missing {
        // A server that chose HTTP/1.1 before will again: there is nothing to share.
        if key.http == HttpVersion::Http1 || self.idle.contains_key(key) {
            return Missing::Wanted(Opener::default());
        }
        let list = self.opening.entry(key.clone()).or_default();
        list.retain(|opening| opening.strong_count() > 0);
        let found = list.iter().filter_map(Weak::upgrade).find(|it| it.has_room());
        match found {
            Some(opening) if may_wait => Missing::Awaited(Waiting::on(opening)),
            _ => {
                let opener = Opener::default();
                list.push(opener.watched());
                Missing::Wanted(opener)
            }
        }
    }

    /// Makes the first use of a new connection; those who wait for it share it once the server has said how.
    ///
    /// # Errors
    /// [`ConnectError::Tls`] when only HTTP/2 is wanted and the server did not agree to it.
    pub fn start(&mut self, key: &Key, stream: Stream, opener: Opener) -> Result<Leased, ConnectError> {
        let refused = ConnectError::Tls(StreamError::Tls);
        let agreed = stream.tls().and_then(|tls| tls.alpn_protocol());
        let http2 = match key.http {
            HttpVersion::Http1 => false,
            HttpVersion::Http2 if stream.tls().is_none() || agreed == Some(b"h2") => true,
            HttpVersion::Http2 => {
                opener.failed(refused);
                return Err(refused);
            }
            HttpVersion::Negotiated => agreed == Some(b"h2"),
        };
        let wire = if http2 {
            let connection = Multiplexed::connect(stream);
            let handle = connection.open().ok_or(refused)?;
            let settling = connection.clone();
            worker::spawn(async move {
                // A server that says nothing gets its one stream, and others their own connections.
                let patience = sleep(Duration::from_millis(limits::H2_SETTINGS_MS));
                race(settling.settled(), patience).await;
                drop(opener);
            });
            self.shared.entry(key.clone()).or_default().push(connection);
            Wire::Frames(handle)
        } else {
            if key.http == HttpVersion::Negotiated {
                self.idle.entry(key.clone()).or_default();
            }
            Wire::Bytes(stream)
        };
        Ok(Leased { wire, requests: 0 })
    }

    /// Keeps a connection for later, unless it is worn out. When there are enough, the one that idles longest makes
    /// room: a server that nobody asks any more must not keep the busy ones' places.
    pub fn give(&mut self, key: &Key, leased: Leased) {
        let requests = leased.requests + 1;
        let Wire::Bytes(stream) = leased.wire else {
            return;
        };
        if requests >= settable::upstream_requests() {
            return settable::reached(Limit::UpstreamRequests);
        }
        if self.count >= settable::upstream_idle() {
            settable::reached(Limit::UpstreamIdle);
            self.close_oldest();
        }
        stream.conn().disarm();
        let idle = Idle {
            stream,
            since: clock::now(),
            requests,
        };
        match self.idle.get_mut(key) {
            Some(list) => list.push(idle),
            None => {
                self.idle.insert(key.clone(), vec![idle]);
            }
        }
        self.count += 1;
    }

    /// Closes what was opened on behalf of a client's connection, which has ended.
    pub fn forget(&mut self, connection: u64) {
        let is_of = |key: &Key| key.behalf.is_some_and(|behalf| behalf.connection == connection);
        let count = &mut self.count;
        self.idle.retain(|key, list| {
            let gone = is_of(key);
            *count -= if gone { list.len() } else { 0 };
            !gone
        });
        self.shared.retain(|key, _| !is_of(key));
        self.opening.retain(|key, _| !is_of(key));
    }

    fn close_oldest(&mut self) {
        // Each list is in the order of its connections' last use.
        let oldest = self
            .idle
            .values_mut()
            .filter(|list| !list.is_empty())
            .min_by_key(|list| list[0].since);
        if let Some(list) = oldest {
            list.remove(0);
            self.count -= 1;
        }
    }

    /// Closes what has been idle too long. To be called now and then.
    pub fn sweep(&mut self) {
        let now = clock::now();
        let mut count = 0;
        self.idle.retain(|_, list| {
            list.retain(|idle| {
                let fresh = now - idle.since < settable::upstream_idle_s();
                if !fresh {
                    settable::reached(Limit::UpstreamIdleS);
                }
                fresh
            });
            count += list.len();
            !list.is_empty()
        });
        self.count = count;
        self.opening.retain(|_, list| {
            list.retain(|opening| opening.strong_count() > 0);
            !list.is_empty()
        });
        self.shared.retain(|_, list| {
            list.retain(|connection| !connection.is_spent());
            !list.is_empty()
        });
    }

    /// Idle connections that are not shared.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}
