//! What connections hold of a gateway's memory: idle ones, and bodies that a slow reader holds up.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::load::{Connection, announce, answer, ask_for, connect};
use super::measure::rss_kib;
use super::origin::{SLOW_PAUSE, SLOW_PIECE, UP, UP_SLOWLY};
use super::peer::{Kind, Peer};
use super::rig::Rig;
use super::scenario::{BARE, Exchange, Load, Scenario};

/// What idle connections are called in the results.
pub(crate) const IDLE: &str = "idle";
/// Connections whose bodies are held up, so that what a gateway takes once hardly counts.
const CONNECTIONS: usize = 64;
/// How long they are.
const TIME: Duration = Duration::from_secs(3);
/// Far more than passes in that time.
const BYTES: u64 = 64 << 20;

/// What connections cost.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Held {
    /// What was measured.
    pub(crate) scenario: &'static str,
    /// Whose memory.
    pub(crate) peer: &'static str,
    /// Connections that were open.
    pub(crate) connections: usize,
    /// Resident memory without them.
    pub(crate) before_kib: u64,
    /// Resident memory with them; of bodies, the most that was seen.
    pub(crate) after_kib: u64,
}

impl Held {
    /// Growth for each connection.
    pub(crate) fn each_kib(&self) -> f64 {
        self.after_kib.saturating_sub(self.before_kib) as f64 / self.connections as f64
    }
}

/// Opens keep-alive connections through tollgate, sends one request on each, and lets them idle.
///
/// # Errors
/// When a connection cannot be opened or is not answered.
pub(crate) fn idle(rig: &Rig, connections: usize) -> Result<Held> {
    let peer = Peer::start(rig, Kind::Tollgate, &BARE)?;
    let before_kib = rss_kib(peer.pid())?;
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", peer.port(&BARE)))?;
        stream.write_all(b"GET /r0/item HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let mut answer = [0; 4096];
        let read = stream.read(&mut answer)?;
        ensure!(
            answer[..read].starts_with(b"HTTP/1.1 200"),
            "an idle connection was not answered"
        );
        open.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    let after_kib = rss_kib(peer.pid())?;
    drop(open);
    Ok(Held {
        scenario: IDLE,
        peer: peer.name(),
        connections,
        before_kib,
        after_kib,
    })
}

/// Bodies under way, of which a reader takes [`SLOW_PIECE`] every [`SLOW_PAUSE`]: the clients when answers are large, the
/// origin when requests are. Nothing where the scenario has no such bodies.
///
/// # Errors
/// When a body does not begin to pass.
pub(crate) fn held_up(scenario: &Scenario, peer: &Peer) -> Result<Option<Held>> {
    let Load::Drive(exchange @ (Exchange::Download(_) | Exchange::Upload(_))) = scenario.load else {
        return Ok(None);
    };
    if !scenario.held_up {
        return Ok(None);
    }
    let port = peer.port(scenario);
    let mut first = connect(port)?;
    announce(&mut first, UP, 0)?;
    answer(&mut first, 0)?;
    let before_kib = rss_kib(peer.pid())?;
    let mut open = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut connection = connect(port)?;
        if matches!(exchange, Exchange::Upload(_)) {
            announce(&mut connection, UP_SLOWLY, BYTES)?;
        } else {
            ask_for(&mut connection, BYTES)?;
        }
        connection.get_mut().set_nonblocking(true)?;
        open.push(connection);
    }
    let (mut after_kib, mut moved) = (before_kib, 0);
    let until = Instant::now() + TIME;
    while Instant::now() < until {
        for connection in &mut open {
            moved += if matches!(exchange, Exchange::Upload(_)) {
                push(connection)?
            } else {
                pull(connection)?
            };
        }
        after_kib = after_kib.max(rss_kib(peer.pid())?);
        std::thread::sleep(SLOW_PAUSE);
    }
    ensure!(
        moved > CONNECTIONS * SLOW_PIECE,
        "{} let only {moved} bytes pass",
        peer.name()
    );
    Ok(Some(Held {
        scenario: scenario.name,
        peer: peer.name(),
        connections: CONNECTIONS,
        before_kib,
        after_kib,
    }))
}

/// Reads one piece, if there is one.
fn pull(connection: &mut Connection) -> Result<usize> {
    let mut piece = [0; SLOW_PIECE];
    some(connection.get_mut().read(&mut piece))
}

/// Writes for as long as it is taken.
fn push(connection: &mut Connection) -> Result<usize> {
    let mut pushed = 0;
    loop {
        match some(connection.get_mut().write(&[b'x'; SLOW_PIECE]))? {
            0 => return Ok(pushed),
            bytes => pushed += bytes,
        }
    }
}

fn some(moved: std::io::Result<usize>) -> Result<usize> {
    match moved {
        Ok(0) => anyhow::bail!("a gateway closed a connection whose body was held up"),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(0),
        moved => Ok(moved?),
    }
}
