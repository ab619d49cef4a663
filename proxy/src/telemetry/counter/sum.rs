//! All workers' counters added up, with their labels. Cold: made for one scrape.

use std::collections::BTreeMap;

use super::series::{Kind, SeriesKey};
use super::{
    Codes, Counters, HistogramSum, ModelCounts, OVERFLOW, RouteRow, SessionSum, Source, TALLIES, Tally,
    WorkerCounters, locked,
};

/// A status code and who gave it; `None` for those that a route's bound left no room for.
pub type Code = Option<(u16, Source)>;

/// What was counted until now.
#[derive(Debug, Default)]
pub struct Sums {
    /// Routes that were used, in the order in which they were first known.
    pub routes: Vec<RouteSum>,
    /// Routes for connections that were used.
    pub sessions: Vec<SessionSum>,
    /// Models that were called.
    pub models: Vec<ModelSum>,
    /// Requests that matched no route, by status code.
    pub unmatched: BTreeMap<Code, u64>,
    tallies: [u64; TALLIES],
}

/// One service and route.
#[derive(Clone, Debug, Default)]
pub struct RouteSum {
    /// Service label.
    pub service: String,
    /// Route label.
    pub route: String,
    /// Responses by consumer (empty without one) and code.
    pub responses: BTreeMap<(String, Code), u64>,
    /// Bytes received and sent, by consumer.
    pub bandwidth: BTreeMap<String, [u64; 2]>,
    /// Kong's own latency.
    pub kong: HistogramSum<17>,
    /// The upstream's.
    pub upstream: HistogramSum<13>,
    /// The whole exchange's.
    pub request: HistogramSum<13>,
}

/// One provider and model.
#[derive(Clone, Debug, Default)]
pub struct ModelSum {
    /// Provider label.
    pub provider: String,
    /// Model label.
    pub model: String,
    /// By consumer (empty without one).
    pub usage: BTreeMap<String, ModelUsage>,
    /// The provider's latency.
    pub latency: HistogramSum<14>,
}

/// Calls and what they used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelUsage {
    /// By [`super::Mode`].
    pub calls: [u64; 3],
    /// Prompt and completion.
    pub tokens: [u64; 2],
    /// Millionths of the currency.
    pub cost_micros: u64,
}

impl Sums {
    /// One of the counts without a route.
    pub fn tally(&self, tally: Tally) -> u64 {
        self.tallies[tally as usize]
    }
}

impl Counters {
    /// Adds up all workers' counters.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        let consumers = locked(&self.names.consumers).all().to_vec();
        let mut routes = labelled(locked(&self.names.routes).all(), |(service, route)| RouteSum {
            service,
            route,
            ..RouteSum::default()
        });
        let mut sessions = labelled(locked(&self.names.routes).all(), SessionSum::named);
        let mut models = labelled(locked(&self.names.models).all(), |(provider, model)| ModelSum {
            provider,
            model,
            ..ModelSum::default()
        });
        for worker in &self.workers {
            for (sum, tally) in sums.tallies.iter_mut().zip(&worker.tallies) {
                *sum += tally.get();
            }
            worker
                .unmatched
                .each(|code, count| add(&mut sums.unmatched, code, count));
            for (number, sum) in routes.iter_mut().enumerate() {
                if let Some(row) = worker.routes.touched(number) {
                    row.add_to(sum);
                }
            }
            for (number, sum) in sessions.iter_mut().enumerate() {
                if let Some(row) = worker.sessions.touched(number) {
                    row.add_to(sum);
                }
            }
            worker.add_models_to(&mut models);
            for (key, counts) in worker.series.get().iter().flat_map(|series| series.each()) {
                let consumer = consumers
                    .get(key.consumer() as usize)
                    .map_or(OVERFLOW, String::as_str);
                add_series(&mut routes, &mut models, consumer, key, counts);
            }
        }
        routes.retain(RouteSum::is_used);
        models.retain(|model| !model.usage.is_empty());
        sessions.retain(SessionSum::is_used);
        sums.routes = routes;
        sums.sessions = sessions;
        sums.models = models;
        sums
    }
}

fn labelled<N: Clone, S>(names: &[N], sum: impl Fn(N) -> S) -> Vec<S> {
    names.iter().cloned().map(sum).collect()
}

