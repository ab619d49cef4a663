use std::os::fd::AsRawFd as _;
use std::time::Duration;

use super::{on_each_driver, pair};
use crate::limits;
use crate::worker::{Arrived, Buffer, ConnError, Deadline, clock, close_all, close_idle, is_closing, sleep};

#[test]
fn a_deadline_is_never_early_and_late_by_a_tick_at_most() {
    on_each_driver(|| async {
        let deadline = Deadline::on_waker();
        for wanted in [1, 30, 80].map(Duration::from_millis) {
            let began = clock::refresh();
            deadline.arm_in(wanted);
            deadline.wait().await;
            let took = clock::refresh() - began;
            assert!(took >= wanted, "{took:?} is early for {wanted:?}");
            // Generous: the machine that runs the tests may be busy.
            let late = wanted + Duration::from_millis(limits::TICK_MS * 20);
            assert!(took < late, "{took:?} is late for {wanted:?}");
        }
    });
}

#[test]
fn an_armed_again_deadline_fires_at_its_new_time_only() {
    on_each_driver(|| async {
        let deadline = Deadline::on_waker();
        deadline.arm_in(Duration::from_millis(40));
        deadline.arm_in(Duration::from_millis(400));
        sleep(Duration::from_millis(150)).await;
        assert!(!deadline.fired());
        deadline.arm_in(Duration::from_millis(1));
        deadline.wait().await;
        assert!(deadline.fired());
        deadline.arm_in(Duration::from_secs(100));
        assert!(!deadline.fired(), "arming forgets that it fired");
    });
}

#[test]
fn draining_ends_idle_connections_and_no_others() {
    on_each_driver(|| async {
        let (idle, _client) = pair().await;
        let (busy, _other_client) = pair().await;
        idle.arm_idle(Duration::from_secs(100));
        busy.arm(Duration::from_millis(300));
        let began = clock::refresh();
        close_idle();
        assert_eq!(idle.readable().await, Err(ConnError::TimedOut));
        assert!(
            clock::refresh() - began < Duration::from_millis(250),
            "it waited for its own time"
        );
        assert!(!busy.is_stale(), "a busy connection goes on");
    });
}

#[test]
fn the_deadline_of_a_connection_that_is_gone_ends_nobody_elses() {
    on_each_driver(|| async {
        let (conn, mut client) = pair().await;
        // A client that left while it was idle had this descriptor before.
        let left = Deadline::on_socket(conn.stream().as_raw_fd());
        left.arm_idle(Duration::from_secs(100));
        drop(left);
        close_idle();
        sleep(Duration::from_millis(limits::TICK_MS * 4)).await;
        std::io::Write::write_all(&mut client, b"more").unwrap();
        assert_eq!(conn.readable().await, Ok(()));
        assert_eq!(conn.try_read(&mut Buffer::take()), Ok(Arrived::All));
    });
}

#[test]
fn the_end_of_a_drain_ends_everything_that_has_a_deadline() {
    on_each_driver(|| async {
        let (busy, mut client) = pair().await;
        let (other, _other_client) = pair().await;
        busy.arm(Duration::from_secs(100));
        std::io::Write::write_all(&mut client, b"more").unwrap();
        let patience = Deadline::on_waker();
        patience.arm_in(Duration::from_secs(100));
        assert!(!is_closing());
        close_all();
        patience.wait().await;
        assert!(is_closing());
        assert_eq!(
            busy.readable().await,
            Err(ConnError::TimedOut),
            "whatever has come"
        );
        assert!(!other.is_stale(), "nobody gave it a deadline");
    });
}

#[test]
fn a_request_that_came_before_the_drain_is_not_lost() {
    on_each_driver(|| async {
        let (mut conn, mut client) = pair().await;
        conn.arm_idle(Duration::from_secs(100));
        std::io::Write::write_all(&mut client, b"GET /").unwrap();
        close_idle();
        sleep(Duration::from_millis(limits::TICK_MS * 3)).await;
        assert_eq!(conn.read(&mut Buffer::take()).await, Ok(5));
        // With nothing more to read it is idle, and ends.
        assert_eq!(conn.readable().await, Err(ConnError::TimedOut));
    });
}

#[test]
fn a_slot_of_a_dropped_connection_serves_the_next_one() {
    on_each_driver(|| async {
        for _ in 0..50 {
            let (conn, _client) = pair().await;
            conn.arm(Duration::from_millis(1));
            drop(conn);
        }
        let (conn, _client) = pair().await;
        sleep(Duration::from_millis(100)).await;
        assert!(
            !conn.is_stale(),
            "an old connection's deadline ended a new connection"
        );
    });
}
