//! `tollgate`: the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use proxy::admin;
use proxy::control::{self, Source};
use proxy::node::{Node, Settings, default_admin};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An API and AI gateway that enforces compiled policy.
#[derive(Parser)]
#[command(
    name = "tollgate",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a policy: an artifact (`policy.toll`), a decK file, or a folder of decK files
    Run {
        /// The policy
        policy: PathBuf,
        /// Node file with settings of this machine (TOML)
        #[arg(long, value_name = "FILE", env = "TOLLGATE_CONFIG")]
        config: Option<PathBuf>,
        /// Take the listening sockets over from the gateway that serves this admin socket, which finishes its requests
        /// and ends once this one accepts: an upgrade without a refused connection
        #[arg(long)]
        take_over: bool,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Check a policy and the settings as `run` would, without listening
    CheckConfig {
        /// The policy
        policy: PathBuf,
        /// Node file with settings of this machine (TOML)
        #[arg(long, value_name = "FILE", env = "TOLLGATE_CONFIG")]
        config: Option<PathBuf>,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// List the limits that `--limit` sets, with their defaults and bounds
    Limits,
    /// Show the state of a running gateway
    Status(Socket),
    /// Make a running gateway load its policy again
    Reload(Socket),
    /// Let a running gateway finish its requests and stop
    Drain(Socket),
    /// Print the metrics of a running gateway
    Metrics(Socket),
}

#[derive(clap::Args)]
struct Socket {
    /// The gateway's admin socket
    #[arg(long, value_name = "PATH", env = "TOLLGATE_ADMIN")]
    admin: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run {
            policy,
            config,
            take_over,
            settings,
        } => run(policy, config, take_over, *settings),
        Verb::CheckConfig {
            policy,
            config,
            settings,
        } => check(policy, config, *settings),
        Verb::Limits => {
            say(proxy::settable::page().trim_end());
            Ok(())
        }
        Verb::Status(socket) => ask(socket, "GET", "/status"),
        Verb::Reload(socket) => ask(socket, "POST", "/reload"),
        Verb::Drain(socket) => ask(socket, "POST", "/drain"),
        Verb::Metrics(socket) => ask(socket, "GET", "/metrics"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tollgate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(policy: PathBuf, config: Option<PathBuf>, take_over: bool, settings: Settings) -> anyhow::Result<()> {
    let node = Node::complete(settings, config.as_deref())?;
    control::run(node, Source::new(policy), take_over, say)?;
    Ok(())
}

fn check(policy: PathBuf, config: Option<PathBuf>, settings: Settings) -> anyhow::Result<()> {
    let node = Node::complete(settings, config.as_deref())?;
    say(&control::check(&node, Source::new(policy))?);
    Ok(())
}

fn ask(socket: Socket, method: &str, path: &str) -> anyhow::Result<()> {
    let reply = admin::request(&socket.admin.unwrap_or_else(default_admin), method, path)?;
    say(reply.body.trim_end());
    anyhow::ensure!(reply.status < 300, "the gateway answered {}", reply.status);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the program is asked for")]
fn say(line: &str) {
    println!("{line}");
}
