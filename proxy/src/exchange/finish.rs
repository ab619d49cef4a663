//! The end of an exchange: counts it and writes it down, as its policy says.

use std::time::Duration;

use policy::isa::Entry;
use policy::table::{Id, Log, Metrics};

use super::Exchange;
use super::record::{CLIENT_LEFT, Source};
use crate::telemetry::counter::{self, Groups, Request, Tally};
use crate::worker::clock;

/// Where the time of an exchange went.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// In the gateway.
    pub(super) own: Duration,
    /// Until the upstream's response head; `None` when not proxied.
    pub(super) waited: Option<Duration>,
    /// From that head to the end.
    pub(super) receiving: Duration,
    /// All of it.
    pub(super) total: Duration,
}

impl Exchange<'_> {
    /// Ends the exchange. `complete` is whether the client got everything.
    pub(super) fn finish(&mut self, complete: bool) {
        if !complete && self.record.status == 0 {
            self.record.status = CLIENT_LEFT;
            self.record.headless = true;
        }
        if let Some(uploaded) = &self.uploaded {
            self.record
                .received(usize::try_from(uploaded.get()).unwrap_or(usize::MAX));
        }
        self.settle_model();
        self.run(Entry::End);
        let times = self.times();
        let mut counted = false;
        let effects = *self.scratch.state.effects();
        for effect in effects.iter() {
            if let Some(id) = effect.id::<Metrics>() {
                counted |= self.count(id, &times);
            } else if let Some(id) = effect.id::<Log>() {
                self.write_log(id, &times);
            }
        }
        if !counted {
            self.tally();
        }
    }

    fn times(&self) -> Times {
        let (record, end) = (&self.record, clock::now());
        let total = end - record.began;
        let answered = record.answered.unwrap_or(end);
        let proxied = record.tries.iter().any(Option::is_some);
        let waited = proxied.then(|| answered - record.forwarded.unwrap_or(answered));
        let receiving = match record.source {
            Source::Upstream => end - answered,
            Source::Gateway => Duration::ZERO,
        };
        let own = total.saturating_sub(waited.unwrap_or_default() + receiving);
        Times {
            own,
            waited,
            receiving,
            total,
        }
    }

    /// Counts an exchange on a route; false when it has none.
    fn count(&self, metrics: Id<Metrics>, times: &Times) -> bool {
        let (snapshot, record) = (&self.epoch.snapshot, &self.record);
        let Some(route) = self.scratch.state.route.filter(|_| record.subroute.is_some()) else {
            return false;
        };
        let row = snapshot.policy.get(metrics);
        let groups = Groups {
            per_consumer: row.per_consumer,
            status_code: row.status_code,
            latency: row.latency,
            bandwidth: row.bandwidth,
            ai: row.ai,
        };
        let request = Request {
            route: snapshot.reports.route(route),
            consumer: self
                .scratch
                .state
                .consumer
                .and_then(|consumer| snapshot.reports.consumer(consumer)),
            code: record.status,
            source: record.source.into(),
            kong: times.own,
            upstream: times.waited,
            request: times.total,
            ingress_bytes: record.received_bytes,
            egress_bytes: record.sent_bytes,
        };
        self.context.instruments.recorder.request(&request, groups);
        if let Some(call) = groups.ai.then(|| self.finished_call(times)).flatten() {
            let recorder = &self.context.instruments.recorder;
            let consumer = request.consumer;
            let model = recorder.model(call.provider, call.model);
            recorder.call(
                &counter::Call {
                    model,
                    consumer,
                    mode: call.mode,
                    prompt_tokens: call.used.prompt,
                    completion_tokens: call.used.completion,
                    cost_micros: call.cost,
                    provider: call.latency,
                },
                groups,
            );
        }
        true
    }

    /// Counts what no metrics plugin counts.
    fn tally(&self) {
        let (record, recorder) = (&self.record, &self.context.instruments.recorder);
        if !record.sought {
            recorder.tally(Tally::Malformed);
            recorder.tally(Tally::Requests);
        } else if record.subroute.is_none() {
            recorder.unmatched(record.status);
        } else {
            recorder.tally(Tally::Requests);
        }
    }
}

impl From<Source> for counter::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Gateway => Self::Gateway,
            Source::Upstream => Self::Upstream,
        }
    }
}
