use std::time::Duration;

use proptest::prelude::*;

use super::probe::status;
use super::{AddressHealth, Checks, Counter, TargetHealth};
use crate::worker::{Address, clock};

#[test]
fn failures_in_a_row_take_a_target_out_and_successes_bring_it_back() {
    let target = AddressHealth::default();
    target.count(Counter::TcpFailures, 2);
    assert!(target.is_healthy());
    target.count(Counter::Successes, 1);
    target.count(Counter::TcpFailures, 2);
    assert!(
        target.is_healthy(),
        "the success made the first failure forgotten"
    );
    target.count(Counter::TcpFailures, 2);
    assert!(!target.is_healthy());
    target.count(Counter::Successes, 2);
    target.count(Counter::Timeouts, 1);
    target.count(Counter::Successes, 2);
    assert!(
        !target.is_healthy(),
        "the timeout made the first success forgotten"
    );
    target.count(Counter::Successes, 2);
    assert!(target.is_healthy());
}

#[test]
fn kinds_of_failure_are_counted_apart_and_zero_switches_one_off() {
    let target = AddressHealth::default();
    for _ in 0..200 {
        target.count(Counter::HttpFailures, 0);
        target.count(Counter::Successes, 0);
    }
    target.count(Counter::TcpFailures, 2);
    target.count(Counter::Timeouts, 2);
    target.count(Counter::HttpFailures, 2);
    assert!(target.is_healthy());
    target.count(Counter::Successes, 0);
    target.count(Counter::Timeouts, 2);
    assert!(!target.is_healthy(), "a rule that is off makes nothing forgotten");
}

#[test]
fn operators_are_told_once() {
    let target = AddressHealth::default();
    assert_eq!(target.news(), None);
    target.set(false);
    assert_eq!((target.news(), target.news()), (Some(false), None));
    target.set(true);
    assert_eq!((target.news(), target.news()), (Some(true), None));
}

#[test]
fn more_than_the_threshold_must_be_healthy() {
    let mut checks = Checks {
        threshold: 50.0,
        passive: None,
        active: None,
        targets: Vec::new(),
    };
    let equal = |healthy: [bool; 4]| healthy.into_iter().map(|healthy| (100, healthy));
    assert!(checks.suffice(equal([false, true, true, true])));
    assert!(
        !checks.suffice(equal([false, false, true, true])),
        "half is not more than half"
    );
    assert!(checks.suffice([(1, false), (1, false), (100, true), (100, true)].into_iter()));
    checks.threshold = 0.0;
    assert!(checks.suffice(equal([false, false, true, true])));
    assert!(!checks.suffice(equal([false; 4])));
    assert!(!checks.suffice(std::iter::empty()));
}

#[test]
fn an_address_keeps_its_health_while_the_name_has_it_or_a_worker_uses_it() {
    let target = TargetHealth::default();
    let [one, two] = ["192.0.2.1:80", "192.0.2.2:80"].map(|text| Address::Ip(text.parse().unwrap()));
    target.of(one).set(false);
    let used = target.of(two);
    used.set(false);
    target.keep(&[one]);
    assert!(!target.of(one).is_healthy());
    assert!(!target.of(two).is_healthy(), "it is still in use");
    drop(used);
    target.keep(&[one]);
    assert_eq!(target.all().len(), 1);
    assert!(target.of(two).is_healthy(), "who comes back later is new");
}

#[test]
fn what_was_there_from_the_start_is_not_new_and_what_comes_or_returns_is() {
    let [first, second] = ["192.0.2.1:80", "192.0.2.2:80"].map(|text| Address::Ip(text.parse().unwrap()));
    let age = |target: &TargetHealth, address| target.of(address).age(clock::uptime_ns());
    let target = TargetHealth::new(false);
    assert_eq!(age(&target, first), None);
    target.keep(&[first]);
    clock::ahead::go(Duration::from_secs(5));
    assert_eq!(
        age(&target, second),
        Some(Duration::ZERO),
        "another answer brought it"
    );
    target.of(first).set(false);
    assert_eq!(age(&target, first), None);
    target.of(first).count(Counter::Successes, 1);
    assert!(
        age(&target, first).unwrap() < Duration::from_secs(1),
        "it is back"
    );
    clock::ahead::go(Duration::from_secs(60));
    target.of(first).set(true);
    assert!(
        age(&target, first).unwrap() >= Duration::from_secs(60),
        "it was healthy already"
    );
    assert!(
        age(&TargetHealth::new(true), first).is_some(),
        "a reload brought it"
    );
}

#[test]
fn only_a_status_line_has_a_status() {
    for (line, expected) in [
        (&b"HTTP/1.1 200 OK\r"[..], Some(200)),
        (b"HTTP/1.0 503", Some(503)),
        (b"HTTP/1.1 20", None),
        (b"HTTP/2 200", None),
        (b"SSH-2.0-OpenSSH", None),
        (b"", None),
    ] {
        assert_eq!(status(line), expected, "{}", line.escape_ascii());
    }
}

/// Kong's rules in plain words: four counters, cleared by their opposite, one state.
#[derive(Default)]
struct Model {
    counts: [u32; 4],
    unhealthy: bool,
}

impl Model {
    fn count(&mut self, counter: Counter, limit: u8) {
        if limit == 0 {
            return;
        }
        let success = counter == Counter::Successes;
        if success {
            self.counts[1..].fill(0);
        } else {
            self.counts[0] = 0;
        }
        if success == self.unhealthy {
            self.counts[counter as usize] += 1;
            if self.counts[counter as usize] >= u32::from(limit) {
                *self = Self {
                    unhealthy: !success,
                    ..Self::default()
                };
            }
        }
    }
}

proptest! {
    #[test]
    fn the_word_says_what_the_rules_say(
        limits in proptest::array::uniform4(0_u8..=255),
        small in proptest::array::uniform4(0_u8..4),
        use_small in any::<bool>(),
        steps in proptest::collection::vec(0_usize..4, 0..600),
    ) {
        let limits = if use_small { small } else { limits };
        let (target, mut model) = (AddressHealth::default(), Model::default());
        for step in steps {
            let counter = [Counter::Successes, Counter::TcpFailures, Counter::HttpFailures, Counter::Timeouts][step];
            target.count(counter, limits[step]);
            model.count(counter, limits[step]);
            prop_assert_eq!(target.is_healthy(), !model.unhealthy);
        }
    }
}
