//! What the worker promises, on real sockets and under both drivers.
//!
//! [`on_each_driver`] is the harness of every room whose tests need a worker. A worker that is done parks and is
//! never dropped, so each test leaves a parked thread behind until its process ends.

mod accept;
mod clock;
mod conn;
mod deadline;
mod mailbox;
mod splice;
mod task;

use std::cell::RefCell;
use std::future::Future;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::time::Duration;

use super::task::Caught;
use super::{Accepted, Acceptor, Buffer, Conn, Driver, Mailbox};
use crate::node::DriverChoice;

/// Longer than any test should take; a test that hangs fails after it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test on a worker of each driver, one after the other. A driver that this machine refuses is passed over.
pub(crate) fn on_each_driver<F: Future<Output = ()>>(test: impl Fn() -> F + Clone + Send + 'static) {
    match Driver::choose(DriverChoice::Uring) {
        Ok(driver) => on(driver, test.clone()),
        Err(error) => eprintln!("io_uring is refused here ({error}): tested under epoll only"),
    }
    on(Driver::Epoll, test);
}

/// Runs a future on a worker of its own and gives its result back, or its panic.
pub(crate) fn on<F: Future>(driver: Driver, main: impl FnOnce() -> F + Send + 'static) -> F::Output
where
    F::Output: Send + 'static,
{
    let (done, result) = mpsc::channel();
    let failed = |error| panic!("the worker cannot run: {error}");
    let main = move || async move {
        let caught = Caught::new(main()).await;
        done.send(caught).expect("the test waits");
    };
    let worker =
        super::start("worker".to_owned(), None, driver, main, failed).expect("a thread can be started");
    let mailbox = worker.mailbox.clone();
    worker.mailbox.send(move || {
        OWN.replace(Some(mailbox));
    });
    match result.recv_timeout(PATIENCE) {
        Ok(Ok(output)) => output,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(error) => panic!("the test did not end under {}: {error}", driver.name()),
    }
}

thread_local! {
    static OWN: RefCell<Option<Mailbox>> = const { RefCell::new(None) };
}

/// The mailbox of the worker that runs the test.
pub(crate) async fn own_mailbox() -> Mailbox {
    loop {
        if let Some(mailbox) = OWN.with_borrow(Clone::clone) {
            return mailbox;
        }
        super::sleep(Duration::from_millis(1)).await;
    }
}

/// A listener on a free port of the loopback.
pub(crate) fn acceptor() -> (Acceptor, SocketAddr) {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = Acceptor::bind(loopback).expect("a free port");
    Acceptor::listen(&socket).expect("nobody else has it");
    let address = socket.local_addr().expect("it is bound");
    (Acceptor::new(socket).expect("the runtime takes it"), address)
}

/// An accepted connection, and the client's end of it as a blocking socket.
pub(crate) async fn pair() -> (Conn, TcpStream) {
    let (acceptor, address) = acceptor();
    let client = TcpStream::connect(address).expect("the listener is there");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    (accepted(&acceptor).await, client)
}

pub(crate) async fn accepted(acceptor: &Acceptor) -> Conn {
    match acceptor.accept().await {
        Accepted::Conn(conn) => conn,
        Accepted::Exhausted => panic!("no descriptor was left"),
        Accepted::Closed => panic!("the listener was closed"),
    }
}

/// A connection that we opened, and the server's end of it as a blocking socket.
async fn opened() -> (Conn, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let conn = Conn::connect(address.into(), PATIENCE)
        .await
        .expect("the listener is there");
    let (server, _peer) = listener.accept().expect("it connected");
    (conn, server)
}

fn buffer(bytes: &[u8]) -> Buffer {
    let mut buffer = Buffer::take();
    buffer.extend_from_slice(bytes);
    buffer
}

fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the peer closes it");
    bytes
}
