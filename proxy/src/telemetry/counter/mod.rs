//! Counters of requests and model calls: each worker adds to its own, a scrape adds them up.
//!
//! Services, routes, consumers and models get numbers when a snapshot is made ready; recording an exchange is then
//! a few additions at known places, without hashing, allocation or a locked instruction (a consumer's own series,
//! which are off by default, cost one multiplicative hash). Everything is bounded; what exceeds a bound is counted
//! under the label [`OVERFLOW`], never lost. Absent: text, which `prometheus` writes.

mod cell;
mod grid;
mod names;
mod series;
mod session;
mod sum;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use crate::limits;
use cell::{Codes, Counter, Histogram};
use grid::Grid;
use names::Names;
use series::{Kind, Series, SeriesKey};
use session::SessionRow;

pub use cell::HistogramSum;
pub use session::{Session, SessionSum};
pub use sum::{Code, ModelSum, ModelUsage, RouteSum, Sums};

/// Label of what a bound leaves no room for.
pub const OVERFLOW: &str = "overflow";

/// Kong's upper bounds for its own latency, in milliseconds.
pub const KONG_LATENCY_MS: [u32; 17] = [
    1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000,
];
/// Kong's upper bounds for upstream and request latency, in milliseconds.
pub const LATENCY_MS: [u32; 13] = [
    25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10_000, 30_000, 60_000,
];
/// Kong's upper bounds for a provider's latency, in milliseconds.
pub const PROVIDER_LATENCY_MS: [u32; 14] = [
    250, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 10_000, 30_000, 60_000,
];

/// A service and a route in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteNumber(u32);

/// A consumer in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerNumber(u32);

/// A provider and a model in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelNumber(u32);

/// Who made a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The upstream: `service` in metrics, `upstream` in the log.
    Upstream,
    /// The gateway: `kong` in both.
    Gateway,
}

/// How a model was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// One answer.
    Oneshot,
    /// A stream of events.
    Stream,
    /// A session.
    Realtime,
}

/// Which groups of metrics an exchange is counted in: the prometheus plugin's configuration, all off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// `per_consumer`
    pub per_consumer: bool,
    /// `status_code_metrics`
    pub status_code: bool,
    /// `latency_metrics`
    pub latency: bool,
    /// `bandwidth_metrics`
    pub bandwidth: bool,
    /// `ai_metrics`
    pub ai: bool,
}

/// An exchange on a route.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Its service and route.
    pub route: RouteNumber,
    /// Who sent it.
    pub consumer: Option<ConsumerNumber>,
    /// Status sent.
    pub code: u16,
    /// Who made the response.
    pub source: Source,
    /// Spent in the gateway.
    pub kong: Duration,
    /// Waited for the upstream's response head; `None` when not proxied.
    pub upstream: Option<Duration>,
    /// From the first byte in to the last byte out.
    pub request: Duration,
    /// Bytes received from the client.
    pub ingress_bytes: u64,
    /// Bytes sent to it.
    pub egress_bytes: u64,
}

/// A call of a model.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Provider and model.
    pub model: ModelNumber,
    /// Who called.
    pub consumer: Option<ConsumerNumber>,
    /// How.
    pub mode: Mode,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the completion.
    pub completion_tokens: u64,
    /// Millionths of the currency.
    pub cost_micros: u64,
    /// Until the provider's response was complete.
    pub provider: Duration,
}

impl Recorder {
    /// Labels of a model that only a request names. Takes a lock: for model calls alone.
    pub fn model(&self, provider: &str, model: &str) -> ModelNumber {
        self.counters.model(provider, model)
    }
}

/// Counts of a worker that have no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Exchanges, on a route or not.
    Requests,
    /// Client connections accepted.
    ConnectionsAccepted,
    /// Client connections closed.
    ConnectionsClosed,
    /// TLS handshakes that failed.
    HandshakesFailed,
    /// Connections of trusted peers without the PROXY header that they should send.
    ProxyHeadersRefused,
    /// Tasks that panicked; each closed its connection.
    Panics,
    /// Requests refused before a route was looked for: malformed, too large, too slow.
    Malformed,
    /// Tries that the retry budget did not allow.
    RetriesRefused,
    /// HTTP/2 streams refused because the worker had as many exchanges as it takes.
    StreamsRefused,
    /// Times accepting paused: for want of descriptors or memory, since the process uses too much, or since the worker has as
    /// many connections as it takes.
    AcceptPaused,
    /// Connections to stream listeners that no route fits.
    SessionsUnmatched,
    /// Requests turned away because the worker was late.
    ShedLate,
    /// Requests turned away because the process used too much memory.
    ShedMemory,
    /// Hedges that answered.
    HedgesWon,
    /// Hedges that the first try answered before.
    HedgesLost,
    /// Hedges that failed as the first try did.
    HedgesFailed,
    /// Hedges whose client left.
    HedgesAbandoned,
    /// Hedges that were not made: no other target was free and healthy.
    HedgesNowhere,
    /// Hedges that were not made: the retry budget did not allow them.
    HedgesRefused,
}

