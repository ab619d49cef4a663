//! The listening sockets: inherited from the process before, or bound here.
//!
//! A worker has a socket of its own for each address, so that the kernel spreads connections over workers. Inherited
//! sockets are never more or fewer than they were, since a queue that is closed loses connections: workers beyond them
//! share one, and a worker among fewer has several. A Unix socket is one, of which all workers accept.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::StartError;
use super::socket_file::{SocketFile, Whose, make_way};
use super::takeover::Passed;
use crate::node::{DEFAULT_TLS, Listen, Node, UnixListen};
use crate::worker::{Acceptor, Listening};

/// Sockets that were open before this process.
pub(super) struct Inherited {
    /// Each with whether its file comes with it.
    sockets: Vec<(Listening, bool)>,
}

impl Inherited {
    /// Whatever of these listens somewhere.
    pub(super) fn new(passed: Vec<Passed>) -> Self {
        let sockets = passed
            .into_iter()
            .filter_map(|it| Some((Listening::of(it.socket)?, it.with_file)));
        Self {
            sockets: sockets.collect(),
        }
    }

    /// Closes those that nobody wanted.
    pub(super) fn close(self) {
        let name = |socket: &Listening| match (socket.ip(), socket.path()) {
            (Some(address), _) => Some(address.to_string()),
            (None, path) => Some(format!("unix:{}", path?.display())),
        };
        let mut names: Vec<String> = self
            .sockets
            .iter()
            .filter_map(|(socket, _)| name(socket))
            .collect();
        names.dedup();
        for name in names {
            eprintln!("tollgate: {name} was open before and is not to be listened on: it is closed");
        }
    }

    /// Those that listen there.
    fn take(&mut self, at: &Listen) -> Vec<(Listening, bool)> {
        let listens = |socket: &Listening| match at {
            Listen::Ip(address) => socket.ip() == Some(*address),
            Listen::Unix(listen) => socket.path().is_some_and(|path| path == Path::new(&*listen.path)),
        };
        self.sockets
            .extract_if(.., |(socket, _)| listens(socket))
            .collect()
    }
}

/// What a listener's connections carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// Requests.
    Http,
    /// Requests over TLS.
    Https,
    /// Anything.
    Stream {
        /// Whether it begins with TLS.
        secure: bool,
    },
}

/// One address and its sockets, one for each worker if they were bound here; or a Unix socket, which all workers share.
struct Listener {
    at: Listen,
    serves: Serves,
    sockets: Vec<Listening>,
    file: Option<SocketFile>,
}

/// Everything the gateway listens on but the admin socket.
pub(super) struct Listeners {
    connections: Vec<Listener>,
    metrics: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the settings name, without listening yet.
    pub(super) fn bind(node: &Node, inherited: &mut Inherited) -> Result<Self, StartError> {
        listed_once(node)?;
        let plain = node.listen.iter().map(|at| (at, Serves::Http));
        let tls = node.listen_tls.iter().flatten().map(|at| (at, Serves::Https));
        let streams = node.stream_listen.iter();
        let streams = streams.map(|it| (&it.at, Serves::Stream { secure: it.secure }));
        let connections = plain
            .chain(tls)
            .chain(streams)
            .map(|(at, serves)| listener(at, serves, node.workers, inherited))
            .collect::<Result<_, _>>()?;
        let metrics = node.metrics_listen.map(|address| metrics(address, inherited));
        let metrics = metrics.transpose()?;
        Ok(Self { connections, metrics })
    }

    /// Completes them by what the policy asks for: TLS where nothing else was said.
    pub(super) fn complete(
        &mut self,
        node: &Node,
        certificates: bool,
        inherited: &mut Inherited,
    ) -> Result<(), StartError> {
        match (&node.listen_tls, certificates) {
            (Some(_), false) => return Err(StartError::NoCertificate),
            (None, true) => {
                let listener = listener(&DEFAULT_TLS, Serves::Https, node.workers, inherited)?;
                self.connections.push(listener);
            }
            (Some(_), true) | (None, false) => {}
        }
        Ok(())
    }

    /// Lets connections queue up.
    pub(super) fn listen(&self) -> Result<(), StartError> {
        for listener in &self.connections {
            for socket in &listener.sockets {
                Acceptor::listen(socket).map_err(|error| StartError::Bind(listener.at.clone(), error))?;
            }
        }
        if let Some(socket) = &self.metrics {
            let address = socket.local_addr();
            let listening = Acceptor::listen(socket);
            if let (Ok(address), Err(error)) = (address, listening) {
                return Err(StartError::Bind(Listen::Ip(address), error));
            }
        }
        Ok(())
    }

