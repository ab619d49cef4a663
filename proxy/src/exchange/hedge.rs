//! Makes a second try while the first one is silent for long, and takes the answer that comes first.
//!
//! Enters: a try whose request was sent. Leaves: the try whose answer's head is here, or the failure of the last one. The other
//! one is cancelled: its connection closes, or its stream is reset, so that a late answer reaches nobody. What is waited for
//! beside another are polls, which may be dropped. What may not be, a connection that is being opened and a head that is being
//! sent, ends in a task of its own. A head is read by [`receive`](super::receive), once bytes of it have come.

use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Exchange;
use super::connect::connect;
use super::context::Context;
use super::forward::{Attempt, Errand, Failure, Leg, upstream_failure};
use super::record::Outcome;
use crate::limits;
use crate::snapshot::Endpoint;
use crate::telemetry::counter::Tally;
use crate::tls::StreamError;
use crate::upstream::ConnectError;
use crate::upstream::pool::Key;
use crate::wire::{Wire, WireAborter};
use crate::worker::{self, Buffer, First, is_closing, race, sleep, take_turn};

/// What a try does.
struct Runner {
    /// Goes on without the exchange, until that has to do something.
    step: Pin<Box<dyn Future<Output = Step>>>,
    give_up: GiveUp,
    /// Whether it is the second try that does it.
    second: bool,
}

/// What a try came to.
enum Step {
    /// A connection, or none.
    Opened(Result<Leg, ConnectError>),
    /// The request was sent, or could not be.
    Sent(Leg, Result<(), StreamError>),
    /// The first bytes of an answer came, or the end without any.
    Heard(Leg, Result<(), StreamError>),
}

/// How a step is given up.
enum GiveUp {
    /// It is dropped, and the connection with it.
    Drop,
    /// It ends by this, and is awaited: a write may not be dropped.
    Abort(WireAborter),
    /// It goes on: a connection to a target is of use to others.
    Finish,
}

/// The time for a second try.
type Due = Pin<Box<dyn Future<Output = ()>>>;

/// What came first.
enum Event {
    Due,
    /// A step of the one try.
    One(Step),
    /// A step of the one beside it.
    Other(Step),
}

/// How a try goes on.
enum Advanced {
    On(Runner),
    /// The head of its answer is here.
    Answered(Leg),
    Failed(Failure),
}

