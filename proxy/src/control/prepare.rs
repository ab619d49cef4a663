//! What comes before the first thread: sockets are bound, rights are given up, the policy is loaded under those that are left.
//!
//! Enters: settings, and perhaps the sockets of the gateway that runs. Leaves: a gateway that could begin, and begins in an
//! order in which whatever can fail does so before a client is accepted.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::listeners::{Inherited, Listeners};
use super::panel::Process;
use super::publish::{self, Publisher};
use super::takeover::{Passed, Predecessor};
use super::workers::WorkerHandle;
use super::{Sockets, Source, StartError};
use crate::admin::{self, AdminSocket, Panel, Serving};
use crate::confine::identity::Identity;
use crate::confine::{self, Confine, Confinement, Places};
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counter::Counters;
use crate::worker::{self, Driver};

/// A gateway without threads.
pub(super) struct Prepared {
    pub(super) driver: Driver,
    pub(super) open: Open,
    pub(super) publisher: Publisher,
    pub(super) first: Arc<Snapshot>,
    pub(super) counters: Arc<Counters>,
    pub(super) log: Arc<AccessLog>,
    pub(super) process: Process,
}

/// Does all that needs the rights the process was started with, gives them up, and loads the policy.
pub(super) fn prepare(node: &Arc<Node>, source: Source, take_over: bool) -> Result<Prepared, StartError> {
    descriptors(node)?;
    let (predecessor, mut inherited) = predecessor(node, take_over)?;
    let mut listeners = Listeners::bind(node, &mut inherited)?;
    let identity = identity(node)?;
    let tried = |error: StartError| error.tried_by(identity.as_ref());
    let admin = AdminSocket::bind(&node.admin, take_over);
    let admin = admin.map_err(|error| tried(StartError::Admin(node.admin.clone(), error)))?;
    let driver = Driver::choose(node.driver).map_err(StartError::Driver)?;
    let counters = Counters::new(node.workers);
    let log = Arc::new(AccessLog::new(node.workers));
    let mut places = places(node, &source);
    let compiles = source.compiles();
    let mut publisher = Publisher::new(Arc::clone(node), source, Arc::clone(&counters), Arc::clone(&log))?;
    let first = publisher.load().map_err(tried)?;
    listeners.complete(node, first.server_tls.is_some(), &mut inherited)?;
    inherited.close();
    publish::logs(&first).iter().for_each(|log| places.add_log(log));
    let confinement = confined(node, &places, compiles, driver)?;
    publisher.log_only_in(confinement.map(|_held| places));
    Ok(Prepared {
        driver,
        publisher,
        first,
        counters,
        log,
        process: Process {
            sockets: Sockets::default(),
            predecessor: predecessor.as_ref().and_then(|it| it.pid),
            user: identity.as_ref().map(ToString::to_string),
            confinement,
        },
        open: Open {
            listeners,
            admin,
            predecessor,
        },
    })
}

/// Takes as many descriptors as there are to have, and says when they may be too few.
fn descriptors(node: &Node) -> Result<(), StartError> {
    let limit = confine::descriptors::raise().map_err(StartError::Descriptors)?;
    let enough = confine::descriptors::enough(node.workers, node.connections);
    if limit < enough {
        eprintln!(
            "tollgate: a limit of {limit} descriptors is less than what {} workers with {} clients each need; accepting \
             pauses when they run out\nhelp: raise the hard limit (LimitNOFILE=, ulimit -Hn) or lower --connections",
            node.workers, node.connections
        );
    }
    Ok(())
}

/// Becomes who the settings name, if they do. Nothing must have been started yet.
fn identity(node: &Node) -> Result<Option<Identity>, StartError> {
    let Some((user, group)) = &node.user else {
        return Ok(None);
    };
    let identity = Identity::find(user, group.as_deref()).map_err(StartError::Identity)?;
    identity.assume().map_err(StartError::Identity)?;
    eprintln!("tollgate: runs as {identity}, without capabilities");
    Ok(Some(identity))
}

/// Sockets that the service manager opened for this very process (`LISTEN_FDS`, as systemd does for a socket unit).
fn passed() -> Vec<OwnedFd> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let count = match (number("LISTEN_PID"), number("LISTEN_FDS")) {
        (Some(process), Some(count)) if process == std::process::id() => count,
        _ => 0,
    };
    worker::passed(u16::try_from(count).unwrap_or(u16::MAX))
}

