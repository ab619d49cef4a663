use std::rc::Rc;

use crossbeam::channel::{Receiver, unbounded};

use super::*;
use crate::worker::tests::{on_each_driver, own_mailbox};
use crate::worker::{sleep, spawn};

/// A directory whose answers the test gives.
async fn rig() -> (Names, Receiver<Letter>) {
    let (letters, inbox) = unbounded();
    let resolver = Resolver {
        letters,
        counts: Arc::default(),
    };
    (Names::new(resolver, own_mailbox().await), inbox)
}

fn address(last: u8) -> Address {
    Address::plain(IpAddr::from([192, 0, 2, last]))
}

fn known(lasts: &[u8]) -> Arc<Answer> {
    Arc::new(Answer::new(lasts.iter().map(|last| address(*last)).collect()))
}

const TTL: Duration = Duration::from_secs(30);
const STALE: Duration = Duration::from_secs(3600);

fn tell(host: &str, answer: &Arc<Answer>) {
    let usable = if answer.addresses.is_empty() {
        TTL
    } else {
        TTL + STALE
    };
    Names::deliver(host, Arc::clone(answer), TTL, usable);
}

/// The next name that is asked for, without blocking the worker.
async fn asked(inbox: &Receiver<Letter>) -> Box<str> {
    loop {
        match inbox.try_recv() {
            Ok(Letter::Ask { host, .. }) => return host,
            Ok(_) => panic!("a worker only asks"),
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
}

type Found = Rc<RefCell<Option<Option<SocketAddr>>>>;

fn resolving(names: &Names, host: &'static str) -> Found {
    let (names, found) = (names.clone(), Found::default());
    let answer = Rc::clone(&found);
    spawn(async move {
        let address = names.resolve(host, 80).await;
        answer.replace(Some(address));
    });
    found
}

async fn settled(found: &Found) -> Option<SocketAddr> {
    loop {
        if let Some(answer) = *found.borrow() {
            return answer;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

async fn resolved(names: &Names, host: &'static str) -> Option<SocketAddr> {
    settled(&resolving(names, host)).await
}

fn at(last: u8) -> Option<SocketAddr> {
    Some(address(last).socket(80))
}

#[test]
fn the_hosts_file_of_this_machine_is_read() {
    on_each_driver(|| async {
        let settings = DnsSettings {
            servers: Vec::new(),
            hosts_file: "/etc/hosts".into(),
            resolv_conf: "/nonexistent".into(),
            order: DnsOrder::default(),
            valid_ttl: None,
            stale_ttl: STALE,
        };
        let names = Names::new(Resolver::start(settings).unwrap(), own_mailbox().await);
        assert_eq!(
            names.resolve("localhost", 80).await,
            Some("127.0.0.1:80".parse().unwrap())
        );
    });
}

#[test]
fn many_who_wait_are_one_question_and_share_the_addresses() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let waiting: Vec<_> = (0..4).map(|_| resolving(&names, "two.test")).collect();
        assert_eq!(&*asked(&inbox).await, "two.test");
        tell("two.test", &known(&[1, 2]));
        let mut found = Vec::new();
        for waiting in &waiting {
            found.push(settled(waiting).await);
        }
        found.sort();
        assert_eq!(found, [at(1), at(1), at(2), at(2)]);
        assert!(inbox.is_empty());
    });
}

#[test]
fn an_answer_beyond_its_time_serves_while_it_is_asked_again_but_not_for_ever() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let found = resolving(&names, "moves.test");
        asked(&inbox).await;
        tell("moves.test", &known(&[1]));
        assert_eq!(settled(&found).await, at(1));
        assert_eq!(resolved(&names, "moves.test").await, at(1));
        assert!(inbox.is_empty(), "it was fresh");
        clock::ahead::go(TTL);
        assert_eq!(resolved(&names, "moves.test").await, at(1));
        asked(&inbox).await;
        assert_eq!(resolved(&names, "moves.test").await, at(1));
        assert!(inbox.is_empty(), "it was asked already");
        clock::ahead::go(STALE);
        let late = resolving(&names, "moves.test");
        sleep(Duration::from_millis(5)).await;
        assert_eq!(*late.borrow(), None, "too old to be used");
        tell("moves.test", &known(&[2]));
        assert_eq!(settled(&late).await, at(2));
    });
}

#[test]
fn no_such_name_is_believed_for_a_while_only() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let found = resolving(&names, "late.test");
        asked(&inbox).await;
        tell("late.test", &known(&[]));
        assert_eq!(settled(&found).await, None);
        assert_eq!(resolved(&names, "late.test").await, None);
        assert!(inbox.is_empty());
        clock::ahead::go(TTL);
        let found = resolving(&names, "late.test");
        asked(&inbox).await;
        tell("late.test", &known(&[3]));
        assert_eq!(settled(&found).await, at(3));
    });
}

