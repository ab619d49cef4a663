//! A scripted upstream on raw sockets: it records the exact bytes of every connection and answers as told.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::script::{Script, Step};
use crate::wire::{Body, Framing, Headers, Reader};

/// A request as it reached the origin.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Number of the connection it came on, counted from 0.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// The request target, byte for byte.
    pub target: String,
    /// The headers in wire order.
    pub headers: Headers,
    /// The decoded body; empty while the origin answers at the head.
    pub body: Vec<u8>,
    /// How the body was framed.
    pub framing: Framing,
    /// The bytes of the head.
    pub raw_head: Vec<u8>,
}

impl Recorded {
    /// A header's value, or the empty string.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_default()
    }

    /// The body as JSON, or null.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

type Handler = dyn Fn(&Recorded) -> Script + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    answer_at_head: bool,
    stop: AtomicBool,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Recorded>,
    violations: Vec<String>,
    tapes: Vec<Vec<u8>>,
    /// Weak, so that a connection's own thread decides when its socket closes, and thereby how.
    sockets: Vec<Weak<TcpStream>>,
}

/// A scripted upstream. Dropping it closes its sockets.
pub struct Origin {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Origin {
    /// An origin that answers each request with what `handler` makes of it, once the body has come.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub fn start(handler: impl Fn(&Recorded) -> Script + Send + Sync + 'static) -> Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), Box::new(handler), false)
    }