/// How many [`Tally`] there are.
const TALLIES: usize = 19;

/// All counters of the process.
#[derive(Debug)]
pub struct Counters {
    workers: Box<[CachePadded<WorkerCounters>]>,
    names: NameLists,
}

#[derive(Debug)]
#[expect(
    clippy::disallowed_types,
    reason = "taken once for each snapshot and each scrape; no exchange comes near it"
)]
struct NameLists {
    routes: std::sync::Mutex<Names<(String, String)>>,
    consumers: std::sync::Mutex<Names<String>>,
    models: std::sync::Mutex<Names<(String, String)>>,
}

#[derive(Debug)]
struct WorkerCounters {
    taken: AtomicBool,
    tallies: [Counter; TALLIES],
    unmatched: Codes,
    routes: Grid<RouteRow>,
    sessions: Grid<SessionRow>,
    models: Grid<ModelRow>,
    series: OnceLock<Series>,
}

#[derive(Debug, Default)]
struct RouteRow {
    codes: Codes,
    kong: Histogram<17>,
    upstream: Histogram<13>,
    request: Histogram<13>,
    bandwidth: [Counter; 2],
    consumer_overflow: OnceLock<Box<RouteOverflow>>,
}

#[derive(Debug, Default)]
struct RouteOverflow {
    codes: Codes,
    bandwidth: [Counter; 2],
}

#[derive(Debug, Default)]
struct ModelRow {
    counts: ModelCounts,
    provider: Histogram<14>,
    consumer_overflow: ModelCounts,
}

#[derive(Debug, Default)]
struct ModelCounts {
    calls: [Counter; 3],
    tokens: [Counter; 2],
    cost_micros: Counter,
}

impl Counters {
    /// For so many workers.
    pub fn new(workers: usize) -> Arc<Self> {
        let worker = || WorkerCounters {
            taken: AtomicBool::new(false),
            tallies: Default::default(),
            unmatched: Codes::default(),
            routes: Grid::new(limits::METRIC_ROUTES),
            sessions: Grid::new(limits::METRIC_ROUTES),
            models: Grid::new(limits::METRIC_MODELS),
            series: OnceLock::new(),
        };
        let pair = || (OVERFLOW.to_owned(), OVERFLOW.to_owned());
        let names = NameLists {
            routes: Names::new(pair(), limits::METRIC_ROUTES).into(),
            consumers: Names::new(OVERFLOW.to_owned(), limits::METRIC_CONSUMERS).into(),
            models: Names::new(pair(), limits::METRIC_MODELS).into(),
        };
        Arc::new(Self {
            workers: (0..workers).map(|_| CachePadded::new(worker())).collect(),
            names,
        })
    }

    /// The number of a service's (name, else host) and a route's (name, else id) labels. Cold: takes a lock.
    pub fn route(&self, service: &str, route: &str) -> RouteNumber {
        RouteNumber(locked(&self.names.routes).number((service.to_owned(), route.to_owned())))
    }

    /// The number of a consumer's label. Cold: takes a lock.
    pub fn consumer(&self, name: &str) -> ConsumerNumber {
        ConsumerNumber(locked(&self.names.consumers).number(name.to_owned()))
    }

    /// The number of a provider's and a model's labels. Cold: takes a lock.
    pub fn model(&self, provider: &str, model: &str) -> ModelNumber {
        ModelNumber(locked(&self.names.models).number((provider.to_owned(), model.to_owned())))
    }

    /// The counters of worker `number`; `None` when they are taken, because they have one writer.
    pub fn recorder(self: &Arc<Self>, number: usize) -> Option<Recorder> {
        let worker = self.workers.get(number)?;
        let free = !worker.taken.swap(true, Ordering::AcqRel);
        free.then(|| Recorder {
            counters: Arc::clone(self),
            number,
            one_thread: PhantomData,
        })
    }
}

