//! Finds a connection, sends the request, and waits for the response head; tries again where that is safe.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use policy::table::{Id, Service};

use super::body::push_chunk;
use super::place::Place;
use super::record::{CLIENT_LEFT, Try};
use super::refusal::Refusal;
use super::request::Sending;
use super::{Exchange, Vanished};
use crate::http::body::BodyStep;
use crate::http::h1::chunked;
use crate::http::h1::response::ResponseDecoder;
use crate::http::h2::hpack;
use crate::http::head::Version;
use crate::http::outgoing::OutgoingHeaders;
use crate::limits;
use crate::snapshot::Endpoint;
use crate::telemetry::counter::Tally;
use crate::tls::StreamError;
use crate::upstream::pool::{Key, Leased};
use crate::upstream::retry::{Progress, may_retry};
use crate::upstream::{self, ConnectError};
use crate::wire::{Wire, WireAborter};
use crate::worker::clock::Moment;
use crate::worker::{Buffer, ConnError, First, clock, race};

/// A connection to an upstream that carries this exchange.
pub(super) struct Leg {
    pub(super) key: Key,
    pub(super) leased: Leased,
    /// Received and not yet used.
    pub(super) input: Buffer,
}

/// How a try failed.
enum Failure {
    /// The client is gone.
    Vanished,
    /// The upstream failed: the refusal if no other try is made.
    Upstream { refusal: Refusal, progress: Progress },
}

