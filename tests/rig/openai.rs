//! The official `openai` Python SDK, run in a clean environment against the gateway.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::scratch::{Scratch, target_dir};

/// The SDK, installed by `cargo xtask test` below `target/venv`.
#[derive(Debug)]
pub struct OpenAi {
    python: PathBuf,
}

impl OpenAi {
    /// Finds the installed SDK.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn find() -> Result<Self> {
        let python =
            std::env::var_os("TOLLGATE_TEST_PYTHON").map_or_else(Self::default_python, PathBuf::from);
        ensure!(
            python.exists(),
            "no {}; `cargo xtask test` installs the openai SDK",
            python.display()
        );
        Ok(Self { python })
    }

    fn default_python() -> PathBuf {
        target_dir().join("venv/openai/bin/python")
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
        let home = Scratch::new()?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/openai_client.py");
        let task = serde_json::json!({
            "base_url": format!("http://{gateway}/v1"),
            "operation": operation,
            "arguments": arguments,
            "client": client,
        });
        let mut child = Command::new(&self.python)
            .args(["-I", script])
            .env_clear()
            .env("HOME", home.path())
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("OTEL_SDK_DISABLED", "true")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| self.python.display().to_string())?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(task.to_string().as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "openai_client.py {}:\n{errors}",
            output.status
        );
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "openai_client.py printed {:?}",
                String::from_utf8_lossy(&output.stdout)
            )
        })
    }
}
