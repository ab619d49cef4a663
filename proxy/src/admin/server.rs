//! The serving side: a blocking HTTP/1.1 server for a handful of fixed requests, a thread for each of a few connections.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Panel;
use crate::limits;

const HELP: &str = "GET /status    state of this node\nGET /metrics   Prometheus metrics\n\
                    POST /reload   load the policy again\nPOST /drain    finish running requests and stop\n\
                    PUT /upstreams/NAME/targets/HOST:PORT/healthy (or unhealthy)\n               put a target in or out, until checks say otherwise\n";

#[derive(Clone, Copy)]
enum Scope {
    Everything,
    Metrics,
}

struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

/// Serves the admin socket on a thread of its own, until the process ends.
///
/// A file left by a dead process is replaced; the socket of a living one is not.
///
/// # Errors
/// When the socket cannot be bound, or somebody listens on it.
pub fn serve_socket(path: &Path, panel: Arc<dyn Panel>) -> io::Result<()> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another tollgate listens there",
        ));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    spawn("admin", move || {
        let places = Places::default();
        for stream in listener.incoming().flatten() {
            let panel = Arc::clone(&panel);
            places.serve("admin-client", move || {
                stream
                    .set_read_timeout(Some(TIMEOUT))
                    .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
                    .and_then(|()| answer(&stream, &stream, panel.as_ref(), Scope::Everything))
            });
        }
    })
}

/// Serves `GET /metrics` alone on a TCP address. Returns the bound address.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve_metrics(address: SocketAddr, panel: Arc<dyn Panel>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    spawn("metrics", move || {
        let places = Places::default();
        for stream in listener.incoming().flatten() {
            let panel = Arc::clone(&panel);
            places.serve("metrics-client", move || {
                stream
                    .set_read_timeout(Some(TIMEOUT))
                    .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
                    .and_then(|()| answer(&stream, &stream, panel.as_ref(), Scope::Metrics))
            });
        }
    })?;
    Ok(bound)
}

/// Who is being served; one that is silent keeps its place for [`TIMEOUT`].
#[derive(Default)]
struct Places {
    taken: Arc<AtomicUsize>,
}

impl Places {
    /// Serves a client on a thread of its own. When all places are taken, it is turned away at once.
    fn serve(&self, name: &str, serve: impl FnOnce() -> io::Result<()> + Send + 'static) {
        if self.taken.fetch_add(1, Ordering::AcqRel) >= limits::ADMIN_CLIENTS {
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

fn answer(mut from: impl Read, mut to: impl Write, panel: &dyn Panel, scope: Scope) -> io::Result<()> {
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

fn route(panel: &dyn Panel, scope: Scope, method: &str, path: &str) -> Answer {
    let path = path.split('?').next().unwrap_or(path);
    match (scope, method, path) {
        (_, "GET", "/metrics") => Answer {
            status: "200 OK",
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: panel.metrics(),
        },
        (Scope::Everything, "GET", "/status") => json("200 OK", panel.status()),
        (Scope::Everything, "POST", "/reload") => match panel.reload() {
            Ok(body) => json("200 OK", body),
            Err(body) => json("422 Unprocessable Content", body),
        },
        (Scope::Everything, "POST", "/drain") => json("202 Accepted", panel.drain()),
        (Scope::Everything, "PUT", path) if let Some((upstream, target, healthy)) = target_health(path) => {
            if panel.set_health(upstream, target, healthy) {
                text("200 OK", format!("{upstream} {target} {}\n", word(healthy)))
            } else {
                text(
                    "404 Not Found",
                    "no such target, or its upstream has no health checks\n".to_owned(),
                )
            }
        }
        (Scope::Everything, "GET", "/") => text("200 OK", HELP.to_owned()),
        (Scope::Everything, _, "/" | "/status" | "/metrics" | "/reload" | "/drain") => {
            text("405 Method Not Allowed", HELP.to_owned())
        }
        (Scope::Everything, ..) => text("404 Not Found", HELP.to_owned()),
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
