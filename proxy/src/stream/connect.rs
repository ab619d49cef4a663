//! Finding a server for a session: targets, tries, and what they teach about the targets.

use policy::table::{Algorithm, HashOn, Id, Upstream};
use xxhash_rust::xxh3::xxh3_64;

use super::Session;
use crate::downstream::proxy_protocol::write::{Header, write};
use crate::exchange::hash_of_client;
use crate::limits;
use crate::snapshot::{Endpoint, Epoch, Selection, Server};
use crate::telemetry::access_log::{LogTry, LostTry};
use crate::tls::{Stream, StreamError};
use crate::upstream::health::Seen;
use crate::upstream::{self, ConnectError};
use crate::worker::{Address, ConnError, clock};

/// nginx's statuses of a session without a server.
const NO_SERVER: u16 = 503;
const UNREACHABLE: u16 = 502;

/// Where a try goes. A target carries the try for as long as this lives, or what it leaves.
struct Place<'s> {
    server: &'s Server,
    /// Where; `None` while its name is not known.
    address: Option<Address>,
    /// What TLS asks for.
    name: &'s str,
    target: Option<(Id<Upstream>, Selection)>,
}

impl<'s> Place<'s> {
    /// Waits where the upstream lets requests wait. `None` when there is none to be had.
    async fn choose(endpoint: &'s Endpoint, epoch: &'s Epoch, key: u64, tried: &[usize]) -> Option<Self> {
        let Some(id) = endpoint.upstream else {
            return Some(Self {
                server: &endpoint.server,
                address: endpoint.server.literal,
                name: &endpoint.server.host,
                target: None,
            });
        };
        let selection = match epoch.choose(id, key, tried) {
            Ok(selection) => selection,
            // Boxed: few sessions wait, all would carry the memory.
            Err(missed) => Box::pin(epoch.wait(id, key, tried, missed)).await.ok()?,
        };
        let upstream = &epoch.snapshot.upstreams[id.index()];
        let server = &upstream.targets[selection.peer.target].server;
        let header = upstream.host_header.as_ref();
        Some(Self {
            server,
            address: selection.peer.address,
            name: header.map_or(&server.host, |(_, name)| name),
            target: Some((id, selection)),
        })
    }

    /// Counts what a try saw, when anybody checks.
    fn saw(&self, epoch: &Epoch, seen: Option<Seen>) {
        if let (Some((upstream, selection)), Some(seen)) = (&self.target, seen) {
            epoch.saw(*upstream, &selection.peer, seen);
        }
    }
}

impl Session<'_> {
    /// A connection to the service, and what counts the session among those of its target. Nothing was sent yet, so every try
    /// may be followed by another.
    ///
    /// # Errors
    /// The session's status.
    pub(super) async fn connect(
        &mut self,
        epoch: &Epoch,
        endpoint: &Endpoint,
    ) -> Result<(Stream, Option<Selection>), u16> {
        let key = endpoint.upstream.map_or(0, |upstream| self.hash_key(upstream));
        let mut tried = [usize::MAX; limits::TARGETS_TRIED];
        let mut tries = 0;
        loop {
            tries += 1;
            let place = Place::choose(endpoint, epoch, key, &tried)
                .await
                .ok_or(NO_SERVER)?;
            let began = clock::now();
            let last = tries > endpoint.retries;
            match self.attempt(endpoint, &place, last).await {
                Ok(duplex) => {
                    place.saw(epoch, Some(Seen::Connection));
                    if let Some((_, selection)) = &place.target {
                        selection.choice.hold.answered(clock::now() - began);
                    }
                    return Ok((duplex, place.target.map(|(_, selection)| selection)));
                }
                Err((status, seen)) => {
                    place.saw(epoch, seen);
                    if let Some((_, selection)) = &place.target {
                        selection.choice.hold.failed(clock::now() - began);
                        if let Some(mark) = tried.iter_mut().find(|mark| **mark == usize::MAX) {
                            *mark = selection.choice.number;
                        }
                    }
                    if last {
                        return Err(status);
                    }
                }
            }
        }
    }

    /// One try: the status if it is the last, and what it says about the target.
    async fn attempt(
        &mut self,
        endpoint: &Endpoint,
        place: &Place<'_>,
        last: bool,
    ) -> Result<Stream, (u16, Option<Seen>)> {
        let (began, began_unix_ns) = (clock::now(), clock::unix_now_ns());
        let (server, names) = (place.server, &self.context.names);
        let address = match place.address {
            Some(address) => Some(address),
            None => names.resolve(&server.host, server.port).await.map(Address::Ip),
        };
        // A name without an address is not the target's failure.
        let address = address.ok_or((NO_SERVER, None))?;
        let took = clock::now() - began;
        let announcement = self.announcement(endpoint);
        let opened = open(endpoint, address, &announcement, place.name).await;
        if opened.is_err() {
            names.failed(&server.host, server.port, address);
        }
        let made = LogTry {
            address,
            began_unix_ns,
            took_ns: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
            lost: match (&opened, last) {
                (Ok(_), _) => None,
                (Err(_), true) => Some(LostTry::Failed(UNREACHABLE)),
                (Err(_), false) => Some(LostTry::Next(UNREACHABLE)),
            },
            hedge: false,
        };
        self.record.tried(made);
        opened.map_err(|error| {
            let seen = match error {
                StreamError::Conn(ConnError::TimedOut) => Seen::Timeout,
                _ => Seen::Failure,
            };
            (UNREACHABLE, Some(seen))
        })
    }

    /// The PROXY header of the session's connection; empty where the service wants none.
    fn announcement(&self, endpoint: &Endpoint) -> Vec<u8> {
        let client = self.source.address.map(|client| (client, self.source.port));
        let header = Header {
            client,
            local: self.local,
            tls: self.record.header_tls(),
        };
        let mut bytes = Vec::new();
        write(endpoint.proxy_protocol, &header, &mut bytes);
        bytes
    }

    /// What consistent hashing reads of a session: the client's address is all that there is.
    fn hash_key(&self, upstream: Id<Upstream>) -> u64 {
        let row = self.policy().get(upstream);
        let by_address = [row.hash_on, row.hash_fallback].contains(&HashOn::Ip);
        match row.algorithm {
            Algorithm::ConsistentHashing if by_address => hash_of_client(self.source.address),
            Algorithm::ConsistentHashing => xxh3_64(b""),
            _ => 0,
        }
    }
}

async fn open(
    endpoint: &Endpoint,
    address: Address,
    announcement: &[u8],
    name: &str,
) -> Result<Stream, StreamError> {
    let tls = endpoint.tls.as_ref().map(|tls| (tls, name));
    let opened = upstream::connect(address, announcement, tls, endpoint.connect).await;
    opened.map_err(|error| match error {
        ConnectError::Refused(error) | ConnectError::Tls(error) => error,
        ConnectError::Unresolved => StreamError::Conn(ConnError::Closed),
    })
}
