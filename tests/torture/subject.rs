//! A proxy under test between raw clients and an upstream that records: Tollgate, and the peers it is held against.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tests::{Gateway, Origin, Process, Recorded, Scratch, Script, is_root, program};

use crate::client::{self, Heard, Shot};
use crate::tape::{self, Seen};

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This gateway.
    Tollgate,
    /// nginx of Debian.
    Nginx,
    /// HAProxy of Debian.
    Haproxy,
}

/// A running proxy and the upstream behind it.
pub(crate) struct Subject {
    addr: SocketAddr,
    origin: Origin,
    _running: Running,
}

/// What became of some shots.
pub(crate) struct Traffic {
    /// For each shot what its client heard and what the upstream saw of it.
    pub(crate) each: Vec<(Heard, Vec<Seen>)>,
    /// What the upstream saw without being told whose it was.
    pub(crate) nobodys: Vec<Seen>,
}

enum Running {
    Tollgate { _gateway: Box<Gateway> },
    Peer { _process: Process, _scratch: Scratch },
}

impl Subject {
    /// Starts a proxy in front of an upstream that says in each answer whose request it answers.
    pub(crate) fn start(kind: Kind) -> Result<Self> {
        Self::before(kind, Origin::start(answer)?)
    }

    /// Starts a proxy in front of `origin`.
    pub(crate) fn before(kind: Kind, origin: Origin) -> Result<Self> {
        let (addr, running) = match kind {
            Kind::Tollgate => {
                let policy = include_str!("policy.yaml").replace("@ORIGIN@", &origin.url());
                let gateway = Gateway::builder(policy).workers(1).start()?;
                (
                    gateway.addr(),
                    Running::Tollgate {
                        _gateway: Box::new(gateway),
                    },
                )
            }
            Kind::Nginx => peer("nginx", include_str!("peers/nginx.conf"), &origin)?,
            Kind::Haproxy => peer("haproxy", include_str!("peers/haproxy.cfg"), &origin)?,
        };
        Ok(Self {
            addr,
            origin,
            _running: running,
        })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Fires all shots.
    pub(crate) fn fire(&self, shots: &[Shot]) -> Result<Traffic> {
        let heard = client::volley(self.addr, shots)?;
        self.settle();
        let order = self.order();
        let place = |seen: &Seen| order.get(seen.head.as_str()).copied().unwrap_or_default();
        let mut nobodys = Vec::new();
        let mut of = HashMap::new();
        for seen in self.origin.tapes().iter().flat_map(|tape| tape::read(tape)) {
            match seen.from {
                Some(from) => of.entry(from).or_insert_with(Vec::new).push(seen),
                None => nobodys.push(seen),
            }
        }
        let each = heard
            .into_iter()
            .map(|heard| {
                let mut seen = of.remove(&heard.from).unwrap_or_default();
                seen.sort_by_key(place);
                (heard, seen)
            })
            .collect();
        Ok(Traffic { each, nobodys })
    }

    /// Request heads and when they were first complete: requests of one client may take several connections.
    fn order(&self) -> HashMap<String, usize> {
        let mut order = HashMap::new();
        for (number, request) in self.origin.requests().iter().enumerate() {
            order.entry(tape::latin1(&request.raw_head)).or_insert(number);
        }
        order
    }

    /// Waits until no more bytes come to the upstream.
    fn settle(&self) {
        let bytes = || self.origin.tapes().iter().map(Vec::len).sum::<usize>();
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut before = bytes();
        loop {
            std::thread::sleep(Duration::from_millis(150));
            let now = bytes();
            if now == before || Instant::now() > deadline {
                return;
            }
            before = now;
        }
    }
}

/// Answers with method and target, and the client they came from.
pub(crate) fn answer(request: &Recorded) -> Script {
    let line = tape::printable(&format!("{} {}", request.method, request.target));
    let echo = tape::start_of(&line).to_owned();
    let to = request
        .headers
        .all("x-forwarded-for")
        .last()
        .and_then(|value| value.rsplit(',').next())
        .map_or("", str::trim);
    let headers = [("X-Echo", echo.as_str()), ("X-For", to)];
    let body = if request.method == "HEAD" {
        String::new()
    } else {
        format!("{echo}.")
    };
    Script::respond(200, &headers, body)
}

/// The version of an installed program, as it says itself.
pub(crate) fn version(name: &str) -> Result<String> {
    let output = std::process::Command::new(program(name)?).arg("-v").output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().next().unwrap_or_default();
    let version = line.split(" - ").next().unwrap_or_default();
    Ok(version.trim_start_matches("nginx version: ").to_owned())
}

fn peer(name: &str, config: &str, origin: &Origin) -> Result<(SocketAddr, Running)> {
    let scratch = Scratch::new()?;
    // Neither can report the port it got, so port 0 is no use to them.
    let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = config
        .replace("@DIR@", &scratch.path().display().to_string())
        .replace("@PORT@", &addr.port().to_string())
        .replace("@ORIGIN@", &origin.addr().port().to_string());
    let file = scratch.write("peer.conf", config)?;
    let mut command = Process::command(program(name)?);
    if name == "nginx" {
        // A worker of root's nginx would drop to an account that may not read the scratch directory.
        let user = if is_root() { "user root;" } else { "" };
        command.args(["-g", &format!("daemon off; {user}"), "-e"]);
        command.arg(scratch.path().join("start.log")).arg("-c").arg(file);
    } else {
        command.args(["-db", "-f"]).arg(file);
    }
    command.stdout(std::process::Stdio::null());
    let mut process = Process::start(command, &scratch.path().join("peer.log"))?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(addr).is_err() {
        if !process.is_running() || Instant::now() > deadline {
            let log = std::fs::read_to_string(scratch.path().join("start.log")).unwrap_or_default();
            bail!("{name} did not start: {}{log}", process.log());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let running = Running::Peer {
        _process: process,
        _scratch: scratch,
    };
    Ok((addr, running))
}
