use std::rc::Rc;
use std::time::Duration;

use policy::table::Algorithm;
use proptest::prelude::*;

use super::{Balancer, Choice, Load};
use crate::worker::clock::{self, Moment};

/// Late enough for anything to have happened before.
fn start() -> Moment {
    Moment::default() + Duration::from_secs(1000)
}

fn balancer(algorithm: Algorithm, weights: &[u32]) -> Balancer {
    let names: Vec<String> = (1..=weights.len())
        .map(|number| format!("10.0.0.{number}:80"))
        .collect();
    let targets = weights
        .iter()
        .zip(&names)
        .map(|(weight, name)| (&**name, *weight, Rc::new(Load::default())));
    Balancer::new(algorithm, targets, 0)
}

/// Every algorithm there is.
fn any_algorithm() -> impl Strategy<Value = Algorithm> {
    proptest::sample::select(Algorithm::ALL)
}

#[test]
fn a_tried_target_is_passed_over_until_no_other_is_left() {
    for algorithm in Algorithm::ALL {
        let mut balancer = balancer(*algorithm, &[1, 1]);
        let mut next = |tried: &[usize]| {
            balancer
                .choose(0, tried, start(), |_| true)
                .map(|choice| choice.number)
        };
        assert_eq!(next(&[0]), Some(1), "{algorithm:?}");
        assert_eq!(next(&[1]), Some(0), "{algorithm:?}");
        assert!(next(&[0, 1]).is_some(), "{algorithm:?}");
    }
}

#[test]
fn equals_take_turns_when_nothing_runs() {
    let mut balancer = balancer(Algorithm::LeastConnections, &[1, 1, 1]);
    let turns: Vec<usize> = (0..6)
        .map(|_| balancer.choose(0, &[], start(), |_| true).unwrap().number)
        .collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_slow_target_gets_little_and_is_asked_again_once_its_latency_is_forgotten() {
    let mut balancer = balancer(Algorithm::Latency, &[1, 1, 1]);
    let (slow, fast) = (Duration::from_millis(400), Duration::from_millis(4));
    for number in 0..3 {
        let latency = if number == 0 { slow } else { fast };
        balancer.load(number).observe(latency, start());
    }
    assert_eq!(
        times_asked(&mut balancer, start()),
        0,
        "it always meets a faster one"
    );
    let later = start() + Duration::from_secs(120);
    balancer.load(1).observe(fast, later);
    balancer.load(2).observe(fast, later);
    assert!(times_asked(&mut balancer, later) > 100);
}

#[test]
fn a_try_that_was_given_up_tells_of_a_target_that_it_is_not_as_fast_as_it_seemed() {
    let mut balancer = balancer(Algorithm::Latency, &[1]);
    let hold = balancer.choose(0, &[], start(), |_| true).unwrap().hold;
    let cost = || balancer.load(0).cost(clock::now());
    hold.answered(Duration::from_millis(100));
    let known = cost();
    hold.cancelled(Duration::from_millis(50));
    assert!(
        (cost() - known).abs() <= known / 100.0,
        "an answer in 50 ms was never expected"
    );
    hold.cancelled(Duration::from_millis(400));
    assert!((cost() - 4.0 * known).abs() <= known / 25.0, "{known} {}", cost());
}

/// How often the first target is chosen.
fn times_asked(balancer: &mut Balancer, now: Moment) -> usize {
    let numbers = (0..300).map(|_| balancer.choose(0, &[], now, |_| true).unwrap().number);
    numbers.filter(|number| *number == 0).count()
}

#[test]
fn a_failure_is_slow_however_quick_it_came() {
    let mut balancer = balancer(Algorithm::Latency, &[1, 1]);
    balancer
        .load(0)
        .observe(Duration::from_millis(30), Moment::default());
    let Choice { number, hold, .. } = balancer.choose(0, &[0], Moment::default(), |_| true).unwrap();
    assert_eq!(number, 1);
    hold.failed(Duration::from_micros(50));
    drop(hold);
    for _ in 0..50 {
        assert_eq!(
            balancer
                .choose(0, &[], Moment::default(), |_| true)
                .unwrap()
                .number,
            0
        );
    }
}

#[test]
fn latency_shares_by_weight_what_is_equally_fast() {
    let mut balancer = balancer(Algorithm::Latency, &[9, 1]);
    for number in 0..2 {
        balancer.load(number).observe(Duration::from_millis(10), start());
    }
    let held: Vec<Choice> = (0..100)
        .map(|_| balancer.choose(0, &[], start(), |_| true).unwrap())
        .collect();
    assert_eq!(balancer.load(0).running(), 90);
    drop(held);
    assert_eq!(balancer.load(0).running() + balancer.load(1).running(), 0);
}

#[test]
fn a_choice_takes_no_memory() {
    for algorithm in Algorithm::ALL {
        let mut balancer = balancer(*algorithm, &[1, 2, 3, 4]);
        let counted = allocation_counter::measure(|| {
            for key in 0..100 {
                let choice = balancer.choose(key, &[1], start(), |number| number != 2);
                choice.unwrap().hold.answered(Duration::from_millis(key));
            }
        });
        assert_eq!(counted.count_total, 0, "{algorithm:?}");
    }
}

#[test]
fn what_unwinds_gives_its_place_back() {
    let mut balancer = balancer(Algorithm::LeastConnections, &[1]);
    let choice = balancer.choose(0, &[], start(), |_| true).unwrap();
    assert_eq!(balancer.load(0).running(), 1);
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = choice;
        panic!("in the middle of an exchange");
    }));
    assert!(unwound.is_err());
    assert_eq!(balancer.load(0).running(), 0);
}

