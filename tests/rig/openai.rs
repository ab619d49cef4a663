//! The official `openai` Python SDK, run in a clean environment against the gateway.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::Value;

use crate::python::Python;

/// The SDK in a Python process that lives as long as this value.
pub struct OpenAi {
    python: Python,
}

impl OpenAi {
    /// Starts Python with the SDK loaded.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn start() -> Result<Self> {
        let python = Python::start("openai_client.py")?;
        Ok(Self { python })
    }

    /// Runs one operation of `tests/clients/openai_client.py` with the SDK's retries off, and gives what it printed:
    /// the parsed result, or `{"error": {"class", "status", "message", …}}` for an exception.
    ///
    /// # Errors
    /// When Python fails in a way the SDK does not describe.
    pub fn call(&self, gateway: SocketAddr, operation: &str, arguments: &Value) -> Result<Value> {
        self.call_with(gateway, operation, arguments, &Value::Null)
    }

    /// The same with options for the client object, such as `{"api_key": …, "max_retries": 2}`.
    ///
    /// # Errors
    /// As [`OpenAi::call`].
    pub fn call_with(
        &self,
        gateway: SocketAddr,
        operation: &str,
        arguments: &Value,
        client: &Value,
    ) -> Result<Value> {
        self.python.ask(&serde_json::json!({
            "base_url": format!("http://{gateway}/v1"),
            "operation": operation,
            "arguments": arguments,
            "client": client,
        }))
    }
}
