//! gRPC's official Python library, as server and as client, and httpx over HTTP/2.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::python::Python;

/// A Python process that can serve and call. Dropping it kills it.
pub struct Grpc(Python);

impl Grpc {
    /// Starts the process.
    ///
    /// # Errors
    /// When the packages are not installed.
    pub fn start() -> Result<Self> {
        Python::start("grpc_echo.py").map(Self)
    }

    /// Starts an echo server in it; gives its port.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn serve(&self) -> Result<u16> {
        let outcome = self.0.ask(&json!({"serve": true}))?;
        let port = outcome["port"].as_u64().context("a port")?;
        Ok(u16::try_from(port)?)
    }

    /// Makes one call of each kind with some metadata, and gives what came of each.
    ///
    /// # Errors
    /// When the process ended.
    pub fn call(&self, target: &str, metadata: &Value) -> Result<Value> {
        self.0.ask(&json!({"call": target, "metadata": metadata}))
    }

    /// Asks a URL so many times on one HTTP/2 connection of httpx.
    ///
    /// # Errors
    /// When the process ended.
    pub fn get(&self, url: &str, times: usize) -> Result<Value> {
        self.0.ask(&json!({"get": url, "times": times}))
    }
}
