//! Good clients: each asks again and again, in its own way, and writes down what became of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tests::{Client, Frame, Frames, Gateway, patient, read_head};

use super::Shared;
use super::origin::BODY;
use super::scene::Scene;
use crate::perf::trusting;

const PATH: &str = "/soak/good";
/// Between two requests of one client: the processors are the gateway's.
const PAUSE: Duration = Duration::from_millis(10);
/// Streams after which an HTTP/2 client connects anew: it opens no windows.
const STREAMS: u32 = 1000;

/// How a client talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) enum Kind {
    /// HTTP/1.1 on a connection that it keeps.
    Kept,
    /// HTTP/1.1 on a new connection each time.
    Fresh,
    /// HTTP/1.1 over TLS on a connection that it keeps.
    Tls,
    /// HTTP/2.
    Http2,
    /// Another protocol after a 101, echoed.
    Tunnel,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [Self::Kept, Self::Fresh, Self::Tls, Self::Http2, Self::Tunnel];

    /// How many of them there are.
    pub(super) const fn clients(self) -> usize {
        match self {
            Self::Kept | Self::Fresh | Self::Http2 => 3,
            Self::Tls => 2,
            Self::Tunnel => 1,
        }
    }

    /// What the report calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kept => "HTTP/1.1, kept connections",
            Self::Fresh => "HTTP/1.1, new connections",
            Self::Tls => "HTTP/1.1 over TLS",
            Self::Http2 => "HTTP/2",
            Self::Tunnel => "tunnels",
        }
    }
}

/// Where clients go, and whom they trust.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) plain: SocketAddr,
    tls: SocketAddr,
    trust: Arc<ClientConfig>,
}

impl Target {
    pub(super) fn of(scene: &Scene, gateway: &Gateway) -> Self {
        Self {
            plain: gateway.addr(),
            tls: gateway.tls_addr(),
            trust: trusting(&scene.authority).expect("an authority that was just made"),
        }
    }
}

/// What one client saw.
pub(super) struct Log {
    pub(super) kind: Kind,
    /// Microseconds of each response while there was only good traffic, and after that.
    pub(super) calm_us: Vec<u32>,
    pub(super) storm_us: Vec<u32>,
    /// Why a response was lost, each time.
    pub(super) lost: Vec<String>,
}

/// A connection that is kept, if the client keeps any.
enum Kept {
    Nothing,
    Plain(Client),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Frames(Frames, u32),
}

pub(super) fn ask_until_stopped(kind: Kind, target: &Target, shared: &Shared) -> Log {
    let mut log = Log {
        kind,
        calm_us: Vec::new(),
        storm_us: Vec::new(),
        lost: Vec::new(),
    };
    let begin = Instant::now();
    let mut kept = Kept::Nothing;
    while !shared.stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        match ask(kind, target, std::mem::replace(&mut kept, Kept::Nothing)) {
            Ok(next) => {
                kept = next;
                let took = u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX);
                if shared.calm.load(Ordering::Relaxed) {
                    log.calm_us.push(took);
                } else {
                    log.storm_us.push(took);
                }
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => log
                .lost
                .push(format!("{:.1} s: {error:#}", begin.elapsed().as_secs_f64())),
        }
        std::thread::sleep(PAUSE);
    }
    log
}

/// One request. Gives the connection back if it may be used again.
fn ask(kind: Kind, target: &Target, kept: Kept) -> Result<Kept> {
    match kind {
        Kind::Kept | Kind::Fresh => {
            let mut client = match kept {
                Kept::Plain(client) => client,
                _ => Client::connect(target.plain)?,
            };
            let answer = client.ask("GET", PATH, &[], b"")?;
            ensure!(answer.status == 200, "status {}", answer.status);
            ensure!(
                answer.body == BODY,
                "another body: {}",
                answer.body.escape_ascii()
            );
            let again = kind == Kind::Kept && answer.header("connection") != "close";
            Ok(if again { Kept::Plain(client) } else { Kept::Nothing })
        }
        Kind::Tls => over_tls(target, kept),
        Kind::Http2 => over_frames(target, kept),
        Kind::Tunnel => through_a_tunnel(target.plain).map(|()| Kept::Nothing),
    }
}