impl Exchange<'_> {
    /// Whether a second try may be made beside the one that is made. Never of a model call, which is paid for each time.
    pub(super) fn may_hedge(&mut self, errand: &Errand<'_>) -> bool {
        errand.endpoint.hedge_after.is_some()
            && !errand.hedged
            && errand.sending.upgrade.is_none()
            && self.is_idempotent()
            && self.body.is_ended()
            && self.scratch.body.is_empty()
            && !self.client.wire.frames().is_some_and(|it| it.has_trailers())
            && self.model_row().is_none()
    }

    /// Waits for the answer to a request that was sent, and sends it once more when that takes long. `first` becomes the try
    /// that answered, or the last one that failed; what the other one teaches is taken in.
    pub(super) async fn hedge<'s>(
        &mut self,
        errand: &mut Errand<'s>,
        first: &mut Attempt<'s>,
        leg: Leg,
    ) -> Result<Leg, Failure> {
        let patience = errand.endpoint.hedge_after.unwrap_or_default();
        let mut due: Option<Due> = Some(Box::pin(sleep(patience)));
        let mut runner = Runner::waiting(leg, errand.endpoint, false);
        let (mut second, mut other, mut made) = (None, None, false);
        loop {
            let event = next(&mut runner, &mut other, due.as_mut());
            let step = match self.client.stays_for(event).await {
                Some(Event::One(step)) => step,
                Some(Event::Other(step)) => {
                    if let Some(other) = &mut other {
                        std::mem::swap(&mut runner, other);
                    }
                    step
                }
                Some(Event::Due) => {
                    due = None;
                    (second, other) = self.second_try(errand, first).unzip();
                    made = second.is_some();
                    continue;
                }
                None => {
                    runner.give_up(self.context);
                    self.hedge_abandoned(errand, second.as_ref(), other, made);
                    return Err(Failure::Vanished);
                }
            };
            let is_second = runner.second;
            let attempt = match &mut second {
                Some(second) if is_second => second,
                _ => &mut *first,
            };
            match self.advance(errand, attempt, is_second, step).await {
                Advanced::On(on) => runner = on,
                Advanced::Answered(leg) => {
                    if let (Some(second), true) = (&mut second, is_second) {
                        std::mem::swap(first, second);
                    }
                    let won = first.hedge;
                    self.tally_hedge(made, if won { Tally::HedgesWon } else { Tally::HedgesLost });
                    if let Some((loser, runner)) = second.zip(other) {
                        self.cancel(&loser, runner);
                    }
                    return Ok(leg);
                }
                Advanced::Failed(Failure::Vanished) => {
                    self.hedge_abandoned(errand, second.as_ref(), other, made);
                    return Err(Failure::Vanished);
                }
                Advanced::Failed(failure) => {
                    let Some(left) = other.take() else {
                        self.tally_hedge(made, Tally::HedgesFailed);
                        return Err(failure);
                    };
                    self.attempt_failed(errand, attempt, &failure);
                    errand.beside = failure.progress();
                    // What the failed one held is given back at once.
                    if let (Some(second), false) = (second.take(), is_second) {
                        *first = second;
                    }
                    runner = left.alone();
                }
            }
        }
    }

    /// The second try, where there is somewhere to make it and the budget for it.
    fn second_try<'s>(
        &mut self,
        errand: &mut Errand<'s>,
        first: &Attempt<'s>,
    ) -> Option<(Attempt<'s>, Runner)> {
        errand.hedged = true;
        // What a drain ends is not begun once more.
        if is_closing() {
            return None;
        }
        let Some((place, address)) = self.elsewhere(errand, first) else {
            self.tally_hedge(true, Tally::HedgesNowhere);
            return None;
        };
        if !self.context.retries.spend() {
            self.tally_hedge(true, Tally::HedgesRefused);
            return None;
        }
        errand.tries += 1;
        let mut attempt = Attempt::new(place, errand.tries, true);
        self.note_attempt(&mut attempt, address);
        let key = self.pool_key(errand.endpoint, &attempt.place, address, false);
        let pooled = self.context.pool.borrow_mut().take(&key);
        let runner = match pooled {
            Some(leased) => self.send_head(errand, &mut attempt, Leg::new(key, leased), true),
            None => self.open(errand, &attempt, key),
        };
        Some((attempt, runner))
    }

    /// Opens a connection for the second try. What this needs is held, since it may outlive the exchange.
    fn open(&self, errand: &Errand<'_>, attempt: &Attempt<'_>, key: Key) -> Runner {
        let (context, epoch) = (Rc::clone(self.context), Rc::clone(errand.epoch));
        let (service, name) = (errand.service, Arc::clone(attempt.place.name));
        let announcement = self.announcement(errand.endpoint);
        let step = async move {
            let endpoint = &epoch.snapshot.endpoints[service.index()];
            let (tls, _) = endpoint.spoken(false);
            let tls = tls.map(|tls| (tls, &*name));
            let leased = connect(&context.pool, &key, &announcement, tls, endpoint.connect).await;
            Step::Opened(leased.map(|leased| Leg::new(key, leased)))
        };
        Runner {
            step: Box::pin(step),
            give_up: GiveUp::Finish,
            second: true,
        }
    }

    /// Sends the request; it has no body.
    fn send_head(
        &mut self,
        errand: &Errand<'_>,
        attempt: &mut Attempt<'_>,
        mut leg: Leg,
        second: bool,
    ) -> Runner {
        attempt.progress.reused = leg.leased.requests > 0;
        attempt.progress.sent = true;
        let mut output = Buffer::take();
        self.write_head(attempt.place.authority, &errand.sending, &mut leg, &mut output);
        leg.leased.wire.arm(errand.endpoint.write);
        let give_up = GiveUp::Abort(leg.leased.wire.aborter());
        let step = async move {
            let sent = leg.leased.wire.write_all(&mut output).await;
            Step::Sent(leg, sent)
        };
        Runner {
            step: Box::pin(step),
            give_up,
            second,
        }
    }

    /// Goes on after a step of a try.
    async fn advance(
        &mut self,
        errand: &Errand<'_>,
        attempt: &mut Attempt<'_>,
        second: bool,
        step: Step,
    ) -> Advanced {
        let endpoint = errand.endpoint;
        let (mut leg, failure) = match step {
            Step::Opened(Ok(leg)) => return Advanced::On(self.send_head(errand, attempt, leg, second)),
            Step::Opened(Err(error)) => return Advanced::Failed(self.not_connected(attempt, error)),
            Step::Sent(mut leg, sent) => {
                let answered = leg.leased.wire.frames().is_some_and(|it| it.is_answered());
                match sent {
                    Err(error) if !answered => (leg, upstream_failure(error, attempt.progress)),
                    _ => return Advanced::On(Runner::waiting(leg, endpoint, second)),
                }
            }
            Step::Heard(leg, Err(error)) => (leg, upstream_failure(error, attempt.progress)),
            Step::Heard(mut leg, Ok(())) => {
                leg.leased.wire.disarm();
                let (sending, progress) = (&errand.sending, attempt.progress);
                match self.receive_head(&mut leg, endpoint, sending, progress).await {
                    Ok(()) => return Advanced::Answered(leg),
                    Err(failure) => (leg, failure),
                }
            }
        };
        Advanced::Failed(failure.of(&mut leg, false))
    }

    /// Lets go of a try, since the other one has answered. That says nothing about how its target is.
    fn cancel(&mut self, attempt: &Attempt<'_>, runner: Runner) {
        attempt.place.cancelled(attempt.took());
        self.record.ended(attempt.noted, Outcome::Cancelled);
        runner.give_up(self.context);
    }

    /// The client has left: whatever still runs ends.
    fn hedge_abandoned(
        &mut self,
        errand: &mut Errand<'_>,
        second: Option<&Attempt<'_>>,
        other: Option<Runner>,
        made: bool,
    ) {
        if let Some(second) = second {
            self.attempt_failed(errand, second, &Failure::Vanished);
        }
        if let Some(other) = other {
            other.give_up(self.context);
        }
        self.tally_hedge(made, Tally::HedgesAbandoned);
    }

    /// Counts what became of a second try, if one was `due`.
    fn tally_hedge(&self, due: bool, tally: Tally) {
        if due {
            self.context.instruments.recorder.tally(tally);
        }
    }
}

