use std::future::{pending, ready};
use std::sync::mpsc;
use std::time::Duration;

use super::{Buffer, PATIENCE, on_each_driver, pair};
use crate::node::DriverChoice;
use crate::worker::{Driver, First, panics, race, sleep, spawn, start};

#[test]
fn a_panic_ends_its_task_alone_and_closes_its_connection() {
    on_each_driver(|| async {
        let (mut doomed, client) = pair().await;
        let (mut other, mut other_client) = pair().await;
        let before = panics();
        spawn(async move {
            doomed.arm(Duration::from_secs(100));
            let _ = doomed.read(&mut Buffer::take()).await;
            panic!("a bug, on purpose");
        });
        std::io::Write::write_all(&mut &client, b"go").unwrap();
        while panics() == before {
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(panics(), before + 1);
        client.set_nonblocking(true).unwrap();
        // The descriptor is closed when the ring gets round to it.
        sleep(Duration::from_millis(50)).await;
        assert_eq!(std::io::Read::read(&mut &client, &mut [0; 8]).unwrap(), 0);
        std::io::Write::write_all(&mut other_client, b"hello").unwrap();
        assert_eq!(other.read(&mut Buffer::take()).await, Ok(5));
    });
}

#[test]
fn a_task_that_panics_while_it_is_dropped_is_counted_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a bug, on purpose");
        }
    }
    on_each_driver(|| async {
        let before = panics();
        spawn(async {
            let _bomb = Bomb;
            sleep(Duration::from_millis(1)).await;
        });
        sleep(Duration::from_millis(50)).await;
        assert_eq!(panics(), before + 1);
    });
}

#[test]
fn the_first_of_two_futures_wins_and_the_left_one_a_tie() {
    on_each_driver(|| async {
        assert_eq!(race(ready(1), ready(2)).await, First::<_, i32>::Left(1));
        assert_eq!(race(pending::<()>(), ready(2)).await, First::Right(2));
    });
}

#[test]
fn a_worker_whose_main_future_panics_says_so() {
    for choice in [DriverChoice::Auto, DriverChoice::Epoll] {
        let driver = Driver::choose(choice).expect("neither can be refused");
        let (done, result) = mpsc::channel();
        let main = || async {
            sleep(Duration::from_millis(1)).await;
            panic!("a bug, on purpose");
        };
        let _worker = start("worker".to_owned(), None, driver, main, move |error| {
            done.send(error.to_string()).unwrap()
        })
        .expect("a thread can be started");
        assert_eq!(result.recv_timeout(PATIENCE), Ok("it panicked".to_owned()));
    }
}
