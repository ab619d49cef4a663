//! Python's `websockets` on both ends: an implementation of RFC 6455 that is not ours judges what passes between them.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::python::Python;

/// A server whose path says what it does: see `tests/clients/websocket_server.py`. Dropping it kills it.
pub struct WebSocketServer {
    addr: SocketAddr,
    python: Python,
}

impl WebSocketServer {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When the package is not installed.
    pub fn start() -> Result<Self> {
        Self::start_with(&Value::Null)
    }

    /// The same with TLS, by a certificate chain and its key as files.
    ///
    /// # Errors
    /// When the package is not installed.
    pub fn start_tls(chain: &str, key: &str) -> Result<Self> {
        Self::start_with(&json!({"chain": chain, "key": key}))
    }

    fn start_with(task: &Value) -> Result<Self> {
        let python = Python::start("websocket_server.py")?;
        let port = python.ask(task)?["port"].as_u64().context("a port")?;
        let addr = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port)?));
        Ok(Self { addr, python })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has seen: `{"opened", "open"}`, and in `closed` the close code of each connection that ended.
    ///
    /// # Errors
    /// When it has ended.
    pub fn seen(&self) -> Result<Value> {
        self.python.ask(&Value::Null)
    }
}

/// Clients that stay open from one call to the next.
pub struct WebSocketClients {
    python: Python,
}

impl WebSocketClients {
    /// Starts Python with the package loaded.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn start() -> Result<Self> {
        let python = Python::start("websocket_client.py")?;
        Ok(Self { python })
    }

    /// Runs one operation of `tests/clients/websocket_client.py` and gives its result, or
    /// `{"error": {"class", …}}` for an exception of the package.
    ///
    /// # Errors
    /// When Python fails in another way.
    pub fn call(&self, operation: &str, arguments: &Value) -> Result<Value> {
        self.python
            .ask(&json!({"operation": operation, "arguments": arguments}))
    }
}
