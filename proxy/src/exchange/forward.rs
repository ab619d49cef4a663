//! Finds a connection and makes a try on it, another where that is safe: [`send`](super::send) sends the request, and
//! [`receive`](super::receive) waits for the response head.

use std::rc::Rc;
use std::sync::Arc;

use policy::table::{Id, Service};

use super::place::Place;
use super::record::{CLIENT_LEFT, Try};
use super::refusal::Refusal;
use super::request::Sending;
use super::{Exchange, Vanished};
use crate::http::h1::response::ResponseDecoder;
use crate::limits;
use crate::snapshot::Endpoint;
use crate::telemetry::counter::Tally;
use crate::tls::{ClientTls, StreamError};
use crate::upstream::pool::{Key, Leased, Missing};
use crate::upstream::retry::{Progress, may_retry};
use crate::upstream::{self, ConnectError};
use crate::worker::clock::Moment;
use crate::worker::{Address, Buffer, ConnError, clock};

/// A connection to an upstream that carries this exchange.
pub(super) struct Leg {
    pub(super) key: Key,
    pub(super) leased: Leased,
    /// Reads heads that come as lines, and counts the interim ones.
    pub(super) decoder: ResponseDecoder,
    /// Received and not yet used.
    pub(super) input: Buffer,
}

/// How a try failed.
pub(super) enum Failure {
    /// The client is gone.
    Vanished,
    /// The upstream failed: the refusal if no other try is made.
    Upstream { refusal: Refusal, progress: Progress },
}

impl Failure {
    /// With what the stream knows: a request that the upstream did not look at may be sent again, whatever it asks for. And
    /// whether a part of its body was passed on beside the exchange.
    fn of(mut self, leg: &mut Leg, passed_on: bool) -> Self {
        let refused = leg
            .leased
            .wire
            .frames()
            .is_some_and(|frames| frames.was_refused());
        if let Self::Upstream { progress, .. } = &mut self {
            progress.sent &= !refused;
            progress.body_consumed |= passed_on;
        }
        self
    }

    /// The status that the log has for the try: 499 when it was the client that left.
    const fn status(&self) -> u16 {
        match self {
            Self::Vanished => CLIENT_LEFT,
            Self::Upstream {
                refusal: Refusal::Upstream(status) | Refusal::Malformed(status),
                ..
            } => *status,
            Self::Upstream { .. } => 502,
        }
    }
}