#[test]
fn a_share_follows_its_weight_at_once() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::StickySessions] {
        let mut balancer = balancer(algorithm, &[100, 100]);
        for (weight, asked) in [(100, 55), (10, 10), (50, 37), (100, 55)] {
            balancer.reweigh(1, weight);
            let turns = (0..110).map(|_| balancer.choose(0, &[], start(), |_| true).unwrap().number);
            let second = turns.filter(|number| *number == 1).count();
            assert!(second.abs_diff(asked) <= 1, "{algorithm:?} {weight}: {second}");
        }
    }
    for algorithm in [Algorithm::LeastConnections, Algorithm::Latency] {
        let mut balancer = balancer(algorithm, &[100, 100]);
        for number in 0..2 {
            balancer.load(number).observe(Duration::from_millis(10), start());
        }
        balancer.reweigh(1, 10);
        let held: Vec<Choice> = (0..110)
            .map(|_| balancer.choose(0, &[], start(), |_| true).unwrap())
            .collect();
        assert!(balancer.load(1).running().abs_diff(10) <= 1, "{algorithm:?}");
        drop(held);
    }
}

#[test]
fn a_growing_weight_takes_keys_and_gives_none_back() {
    let mut balancer = balancer(Algorithm::ConsistentHashing, &[100, 100, 100]);
    let mut before: Vec<u64> = Vec::new();
    for (weight, percent) in [(10, 5), (50, 20), (100, 33)] {
        balancer.reweigh(2, weight);
        let now: Vec<u64> = (0..3000)
            .filter(|key| balancer.choose(*key, &[], start(), |_| true).unwrap().number == 2)
            .collect();
        assert!(before.iter().all(|key| now.contains(key)), "{weight}");
        assert!(
            (now.len() / 30).abs_diff(percent) <= 3,
            "{weight}: {} keys",
            now.len()
        );
        before = now;
    }
}

#[test]
fn keys_are_spread_by_weight() {
    let weights = [1, 2, 3, 0, 4];
    let mut balancer = balancer(Algorithm::ConsistentHashing, &weights);
    let mut counts = [0_u32; 5];
    for key in 0..20_000 {
        counts[balancer.choose(key, &[], start(), |_| true).unwrap().number] += 1;
    }
    for (count, weight) in counts.iter().zip(weights) {
        assert!(count.abs_diff(2000 * weight) < 200, "{counts:?}");
    }
}

