//! The admin socket: status, metrics, health of targets, reload, drain and take-over for the operator of this machine.
//!
//! One thread beside the workers serves it, so that it answers when they are busy and costs them nothing. Who may
//! connect is the socket file's business (mode 0600). What it tells comes from a [`Panel`]; it decides nothing.

mod client;
mod server;

use std::io;
use std::os::unix::net::UnixStream;

pub use client::{ClientError, Reply, request};
pub use server::{AdminSocket, Serving, serve_metrics};

/// What the admin socket shows and does.
pub trait Panel: Send + Sync + 'static {
    /// State of the node: one JSON object.
    fn status(&self) -> String;
    /// Metrics in Prometheus' text format.
    fn metrics(&self) -> String;
    /// Loads the policy again. `Ok` and `Err` are JSON objects; after an error the old policy still runs.
    fn reload(&self) -> Result<String, String>;
    /// Puts a target of an upstream, both as the policy names them, in or out until checks say otherwise. False when
    /// there is no such target, or its upstream has no checks.
    fn set_health(&self, upstream: &str, target: &str, healthy: bool) -> bool;
    /// Hands the listening sockets to the process at the other end, and drains once it accepts. This answers by itself.
    ///
    /// # Errors
    /// When the connection breaks; this process then goes on as before.
    fn hand_over(&self, to: &UnixStream) -> io::Result<()>;
    /// Stops accepting, lets running requests finish, and ends the process.
    fn drain(&self) -> String;
}
