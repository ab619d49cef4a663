//! The official `openai` Python SDK, run in a clean environment against the gateway.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::Process;
use crate::scratch::{Scratch, target_dir};

/// The SDK, installed by `cargo xtask test` below `target/venv`, in a Python process that lives as long as this value.
pub struct OpenAi {
    process: Process,
    /// What to ask through, and what the answers come from.
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    /// An empty home, so that nobody's profile takes part.
    _home: Scratch,
}

impl OpenAi {
    /// Starts Python with the SDK loaded.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn start() -> Result<Self> {
        let python = std::env::var_os("TOLLGATE_TEST_PYTHON").map_or_else(default_python, PathBuf::from);
        ensure!(
            python.exists(),
            "no {}; `cargo xtask test` installs the openai SDK",
            python.display()
        );
        let home = Scratch::new()?;
        let mut command = Process::command(&python);
        command
            .args([
                "-I",
                concat!(env!("CARGO_MANIFEST_DIR"), "/clients/openai_client.py"),
            ])
            .env_clear()
            .env("HOME", home.path())
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("OTEL_SDK_DISABLED", "true")
            .stdout(Stdio::piped());
        let mut process = Process::start_piped(command, &home.path().join("errors"))?;
        let stdin = process.stdin().context("Python's input is not piped")?;
        let stdout = process.stdout().context("Python's output is not piped")?;
        Ok(Self {
            process,
            pipes: RefCell::new((stdin, BufReader::new(stdout))),
            _home: home,
        })
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
        let task = serde_json::json!({
            "base_url": format!("http://{gateway}/v1"),
            "operation": operation,
            "arguments": arguments,
            "client": client,
        });
        let mut line = String::new();
        let (stdin, stdout) = &mut *self.pipes.borrow_mut();
        let asked = writeln!(stdin, "{task}").and_then(|()| stdout.read_line(&mut line));
        asked.with_context(|| self.process.log())?;
        ensure!(
            !line.is_empty(),
            "openai_client.py ended:\n{}",
            self.process.log()
        );
        serde_json::from_str(&line).with_context(|| format!("openai_client.py printed {line:?}"))
    }
}

fn default_python() -> PathBuf {
    target_dir().join("venv/openai/bin/python")
}
