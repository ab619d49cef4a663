//! A scripted DNS server, by datagram and by stream: it answers what the test says, and lies when told to.
//!
//! Messages are written and read by hand (RFC 1035, 2782, 6891): no library in here could share a mistake with the
//! gateway's.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How often the threads look whether the server was dropped.
const LOOK: Duration = Duration::from_millis(20);

/// A question as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name in lower case, without the last dot.
    pub name: String,
    /// The type: `A`, `AAAA`, `SRV`, or its number.
    pub kind: String,
    /// Its id.
    pub id: u16,
    /// The port it came from.
    pub port: u16,
    /// Whether it came on a stream.
    pub tcp: bool,
    /// Whether it has an EDNS option.
    pub edns: bool,
}

/// What a record says.
#[derive(Clone, Debug)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name.
    Cname(String),
    /// Priority, weight, port, host.
    Srv(u16, u16, u16, String),
}

/// One message to answer with.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Response code.
    pub rcode: u16,
    /// Owner, seconds, data.
    pub answers: Vec<(String, u32, Data)>,
    /// Time of an SOA record in the authority section, also its `minimum`.
    pub soa: Option<u32>,
    /// Whether the message says that it was cut.
    pub truncated: bool,
    /// What is added to the question's id.
    pub id_shift: u16,
    /// Another question than was asked; an empty one for none.
    pub question: Option<String>,
    /// Not a response at all, but a question.
    pub is_question: bool,
    /// How long it takes.
    pub delay: Duration,
}

impl Reply {
    /// Addresses of the name that was asked for.
    #[must_use]
    pub fn addresses(asked: &Asked, ttl: u32, addresses: &[Ipv4Addr]) -> Self {
        let record = |address: &Ipv4Addr| (asked.name.clone(), ttl, Data::A(*address));
        Self {
            answers: addresses.iter().map(record).collect(),
            ..Self::default()
        }
    }

    /// One record of the name that was asked for.
    #[must_use]
    pub fn record(asked: &Asked, ttl: u32, data: Data) -> Self {
        Self {
            answers: vec![(asked.name.clone(), ttl, data)],
            ..Self::default()
        }
    }

    /// The name has no such record; believed for so many seconds.
    #[must_use]
    pub fn nothing(ttl: u32) -> Self {
        Self {
            soa: Some(ttl),
            ..Self::default()
        }
    }

    /// There is no such name; believed for so many seconds.
    #[must_use]
    pub fn no_such_name(ttl: u32) -> Self {
        Self {
            rcode: 3,
            ..Self::nothing(ttl)
        }
    }

    /// A response code without anything.
    #[must_use]
    pub fn rcode(rcode: u16) -> Self {
        Self {
            rcode,
            ..Self::default()
        }
    }

    fn bytes(&self, asked: &Asked, question: &[u8]) -> Vec<u8> {
        let question = match self.question.as_deref() {
            None => question.to_vec(),
            Some("") => Vec::new(),
            Some(other) => [&name(other)[..], &question[question.len() - 4..]].concat(),
        };
        let flags = self.rcode
            | if self.is_question { 0x0100 } else { 0x8180 }
            | if self.truncated { 0x0200 } else { 0 };
        let answers = u16::try_from(self.answers.len()).unwrap_or(u16::MAX);
        let words = [
            asked.id.wrapping_add(self.id_shift),
            flags,
            u16::from(!question.is_empty()),
            answers,
            u16::from(self.soa.is_some()),
            0,
        ];
        let mut bytes = words.map(u16::to_be_bytes).concat();
        bytes.extend_from_slice(&question);
        for (owner, ttl, data) in &self.answers {
            let (kind, data) = match data {
                Data::A(address) => (1, address.octets().to_vec()),
                Data::Aaaa(address) => (28, address.octets().to_vec()),
                Data::Cname(target) => (5, name(target)),
                Data::Srv(priority, weight, port, target) => {
                    let words = [*priority, *weight, *port].map(u16::to_be_bytes).concat();
                    (33, [words, name(target)].concat())
                }
            };
            bytes.extend(record(owner, kind, *ttl, &data));
        }
        if let Some(ttl) = self.soa {
            let data = [
                &name("ns.test")[..],
                &name("admin.test"),
                &[0; 16],
                &ttl.to_be_bytes(),
            ]
            .concat();
            bytes.extend(record("test", 6, ttl, &data));
        }
        bytes
    }
}

fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    [
        &name(owner)[..],
        &kind.to_be_bytes(),
        &[0, 1],
        &ttl.to_be_bytes(),
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

type Handler = dyn Fn(&Asked) -> Vec<Reply> + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    asked: Mutex<Vec<Asked>>,
    stop: AtomicBool,
}

/// A scripted DNS server. Dropping it closes its sockets.
pub struct Dns {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Dns {
    /// A server that answers each question with these messages, one after the other; none is silence. By stream the
    /// first one alone is sent.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub fn start(handler: impl Fn(&Asked) -> Vec<Reply> + Send + Sync + 'static) -> Result<Self> {
        let (socket, listener) = sockets()?;
        let addr = socket.local_addr()?;
        socket.set_read_timeout(Some(LOOK))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            asked: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let (datagrams, streams) = (Arc::clone(&shared), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("dns".to_owned())
            .spawn(move || serve_datagrams(&socket, &datagrams))?;
        std::thread::Builder::new()
            .name("dns-tcp".to_owned())
            .spawn(move || serve_streams(&listener, &streams))?;
        Ok(Self { addr, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Every question that came, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The questions about a name, as `TYPE`.
    #[must_use]
    pub fn kinds(&self, name: &str) -> Vec<String> {
        let asked = self.asked().into_iter();
        asked
            .filter(|asked| asked.name == name)
            .map(|asked| asked.kind)
            .collect()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// A datagram socket and a listener on one free port.
fn sockets() -> Result<(UdpSocket, TcpListener)> {
    for _ in 0..50 {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        if let Ok(socket) = UdpSocket::bind(listener.local_addr()?) {
            return Ok((socket, listener));
        }
    }
    bail!("no port is free for both")
}

fn serve_datagrams(socket: &UdpSocket, shared: &Arc<Shared>) {
    let mut bytes = [0; 4096];
    while !shared.stop.load(Ordering::Acquire) {
        let Ok((length, peer)) = socket.recv_from(&mut bytes) else {
            continue;
        };
        let (Ok((asked, question)), Ok(socket)) = (read(&bytes[..length], peer, false), socket.try_clone())
        else {
            continue;
        };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            for reply in shared.replies(&asked) {
                std::thread::sleep(reply.delay);
                let _ = socket.send_to(&reply.bytes(&asked, &question), peer);
            }
        });
    }
}

fn serve_streams(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, peer)) => {
                let shared = Arc::clone(shared);
                std::thread::spawn(move || serve_stream(stream, peer, &shared));
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

fn serve_stream(mut stream: TcpStream, peer: SocketAddr, shared: &Shared) -> Result<()> {
    stream.set_nonblocking(false)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes)?;
    let (asked, question) = read(&bytes, peer, true)?;
    if let Some(reply) = shared.replies(&asked).first() {
        std::thread::sleep(reply.delay);
        let bytes = reply.bytes(&asked, &question);
        let length = u16::try_from(bytes.len())?.to_be_bytes();
        // In two pieces: a stream has no messages.
        stream.write_all(&length)?;
        stream.write_all(&bytes)?;
    }
    Ok(())
}

impl Shared {
    fn replies(&self, asked: &Asked) -> Vec<Reply> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(asked.clone());
        (self.handler)(asked)
    }
}

/// The question of a message, also as bytes.
fn read(bytes: &[u8], peer: SocketAddr, tcp: bool) -> Result<(Asked, Vec<u8>)> {
    let word = |at: usize| -> Result<u16> {
        let pair = bytes.get(at..at + 2).context("a short message")?;
        Ok(u16::from_be_bytes([pair[0], pair[1]]))
    };
    if word(2)? != 0x0100 || word(4)? != 1 || word(6)? != 0 || word(8)? != 0 {
        bail!("not one question with recursion desired");
    }
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*bytes.get(at).context("a short name")?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = bytes.get(at..at + length).context("a short label")?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
    let kind = match word(at)? {
        1 => "A".to_owned(),
        28 => "AAAA".to_owned(),
        33 => "SRV".to_owned(),
        other => other.to_string(),
    };
    let asked = Asked {
        name: labels.join("."),
        kind,
        id: word(0)?,
        port: peer.port(),
        tcp,
        edns: word(10)? == 1,
    };
    Ok((asked, bytes[12..at + 4].to_vec()))
}