#[test]
fn a_directory_that_says_nothing_is_not_waited_for_long() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let found = resolving(&names, "silent.test");
        asked(&inbox).await;
        clock::ahead::go(Duration::from_secs(limits::RESOLVE_WAIT_S));
        assert_eq!(settled(&found).await, None);
        assert_eq!(
            resolved(&names, "silent.test").await,
            None,
            "a retry does not wait"
        );
        // The answer still serves those who come later.
        tell("silent.test", &known(&[4]));
        assert_eq!(resolved(&names, "silent.test").await, at(4));
    });
}

#[test]
fn an_address_that_failed_is_passed_over_for_a_while_and_when_the_others_change() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let first = resolving(&names, "three.test");
        asked(&inbox).await;
        tell("three.test", &known(&[1, 2, 3]));
        settled(&first).await;
        names.failed("three.test", 80, at(2).unwrap().into());
        names.failed("three.test", 80, at(9).unwrap().into());
        names.failed("unknown.test", 80, at(1).unwrap().into());
        for _ in 0..6 {
            assert_ne!(resolved(&names, "three.test").await, at(2));
        }
        tell("three.test", &known(&[2, 3, 4]));
        let mut seen = BTreeSet::new();
        for _ in 0..6 {
            seen.insert(resolved(&names, "three.test").await);
        }
        assert_eq!(seen, BTreeSet::from([at(3), at(4)]));
        names.failed("three.test", 80, at(3).unwrap().into());
        names.failed("three.test", 80, at(4).unwrap().into());
        assert!(
            resolved(&names, "three.test").await.is_some(),
            "all failed: any may be tried"
        );
        clock::ahead::go(Duration::from_secs(limits::ADDRESS_PAUSE_S));
        let mut again = BTreeSet::new();
        for _ in 0..12 {
            again.insert(resolved(&names, "three.test").await);
        }
        assert_eq!(again, BTreeSet::from([at(2), at(3), at(4)]));
    });
}

#[test]
fn another_address_is_neither_the_one_that_is_named_nor_one_that_failed() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let than = |last| at(last).unwrap().into();
        assert_eq!(names.another("three.test", 80, than(1)), None, "nobody knows yet");
        asked(&inbox).await;
        tell("three.test", &known(&[1, 2, 3]));
        let others: BTreeSet<_> = (0..4).map(|_| names.another("three.test", 80, than(1))).collect();
        assert_eq!(others, BTreeSet::from([at(2), at(3)]));
        names.failed("three.test", 80, than(2));
        assert_eq!(names.another("three.test", 80, than(1)), at(3));
        assert_eq!(names.another("three.test", 80, than(3)), at(1));
        names.failed("three.test", 80, than(3));
        assert_eq!(names.another("three.test", 80, than(1)), None);
        clock::ahead::go(TTL + STALE);
        assert_eq!(
            names.another("three.test", 80, than(1)),
            None,
            "what was known is too old"
        );
    });
}

#[test]
fn weights_and_ports_of_services_are_kept() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let service = |weight, port| Service {
            priority: 0,
            weight,
            port,
            target: "x".into(),
        };
        let mut all: Vec<Address> = Address::of_service(&service(3, 8001), &[address(1)]).collect();
        all.extend(Address::of_service(&service(1, 0), &[address(2), address(3)]));
        let first = resolving(&names, "_http._tcp.shop.test");
        asked(&inbox).await;
        tell("_http._tcp.shop.test", &Arc::new(Answer::new(answer(all))));
        let mut counts = std::collections::BTreeMap::new();
        *counts.entry(settled(&first).await.unwrap()).or_insert(0) += 1;
        for _ in 0..15 {
            *counts
                .entry(resolved(&names, "_http._tcp.shop.test").await.unwrap())
                .or_insert(0) += 1;
        }
        let counted: Vec<(SocketAddr, i32)> = counts.into_iter().collect();
        let expected = [
            (address(1).socket(8001), 12),
            (address(2).socket(80), 2),
            (address(3).socket(80), 2),
        ];
        assert_eq!(counted, expected);
    });
}

#[test]
fn a_forgotten_name_is_asked_anew_and_one_that_is_asked_for_is_not_forgotten() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let found = resolving(&names, "old.test");
        asked(&inbox).await;
        Names::forget("old.test");
        tell("old.test", &known(&[1]));
        assert_eq!(settled(&found).await, at(1));
        Names::forget("old.test");
        let found = resolving(&names, "old.test");
        asked(&inbox).await;
        tell("old.test", &known(&[2]));
        assert_eq!(settled(&found).await, at(2));
    });
}

#[test]
fn a_resolved_name_costs_no_memory() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let found = resolving(&names, "warm.test");
        asked(&inbox).await;
        tell("warm.test", &known(&[1, 2]));
        settled(&found).await;
        let mut resolved = None;
        let spent = allocation_counter::measure(|| {
            if let Poll::Ready(address) = names.poll("warm.test", Waker::noop()) {
                resolved = address;
            }
        });
        assert!(resolved.is_some());
        assert_eq!(spent.count_total, 0);
    });
}
