//! `cargo xtask soak`: hours in minutes. Good traffic of every kind, one attack to a hundred requests, upstreams that die,
//! reloads and take-overs, all at once; what must not happen is a lost response, or memory or descriptors that grow.
//!
//! It has four parts: only good traffic (calm), then all of it with take-overs, then all of it in one process, which is
//! watched for growth, then silence, in which descriptors must be given back.

mod attack;
mod client;
mod origin;
mod report;
mod scene;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tests::Gateway;

use crate::{step, test};
use client::{Kind, Log};
use report::Report;
use scene::Scene;
use watch::Watch;

/// How long, and on what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long
    #[arg(long, default_value_t = 3)]
    minutes: u64,
    /// The driver of the gateway
    #[arg(long, default_value = "uring", value_parser = ["uring", "epoll"])]
    driver: String,
    /// Folder with a `tollgate` and a `tollc` to soak instead of a fresh build
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Where results are written
    #[arg(long, default_value = "perf/results")]
    out: PathBuf,
}

/// What all threads see.
pub(crate) struct Shared {
    stop: AtomicBool,
    /// Only good traffic for now.
    calm: AtomicBool,
    /// Responses to good requests.
    answered: AtomicU64,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let programs = match &options.programs {
        Some(programs) => step::root().join(programs),
        None => {
            test::programs()?;
            step::target_dir().join("checked")
        }
    };
    let scene = Scene::start()?;
    let gateway = scene.gateway(&programs, &options.driver)?;
    let shared = Shared {
        stop: AtomicBool::new(false),
        calm: AtomicBool::new(true),
        answered: AtomicU64::new(0),
    };
    let length = Duration::from_secs(options.minutes.max(1) * 60);
    let (soaked, logs, attacks) = std::thread::scope(|scope| {
        let target = client::Target::of(&scene, &gateway);
        let clients: Vec<_> = Kind::ALL
            .into_iter()
            .flat_map(|kind| std::iter::repeat_n(kind, kind.clients()))
            .map(|kind| {
                let (shared, target) = (&shared, target.clone());
                scope.spawn(move || client::ask_until_stopped(kind, &target, shared))
            })
            .collect();
        let (shared, to) = (&shared, target.plain);
        let attacker = scope.spawn(move || attack::until_stopped(to, shared));
        // Programs die with the thread that starts them, so this thread does it all.
        let soaked = soak(&scene, gateway, shared, length);
        shared.stop.store(true, Ordering::Relaxed);
        let logs: Vec<Log> = clients
            .into_iter()
            .map(|it| it.join().expect("a client does not panic"))
            .collect();
        (
            soaked,
            logs,
            attacker.join().expect("the attacker does not panic"),
        )
    });
    let (mut gateway, mut watch, events) = soaked?;
    watch.quiet(&mut gateway)?;
    let report = Report::new(options.minutes, &options.driver, &logs, attacks, &watch, events);
    report.write(&step::root().join(&options.out))?;
    step::say(&format!("written to {}/soak.md", options.out.display()));
    for wrong in report.wrongs() {
        step::complain(wrong);
    }
    Ok(if report.wrongs().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What was done to the gateway and around it.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Events {
    reloads: u32,
    take_overs: u32,
    upstream_kills: u32,
}

/// The parts one after the other. Gives the process that runs at the end, and what was seen.
fn soak(
    scene: &Scene,
    first: Gateway,
    shared: &Shared,
    length: Duration,
) -> Result<(Gateway, Watch, Events)> {
    let mut gateway = first;
    let mut watch = Watch::default();
    let mut events = Events::default();
    let begin = Instant::now();
    let part = |share: u32| begin + length * share / 100;
    step::say("calm");
    while Instant::now() < part(15) {
        std::thread::sleep(Duration::from_secs(1));
        watch.look(&mut gateway)?;
    }
    shared.calm.store(false, Ordering::Relaxed);
    step::say("attacks, reloads, kills, take-overs");
    while Instant::now() < part(40) {
        disturb(scene, &mut gateway, &mut events)?;
        gateway = take_over(gateway)?;
        events.take_overs += 1;
        watch.look(&mut gateway)?;
    }
    step::say("attacks, reloads, kills, watched for growth");
    let settled = Instant::now() + (length / 10).min(Duration::from_secs(60));
    while Instant::now() < part(100) {
        disturb(scene, &mut gateway, &mut events)?;
        if Instant::now() > settled {
            watch.growth(&mut gateway)?;
        }
    }
    Ok((gateway, watch, events))
}

/// Kills an upstream, reloads, brings the upstream back: two seconds.
fn disturb(scene: &Scene, gateway: &mut Gateway, events: &mut Events) -> Result<()> {
    let pause = || std::thread::sleep(Duration::from_millis(500));
    scene.origins.kill(events.upstream_kills as usize);
    pause();
    gateway.replace_policy(scene.policy(events.reloads))?;
    events.reloads += 1;
    pause();
    scene.origins.revive(events.upstream_kills as usize)?;
    events.upstream_kills += 1;
    pause();
    pause();
    Ok(())
}

/// Another process takes over; the old one has ended when this does.
fn take_over(mut old: Gateway) -> Result<Gateway> {
    let new = old.successor(2, &[]).context("take over")?;
    let ended = old.wait(Duration::from_secs(45)).context("the old process")?;
    anyhow::ensure!(ended.success(), "the old process: {ended}");
    Ok(new)
}