/// Where a confined gateway reads and writes, beside what the system's resolver and its trust in certificates need.
fn places(node: &Node, source: &Source) -> Places {
    let mut places = Places {
        logs: node.log_dirs.clone(),
        ..Places::default()
    };
    let trust = [
        std::env::var_os("SSL_CERT_FILE"),
        std::env::var_os("SSL_CERT_DIR"),
    ];
    let given = source.given().to_owned();
    let names = [&node.dns.hosts_file, &node.dns.resolv_conf].map(Clone::clone);
    let files = node
        .ca_file
        .iter()
        .cloned()
        .chain(node.client_ca.iter().map(|(file, _)| file.clone()))
        .chain(node.ocsp.iter().cloned())
        .chain(trust.into_iter().flatten().map(PathBuf::from));
    files
        .chain(names)
        .chain([given])
        .for_each(|path| places.add_read(&path));
    places.set_admin(&node.admin);
    for socket in node.unix_listeners() {
        places.add_socket(Path::new(&*socket.path));
    }
    places
}

/// Gives up what is not needed any more, and says so.
fn confined(
    node: &Node,
    places: &Places,
    compiles: bool,
    driver: Driver,
) -> Result<Option<Confinement>, StartError> {
    let held = confine::confine(node.confine, places, compiles, driver).map_err(StartError::Confine)?;
    match (&held, node.confine) {
        (Some(held), _) => eprintln!("tollgate: confined: {held}"),
        (None, Confine::Off) => {}
        (None, _) => eprintln!(
            "tollgate: not confined, since reloads of a decK file start its compiler\nhelp: run an artifact: `tollc \
             compile -o policy.toll`"
        ),
    }
    Ok(held)
}

/// The process to take over from, and what it and the service manager opened for this one.
fn predecessor(node: &Node, take_over: bool) -> Result<(Option<Predecessor>, Inherited), StartError> {
    if !take_over {
        let passed = passed().into_iter().map(|socket| Passed {
            socket,
            with_file: false,
        });
        return Ok((None, Inherited::new(passed.collect())));
    }
    let asked = Predecessor::ask(&node.admin);
    let (predecessor, sockets) = asked.map_err(|error| StartError::TakeOver(node.admin.clone(), error))?;
    Ok((Some(predecessor), Inherited::new(sockets)))
}

/// A gateway that could begin.
pub(super) struct Open {
    pub(super) listeners: Listeners,
    admin: AdminSocket,
    predecessor: Option<Predecessor>,
}

impl Open {
    /// Begins, in an order in which all that can fail comes before the first connection is accepted.
    pub(super) fn begin(
        self,
        node: &Node,
        workers: &[WorkerHandle],
        panel: Arc<dyn Panel>,
        sockets: &Sockets,
    ) -> Result<Option<Serving>, StartError> {
        let listeners = self.listeners;
        let shares = (0..workers.len()).map(|number| listeners.of_worker(number, workers.len()));
        let shares = shares
            .collect::<io::Result<Vec<_>>>()
            .map_err(StartError::Thread)?;
        let metrics = listeners.metrics().map_err(StartError::Thread)?;
        listeners.listen()?;
        if let Ok(mut sockets) = sockets.lock() {
            *sockets = Some(listeners);
        }
        self.admin
            .serve(Arc::clone(&panel))
            .map_err(|error| StartError::Admin(node.admin.clone(), error))?;
        let metrics = metrics.map(|listener| admin::serve_metrics(listener, panel));
        let metrics = metrics.transpose().map_err(StartError::Thread)?;
        for (worker, share) in workers.iter().zip(shares) {
            worker.accept(share);
        }
        if let Some(predecessor) = self.predecessor {
            let pid = predecessor.pid.unwrap_or_default();
            match predecessor.relieve() {
                true => eprintln!("tollgate: took over from process {pid}, which drains"),
                false => eprintln!("tollgate: took over from process {pid}, which is gone"),
            }
            if let Ok(mut sockets) = sockets.lock()
                && let Some(listeners) = sockets.as_mut()
            {
                listeners.adopt_files();
            }
        }
        Ok(metrics)
    }
}
