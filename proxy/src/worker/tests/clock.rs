use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::on_each_driver;
use crate::worker::clock::{self, Moment};
use crate::worker::sleep;

#[test]
fn the_clock_goes_on_while_a_task_waits() {
    on_each_driver(|| async {
        let before = clock::now();
        sleep(Duration::from_millis(120)).await;
        let passed = clock::now() - before;
        assert!(passed >= Duration::from_millis(60), "{passed:?}");
        assert_eq!(clock::now(), clock::now(), "between two waits it stands still");
    });
}

#[test]
fn the_wall_clock_is_the_systems() {
    on_each_driver(|| async {
        sleep(Duration::from_millis(30)).await;
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let ours = u128::from(clock::unix_ms());
        assert!(ours <= system && system - ours < 2000, "{ours} against {system}");
    });
}

#[test]
fn moments_do_not_overflow() {
    assert_eq!(Moment::NEVER + Duration::MAX, Moment::NEVER);
    assert_eq!(Moment::default() - Moment::NEVER, Duration::ZERO);
}
