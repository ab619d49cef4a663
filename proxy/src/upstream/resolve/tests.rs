use super::*;
use crate::worker::tests::{on_each_driver, own_mailbox};
use crate::worker::{sleep, spawn};

/// A resolver whose questions the test answers.
async fn rig() -> (Names, Receiver<Question>) {
    let (questions, inbox) = unbounded();
    (Names::new(Resolver { questions }, own_mailbox().await), inbox)
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// The next question that comes, without blocking the worker.
async fn question(inbox: &Receiver<Question>) -> Question {
    loop {
        match inbox.try_recv() {
            Ok(question) => return question,
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
}

fn resolving(names: &Names, host: &'static str) -> Rc<RefCell<Option<Option<IpAddr>>>> {
    let (names, found) = (names.clone(), Rc::new(RefCell::new(None)));
    let answer = Rc::clone(&found);
    spawn(async move {
        let address = names.resolve(host, 80).await.map(|address| address.ip());
        answer.replace(Some(address));
    });
    found
}

async fn settled(found: &RefCell<Option<Option<IpAddr>>>) -> Option<IpAddr> {
    loop {
        if let Some(answer) = *found.borrow() {
            return answer;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn the_systems_resolver_knows_this_machine() {
    on_each_driver(|| async {
        let names = Names::new(Resolver::start().unwrap(), own_mailbox().await);
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
        assert_eq!(&*question(&inbox).await.host, "two.test");
        Names::deliver("two.test", vec![address(1), address(2)]);
        let mut found = Vec::new();
        for waiting in &waiting {
            found.push(settled(waiting).await.unwrap());
        }
        found.sort();
        assert_eq!(found, [address(1), address(1), address(2), address(2)]);
        assert!(inbox.is_empty());
    });
}

#[test]
fn an_answer_that_expired_serves_while_it_is_asked_again_and_when_that_fails() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let found = resolving(&names, "moves.test");
        question(&inbox).await;
        Names::deliver("moves.test", vec![address(1)]);
        assert_eq!(settled(&found).await, Some(address(1)));
        assert_eq!(settled(&resolving(&names, "moves.test")).await, Some(address(1)));
        assert!(inbox.is_empty(), "it was fresh");
        clock::ahead::go(Duration::from_secs(limits::RESOLVE_KEPT_S));
        assert_eq!(settled(&resolving(&names, "moves.test")).await, Some(address(1)));
        question(&inbox).await;
        Names::deliver("moves.test", Vec::new());
        assert_eq!(settled(&resolving(&names, "moves.test")).await, Some(address(1)));
        clock::ahead::go(Duration::from_secs(limits::RESOLVE_FAILED_S));
        assert_eq!(settled(&resolving(&names, "moves.test")).await, Some(address(1)));
        question(&inbox).await;
        Names::deliver("moves.test", vec![address(2)]);
        assert_eq!(settled(&resolving(&names, "moves.test")).await, Some(address(2)));
    });
}

#[test]
fn no_such_name_is_believed_for_a_while_only() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let found = resolving(&names, "late.test");
        question(&inbox).await;
        Names::deliver("late.test", Vec::new());
        assert_eq!(settled(&found).await, None);
        assert_eq!(settled(&resolving(&names, "late.test")).await, None);
        assert!(inbox.is_empty());
        clock::ahead::go(Duration::from_secs(limits::RESOLVE_FAILED_S));
        let found = resolving(&names, "late.test");
        question(&inbox).await;
        Names::deliver("late.test", vec![address(3)]);
        assert_eq!(settled(&found).await, Some(address(3)));
    });
}

#[test]
fn a_resolver_that_says_nothing_is_not_waited_for_long() {
    on_each_driver(|| async {
        let (names, inbox) = rig().await;
        let found = resolving(&names, "silent.test");
        question(&inbox).await;
        clock::ahead::go(Duration::from_secs(limits::RESOLVE_WAIT_S));
        assert_eq!(settled(&found).await, None);
        // The answer still serves those who come later.
        Names::deliver("silent.test", vec![address(4)]);
        assert_eq!(settled(&resolving(&names, "silent.test")).await, Some(address(4)));
    });
}

#[test]
fn ipv4_is_preferred_and_nothing_is_said_twice() {
    let six: IpAddr = "2001:db8::1".parse().unwrap();
    let list = [six, address(1), address(2), address(1)];
    assert_eq!(preferred(list.into_iter()), [address(1), address(2)]);
    assert_eq!(preferred([six, six].into_iter()), [six]);
}
