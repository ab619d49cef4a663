//! `cargo xtask`: everything a developer or CI does with this repository.

#![expect(
    clippy::disallowed_methods,
    reason = "no worker runs here: waiting and measuring time block nobody"
)]

mod demo;
mod fuzz;
mod perf;
mod soak;
mod step;
mod test;
mod tidy;
mod torture;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Everything a developer or CI does with this repository"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Get what the tests need, then run all of them: unit tests, then black-box tests and attacks on io_uring and on epoll
    Test(test::Options),
    /// Check what compilers do not: dependency directions, sizes, names, links, plugin tables
    Tidy,
    /// Start the gateway on examples/quickstart.yaml with a demo origin and a mock LLM, and show what each rule does
    Demo(demo::Options),
    /// Run the fuzz targets of tests/fuzz on the installed stable toolchain
    Fuzz(fuzz::Options),
    /// Attack the gateway, nginx and HAProxy with malformed HTTP/1.1, and write what each did to perf/results
    Torture(torture::Options),
    /// Load the gateway, nginx and HAProxy in turns, and write CPU per request, rates and latencies to perf/results
    Perf(perf::Options),
    /// Send good traffic and attacks while upstreams die, policies are reloaded and processes take over; what was lost and
    /// what grew goes to perf/results
    Soak(soak::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Tidy => tidy::run(),
        Task::Demo(options) => demo::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Torture(options) => torture::run(&options),
        Task::Perf(options) => perf::run(&options),
        Task::Soak(options) => soak::run(&options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            step::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
