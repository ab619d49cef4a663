use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::PATIENCE;
use crate::node::DriverChoice;
use crate::worker::{Driver, Mailbox, start};

thread_local! {
    static MARK: Cell<bool> = const { Cell::new(false) };
}

/// A worker that does nothing but open its letters, under each driver.
fn idle_workers() -> impl Iterator<Item = Mailbox> {
    [DriverChoice::Auto, DriverChoice::Epoll]
        .into_iter()
        .map(|choice| {
            let driver = Driver::choose(choice).expect("neither can be refused");
            let main = || async { MARK.set(true) };
            start("worker".to_owned(), None, driver, main, |error| panic!("{error}"))
                .expect("a thread can be started")
                .mailbox
        })
}

#[test]
fn a_letter_is_opened_on_the_workers_thread() {
    for mailbox in idle_workers() {
        let (done, result) = mpsc::channel();
        // The worker sleeps in the kernel by now.
        thread::park_timeout(Duration::from_millis(50));
        mailbox.send(move || done.send(MARK.get()).unwrap());
        assert_eq!(result.recv_timeout(PATIENCE), Ok(true));
    }
}

#[test]
fn a_letter_that_panics_does_not_stop_the_post() {
    for mailbox in idle_workers() {
        let (done, result) = mpsc::channel();
        mailbox.send(|| panic!("a bug, on purpose"));
        thread::park_timeout(Duration::from_millis(50));
        mailbox.send(move || done.send(crate::worker::panics()).unwrap());
        assert_eq!(result.recv_timeout(PATIENCE), Ok(1));
    }
}

#[test]
fn every_letter_of_many_senders_arrives() {
    const SENDERS: usize = 4;
    const LETTERS: usize = 5_000;
    for mailbox in idle_workers() {
        let opened = Arc::new(AtomicUsize::new(0));
        let (done, result) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..SENDERS {
                let (mailbox, opened, done) = (mailbox.clone(), Arc::clone(&opened), done.clone());
                scope.spawn(move || {
                    for _ in 0..LETTERS {
                        let (opened, done) = (Arc::clone(&opened), done.clone());
                        mailbox.send(move || {
                            if opened.fetch_add(1, Ordering::Relaxed) + 1 == SENDERS * LETTERS {
                                done.send(()).unwrap();
                            }
                        });
                    }
                });
            }
        });
        assert_eq!(result.recv_timeout(PATIENCE), Ok(()));
    }
}
