use super::*;
use proptest::prelude::*;

const ALL: Groups = Groups {
    per_consumer: true,
    status_code: true,
    latency: true,
    bandwidth: true,
    ai: true,
};

fn request(route: RouteNumber, code: u16) -> Request {
    Request {
        route,
        consumer: None,
        code,
        source: Source::Upstream,
        kong: Duration::from_micros(20),
        upstream: Some(Duration::from_millis(30)),
        request: Duration::from_millis(31),
        ingress_bytes: 100,
        egress_bytes: 1000,
    }
}

#[test]
fn a_route_keeps_its_number_over_reloads() {
    let counters = Counters::new(1);
    let first = counters.route("service", "route");
    assert_ne!(counters.route("service", "other"), first);
    assert_eq!(counters.route("service", "route"), first);
}

#[test]
fn a_worker_has_one_recorder() {
    let counters = Counters::new(1);
    let recorder = counters.recorder(0).unwrap();
    assert!(counters.recorder(0).is_none() && counters.recorder(1).is_none());
    drop(recorder);
    assert!(counters.recorder(0).is_some());
}

#[test]
fn groups_that_are_off_count_nothing() {
    let counters = Counters::new(1);
    let recorder = counters.recorder(0).unwrap();
    recorder.request(&request(counters.route("s", "r"), 200), Groups::default());
    let sums = counters.sums();
    assert!(sums.routes.is_empty());
    assert_eq!(sums.tally(Tally::Requests), 1);
}

#[test]
fn buckets_hold_what_is_at_most_their_bound() {
    let counters = Counters::new(1);
    let recorder = counters.recorder(0).unwrap();
    let route = counters.route("s", "r");
    for kong_us in [0, 1000, 1001, 6_000_000, 6_000_001] {
        recorder.request(
            &Request {
                kong: Duration::from_micros(kong_us),
                ..request(route, 200)
            },
            ALL,
        );
    }
    let sum = &counters.sums().routes[0].kong;
    assert_eq!(
        (sum.buckets[0], sum.buckets[1], sum.buckets[16], sum.above),
        (2, 1, 1, 1)
    );
    assert_eq!((sum.count(), sum.sum_ns), (5, 12_002_002_000));
}

#[test]
fn every_count_has_its_place_when_names_and_codes_run_out() {
    let counters = Counters::new(1);
    let recorder = counters.recorder(0).unwrap();
    for name in 0..METRIC_MODELS_AND_MORE {
        let model = counters.model("p", &name.to_string());
        let call = Call {
            model,
            consumer: None,
            mode: Mode::Stream,
            prompt_tokens: 3,
            completion_tokens: 2,
            cost_micros: 7,
            provider: Duration::ZERO,
        };
        recorder.call(&call, ALL);
    }
    let route = counters.route("s", "r");
    for code in 200..300 {
        recorder.request(&request(route, code), ALL);
    }
    let sums = counters.sums();
    assert_eq!(sums.models[0].model, OVERFLOW);
    assert_eq!(sums.models[0].usage[""].calls, [0, 11, 0]);
    let usage = sums.models.iter().flat_map(|model| model.usage.values());
    let (calls, cost) = usage.fold((0, 0), |sum, usage| {
        (sum.0 + usage.calls[1], sum.1 + usage.cost_micros)
    });
    assert_eq!(
        (calls, cost),
        (
            u64::from(METRIC_MODELS_AND_MORE),
            7 * u64::from(METRIC_MODELS_AND_MORE)
        )
    );
    assert_eq!(
        sums.routes[0].responses[&(String::new(), None)],
        100 - limits::METRIC_CODES as u64
    );
    assert_eq!(sums.routes[0].responses.values().sum::<u64>(), 100);
}

const METRIC_MODELS_AND_MORE: u32 = 4095 + 11;