#[test]
fn a_mark_leads_to_its_target_while_that_may_be_used() {
    let mut balancer = balancer(Algorithm::StickySessions, &[1, 1, 1]);
    let first = balancer.choose(0, &[], start(), |_| true).unwrap();
    let mark = first.mark.expect("it has a name now");
    for _ in 0..5 {
        let again = balancer.choose(mark, &[], start(), |_| true).unwrap();
        assert_eq!((again.number, again.mark), (first.number, None));
    }
    let other = balancer
        .choose(mark, &[], start(), |number| number != first.number)
        .unwrap();
    assert_ne!(other.number, first.number);
    assert!(other.mark.is_some_and(|other| other != mark));
}

/// What happens to a balancer: an exchange begins, or the one at this place ends.
#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    End(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![3 => Just(Step::Begin), 2 => (0_usize..64).prop_map(Step::End)];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn nobody_carries_less_than_the_least_connected(
        weights in proptest::collection::vec(0_u32..20, 1..9),
        steps in steps(),
    ) {
        let mut balancer = balancer(Algorithm::LeastConnections, &weights);
        let mut running: Vec<Choice> = Vec::new();
        for step in steps {
            match step {
                Step::End(place) if !running.is_empty() => drop(running.swap_remove(place % running.len())),
                Step::End(_) => {}
                Step::Begin => {
                    let before: Vec<u64> = (0..weights.len())
                        .map(|number| u64::from(balancer.load(number).running()) + 1)
                        .collect();
                    let Some(choice) = balancer.choose(0, &[], start(), |_| true) else {
                        prop_assert!(weights.iter().all(|weight| *weight == 0));
                        continue;
                    };
                    let chosen = choice.number;
                    prop_assert!(weights[chosen] > 0);
                    for other in (0..weights.len()).filter(|other| weights[*other] > 0) {
                        let (mine, its) = (before[chosen] * u64::from(weights[other]), before[other] * u64::from(weights[chosen]));
                        prop_assert!(mine <= its);
                    }
                    running.push(choice);
                }
            }
        }
        let sum: u32 = (0..weights.len()).map(|number| balancer.load(number).running()).sum();
        prop_assert_eq!(sum as usize, running.len());
    }

    #[test]
    fn a_key_stays_where_it_is_unless_its_own_target_leaves(
        weights in proptest::collection::vec(1_u32..1000, 2..9),
        gone in any::<proptest::sample::Index>(),
        keys in proptest::collection::vec(any::<u64>(), 1..50),
    ) {
        let gone = gone.index(weights.len());
        let mut all = balancer(Algorithm::ConsistentHashing, &weights);
        let mut fewer = weights.clone();
        fewer[gone] = 0;
        let mut fewer = balancer(Algorithm::ConsistentHashing, &fewer);
        for key in keys {
            let before = all.choose(key, &[], start(), |_| true).map(|choice| choice.number);
            let after = fewer.choose(key, &[], start(), |_| true).map(|choice| choice.number);
            prop_assert_eq!(all.choose(key, &[], start(), |_| true).map(|choice| choice.number), before, "it is the same each time");
            if before == Some(gone) {
                let passed_over = all.choose(key, &[gone], start(), |_| true).map(|choice| choice.number);
                prop_assert_eq!(after, passed_over, "one that failed and one that left are passed over alike");
            } else {
                prop_assert_eq!(after, before);
            }
        }
    }

    #[test]
    fn only_healthy_targets_with_weight_are_chosen_and_untried_ones_first(
        algorithm in any_algorithm(),
        weights in proptest::collection::vec(0_u32..3, 0..9),
        tried in proptest::collection::vec(0_usize..9, 0..9),
        healthy in proptest::array::uniform9(any::<bool>()),
        key in any::<u64>(),
    ) {
        let mut balancer = balancer(algorithm, &weights);
        let chosen = balancer.choose(key, &tried, start(), |number| healthy[number]).map(|choice| choice.number);
        let usable = |number: usize| weights[number] > 0 && healthy[number];
        let fresh = (0..weights.len()).any(|number| usable(number) && !tried.contains(&number));
        match chosen {
            None => prop_assert!(!(0..weights.len()).any(usable)),
            Some(number) => {
                prop_assert!(usable(number));
                prop_assert!(!fresh || !tried.contains(&number));
            }
        }
    }
}