impl Failure {
    /// With what the stream knows: a request that the upstream did not look at may be sent again, whatever it asks for.
    fn of(mut self, leg: &mut Leg) -> Self {
        let refused = leg
            .leased
            .wire
            .frames()
            .is_some_and(|frames| frames.was_refused());
        if let (Self::Upstream { progress, .. }, true) = (&mut self, refused) {
            progress.sent = false;
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
            let Some(place) = Place::choose(endpoint, &epoch, key, &tried) else {
                return self.refuse(Refusal::NoTarget).await;
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
        found: &mut Option<(SocketAddr, Moment)>,
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
            None => names.resolve(&server.host, server.port).await,
        };
        let address = address.ok_or(failed(Refusal::Unresolved, progress))?;
        *found = Some((address, clock::now()));
        let mut leg = self.lease(endpoint, place, address).await.map_err(|error| {
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
            Ok(()) => self.receive_head(&mut leg, endpoint, sending, progress).await,
            Err(failure) => Err(failure),
        };
        match answered {
            Ok(()) => Ok(leg),
            Err(failure) => Err(failure.of(&mut leg)),
        }
    }

    async fn lease(
        &self,
        endpoint: &Endpoint,
        place: &Place<'_>,
        address: SocketAddr,
    ) -> Result<Leg, ConnectError> {
        let tls = endpoint
            .tls
            .as_ref()
            .map(|tls| (tls.identity, Arc::clone(place.name)));
        let key = Key {
            address,
            tls,
            http2: endpoint.http2,
        };
        let pooled = self.context.pool.borrow_mut().take(&key);
        let leased = match pooled {
            Some(leased) => leased,
            None => {
                let tls = endpoint.tls.as_ref().map(|tls| (tls, &**place.name));
                // Boxed: few exchanges connect, all would carry the memory.
                let stream = Box::pin(upstream::connect(address, tls, endpoint.connect)).await?;
                self.context.pool.borrow_mut().start(&key, stream)?
            }
        };
        Ok(Leg {
            key,
            leased,
            input: Buffer::empty(),
        })
    }

    /// Sends head and body. The body streams through; when the upstream answers before it has ended, sending stops.
    async fn send_request(
        &mut self,
        leg: &mut Leg,
        endpoint: &Endpoint,
        sending: &Sending,
        output: &mut Buffer,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        if let (Wire::Frames(client), Wire::Frames(upstream)) = (&self.client.wire, &leg.leased.wire)
            && !sending.whole
            && !self.body.is_ended()
        {
            // Both sides may go on talking while the other answers.
            progress.body_consumed = true;
            if std::mem::take(&mut self.owes_continue) {
                client.send_head(false, |out| hpack::encode::status(100, out));
            }
            client.pass_on(upstream, Rc::clone(self.uploaded.get_or_insert_default()));
            return Ok(());
        }
        let wire = &mut leg.leased.wire;
        let mut ended = sending.whole;
        if sending.whole {
            output.extend_from_slice(&self.scratch.body);
        }
        loop {
            if !ended {
                let before = output.len();
                ended = self.take_body(sending, output)?;
                progress.body_consumed |= output.len() > before;
            }
            if let (true, Some(frames)) = (ended, wire.frames()) {
                frames.end();
            }
            if !output.is_empty() || ended {
                wire.arm(endpoint.write);
                let sent = wire.write_all(output).await;
                wire.disarm();
                if let Err(error) = sent {
                    // What was sent may have been answered: a refused upload often is.
                    let answered = wire.frames().is_some_and(|frames| frames.is_answered());
                    if !answered && (ended || !progress.body_consumed) {
                        return Err(upstream_failure(error, *progress));
                    }
                    return Ok(());
                }
            }
            if ended {
                return Ok(());
            }
            if self.await_body(wire).await? == Early::Answer {
                self.keep_alive = false;
                return Ok(());
            }
        }
    }

    /// Moves body bytes that have arrived to the upstream's buffer; whether the body has ended.
    fn take_body(&mut self, sending: &Sending, output: &mut Buffer) -> Result<bool, Failure> {
        let mut done = 0;
        loop {
            let input = &self.client.input[done..];
            match self.body.advance(input) {
                Ok(BodyStep::Data { start, end }) => {
                    let data = &input[start..end];
                    if sending.chunked {
                        push_chunk(data, output);
                    } else {
                        output.extend_from_slice(data);
                    }
                    done += end;
                }
                Ok(BodyStep::More) => {
                    self.client.input.clear();
                    return Ok(false);
                }
                Ok(BodyStep::End { consumed }) => {
                    self.client.input.consume(done + consumed);
                    if sending.chunked {
                        output.extend_from_slice(chunked::LAST_CHUNK);
                    }
                    return Ok(true);
                }
                Err(_) => {
                    self.keep_alive = false;
                    let progress = Progress {
                        tries: u32::MAX,
                        sent: true,
                        body_consumed: true,
                        response_began: false,
                        reused: false,
                    };
                    return Err(Failure::Upstream {
                        refusal: Refusal::Malformed(400),
                        progress,
                    });
                }
            }
        }
    }

    /// Waits for more of the body, or for an answer that comes before its end.
    async fn await_body(&mut self, upstream: &Wire) -> Result<Early, Failure> {
        if self.owes_continue {
            self.read_body_bytes()
                .await
                .map_err(|_vanished| Failure::Vanished)?;
            return Ok(Early::Body);
        }
        self.client.wire.arm(Duration::from_secs(limits::CLIENT_BODY_S));
        let first = race(self.client.wire.readable(), upstream.readable()).await;
        self.client.wire.disarm();
        match first {
            First::Left(Ok(())) => {
                self.read_body_bytes()
                    .await
                    .map_err(|_vanished| Failure::Vanished)?;
                Ok(Early::Body)
            }
            First::Left(Err(_)) => Err(Failure::Vanished),
            First::Right(_) => Ok(Early::Answer),
        }
    }

    /// Waits for the final response head.
    async fn receive_head(
        &mut self,
        leg: &mut Leg,
        endpoint: &Endpoint,
        sending: &Sending,
        progress: Progress,
    ) -> Result<(), Failure> {
        let Some(frames) = leg.leased.wire.frames() else {
            return self.read_head(leg, endpoint, sending, progress).await;
        };
        frames.arm(endpoint.read);
        let aborter = WireAborter::Frames(frames.aborter());
        let scratch = &mut *self.scratch;
        scratch.response_received.clear();
        let response = frames.response(
            scratch.head.method,
            &mut scratch.response_received,
            &mut scratch.response,
        );
        match self.client.watched(response, aborter).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_malformed)) => Err(Failure::Upstream {
                refusal: Refusal::Upstream(502),
                progress: Progress {
                    response_began: true,
                    ..progress
                },
            }),
            Err(Lost::Client) => Err(Failure::Vanished),
            Err(Lost::Upstream(error)) => Err(upstream_failure(error, progress)),
        }
    }

    /// Reads until the final head is there.
    async fn read_head(
        &mut self,
        leg: &mut Leg,
        endpoint: &Endpoint,
        sending: &Sending,
        mut progress: Progress,
    ) -> Result<(), Failure> {
        let mut decoder = ResponseDecoder::default();
        loop {
            if !leg.input.is_empty() {
                progress.response_began = true;
                let method = self.scratch.head.method;
                match decoder.decode(&leg.input, method, &mut self.scratch.response) {
                    // Nobody asked for this protocol: what follows would be read as answers to other requests.
                    Ok(Some(_))
                        if self.scratch.response.status == 101 && !self.switches(sending, &leg.input) =>
                    {
                        let refusal = Refusal::Upstream(502);
                        return Err(Failure::Upstream { refusal, progress });
                    }
                    Ok(Some(length)) if self.scratch.response.is_interim() => {
                        self.pass_interim(&leg.input[..length])
                            .await
                            .map_err(|_vanished| Failure::Vanished)?;
                        leg.input.consume(length);
                        continue;
                    }
                    Ok(Some(length)) => {
                        self.scratch.response_received.clear();
                        self.scratch
                            .response_received
                            .extend_from_slice(&leg.input[..length]);
                        leg.input.consume(length);
                        return Ok(());
                    }
                    Ok(None) => {}
                    Err(_) => {
                        let refusal = Refusal::Upstream(502);
                        return Err(Failure::Upstream { refusal, progress });
                    }
                }
            }
            self.read_upstream(leg, endpoint)
                .await
                .map_err(|lost| match lost {
                    Lost::Client => Failure::Vanished,
                    Lost::Upstream(error) => upstream_failure(error, progress),
                })?;
        }
    }

    /// Passes an interim head on, as RFC 9110 §15.2 asks: all but 100, which is between us and the upstream, and not to
    /// HTTP/1.0, which knows none.
    async fn pass_interim(&mut self, received: &[u8]) -> Result<(), Vanished> {
        let response = &self.scratch.response;
        if response.status == 100 || self.scratch.head.version == Version::Http10 {
            return Ok(());
        }
        // The exchange's own list is the request's, which may be sent again.
        let mut list = OutgoingHeaders::default();
        let fields = list.start_response(response.headers.on(received), received);
        self.client.interim(response.status, &fields);
        self.send().await
    }

    /// Appends what the upstream sends.
    pub(super) async fn read_upstream(&mut self, leg: &mut Leg, endpoint: &Endpoint) -> Result<usize, Lost> {
        if leg.input.capacity() == 0 {
            leg.input = Buffer::take();
        }
        let wire = &mut leg.leased.wire;
        wire.arm(endpoint.read);
        let aborter = wire.aborter();
        self.client.watched(wire.read(&mut leg.input), aborter).await
    }
}

/// What came first while a body was awaited.
#[derive(PartialEq, Eq)]
enum Early {
    Body,
    Answer,
}

/// Who was lost.
pub(super) enum Lost {
    /// The client.
    Client,
    /// The upstream.
    Upstream(StreamError),
}

fn upstream_failure(error: StreamError, progress: Progress) -> Failure {
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
