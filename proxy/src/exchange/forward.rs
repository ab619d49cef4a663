//! Finds a connection and makes a try on it, another where that is safe: [`send`](super::send) sends the request, and
//! [`receive`](super::receive) waits for the response head.

use std::rc::Rc;
use std::time::Duration;

use policy::table::{Id, Service};

use super::place::Place;
use super::record::{CLIENT_LEFT, Outcome, Try};
use super::refusal::Refusal;
use super::request::Sending;
use super::{Exchange, Vanished};
use crate::http::h1::response::ResponseDecoder;
use crate::limits;
use crate::snapshot::{Endpoint, Epoch};
use crate::telemetry::counter::Tally;
use crate::tls::StreamError;
use crate::upstream::pool::{Key, Leased};
use crate::upstream::retry::{Progress, may_retry};
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

impl Leg {
    pub(super) fn new(key: Key, leased: Leased) -> Self {
        Self {
            key,
            leased,
            decoder: ResponseDecoder::default(),
            input: Buffer::empty(),
        }
    }
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
    pub(super) fn of(mut self, leg: &mut Leg, passed_on: bool) -> Self {
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

    /// How far the try came, unless the client is gone.
    pub(super) const fn progress(&self) -> Option<Progress> {
        match self {
            Self::Vanished => None,
            Self::Upstream { progress, .. } => Some(*progress),
        }
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

/// What the tries of one request have in common.
pub(super) struct Errand<'s> {
    pub(super) epoch: &'s Rc<Epoch>,
    pub(super) service: Id<Service>,
    pub(super) endpoint: &'s Endpoint,
    pub(super) sending: Sending,
    /// What the request is hashed on.
    pub(super) key: u64,
    /// Tries made.
    pub(super) tries: u32,
    /// Targets that failed.
    pub(super) tried: [usize; limits::TARGETS_TRIED],
    /// How far one came that failed beside the last one.
    pub(super) beside: Option<Progress>,
    /// Whether a second try was due while a first one was waited for. It is made once.
    pub(super) hedged: bool,
}

/// A try: where it goes, since when, and how far it came.
pub(super) struct Attempt<'s> {
    pub(super) place: Place<'s>,
    pub(super) began: Moment,
    pub(super) began_unix_ns: u64,
    pub(super) progress: Progress,
    /// Whether it is made while an earlier one is still waited for.
    pub(super) hedge: bool,
    /// Where it goes, once that is known.
    pub(super) address: Option<Address>,
    /// Its number in the record.
    pub(super) noted: Option<usize>,
}

impl<'s> Attempt<'s> {
    /// One that begins now, of so many.
    pub(super) fn new(place: Place<'s>, tries: u32, hedge: bool) -> Self {
        Self {
            place,
            began: clock::now(),
            began_unix_ns: clock::unix_now_ns(),
            progress: Progress {
                tries,
                sent: false,
                body_consumed: false,
                response_began: false,
                reused: false,
            },
            hedge,
            address: None,
            noted: None,
        }
    }

    /// How long ago it began.
    pub(super) fn took(&self) -> Duration {
        clock::now() - self.began
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
        let mut errand = Errand {
            epoch: &epoch,
            service,
            endpoint,
            sending,
            key: endpoint.upstream.map_or(0, |upstream| self.hash_key(upstream)),
            tries: 0,
            tried: [usize::MAX; limits::TARGETS_TRIED],
            beside: None,
            hedged: false,
        };
        self.context.retries.earn();
        loop {
            errand.tries += 1;
            let place = match self.place(&errand).await? {
                Ok(place) => place,
                Err(refusal) => return self.refuse(refusal).await,
            };
            let mut attempt = Attempt::new(place, errand.tries, false);
            let result = self.attempt(&mut errand, &mut attempt).await;
            if let Err(failure) = &result {
                self.attempt_failed(&mut errand, &attempt, failure);
            }
            match result {
                Ok(leg) => {
                    attempt
                        .place
                        .answered(self.scratch.response.status, attempt.took());
                    self.stick(endpoint, &attempt.place);
                    return self.relay(leg, endpoint).await;
                }
                Err(Failure::Vanished) => return Err(Vanished),
                Err(Failure::Upstream { refusal, progress }) => {
                    let progress = errand.beside.take().map_or(progress, |it| progress.and(it));
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

    /// Makes a try. Where another one is made meanwhile and answers first, `attempt` becomes that one. One function: each level
    /// of futures would carry the connection once more.
    async fn attempt<'s>(
        &mut self,
        errand: &mut Errand<'s>,
        attempt: &mut Attempt<'s>,
    ) -> Result<Leg, Failure> {
        let endpoint = errand.endpoint;
        let (server, names) = (attempt.place.server, &self.context.names);
        let address = match attempt.place.address {
            Some(address) => Some(address),
            None => names.resolve(&server.host, server.port).await.map(Address::Ip),
        };
        let address = address.ok_or(Failure::Upstream {
            refusal: Refusal::Unresolved,
            progress: attempt.progress,
        })?;
        self.note_attempt(attempt, address);
        let upgrades = errand.sending.upgrade.is_some();
        let leased = self.lease(endpoint, &attempt.place, address, upgrades).await;
        let mut leg = leased.map_err(|error| self.not_connected(attempt, error))?;
        attempt.progress.reused = leg.leased.requests > 0;
        attempt.progress.sent = true;
        self.record.forwarded = Some(clock::now());
        let mut output = Buffer::take();
        self.write_head(attempt.place.authority, &errand.sending, &mut leg, &mut output);
        let (sending, progress) = (&errand.sending, &mut attempt.progress);
        let sent = self
            .send_request(&mut leg, endpoint, sending, &mut output, progress)
            .await;
        drop(output);
        let answered = match sent {
            Ok(true) => Ok(()),
            // Boxed: few exchanges may be hedged, all would carry the memory.
            Ok(false) if self.may_hedge(errand) => {
                return Box::pin(self.hedge(errand, attempt, leg)).await;
            }
            Ok(false) => {
                let progress = attempt.progress;
                self.receive_head(&mut leg, endpoint, &errand.sending, progress)
                    .await
            }
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

    /// Writes a try down, once its address is known.
    pub(super) fn note_attempt(&mut self, attempt: &mut Attempt<'_>, address: Address) {
        attempt.address = Some(address);
        attempt.noted = self.record.tried(Try {
            address,
            began_unix_ns: attempt.began_unix_ns,
            took_ns: u64::try_from(attempt.took().as_nanos()).unwrap_or(0),
            outcome: Outcome::Answered,
            hedge: attempt.hedge,
        });
    }

    /// Takes in what a failed try teaches.
    pub(super) fn attempt_failed(
        &mut self,
        errand: &mut Errand<'_>,
        attempt: &Attempt<'_>,
        failure: &Failure,
    ) {
        self.record
            .ended(attempt.noted, Outcome::Failed(failure.status()));
        // That a kept connection was closed meanwhile says nothing about the target.
        if let Failure::Upstream { refusal, progress } = failure
            && !progress.reused
        {
            attempt.place.failed(*refusal, attempt.took(), &mut errand.tried);
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
    pub(super) fn is_idempotent(&self) -> bool {
        match self.record.method.as_deref() {
            Some(edited) => matches!(
                edited,
                b"GET" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"TRACE"
            ),
            None => self.scratch.head.method.is_idempotent(),
        }
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