/// Waits for what comes first. May be dropped.
async fn next(runner: &mut Runner, other: &mut Option<Runner>, due: Option<&mut Due>) -> Event {
    let beside = async {
        match (other, due) {
            (Some(other), _) => Event::Other((&mut other.step).await),
            (None, Some(due)) => {
                due.await;
                Event::Due
            }
            (None, None) => pending().await,
        }
    };
    match race(&mut runner.step, beside).await {
        First::Left(step) => Event::One(step),
        First::Right(event) => event,
    }
}

impl Runner {
    /// Waits for the answer to a request that was sent.
    fn waiting(mut leg: Leg, endpoint: &Endpoint, second: bool) -> Self {
        leg.leased.wire.arm(endpoint.read);
        let step = async move {
            let heard = leg.heard().await;
            Step::Heard(leg, heard)
        };
        Self {
            step: Box::pin(step),
            give_up: GiveUp::Drop,
            second,
        }
    }

    /// The other try has failed.
    fn alone(self) -> Self {
        Self {
            second: false,
            ..self
        }
    }

    fn give_up(self, context: &Rc<Context>) {
        let step = self.step;
        match self.give_up {
            GiveUp::Drop => {}
            GiveUp::Abort(aborter) => {
                aborter.abort();
                worker::spawn(async move { drop(step.await) });
            }
            GiveUp::Finish => {
                let context = Rc::clone(context);
                worker::spawn(async move {
                    // One that was opened on behalf of a client may outlive it.
                    if let Step::Opened(Ok(leg)) = step.await
                        && leg.key.behalf.is_none()
                    {
                        keep(leg, &context).await;
                    }
                });
            }
        }
    }
}

/// Gives a connection that nobody used to the pool. Tickets that come behind its handshake are taken first: one on which
/// something has come would not be used.
async fn keep(mut leg: Leg, context: &Context) {
    if leg.key.tls.is_some() && !leg.leased.wire.is_shared() {
        let tickets = sleep(Duration::from_millis(limits::TICKETS_MS));
        if let First::Left(_) = race(leg.heard(), tickets).await {
            return;
        }
        leg.input = Buffer::empty();
    }
    context.pool.borrow_mut().give(&leg.key, leg.leased);
}

impl Leg {
    /// Waits for the first bytes of an answer, or an end without any. May be dropped. What TLS says of itself, such as
    /// tickets behind a handshake, is no answer.
    async fn heard(&mut self) -> Result<(), StreamError> {
        loop {
            self.leased.wire.readable().await?;
            let Wire::Bytes(stream) = &mut self.leased.wire else {
                return Ok(());
            };
            stream.duplex().try_read(&mut self.input)?;
            if !self.input.is_empty() {
                return Ok(());
            }
            take_turn().await;
        }
    }
}
