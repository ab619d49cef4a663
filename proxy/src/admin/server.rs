//! The serving side: a blocking HTTP/1.1 server for a handful of fixed requests, a thread for each of a few connections.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::Panel;
use crate::limits;
use crate::settable::{self, Limit};

const HELP: &str = "GET /status    state of this node\nGET /metrics   Prometheus metrics\n\
                    POST /reload   load the policy again\nPOST /drain    finish running requests and stop\n\
                    POST /take-over  for `tollgate run --take-over`: the listening sockets\n\
                    PUT /upstreams/NAME/targets/HOST:PORT/healthy (or unhealthy)\n               put a target in or out, until checks say otherwise\n";

/// What may be asked for on a connection.
#[derive(Clone, Copy)]
enum Scope<'s> {
    Everything(&'s UnixStream),
    Metrics,
}

struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

/// The admin socket, bound beside its path until it is served: the path changes hands in one step.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    aside: Option<PathBuf>,
}

impl AdminSocket {
    /// Binds it. A file left by a dead process will be replaced; the socket of a living one only if that is `replaced`.
    ///
    /// # Errors
    /// When the socket cannot be bound, or somebody listens on it.
    pub fn bind(path: &Path, replaced: bool) -> io::Result<Self> {
        if !replaced && UnixStream::connect(path).is_ok() {
            let text = "another tollgate listens there; with --take-over, this one replaces it";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        // Short: a path of a socket has room for 107 bytes.
        let aside = path.with_file_name(format!(".{}", std::process::id()));
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&aside)?;
        let socket = Self {
            listener,
            path: path.to_owned(),
            aside: Some(aside.clone()),
        };
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    /// Puts it in its place and serves it on a thread of its own, until the process ends.
    ///
    /// # Errors
    /// When the path cannot be had, or the thread not be started.
    pub fn serve(mut self, panel: Arc<dyn Panel>) -> io::Result<()> {
        if let Some(aside) = &self.aside {
            std::fs::rename(aside, &self.path)?;
        }
        self.aside = None;
        spawn("admin", move || {
            let places = Places::default();
            for stream in self.listener.incoming().flatten() {
                let panel = Arc::clone(&panel);
                places.serve("admin-client", move || {
                    stream
                        .set_read_timeout(Some(TIMEOUT))
                        .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
                        .and_then(|()| answer(&stream, &stream, panel.as_ref(), Scope::Everything(&stream)))
                });
            }
        })
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if let Some(aside) = &self.aside {
            let _ = std::fs::remove_file(aside);
        }
    }
}

/// The metrics listener is served for as long as this lives.
#[derive(Debug)]
pub struct Serving {
    _end: UnixStream,
}

/// Serves `GET /metrics` alone on a listening TCP socket, which others may share.
///
/// # Errors
/// When the thread cannot be started.
pub fn serve_metrics(listener: TcpListener, panel: Arc<dyn Panel>) -> io::Result<Serving> {
    // Whoever waits in `accept` cannot be told to stop without shutting the socket down, for everybody.
    listener.set_nonblocking(true)?;
    let (end, ended) = UnixStream::pair()?;
    spawn("metrics", move || {
        let places = Places::default();
        while comes(&listener, &ended) {
            let Ok((stream, _)) = listener.accept() else {
                continue;
            };
            let panel = Arc::clone(&panel);
            places.serve("metrics-client", move || {
                stream
                    .set_read_timeout(Some(TIMEOUT))
                    .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
                    .and_then(|()| answer(&stream, &stream, panel.as_ref(), Scope::Metrics))
            });
        }
    })?;
    Ok(Serving { _end: end })
}

/// Waits for a client; false when the other end of `ended` was dropped.
fn comes(listener: &TcpListener, ended: &UnixStream) -> bool {
    loop {
        let mut both = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        match poll(&mut both, None) {
            Ok(_) => return both[1].revents().is_empty(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Who is being served; one that is silent keeps its place for [`TIMEOUT`].
#[derive(Default)]
struct Places {
    taken: Arc<AtomicUsize>,
}

impl Places {
    /// Serves a client on a thread of its own. When all places are taken, it is turned away at once.
    fn serve(&self, name: &str, serve: impl FnOnce() -> io::Result<()> + Send + 'static) {
        if self.taken.fetch_add(1, Ordering::AcqRel) >= settable::admin_clients() {
            settable::reached(Limit::AdminClients);
            self.taken.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let taken = Arc::clone(&self.taken);
        let spawned = spawn(name, move || {
            // A client that breaks off is its own loss.
            let _ = serve();
            taken.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            self.taken.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(2);

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(drop)
}

fn answer(mut from: impl Read, mut to: impl Write, panel: &dyn Panel, scope: Scope<'_>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let count = from.read(&mut piece)?;
        if count == 0 || head.len() > limits::ADMIN_HEAD_BYTES {
            return Ok(());
        }
        head.extend_from_slice(&piece[..count]);
    }
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let answer = match request.parse(&head) {
        Ok(httparse::Status::Complete(_)) if let Some(stream) = take_over(&request, scope) => {
            return panel.hand_over(stream);
        }
        Ok(httparse::Status::Complete(_)) => route(
            panel,
            scope,
            request.method.unwrap_or(""),
            request.path.unwrap_or(""),
        ),
        _ => text("400 Bad Request", "not an HTTP/1.1 request\n".to_owned()),
    };
    write!(
        to,
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.content_type,
        answer.body.len()
    )?;
    to.write_all(answer.body.as_bytes())
}

/// The connection of who asks for the listening sockets.
fn take_over<'s>(request: &httparse::Request<'_, '_>, scope: Scope<'s>) -> Option<&'s UnixStream> {
    match (scope, request.method, request.path) {
        (Scope::Everything(stream), Some("POST"), Some("/take-over")) => Some(stream),
        _ => None,
    }
}

fn route(panel: &dyn Panel, scope: Scope<'_>, method: &str, path: &str) -> Answer {
    let path = path.split('?').next().unwrap_or(path);
    match (scope, method, path) {
        (_, "GET", "/metrics") => Answer {
            status: "200 OK",
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: panel.metrics(),
        },
        (Scope::Everything(_), "GET", "/status") => json("200 OK", panel.status()),
        (Scope::Everything(_), "POST", "/reload") => match panel.reload() {
            Ok(body) => json("200 OK", body),
            Err(body) => json("422 Unprocessable Content", body),
        },
        (Scope::Everything(_), "POST", "/drain") => json("202 Accepted", panel.drain()),
        (Scope::Everything(_), "PUT", path)
            if let Some((upstream, target, healthy)) = target_health(path) =>
        {
            if panel.set_health(upstream, target, healthy) {
                text("200 OK", format!("{upstream} {target} {}\n", word(healthy)))
            } else {
                text(
                    "404 Not Found",
                    "no such target, or its upstream has no health checks\n".to_owned(),
                )
            }
        }
        (Scope::Everything(_), "GET", "/") => text("200 OK", HELP.to_owned()),
        (Scope::Everything(_), _, "/" | "/status" | "/metrics" | "/reload" | "/drain" | "/take-over") => {
            text("405 Method Not Allowed", HELP.to_owned())
        }
        (Scope::Everything(_), ..) => text("404 Not Found", HELP.to_owned()),
        (Scope::Metrics, ..) => text("404 Not Found", "GET /metrics\n".to_owned()),
    }
}

/// `/upstreams/NAME/targets/HOST:PORT/healthy` or `…/unhealthy`, as in Kong's Admin API.
fn target_health(path: &str) -> Option<(&str, &str, bool)> {
    let (upstream, rest) = path.strip_prefix("/upstreams/")?.split_once("/targets/")?;
    match rest.rsplit_once('/')? {
        (target, "healthy") => Some((upstream, target, true)),
        (target, "unhealthy") => Some((upstream, target, false)),
        _ => None,
    }
}

const fn word(healthy: bool) -> &'static str {
    if healthy { "healthy" } else { "unhealthy" }
}

const fn json(status: &'static str, body: String) -> Answer {
    Answer {
        status,
        content_type: "application/json",
        body,
    }
}

const fn text(status: &'static str, body: String) -> Answer {
    Answer {
        status,
        content_type: "text/plain; charset=utf-8",
        body,
    }
}