impl RouteRow {
    fn add_to(&self, sum: &mut RouteSum) {
        let mut add_codes = |consumer: &str, codes: &Codes| {
            codes.each(|code, count| add(&mut sum.responses, (consumer.to_owned(), code), count));
        };
        add_codes("", &self.codes);
        let mut add_bandwidth =
            |consumer: &str, bytes: [u64; 2]| add_bytes(&mut sum.bandwidth, consumer, bytes);
        add_bandwidth("", [self.bandwidth[0].get(), self.bandwidth[1].get()]);
        if let Some(overflow) = self.consumer_overflow.get() {
            add_codes(OVERFLOW, &overflow.codes);
            add_bandwidth(
                OVERFLOW,
                [overflow.bandwidth[0].get(), overflow.bandwidth[1].get()],
            );
        }
        self.kong.add_to(&mut sum.kong);
        self.upstream.add_to(&mut sum.upstream);
        self.request.add_to(&mut sum.request);
    }
}

impl RouteSum {
    fn is_used(&self) -> bool {
        !self.responses.is_empty() || !self.bandwidth.is_empty() || self.request.count() > 0
    }
}

impl WorkerCounters {
    fn add_models_to(&self, models: &mut [ModelSum]) {
        for (number, sum) in models.iter_mut().enumerate() {
            let Some(row) = self.models.touched(number) else {
                continue;
            };
            row.provider.add_to(&mut sum.latency);
            row.counts.add_to(&mut sum.usage, "");
            row.consumer_overflow.add_to(&mut sum.usage, OVERFLOW);
        }
    }
}

impl ModelCounts {
    fn add_to(&self, usage: &mut BTreeMap<String, ModelUsage>, consumer: &str) {
        if self
            .calls
            .iter()
            .chain(&self.tokens)
            .all(|count| count.get() == 0)
            && self.cost_micros.get() == 0
        {
            return;
        }
        let usage = usage.entry(consumer.to_owned()).or_default();
        for (sum, count) in usage.calls.iter_mut().zip(&self.calls) {
            *sum += count.get();
        }
        for (sum, count) in usage.tokens.iter_mut().zip(&self.tokens) {
            *sum += count.get();
        }
        usage.cost_micros += self.cost_micros.get();
    }
}

fn add_series(
    routes: &mut [RouteSum],
    models: &mut [ModelSum],
    consumer: &str,
    key: SeriesKey,
    counts: [u64; 2],
) {
    let row = key.row() as usize;
    let usage = |models: &mut [ModelSum], change: &dyn Fn(&mut ModelUsage)| {
        if let Some(model) = models.get_mut(row) {
            change(model.usage.entry(consumer.to_owned()).or_default());
        }
    };
    match key.kind() {
        kind @ (Kind::FromUpstream | Kind::FromGateway) => {
            let source = if kind == Kind::FromUpstream {
                Source::Upstream
            } else {
                Source::Gateway
            };
            if let Some(route) = routes.get_mut(row) {
                add(
                    &mut route.responses,
                    (consumer.to_owned(), Some((key.detail(), source))),
                    counts[0],
                );
            }
        }
        Kind::Bandwidth => {
            if let Some(route) = routes.get_mut(row) {
                add_bytes(&mut route.bandwidth, consumer, counts);
            }
        }
        Kind::Calls => usage(models, &|usage| {
            usage.calls[usize::from(key.detail()) % 3] += counts[0]
        }),
        Kind::Tokens => usage(models, &|usage| {
            usage.tokens[0] += counts[0];
            usage.tokens[1] += counts[1];
        }),
        Kind::Cost => usage(models, &|usage| usage.cost_micros += counts[0]),
    }
}

fn add<K: Ord>(sums: &mut BTreeMap<K, u64>, key: K, count: u64) {
    if count > 0 {
        *sums.entry(key).or_default() += count;
    }
}

fn add_bytes(sums: &mut BTreeMap<String, [u64; 2]>, consumer: &str, bytes: [u64; 2]) {
    if bytes != [0, 0] {
        let sum = sums.entry(consumer.to_owned()).or_default();
        sum[0] += bytes[0];
        sum[1] += bytes[1];
    }
}
