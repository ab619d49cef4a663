//! What answers behind the gateways: nginx for short answers, the scripted model for streams, and threads of this
//! program for WebSockets and for bodies. All of them share the load's core.

mod bodies;
mod echo;
mod listen;

use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result};

use super::peer::{LOAD_CORE, fill, free_port, pinned, stop, wait_for};
use super::scenario::Upstream;

pub(crate) use bodies::{DOWN, SLOW_PAUSE, SLOW_PIECE, UP, UP_SLOWLY};

/// The unary call that clients send, and what the origin answers: a message `{1: "tollgate"}` without compression.
pub(crate) const GRPC_MESSAGE: &str = "\0\0\0\0\u{a}\u{a}\u{8}tollgate";

/// The running origins.
pub(crate) struct Origins {
    nginx: Child,
    web: u16,
    grpc: u16,
    echo: u16,
    bodies: u16,
    model: tests::Llm,
}

impl Origins {
    /// Starts all of them.
    ///
    /// # Errors
    /// When one does not start.
    pub(crate) fn start(root: &Path, dir: &Path) -> Result<Self> {
        let (web, grpc) = (free_port()?, free_port()?);
        let config = fill(
            root,
            "origin.conf",
            &[
                ("@DIR@", &dir.display().to_string()),
                ("@PORT@", &web.to_string()),
                ("@GRPC_PORT@", &grpc.to_string()),
                ("@GRPC_MESSAGE@", GRPC_MESSAGE),
                ("@KIB@", &"x".repeat(1024)),
            ],
        )?;
        let path = dir.join("origin.conf");
        std::fs::write(&path, config)?;
        let echo = listen::serve("echo", echo::serve)?;
        let bodies = listen::serve("bodies", bodies::serve)?;
        let model = tests::Llm::streaming(50)?;
        let nginx = pinned(LOAD_CORE, "nginx")
            .arg("-c")
            .arg(&path)
            .stderr(Stdio::null())
            .spawn()?;
        let origins = Self {
            nginx,
            web,
            grpc,
            echo,
            bodies,
            model,
        };
        for port in [web, grpc] {
            wait_for(port).context("the origin does not start")?;
        }
        Ok(origins)
    }

    /// Where a scenario's answers come from.
    pub(crate) fn port(&self, upstream: Upstream) -> u16 {
        match upstream {
            Upstream::Web => self.web,
            Upstream::Stream => self.model.port(),
            Upstream::Grpc => self.grpc,
            Upstream::Echo => self.echo,
            Upstream::Bodies => self.bodies,
        }
    }
}

impl Drop for Origins {
    fn drop(&mut self) {
        stop(&mut self.nginx);
    }
}
