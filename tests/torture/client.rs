//! Raw clients, many at once: each sends its segments from an address of its own and keeps what comes back.
//!
//! The address is how the tapes of the upstream are told apart afterwards: every proxy under test names it in
//! `X-Forwarded-For`, so cases can run side by side and no answer can pass for another's.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

/// Clients at work at the same time.
const CLIENTS: usize = 32;
/// Between two segments, so that they arrive one by one.
const GAP: Duration = Duration::from_micros(400);
/// A well-formed request that follows every payload on the same connection.
pub(crate) const PROBE: &[u8] = b"GET /probe-7f3a HTTP/1.1\r\nHost: a\r\n\r\n";
/// What only the answer to the probe contains: its whole body behind a head.
const PROBE_ANSWERED: &[u8] = b"\r\n\r\nGET /probe-7f3a.";
/// The probe as the upstream sees it.
pub(crate) const PROBE_LINE: &str = "GET /probe-7f3a";
/// The body of the answer to the probe.
pub(crate) const PROBE_ANSWER: &[u8] = b"GET /probe-7f3a.";

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer closed or reset the connection.
    Closed,
    /// The probe was answered.
    Probed,
    /// Nothing more came.
    Silent,
}

/// What a client got.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// The client's address.
    pub(crate) from: Ipv4Addr,
    /// Every byte, in order.
    pub(crate) bytes: Vec<u8>,
    /// How it ended.
    pub(crate) end: End,
}

/// What one client sends.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    /// Sent one by one.
    pub(crate) segments: Vec<Vec<u8>>,
    /// Silence after which nothing more is expected.
    pub(crate) patience: Duration,
}

impl Shot {
    /// `payload` and the probe in one segment.
    pub(crate) fn whole(payload: &[u8], patience: Duration) -> Self {
        Self {
            segments: vec![[payload, PROBE].concat()],
            patience,
        }
    }

    /// `payload` cut at these offsets, the probe with its last piece.
    pub(crate) fn cut(payload: &[u8], at: &[usize], patience: Duration) -> Self {
        let bytes = [payload, PROBE].concat();
        let mut start = 0;
        let mut segments = Vec::new();
        for end in at {
            segments.push(bytes[start..*end].to_vec());
            start = *end;
        }
        segments.push(bytes[start..].to_vec());
        Self { segments, patience }
    }
}

/// Fires all shots, some at a time, and gives what each client heard, in their order.
pub(crate) fn volley(to: SocketAddr, shots: &[Shot]) -> Result<Vec<Heard>> {
    at_once(shots.len(), |number| converse(to, &shots[number]))
}

/// Runs `client` with the numbers below `count`, some at a time, and gives the results in their order.
pub(crate) fn at_once<T: Send>(count: usize, client: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS.min(count) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let result = client(number);
                    results.lock().expect("no client panics").push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no client panics");
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// One conversation from a fresh address.
pub(crate) fn converse(to: SocketAddr, shot: &Shot) -> Result<Heard> {
    let from = fresh_address();
    let mut stream = connect(from, to)?;
    stream.set_read_timeout(Some(shot.patience))?;
    for (number, segment) in shot.segments.iter().enumerate() {
        if number > 0 {
            std::thread::sleep(GAP);
        }
        // A proxy that has already refused may have closed: what it said is still to be read.
        if stream.write_all(segment).is_err() {
            break;
        }
    }
    let (bytes, end) = listen(&mut stream);
    Ok(Heard { from, bytes, end })
}

/// A connection from a loopback address of the caller's choice.
pub(crate) fn connect(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddrV4::new(from, 0).into())?;
    socket
        .connect_timeout(&to.into(), Duration::from_secs(10))
        .with_context(|| format!("connect to {to}"))?;
    socket.set_tcp_nodelay(true)?;
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

/// A loopback address that no other client of this process has.
pub(crate) fn fresh_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number)
}

fn listen(stream: &mut TcpStream) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (bytes, End::Closed),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return (bytes, End::Silent);
            }
            Err(_) => return (bytes, End::Closed),
        }
        if holds(&bytes, PROBE_ANSWERED) {
            return (bytes, End::Probed);
        }
    }
}

/// Whether `bytes` contain `part`.
fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