impl Exchange<'_> {
    pub(super) async fn forward(&mut self) -> Result<(), Vanished> {
        let Some(service) = self.service() else {
            return self.refuse(Refusal::NoService).await;
        };
        let epoch = Rc::clone(&self.epoch);
        let endpoint = &epoch.snapshot.endpoints[service.index()];
        let sending = match self.write_request(endpoint) {
            Ok(sending) => sending,
            Err(refusal) => return self.refuse(refusal).await,
        };
        let key = endpoint.upstream.map_or(0, |upstream| self.hash_key(upstream));
        let mut tried = [usize::MAX; limits::TARGETS_TRIED];
        let mut tries = 0;
        self.context.retries.earn();
        loop {
            tries += 1;
            let place = match self.place(endpoint, &epoch, key, &tried).await? {
                Ok(place) => place,
                Err(refusal) => return self.refuse(refusal).await,
            };
            let began = (clock::now(), clock::unix_now_ns());
            let mut found = None;
            let result = self.attempt(endpoint, &place, &sending, tries, &mut found).await;
            if let Some((address, found)) = found {
                self.record.tried(Try {
                    address,
                    began_unix_ns: began.1,
                    took_ns: u64::try_from((found - began.0).as_nanos()).unwrap_or(0),
                    failed: result.as_ref().err().map(Failure::status),
                });
            }
            let took = clock::now() - began.0;
            match result {
                Ok(leg) => {
                    place.answered(self.scratch.response.status, took);
                    self.stick(endpoint, &place);
                    return self.relay(leg, endpoint).await;
                }
                Err(Failure::Vanished) => return Err(Vanished),
                Err(Failure::Upstream { refusal, progress }) => {
                    // That a kept connection was closed meanwhile says nothing about the target.
                    if !progress.reused {
                        place.failed(refusal, took, &mut tried);
                    }
                    let idempotent = self.is_idempotent();
                    let may = may_retry(progress, idempotent, endpoint.retries);
                    if !(may && (progress.reused || self.may_spend_retry())) {
                        if progress.body_consumed {
                            self.keep_alive = false;
                        }
                        return self.refuse(refusal).await;
                    }
                }
            }
        }
    }

    /// Whether the worker makes another try. One on a new connection, because a kept one was closed, is no burden.
    fn may_spend_retry(&self) -> bool {
        let may = self.context.retries.spend();
        if !may {
            self.context.instruments.recorder.tally(Tally::RetriesRefused);
        }
        may
    }

    /// The service of the route, or of the model that the request calls.
    fn service(&self) -> Option<Id<Service>> {
        let policy = &self.epoch.snapshot.policy;
        match self.model_row() {
            Some(model) => Some(policy.get(model).service),
            None => policy.get(self.scratch.state.route?).service,
        }
    }

    /// Whether what goes to the upstream may be sent twice.
    fn is_idempotent(&self) -> bool {
        match self.record.method.as_deref() {
            Some(edited) => matches!(
                edited,
                b"GET" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"TRACE"
            ),
            None => self.scratch.head.method.is_idempotent(),
        }
    }

    async fn attempt(
        &mut self,
        endpoint: &Endpoint,
        place: &Place<'_>,
        sending: &Sending,
        tries: u32,
        found: &mut Option<(Address, Moment)>,
    ) -> Result<Leg, Failure> {
        let mut progress = Progress {
            tries,
            sent: false,
            body_consumed: false,
            response_began: false,
            reused: false,
        };
        let failed = |refusal, progress| Failure::Upstream { refusal, progress };
        let (server, names) = (place.server, &self.context.names);
        let address = match place.address {
            Some(address) => Some(address),
            None => names.resolve(&server.host, server.port).await.map(Address::Ip),
        };
        let address = address.ok_or(failed(Refusal::Unresolved, progress))?;
        *found = Some((address, clock::now()));
        let mut leg = self
            .lease(endpoint, place, address, sending.upgrade.is_some())
            .await
            .map_err(|error| {
                names.failed(&server.host, server.port, address);
                let refusal = match error {
                    ConnectError::Refused(StreamError::Conn(ConnError::TimedOut)) => Refusal::Upstream(504),
                    _ => Refusal::Upstream(502),
                };
                failed(refusal, progress)
            })?;
        progress.reused = leg.leased.requests > 0;
        progress.sent = true;
        self.record.forwarded = Some(clock::now());
        let mut output = Buffer::take();
        self.write_head(place.authority, sending, &mut leg, &mut output);
        let sent = self
            .send_request(&mut leg, endpoint, sending, &mut output, &mut progress)
            .await;
        drop(output);
        let answered = match sent {
            Ok(true) => Ok(()),
            Ok(false) => self.receive_head(&mut leg, endpoint, sending, progress).await,
            Err(failure) => Err(failure),
        };
        match answered {
            Ok(()) => Ok(leg),
            Err(failure) => {
                let passed_on = self.uploaded.as_ref().is_some_and(|bytes| bytes.get() > 0);
                Err(failure.of(&mut leg, passed_on))
            }
        }
    }

    /// Opens a connection, or waits for a stream of one that another exchange opens.
    async fn connect(
        &self,
        endpoint: &Endpoint,
        tls: Option<&ClientTls>,
        place: &Place<'_>,
        key: &Key,
    ) -> Result<Leased, ConnectError> {
        let (pool, mut waits) = (&self.context.pool, 0);
        let opener = loop {
            let missing = pool.borrow_mut().missing(key, waits < limits::H2_WAITS);
            match missing {
                Missing::Wanted(opener) => break opener,
                Missing::Awaited(waiting) => waiting.wait().await?,
            }
            waits += 1;
            let shared = pool.borrow_mut().take(key);
            if let Some(leased) = shared {
                return Ok(leased);
            }
        };
        let tls = tls.map(|tls| (tls, &**place.name));
        let announcement = self.announcement(endpoint);
        match upstream::connect(key.address, &announcement, tls, endpoint.connect).await {
            Ok(stream) => pool.borrow_mut().start(key, stream, opener),
            Err(error) => {
                opener.failed(error);
                Err(error)
            }
        }
    }

    async fn lease(
        &self,
        endpoint: &Endpoint,
        place: &Place<'_>,
        address: Address,
        upgrades: bool,
    ) -> Result<Leg, ConnectError> {
        let (tls, http) = endpoint.spoken(upgrades);
        let key = Key {
            address,
            tls: tls.map(|tls| (tls.identity, Arc::clone(place.name))),
            http,
            behalf: self.behalf(endpoint),
        };
        let pooled = self.context.pool.borrow_mut().take(&key);
        let leased = match pooled {
            Some(leased) => leased,
            // Boxed: few exchanges connect, all would carry the memory.
            None => Box::pin(self.connect(endpoint, tls, place, &key)).await?,
        };
        Ok(Leg {
            key,
            leased,
            decoder: ResponseDecoder::default(),
            input: Buffer::empty(),
        })
    }
}

pub(super) fn upstream_failure(error: StreamError, progress: Progress) -> Failure {
    let timed_out = error == StreamError::Conn(ConnError::TimedOut);
    // A server that is slow did not close the connection: it may be at work on the request.
    let progress = Progress {
        reused: progress.reused && !timed_out,
        ..progress
    };
    Failure::Upstream {
        refusal: Refusal::Upstream(if timed_out { 504 } else { 502 }),
        progress,
    }
}
