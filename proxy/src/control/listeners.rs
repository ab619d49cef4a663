//! The listening sockets: inherited from the process before, or bound here.
//!
//! A worker has a socket of its own for each address, so that the kernel spreads connections over workers. Inherited
//! sockets are never more or fewer than they were, since a queue that is closed loses connections: workers beyond them
//! share one, and a worker among fewer has several.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use super::StartError;
use crate::node::{DEFAULT_TLS, Node};
use crate::worker::Acceptor;

/// Sockets that were open before this process.
pub(super) struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
}

impl Inherited {
    /// Whatever of these listens on an address.
    pub(super) fn new(descriptors: Vec<OwnedFd>) -> Self {
        let sockets = descriptors.into_iter().filter_map(|descriptor| {
            let socket = TcpListener::from(descriptor);
            let listens = socket2::SockRef::from(&socket).is_listener().unwrap_or(false);
            let address = socket.local_addr().ok()?;
            listens.then_some((address, socket))
        });
        Self {
            sockets: sockets.collect(),
        }
    }

    /// Closes those that nobody wanted.
    pub(super) fn close(self) {
        let mut addresses: Vec<SocketAddr> = self.sockets.iter().map(|(address, _)| *address).collect();
        addresses.dedup();
        for address in addresses {
            eprintln!("tollgate: {address} was open before and is not to be listened on: it is closed");
        }
    }

    fn take(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let taken = self.sockets.extract_if(.., |(own, _)| *own == address);
        taken.map(|(_, socket)| socket).collect()
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

/// One address and its sockets, one for each worker if they were bound here.
struct Listener {
    address: SocketAddr,
    serves: Serves,
    sockets: Vec<TcpListener>,
}

/// Everything the gateway listens on but the admin socket.
pub(super) struct Listeners {
    connections: Vec<Listener>,
    metrics: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the settings name, without listening yet.
    pub(super) fn bind(node: &Node, inherited: &mut Inherited) -> Result<Self, StartError> {
        let plain = node.listen.iter().map(|&address| (address, Serves::Http));
        let tls = node
            .listen_tls
            .iter()
            .flatten()
            .map(|&address| (address, Serves::Https));
        let streams = node.stream_listen.iter();
        let streams = streams.map(|it| (it.address, Serves::Stream { secure: it.secure }));
        let connections = plain
            .chain(tls)
            .chain(streams)
            .map(|(address, serves)| listener(address, serves, node.workers, inherited))
            .collect::<Result<_, _>>()?;
        let metrics = match node.metrics_listen {
            Some(address) => Some(match inherited.take(address).pop() {
                Some(socket) => socket,
                None => Acceptor::bind_alone(address).map_err(|error| StartError::Bind(address, error))?,
            }),
            None => None,
        };
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
                let listener = listener(DEFAULT_TLS, Serves::Https, node.workers, inherited)?;
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
                Acceptor::listen(socket).map_err(|error| StartError::Bind(listener.address, error))?;
            }
        }
        if let Some(socket) = &self.metrics {
            let address = socket.local_addr();
            let listening = Acceptor::listen(socket);
            if let (Ok(address), Err(error)) = (address, listening) {
                return Err(StartError::Bind(address, error));
            }
        }
        Ok(())
    }

    /// The sockets that worker `number` of `workers` accepts from, and what those carry.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn of_worker(&self, number: usize, workers: usize) -> io::Result<Vec<(TcpListener, Serves)>> {
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

    /// All sockets, to hand them over.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn all(&self) -> io::Result<Vec<TcpListener>> {
        let connections = self.connections.iter().flat_map(|listener| &listener.sockets);
        connections
            .chain(&self.metrics)
            .map(TcpListener::try_clone)
            .collect()
    }

    /// Bound addresses of some kinds.
    pub(super) fn addresses(&self, kinds: fn(Serves) -> bool) -> Vec<String> {
        let of_kind = self.connections.iter().filter(|listener| kinds(listener.serves));
        of_kind.map(|listener| listener.address.to_string()).collect()
    }
}

/// Which of `sockets` a worker accepts from.
fn shares(number: usize, workers: usize, sockets: usize) -> impl Iterator<Item = usize> {
    let first = number % sockets.max(1);
    (first..sockets).step_by(workers.min(sockets).max(1))
}

fn listener(
    address: SocketAddr,
    serves: Serves,
    workers: usize,
    inherited: &mut Inherited,
) -> Result<Listener, StartError> {
    let error = |error| StartError::Bind(address, error);
    let mut sockets = inherited.take(address);
    let mut bound = address;
    if sockets.is_empty() {
        for _ in 0..workers {
            let socket = Acceptor::bind(bound).map_err(error)?;
            // The first socket's port is the others' too, if the kernel was asked to choose.
            bound = socket.local_addr().map_err(error)?;
            sockets.push(socket);
        }
    }
    Ok(Listener {
        address: bound,
        serves,
        sockets,
    })
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