#[expect(clippy::disallowed_types, reason = "see NameLists")]
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One worker's access to its counters.
#[derive(Debug)]
pub struct Recorder {
    counters: Arc<Counters>,
    number: usize,
    /// May move to its worker's thread, not be shared between threads.
    one_thread: PhantomData<std::cell::Cell<()>>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.worker().taken.store(false, Ordering::Release);
    }
}

impl Recorder {
    /// Counts an exchange on a route.
    pub fn request(&self, request: &Request, groups: Groups) {
        let worker = self.worker();
        self.tally(Tally::Requests);
        let row = worker.routes.row(request.route.0 as usize);
        let consumer = request.consumer.filter(|_| groups.per_consumer);
        if groups.status_code {
            let kind = match request.source {
                Source::Upstream => Kind::FromUpstream,
                Source::Gateway => Kind::FromGateway,
            };
            let key = |who: ConsumerNumber| SeriesKey::new(kind, request.code, request.route.0, who.0);
            match consumer {
                Some(who) if worker.add(key(who), [1, 0]) => {}
                Some(_) => row.overflow().codes.count(request.code, request.source),
                None => row.codes.count(request.code, request.source),
            }
        }
        if groups.latency {
            row.kong.observe(&KONG_LATENCY_MS, request.kong);
            row.request.observe(&LATENCY_MS, request.request);
            if let Some(upstream) = request.upstream {
                row.upstream.observe(&LATENCY_MS, upstream);
            }
        }
        if groups.bandwidth {
            let bytes = [request.ingress_bytes, request.egress_bytes];
            let key = |who: ConsumerNumber| SeriesKey::new(Kind::Bandwidth, 0, request.route.0, who.0);
            match consumer {
                Some(who) if worker.add(key(who), bytes) => {}
                Some(_) => add_both(&row.overflow().bandwidth, bytes),
                None => add_both(&row.bandwidth, bytes),
            }
        }
    }

    /// Counts a request that matched no route. Kong does not; here it has a metric of its own.
    pub fn unmatched(&self, code: u16) {
        self.tally(Tally::Requests);
        self.worker().unmatched.count(code, Source::Gateway);
    }

    /// Counts a call of a model.
    pub fn call(&self, call: &Call, groups: Groups) {
        if !groups.ai {
            return;
        }
        let worker = self.worker();
        let row = worker.models.row(call.model.0 as usize);
        row.provider.observe(&PROVIDER_LATENCY_MS, call.provider);
        let Some(who) = call.consumer.filter(|_| groups.per_consumer) else {
            row.counts.calls[call.mode as usize].add(1);
            add_both(&row.counts.tokens, [call.prompt_tokens, call.completion_tokens]);
            row.counts.cost_micros.add(call.cost_micros);
            return;
        };
        let key = |kind, detail| SeriesKey::new(kind, detail, call.model.0, who.0);
        if !worker.add(key(Kind::Calls, call.mode as u16), [1, 0]) {
            row.consumer_overflow.calls[call.mode as usize].add(1);
        }
        if !worker.add(key(Kind::Tokens, 0), [call.prompt_tokens, call.completion_tokens]) {
            add_both(
                &row.consumer_overflow.tokens,
                [call.prompt_tokens, call.completion_tokens],
            );
        }
        if !worker.add(key(Kind::Cost, 0), [call.cost_micros, 0]) {
            row.consumer_overflow.cost_micros.add(call.cost_micros);
        }
    }

    /// Adds one to a count.
    pub fn tally(&self, tally: Tally) {
        self.worker().tallies[tally as usize].add(1);
    }

    fn worker(&self) -> &WorkerCounters {
        &self.counters.workers[self.number]
    }
}

impl WorkerCounters {
    fn add(&self, key: SeriesKey, counts: [u64; 2]) -> bool {
        self.series.get_or_init(Series::default).add(key, counts)
    }
}

impl RouteRow {
    fn overflow(&self) -> &RouteOverflow {
        self.consumer_overflow.get_or_init(Box::default)
    }
}

fn add_both(counters: &[Counter; 2], counts: [u64; 2]) {
    counters[0].add(counts[0]);
    counters[1].add(counts[1]);
}

#[cfg(test)]
mod tests;