    /// The sockets that worker `number` of `workers` accepts from, and what those carry.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn of_worker(&self, number: usize, workers: usize) -> io::Result<Vec<(Listening, Serves)>> {
        let mut own = Vec::new();
        for listener in &self.connections {
            for index in shares(number, workers, listener.sockets.len()) {
                own.push((listener.sockets[index].try_clone()?, listener.serves));
            }
        }
        Ok(own)
    }

    /// The socket of the metrics listener.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn metrics(&self) -> io::Result<Option<TcpListener>> {
        self.metrics.as_ref().map(TcpListener::try_clone).transpose()
    }

    /// Where metrics are served.
    pub(super) fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
    }

    /// All sockets, to hand them over, and which of them go with their files.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn all(&self) -> io::Result<(Vec<Listening>, Vec<usize>)> {
        let (mut sockets, mut files) = (Vec::new(), Vec::new());
        for listener in &self.connections {
            for socket in &listener.sockets {
                if listener.file.as_ref().is_some_and(SocketFile::is_ours) {
                    files.push(sockets.len());
                }
                sockets.push(socket.try_clone()?);
            }
        }
        if let Some(socket) = &self.metrics {
            sockets.push(Listening::Tcp(socket.try_clone()?));
        }
        Ok((sockets, files))
    }

    /// The process that opened what this one inherited ends: its files go with this one now.
    pub(super) fn adopt_files(&mut self) {
        self.files().for_each(SocketFile::adopt);
    }

    /// Closes this process's hold on the sockets, and removes their files unless another process goes on with them.
    pub(super) fn end(mut self, handed_over: bool) {
        if handed_over {
            self.files().for_each(SocketFile::leave);
        }
    }

    fn files(&mut self) -> impl Iterator<Item = &mut SocketFile> {
        self.connections
            .iter_mut()
            .filter_map(|listener| listener.file.as_mut())
    }

    /// Bound addresses of some kinds.
    pub(super) fn addresses(&self, kinds: fn(Serves) -> bool) -> Vec<String> {
        let of_kind = self.connections.iter().filter(|listener| kinds(listener.serves));
        of_kind.map(|listener| listener.at.to_string()).collect()
    }
}

/// Which of `sockets` a worker accepts from.
fn shares(number: usize, workers: usize, sockets: usize) -> impl Iterator<Item = usize> {
    let first = number % sockets.max(1);
    (first..sockets).step_by(workers.min(sockets).max(1))
}

/// Two listeners on one address share its connections; a path can be bound once, and the second would remove the first.
fn listed_once(node: &Node) -> Result<(), StartError> {
    let paths: Vec<&UnixListen> = node.unix_listeners().collect();
    let twice = |number: usize| {
        paths[..number]
            .iter()
            .any(|other| other.path == paths[number].path)
    };
    match (0..paths.len()).find(|number| twice(*number)) {
        Some(number) => {
            let error = io::Error::new(io::ErrorKind::AddrInUse, "it is named twice");
            Err(StartError::Bind(Listen::Unix(paths[number].clone()), error))
        }
        None => Ok(()),
    }
}

fn listener(
    at: &Listen,
    serves: Serves,
    workers: usize,
    inherited: &mut Inherited,
) -> Result<Listener, StartError> {
    let taken = inherited.take(at);
    let bound = match at {
        _ if !taken.is_empty() => Ok(before(at, taken)),
        Listen::Ip(address) => bind(*address, workers),
        Listen::Unix(listen) => bind_unix(listen),
    };
    let (at, sockets, file) = bound.map_err(|error| StartError::Bind(at.clone(), error))?;
    Ok(Listener {
        at,
        serves,
        sockets,
        file,
    })
}

/// Where it is, its sockets, and its file.
type Bound = (Listen, Vec<Listening>, Option<SocketFile>);

fn before(at: &Listen, taken: Vec<(Listening, bool)>) -> Bound {
    let with_file = taken.iter().any(|(_, with_file)| *with_file);
    let whose = if with_file {
        Whose::OursNext
    } else {
        Whose::Anothers
    };
    let file = match at {
        Listen::Ip(_) => None,
        Listen::Unix(listen) => Some(SocketFile::at(Path::new(&*listen.path), whose)),
    };
    (
        at.clone(),
        taken.into_iter().map(|(socket, _)| socket).collect(),
        file,
    )
}

fn bind(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    let (mut bound, mut sockets) = (address, Vec::new());
    for _ in 0..workers {
        let socket = Acceptor::bind(bound)?;
        // The first socket's port is the others' too, if the kernel was asked to choose.
        bound = socket.local_addr()?;
        sockets.push(socket.into());
    }
    Ok((Listen::Ip(bound), sockets, None))
}

fn bind_unix(listen: &UnixListen) -> io::Result<Bound> {
    make_way(&listen.path)?;
    let socket = Listening::Unix(Acceptor::bind_unix(&listen.path)?);
    // Nobody can connect before it listens.
    let file = SocketFile::of(listen)?;
    Ok((Listen::Unix(listen.clone()), vec![socket], Some(file)))
}

fn metrics(address: SocketAddr, inherited: &mut Inherited) -> Result<TcpListener, StartError> {
    let at = Listen::Ip(address);
    match inherited.take(&at).pop() {
        Some((Listening::Tcp(socket), _)) => Ok(socket),
        _ => Acceptor::bind_alone(address).map_err(|error| StartError::Bind(at, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_socket_has_a_worker_and_every_worker_a_socket() {
        for workers in 1..9 {
            for sockets in 1..9 {
                let mut served = vec![0; sockets];
                for number in 0..workers {
                    let mut any = false;
                    for index in shares(number, workers, sockets) {
                        served[index] += 1;
                        any = true;
                    }
                    assert!(any, "worker {number} of {workers} has none of {sockets}");
                }
                let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
                assert!(*least >= 1 && most - least <= 1, "{served:?} by {workers}");
            }
        }
    }
}