    /// As [`Origin::start`], at an address.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn start_at(
        addr: SocketAddr,
        handler: impl Fn(&Recorded) -> Script + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::bind(addr, Box::new(handler), false)
    }

    /// As [`Origin::start`], but the answer goes out as soon as the request head has come; the body is never read
    /// before it.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub fn start_at_head(handler: impl Fn(&Recorded) -> Script + Send + Sync + 'static) -> Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), Box::new(handler), true)
    }

    /// An origin that answers 200 with a JSON view of the request: `method`, `target`, `headers`, `body`.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub fn echo() -> Result<Self> {
        Self::start(|request| {
            let headers: Vec<Value> = request
                .headers
                .0
                .iter()
                .map(|(name, value)| json!([name, value]))
                .collect();
            let view = json!({
                "method": request.method,
                "target": request.target,
                "headers": headers,
                "body": String::from_utf8_lossy(&request.body),
            });
            Script::respond(200, &[("Content-Type", "application/json")], view.to_string())
        })
    }

    /// An origin that always answers with the same script.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub fn always(script: Script) -> Result<Self> {
        Self::start(move |_| script.clone())
    }

    fn bind(addr: SocketAddr, handler: Box<Handler>, answer_at_head: bool) -> Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler,
            answer_at_head,
            stop: AtomicBool::new(false),
            seen: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("origin".to_owned())
            .spawn(move || accept(&listener, &accepting))?;
        Ok(Self { addr, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDRESS`, for a service's `url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every request so far, in the order they were complete.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.seen().requests.clone()
    }

    /// The last request.
    ///
    /// # Panics
    /// When none came: in a test this is the failure to report.
    #[must_use]
    pub fn last(&self) -> Recorded {
        self.shared
            .seen()
            .requests
            .last()
            .cloned()
            .expect("the origin saw no request")
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.seen().tapes.len()
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared
            .seen()
            .sockets
            .iter()
            .filter(|socket| socket.strong_count() > 0)
            .count()
    }

    /// Waits until no connection is open.
    ///
    /// # Errors
    /// When one still is after `patience`.
    pub fn wait_closed(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while self.open_connections() > 0 {
            if Instant::now() > deadline {
                bail!(
                    "{} connections to the origin are still open after {patience:?}",
                    self.open_connections()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Every byte that came on each connection: the oracle for what the gateway forwarded.
    #[must_use]
    pub fn tapes(&self) -> Vec<Vec<u8>> {
        self.shared.seen().tapes.clone()
    }

    /// What the gateway sent that RFC 9112 forbids. Empty for a correct gateway, whatever its clients do.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.shared.seen().violations.clone()
    }

    /// Waits until `count` requests have come.
    ///
    /// # Errors
    /// When they have not after `patience`.
    pub fn wait_for(&self, count: usize, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut seen = self.shared.seen();
        while seen.requests.len() < count {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                bail!(
                    "the origin saw {} of {count} requests in {patience:?}",
                    seen.requests.len()
                );
            };
            seen = self
                .shared
                .changed
                .wait_timeout(seen, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the accepting thread, which then sees `stop` and drops the listener.
        let _ = TcpStream::connect(self.addr);
        for socket in self.shared.seen().sockets.iter().filter_map(Weak::upgrade) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream.map(Arc::new) else {
            continue;
        };
        let connection = {
            let mut seen = shared.seen();
            seen.tapes.push(Vec::new());
            seen.sockets.push(Arc::downgrade(&stream));
            seen.tapes.len() - 1
        };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            if let Err(error) = serve(&stream, connection, &shared) {
                let closed = error.downcast_ref::<std::io::Error>().is_some();
                if !closed {
                    shared
                        .seen()
                        .violations
                        .push(format!("connection {connection}: {error:#}"));
                }
            }
        });
    }
}

fn serve(mut stream: &TcpStream, connection: usize, shared: &Arc<Shared>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = Reader::new(stream);
    let taping = Arc::clone(shared);
    reader.tape = Some(Box::new(move |bytes| {
        taping.seen().tapes[connection].extend_from_slice(bytes)
    }));
    while let Some(head) = reader.head()? {
        let framing = Framing::of_request(&head.headers)?;
        let mut body = Body::new(framing);
        let mut request = Recorded {
            connection,
            method: head.word(0).to_owned(),
            target: head.word(1).to_owned(),
            headers: head.headers,
            body: Vec::new(),
            framing,
            raw_head: head.raw,
        };
        if !shared.answer_at_head {
            if request.header("expect").eq_ignore_ascii_case("100-continue") {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            request.body = reader.rest(&mut body)?;
        }
        shared.seen().requests.push(request.clone());
        shared.changed.notify_all();
        let script = (shared.handler)(&request);
        if !play(stream, &script)? {
            return Ok(());
        }
        reader.rest(&mut body)?;
    }
    Ok(())
}

/// Plays a script; false when the connection is over.
fn play(mut stream: &TcpStream, script: &Script) -> Result<bool> {
    for step in &script.steps {
        match step {
            Step::Send(bytes) => {
                if peer_is_gone(stream) || stream.write_all(bytes).is_err() {
                    return Ok(false);
                }
            }
            Step::Pause(time) => {
                if !pause(stream, *time) {
                    return Ok(false);
                }
            }
            Step::Fin => {
                stream.shutdown(Shutdown::Both)?;
                return Ok(false);
            }
            Step::Reset => {
                // With a zero linger time the close that follows sends RST instead of FIN.
                socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
                return Ok(false);
            }
            Step::Hold => {
                while pause(stream, Duration::from_millis(50)) {}
                return Ok(false);
            }
            Step::Then(run) => run(),
        }
    }
    Ok(true)
}

/// Waits, and says whether the peer is still there.
fn pause(stream: &TcpStream, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    loop {
        if peer_is_gone(stream) {
            return false;
        }
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            return true;
        };
        std::thread::sleep(left.min(Duration::from_millis(2)));
    }
}

/// Whether the peer has closed or reset the connection, without reading anything from it.
fn peer_is_gone(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let peeked = stream.peek(&mut [0]);
    let blocking = stream.set_nonblocking(false);
    match peeked {
        Ok(count) => count == 0 || blocking.is_err(),
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;

    #[test]
    fn echo_shows_the_request() {
        let origin = Origin::echo().unwrap();
        let answer = Client::fetch(origin.addr(), "POST", "/a?b=c", &[("X-One", "1")], b"hello").unwrap();
        assert_eq!(
            (answer.json()["target"].as_str(), answer.json()["body"].as_str()),
            (Some("/a?b=c"), Some("hello"))
        );
        assert_eq!(origin.last().header("x-one"), "1");
        assert!(origin.tapes()[0].ends_with(b"\r\n\r\nhello"));
    }

    #[test]
    fn a_connection_is_kept_for_the_next_request() {
        let origin = Origin::echo().unwrap();
        let mut client = Client::connect(origin.addr()).unwrap();
        for _ in 0..3 {
            assert_eq!(client.ask("GET", "/", &[], b"").unwrap().status, 200);
        }
        assert_eq!((origin.requests().len(), origin.connections()), (3, 1));
    }

    #[test]
    fn reset_is_a_reset_and_fin_is_a_fin() {
        let ends = [(Step::Reset, Some(ErrorKind::ConnectionReset)), (Step::Fin, None)];
        for (end, expected) in ends {
            let origin =
                Origin::always(Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").then(end))
                    .unwrap();
            let error = Client::get(origin.addr(), "/", &[]).unwrap_err();
            let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            assert_eq!(kind, expected, "{error:#}");
        }
    }

    #[test]
    fn what_rfc_9112_forbids_is_a_violation() {
        let origin = Origin::echo().unwrap();
        let mut client = Client::connect(origin.addr()).unwrap();
        client
            .send(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
            .unwrap();
        client.expect_close().unwrap();
        assert_eq!(origin.violations().len(), 1);
    }

    #[test]
    fn a_hold_ends_when_the_caller_goes() {
        let origin = Origin::always(Script::default().then(Step::Hold)).unwrap();
        let mut client = Client::connect(origin.addr()).unwrap();
        client.send(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        origin.wait_for(1, Duration::from_secs(5)).unwrap();
        assert_eq!(origin.open_connections(), 1);
        drop(client);
        origin.wait_closed(Duration::from_secs(5)).unwrap();
    }
}