fn over_tls(target: &Target, kept: Kept) -> Result<Kept> {
    let mut stream = match kept {
        Kept::Tls(stream) => stream,
        _ => {
            let name = ServerName::try_from("localhost").context("a name")?;
            let session = ClientConnection::new(Arc::clone(&target.trust), name)?;
            Box::new(StreamOwned::new(
                session,
                patient(TcpStream::connect(target.tls)?)?,
            ))
        }
    };
    write!(stream, "GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    stream.flush()?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(BODY) {
        let count = stream.read(&mut piece).context("read")?;
        ensure!(count > 0, "closed after {}", answer.escape_ascii());
        answer.extend_from_slice(&piece[..count]);
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.escape_ascii());
    }
    let last = String::from_utf8_lossy(&answer)
        .to_ascii_lowercase()
        .contains("connection: close");
    Ok(if last { Kept::Nothing } else { Kept::Tls(stream) })
}

/// One stream. Another connection is tried when this one said that it takes no more: RFC 9113 §6.8.
fn over_frames(target: &Target, kept: Kept) -> Result<Kept> {
    let (mut frames, stream) = match kept {
        Kept::Frames(frames, stream) if stream < 2 * STREAMS => (frames, stream),
        _ => (Frames::connect(target.plain)?, 1),
    };
    if frames.push(&[Frame::request(stream, "GET", PATH, true)]).is_err() {
        return over_frames(target, Kept::Nothing);
    }
    let (mut going, mut body) = (false, Vec::new());
    loop {
        let Some(frame) = frames.frame()? else {
            ensure!(going && body.is_empty(), "closed in stream {stream}");
            return over_frames(target, Kept::Nothing);
        };
        match frame.kind {
            7 => {
                let last = frame
                    .payload
                    .first_chunk()
                    .map_or(0, |it| u32::from_be_bytes(*it));
                if last & 0x7fff_ffff < stream {
                    return over_frames(target, Kept::Nothing);
                }
                going = true;
            }
            // Perhaps a smaller table, then `:status: 200` of the static one: RFC 7541.
            1 if frame.stream == stream => {
                let block = frame.payload.strip_prefix(&[0x20]).unwrap_or(&frame.payload);
                ensure!(block.first() == Some(&0x88), "not 200");
            }
            0 if frame.stream == stream => body.extend_from_slice(&frame.payload),
            3 if frame.stream == stream => bail!("reset by {:?}", frame.code()),
            // PING asks for an answer; SETTINGS, too, but nobody waits for that.
            6 if frame.flags & 1 == 0 => frames.push(&[Frame::new(6, 1, 0, &frame.payload)])?,
            _ => {}
        }
        if frame.stream == stream && frame.kind <= 1 && frame.flags & 1 != 0 {
            ensure!(body == BODY, "another body: {}", body.escape_ascii());
            return Ok(if going {
                Kept::Nothing
            } else {
                Kept::Frames(frames, stream + 2)
            });
        }
    }
}

fn through_a_tunnel(to: SocketAddr) -> Result<()> {
    let mut stream = patient(TcpStream::connect(to)?)?;
    stream
        .write_all(b"GET /soak/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")?;
    let (head, early) = read_head(&mut stream)?;
    ensure!(head.starts_with("HTTP/1.1 101 ") && early.is_empty(), "{head}");
    for number in 0..16_u8 {
        let sent = [number; 300];
        stream.write_all(&sent)?;
        let mut got = [0; 300];
        stream.read_exact(&mut got).context("the echo")?;
        ensure!(got == sent, "another echo");
    }
    Ok(())
}
