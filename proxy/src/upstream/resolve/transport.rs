//! One question to the servers: by datagram, by stream when the answer is too long, one server after the other.
//!
//! Every try has a socket of its own, so that its source port is the kernel's random choice, connected, so that only
//! its server can answer; its id is random. What does not answer the question is not listened to: the true answer may
//! still come. Blocks; runs on the resolver's threads alone.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::message::{Question, Reply};
use super::resolv_conf::ResolvConf;
use super::{Counts, now};
use crate::limits;

/// Asks, and remembers which servers did not answer.
pub(super) struct Transport {
    counts: Arc<Counts>,
    /// Where the next look-up begins under `options rotate`.
    turn: AtomicUsize,
    #[expect(clippy::disallowed_types, reason = "cold: the resolver's threads alone")]
    silent: std::sync::Mutex<HashMap<SocketAddr, Instant>>,
}

impl Transport {
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        Self {
            counts,
            turn: AtomicUsize::new(0),
            #[expect(clippy::disallowed_types, reason = "as the field")]
            silent: std::sync::Mutex::default(),
        }
    }

    /// The first answer of a server to the question: [`Reply::Failed`] when none has one before `deadline`.
    pub(super) fn ask(&self, conf: &ResolvConf, question: &Question, deadline: Instant) -> Reply {
        for _ in 0..conf.attempts {
            for server in self.ordered(conf) {
                let now = now();
                if now >= deadline {
                    return Reply::Failed;
                }
                let until = deadline.min(now + conf.timeout);
                match self.ask_one(server, conf.tcp, question, until) {
                    Ok(Reply::Failed) => {}
                    Ok(reply) => {
                        self.silent(|silent| silent.remove(&server));
                        return reply;
                    }
                    Err(_) => {
                        let pause = Duration::from_secs(limits::DNS_SERVER_PAUSE_S);
                        self.silent(|silent| silent.insert(server, now + pause));
                    }
                }
            }
        }
        Reply::Failed
    }

    /// Servers that did not answer lately come last.
    fn ordered(&self, conf: &ResolvConf) -> Vec<SocketAddr> {
        let mut servers = conf.servers.clone();
        if conf.rotate && !servers.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % servers.len();
            servers.rotate_left(turn);
        }
        let now = now();
        self.silent(|silent| {
            silent.retain(|_, until| *until > now);
            servers.sort_by_key(|server| silent.contains_key(server));
        });
        servers
    }

    fn silent<T>(&self, act: impl FnOnce(&mut HashMap<SocketAddr, Instant>) -> T) -> T {
        act(&mut self
            .silent
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn ask_one(
        &self,
        server: SocketAddr,
        mut tcp: bool,
        question: &Question,
        until: Instant,
    ) -> io::Result<Reply> {
        let mut edns = true;
        loop {
            self.counts.questions.fetch_add(1, Ordering::Relaxed);
            let id = random()?;
            let bytes = question.write(id, edns);
            let reply = if tcp {
                stream(server, question, id, &bytes, until)?
            } else {
                datagram(server, question, id, &bytes, until)?
            };
            match reply {
                Reply::Truncated if !tcp => tcp = true,
                Reply::NotUnderstood if edns => edns = false,
                Reply::Truncated | Reply::NotUnderstood => return Ok(Reply::Failed),
                reply => return Ok(reply),
            }
        }
    }
}

fn random() -> io::Result<u16> {
    let mut bytes = [0; 2];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_error| io::Error::other("no randomness"))?;
    Ok(u16::from_ne_bytes(bytes))
}

fn datagram(
    server: SocketAddr,
    question: &Question,
    id: u16,
    bytes: &[u8],
    until: Instant,
) -> io::Result<Reply> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.send(bytes)?;
    // Longer than any datagram that was asked for: one that is cut off would not be noticed.
    let mut answer = [0; 4096];
    loop {
        socket.set_read_timeout(Some(left(until)?))?;
        let length = match socket.recv(&mut answer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        };
        if let Ok(reply) = question.read(id, &answer[..length]) {
            return Ok(reply);
        }
    }
}

/// RFC 1035 §4.2.2: two bytes of length before each message.
fn stream(
    server: SocketAddr,
    question: &Question,
    id: u16,
    bytes: &[u8],
    until: Instant,
) -> io::Result<Reply> {
    let mut socket = TcpStream::connect_timeout(&server, left(until)?)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    socket.set_write_timeout(Some(left(until)?))?;
    socket.write_all(&[&length.to_be_bytes(), bytes].concat())?;
    let mut length = [0; 2];
    fill(&mut socket, &mut length, until)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    fill(&mut socket, &mut answer, until)?;
    Ok(question.read(id, &answer).unwrap_or(Reply::Failed))
}

/// Reads until `bytes` are full; however slowly they come, not beyond `until`.
fn fill(socket: &mut TcpStream, mut bytes: &mut [u8], until: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        socket.set_read_timeout(Some(left(until)?))?;
        match socket.read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => bytes = &mut bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time that is left; a socket takes no zero.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}
