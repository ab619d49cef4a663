use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;
use crate::worker::tests::{on, own_mailbox};
use crate::worker::{Driver, First, race, sleep, spawn};

fn health() -> Arc<AddressHealth> {
    Arc::default()
}

/// Waits in `line` until `health` has a slot, as an exchange would.
async fn admitted(line: &Rc<Line>, health: &Arc<AddressHealth>, most: u32) -> Slot {
    let place = line.enter(100).expect("there is room to wait");
    loop {
        if place.is_next()
            && let Some(slot) = Slot::take(health, most, line)
        {
            return slot;
        }
        place.called().await;
    }
}

#[test]
fn a_slot_is_taken_at_most_so_often_and_given_back_when_it_is_dropped() {
    on(Driver::Epoll, || async {
        let (queue, health) = (Arc::new(Queue::new(1)), health());
        let line = Line::of(&queue, 0, &own_mailbox().await);
        let slots: Vec<Slot> = (0..5).filter_map(|_| Slot::take(&health, 3, &line)).collect();
        assert_eq!((slots.len(), health.running()), (3, 3));
        drop(slots);
        assert_eq!(health.running(), 0);
    });
}

#[test]
fn places_are_bounded_and_come_free_however_they_are_left() {
    on(Driver::Epoll, || async {
        let queue = Arc::new(Queue::new(1));
        let line = Line::of(&queue, 0, &own_mailbox().await);
        let mut places: Vec<Place> = (0..5).filter_map(|_| line.enter(3)).collect();
        assert_eq!((places.len(), queue.waiting()), (3, 3));
        drop(places.remove(1));
        places.extend(line.enter(3));
        assert_eq!((places.len(), queue.waiting()), (3, 3));
        assert!(places[0].is_next() && !places[1].is_next());
        places.remove(0);
        assert!(places[0].is_next(), "who left makes the next one first");
        drop(places);
        assert_eq!((queue.waiting(), queue.next()), (0, None));
    });
}

#[test]
fn who_came_first_is_served_first_and_who_left_is_passed_over() {
    on(Driver::Epoll, || async {
        let (queue, health) = (Arc::new(Queue::new(1)), health());
        let line = Line::of(&queue, 0, &own_mailbox().await);
        let slot = Slot::take(&health, 1, &line).expect("nobody has it");
        let served: Rc<RefCell<Vec<u32>>> = Rc::default();
        for number in 0..4 {
            let (line, health, served) = (Rc::clone(&line), Arc::clone(&health), Rc::clone(&served));
            spawn(async move {
                let mut admitted = pin!(admitted(&line, &health, 1));
                // The second one leaves.
                let patience = Duration::from_millis(if number == 1 { 5 } else { 60_000 });
                if let First::Left(slot) = race(&mut admitted, sleep(patience)).await {
                    served.borrow_mut().push(number);
                    sleep(Duration::from_millis(1)).await;
                    drop(slot);
                }
            });
        }
        sleep(Duration::from_millis(50)).await;
        assert_eq!(queue.waiting(), 3);
        drop(slot);
        while served.borrow().len() < 3 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(*served.borrow(), [0, 2, 3]);
        sleep(Duration::from_millis(20)).await;
        assert_eq!((queue.waiting(), health.running()), (0, 0));
    });
}

#[test]
fn a_call_to_who_has_left_goes_to_the_next() {
    on(Driver::Epoll, || async {
        let (queue, health) = (Arc::new(Queue::new(1)), health());
        let line = Line::of(&queue, 0, &own_mailbox().await);
        let slot = Slot::take(&health, 1, &line).expect("nobody has it");
        let (first, second) = (line.enter(9).expect("room"), line.enter(9).expect("room"));
        drop(slot);
        drop(first);
        let called = race(second.called(), sleep(Duration::from_secs(5))).await;
        assert_eq!(called, First::Left(()));
    });
}

/// Many requests of several workers, one slot fewer than would do: nobody is forgotten, and nobody is one too many.
#[test]
fn every_waiting_request_of_every_worker_is_called() {
    const WORKERS: usize = 3;
    const REQUESTS: usize = 200;
    const MOST: u32 = 2;
    let (queue, health) = (Arc::new(Queue::new(WORKERS)), health());
    let threads = (0..WORKERS).map(|worker| {
        let (queue, health) = (Arc::clone(&queue), Arc::clone(&health));
        std::thread::spawn(move || {
            on(Driver::Epoll, move || async move {
                let line = Line::of(&queue, worker, &own_mailbox().await);
                let done = Rc::new(AtomicUsize::new(0));
                for request in 0..REQUESTS {
                    let (line, health, done) = (Rc::clone(&line), Arc::clone(&health), Rc::clone(&done));
                    spawn(async move {
                        let place = loop {
                            if let Some(place) = line.enter(50) {
                                break place;
                            }
                            sleep(Duration::from_millis(1)).await;
                        };
                        let slot = loop {
                            if place.is_next()
                                && let Some(slot) = Slot::take(&health, MOST, &line)
                            {
                                break slot;
                            }
                            place.called().await;
                        };
                        drop(place);
                        assert!(health.running() <= MOST);
                        if request % 3 == 0 {
                            sleep(Duration::from_millis(1)).await;
                        }
                        drop(slot);
                        done.fetch_add(1, Ordering::Relaxed);
                    });
                }
                while done.load(Ordering::Relaxed) < REQUESTS {
                    sleep(Duration::from_millis(1)).await;
                }
            });
        })
    });
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        thread.join().expect("the worker ends well");
    }
    assert_eq!((queue.waiting(), health.running()), (0, 0));
}