#[test]
fn consumers_without_room_are_counted_together() {
    let counters = Counters::new(1);
    let recorder = counters.recorder(0).unwrap();
    let route = counters.route("s", "r");
    let consumers = 50_000;
    for name in 0..consumers {
        let consumer = Some(counters.consumer(&name.to_string()));
        recorder.request(
            &Request {
                consumer,
                ..request(route, 200)
            },
            ALL,
        );
    }
    let sum = &counters.sums().routes[0];
    assert_eq!(sum.responses.values().sum::<u64>(), consumers);
    assert_eq!(
        sum.bandwidth.values().map(|bytes| bytes[1]).sum::<u64>(),
        1000 * consumers
    );
    assert!(sum.responses[&(OVERFLOW.to_owned(), Some((200, Source::Upstream)))] > 0);
    assert!(sum.responses.len() > 10_000, "and the others by name");
}

proptest! {
    #[test]
    fn a_series_key_gives_back_what_was_packed(
        kind in prop::sample::select(vec![Kind::FromUpstream, Kind::FromGateway, Kind::Bandwidth, Kind::Calls,
                                          Kind::Tokens, Kind::Cost]),
        detail: u16, row in 0..65_536u32, consumer in 0..1u32 << 20,
    ) {
        let key = SeriesKey::new(kind, detail, row, consumer);
        prop_assert_eq!((key.kind(), key.detail(), key.row(), key.consumer()), (kind, detail, row, consumer));
    }

    /// Whoever records what, where: the sums are what was recorded.
    #[test]
    fn sums_are_what_was_recorded(
        records in prop::collection::vec(
            (0..3usize, 0..5u8, prop::option::of(0..4u8), 100..600u16, any::<bool>(), any::<bool>(), 0..1u64 << 30),
            0..300,
        ),
    ) {
        let counters = Counters::new(3);
        let recorders: Vec<_> = (0..3).map(|worker| counters.recorder(worker).unwrap()).collect();
        for (worker, route, consumer, code, own, per_consumer, bytes) in &records {
            recorders[*worker].request(
                &Request {
                    consumer: consumer.map(|who| counters.consumer(&who.to_string())),
                    source: if *own { Source::Gateway } else { Source::Upstream },
                    ingress_bytes: *bytes,
                    kong: Duration::from_nanos(*bytes),
                    ..request(counters.route("s", &route.to_string()), *code)
                },
                Groups { per_consumer: *per_consumer, ..ALL },
            );
        }
        let sums = counters.sums();
        let count = records.len() as u64;
        let bytes: u64 = records.iter().map(|record| record.6).sum();
        prop_assert_eq!(sums.tally(Tally::Requests), count);
        let routes = &sums.routes;
        prop_assert_eq!(routes.iter().flat_map(|route| route.responses.values()).sum::<u64>(), count);
        prop_assert_eq!(routes.iter().map(|route| route.kong.count()).sum::<u64>(), count);
        prop_assert_eq!(routes.iter().map(|route| route.kong.sum_ns).sum::<u64>(), bytes);
        let ingress = routes.iter().flat_map(|route| route.bandwidth.values()).map(|bytes| bytes[0]);
        prop_assert_eq!(ingress.sum::<u64>(), bytes);
        for route in routes {
            for ((consumer, code), count) in &route.responses {
                let (code, source) = code.unwrap_or((0, Source::Upstream));
                let same = records.iter().filter(|record| {
                    let who = record.2.filter(|_| record.5).map(|who| who.to_string()).unwrap_or_default();
                    route.route == record.1.to_string() && who == *consumer && record.3 == code
                        && record.4 == (source == Source::Gateway)
                });
                // A route's first codes have slots of their own; the rest is together.
                prop_assert!(code == 0 || same.count() as u64 >= *count);
            }
        }
    }
}

#[test]
fn a_scrape_during_traffic_sees_counts_only_rise() {
    let counters = Counters::new(1);
    let route = counters.route("s", "r");
    let recorder = counters.recorder(0).unwrap();
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            for code in 0..20_000u16 {
                recorder.request(&request(route, 200 + code % 10), ALL);
            }
        });
        let mut last = 0;
        while !worker.is_finished() {
            let sums = counters.sums();
            let now = sums
                .routes
                .first()
                .map_or(0, |route| route.responses.values().sum());
            assert!(now >= last);
            last = now;
        }
    });
    assert_eq!(counters.sums().routes[0].responses.values().sum::<u64>(), 20_000);
}
