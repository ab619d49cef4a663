use std::io::Seek as _;
use std::net::TcpStream;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use super::{accepted, acceptor, on_each_driver};
use crate::worker::{Accepted, Acceptor, Buffer, Conn, race, sleep, spawn};

/// What is queued where a listener is closed.
async fn rest(acceptor: &Acceptor) -> Vec<Conn> {
    acceptor.close();
    let mut queued = Vec::new();
    while let Accepted::Conn(conn) = acceptor.accept().await {
        queued.push(conn);
    }
    queued
}

#[test]
fn closing_ends_the_accept_that_waits() {
    on_each_driver(|| async {
        let (acceptor, address) = acceptor();
        let acceptor = Rc::new(acceptor);
        let closer = Rc::clone(&acceptor);
        spawn(async move {
            sleep(Duration::from_millis(50)).await;
            closer.close();
        });
        assert!(matches!(acceptor.accept().await, Accepted::Closed));
        assert!(matches!(acceptor.accept().await, Accepted::Closed));
        drop(acceptor);
        sleep(Duration::from_millis(50)).await;
        assert!(TcpStream::connect(address).is_err());
    });
}

#[test]
fn who_shares_a_socket_goes_on_when_it_is_closed() {
    on_each_driver(|| async {
        let socket = Acceptor::bind(([127, 0, 0, 1], 0).into()).unwrap();
        Acceptor::listen(&socket).unwrap();
        let address = socket.local_addr().unwrap();
        let old = Rc::new(Acceptor::new(socket.try_clone().unwrap()).unwrap());
        let waiting = Rc::clone(&old);
        spawn(async move { assert!(matches!(waiting.accept().await, Accepted::Closed)) });
        sleep(Duration::from_millis(50)).await;
        assert!(rest(&old).await.is_empty());
        drop(old);
        sleep(Duration::from_millis(50)).await;
        let _client = TcpStream::connect(address).unwrap();
        accepted(&Acceptor::new(socket).unwrap()).await;
    });
}

#[test]
fn a_bound_socket_refuses_until_it_listens() {
    on_each_driver(|| async {
        let socket = Acceptor::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        assert!(TcpStream::connect(address).is_err());
        Acceptor::listen(&socket).unwrap();
        TcpStream::connect(address).unwrap();
    });
}

#[test]
fn closing_takes_what_is_queued_and_it_works() {
    on_each_driver(|| async {
        let (acceptor, address) = acceptor();
        let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut queued = rest(&acceptor).await;
        assert_eq!(queued.len(), 3);
        for client in &mut clients {
            std::io::Write::write_all(client, b"hi").unwrap();
        }
        for conn in &mut queued {
            assert_eq!(conn.read(&mut Buffer::take()).await, Ok(2));
        }
    });
}

#[test]
fn workers_share_an_address() {
    on_each_driver(|| async {
        let (one, address) = acceptor();
        let two = Acceptor::bind(address).unwrap();
        Acceptor::listen(&two).unwrap();
        let two = Acceptor::new(two).unwrap();
        let _clients: Vec<_> = (0..32).map(|_| TcpStream::connect(address).unwrap()).collect();
        let (mut first, mut second) = (0, 0);
        first += rest(&one).await.len();
        second += rest(&two).await.len();
        assert_eq!(first + second, 32);
        assert!(first > 0 && second > 0, "{first} and {second}");
    });
}

/// The limit is the whole process', so this runs in a process of its own.
#[test]
fn accepting_pauses_without_descriptors_and_recovers() {
    let own = std::env::current_exe().expect("a test has an executable");
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 256 && exec \"$0\" --exact --ignored worker::tests::accept::without_descriptors",
        ])
        .arg(own)
        .output()
        .expect("it can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "lowers a limit of its whole process; see accepting_pauses_without_descriptors_and_recovers"]
fn without_descriptors() {
    on_each_driver(|| async {
        // The other driver's run may still be closing its sockets.
        sleep(Duration::from_millis(200)).await;
        let (acceptor, address) = acceptor();
        let mut clients: Vec<_> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        let first = accepted(&acceptor).await;
        let stat = std::fs::File::open("/proc/self/stat").expect("this is Linux");
        let hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok())
            .take(256)
            .collect();
        let before = cpu_ms(&stat);
        for _ in 0..3 {
            assert!(matches!(acceptor.accept().await, Accepted::Exhausted));
        }
        assert!(cpu_ms(&stat) - before < 100, "it was busy while it waited");
        drop(hoard);
        for _ in 0..2 {
            accepted(&acceptor).await;
        }
        drop(first);
        let mut last = accepted(&acceptor).await;
        std::io::Write::write_all(&mut clients[3], b"!").unwrap();
        assert_eq!(last.read(&mut Buffer::take()).await, Ok(1));
        let nothing = race(acceptor.accept(), sleep(Duration::from_millis(20))).await;
        // Dropped halfway, which a gateway never does: here its process ends.
        assert!(matches!(nothing, crate::worker::First::Right(())));
    });
}

/// Processor time of this process, read from its open `/proc/self/stat`.
fn cpu_ms(mut stat: &std::fs::File) -> u64 {
    stat.rewind().expect("a file");
    let stat = std::io::read_to_string(stat).expect("this is Linux");
    let after_name = stat.rsplit_once(") ").expect("the name is in parentheses").1;
    let ticks: u64 = after_name
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    ticks * 10
}
