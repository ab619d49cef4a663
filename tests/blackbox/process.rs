//! The process itself: whom it runs as, and what happens when it runs out of descriptors.

use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tests::{Client, Gateway, GatewayBuilder, Origin, Scratch, is_root};

use crate::{eventually, one_route};

/// An account that has no rights anywhere.
const NOBODY: u32 = 65_534;

/// What the kernel says of a process.
pub(crate) fn of_process(gateway: &Gateway, field: &str) -> Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.ready()["pid"]))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let value = line.with_context(|| format!("no {field}"))?;
    Ok(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A directory that only that account may use, with the policy in it.
fn given_away(builder: &GatewayBuilder) -> Result<Scratch> {
    let scratch = Scratch::new()?;
    builder.compile(&scratch)?;
    for entry in std::fs::read_dir(scratch.path())? {
        chown(entry?.path(), Some(NOBODY), Some(NOBODY))?;
    }
    chown(scratch.path(), Some(NOBODY), Some(NOBODY))?;
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o700))?;
    Ok(scratch)
}

fn may_not_be_root() -> bool {
    if !is_root() {
        eprintln!("only root can become another user: not tested");
    }
    !is_root()
}

#[test]
fn it_becomes_another_user_for_good_and_still_reloads() -> Result<()> {
    if may_not_be_root() {
        return Ok(());
    }
    let origin = Origin::echo()?;
    let builder = Gateway::builder(one_route(&origin.url(), "", "")).flag("--user=nobody");
    let scratch = given_away(&builder)?;
    let mut gateway = builder.start_in(scratch)?;
    assert_eq!(of_process(&gateway, "Uid:")?, "65534 65534 65534 65534");
    assert_eq!(of_process(&gateway, "Gid:")?, "65534 65534 65534 65534");
    assert_eq!(of_process(&gateway, "Groups:")?, "65534");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(of_process(&gateway, set)?, "0000000000000000", "{set}");
    }
    assert_eq!(of_process(&gateway, "NoNewPrivs:")?, "1");
    assert!(
        gateway.log().contains("runs as nobody (uid 65534"),
        "{}",
        gateway.log()
    );
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    gateway.replace_policy(one_route(
        &origin.url(),
        "{name: request-termination, config: {status_code: 418}}",
        "",
    ))?;
    eventually("a policy that the user may not read is refused", || {
        gateway
            .log()
            .contains("policy.toll: Permission denied")
            .then_some(())
    });
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    chown(gateway.artifact(), Some(NOBODY), Some(NOBODY))?;
    eventually("the next policy", || {
        (Client::get(gateway.addr(), "/", &[]).ok()?.status == 418).then_some(())
    });
    let new = gateway.successor(2, &[])?;
    assert_eq!(of_process(&new, "Uid:")?, "65534 65534 65534 65534");
    assert_eq!(Client::get(new.addr(), "/", &[])?.status, 418);
    Ok(())
}

#[test]
fn a_group_can_be_another_than_the_users() -> Result<()> {
    if may_not_be_root() {
        return Ok(());
    }
    let origin = Origin::echo()?;
    let builder = Gateway::builder(one_route(&origin.url(), "", ""))
        .flag("--user=65534")
        .flag("--group=12345");
    let scratch = given_away(&builder)?;
    let gateway = builder.start_in(scratch)?;
    assert_eq!(of_process(&gateway, "Gid:")?, "12345 12345 12345 12345");
    assert!(
        !of_process(&gateway, "Groups:")?
            .split(' ')
            .any(|group| group == "0")
    );
    Ok(())
}

#[test]
fn what_the_user_may_not_read_fails_at_start_and_says_for_whom() -> Result<()> {
    if may_not_be_root() {
        return Ok(());
    }
    let origin = Origin::echo()?;
    let builder = Gateway::builder(one_route(&origin.url(), "", "")).flag("--user=nobody");
    let hide = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    let unreadable = given_away(&builder)?;
    chown(unreadable.path().join("policy.toll"), Some(0), Some(0))?;
    hide(&unreadable.path().join("policy.toll"))?;
    let error = builder
        .clone()
        .start_in(unreadable)
        .err()
        .context("it started")?
        .to_string();
    assert!(
        error.contains("policy.toll") && error.contains("by then the gateway is nobody"),
        "{error}"
    );
    let foreign = Scratch::new()?;
    builder.compile(&foreign)?;
    std::fs::set_permissions(foreign.path(), std::fs::Permissions::from_mode(0o755))?;
    let error = builder.start_in(foreign).err().context("it started")?.to_string();
    assert!(
        error.contains("admin socket") && error.contains("nobody"),
        "{error}"
    );
    Ok(())
}

#[test]
fn nobody_who_is_not_there_is_become() -> Result<()> {
    let origin = Origin::echo()?;
    let start = |flag: &str| -> Result<String> {
        let started = Gateway::builder(one_route(&origin.url(), "", ""))
            .flag(flag)
            .start();
        Ok(started.err().context("it started")?.to_string())
    };
    assert!(start("--user=no-such-user")?.contains("there is no user no-such-user"));
    assert!(start("--group=daemon")?.contains("not `user`"));
    Ok(())
}

#[test]
fn without_descriptors_accepting_pauses_and_recovers() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut kept = Client::connect(gateway.addr())?;
    assert_eq!(kept.ask("GET", "/", &[], b"")?.status, 200);
    let pid = gateway.ready()["pid"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(Pid::from_raw).context("no pid")?;
    let open = || {
        Some(
            std::fs::read_dir(format!("/proc/{}/fd", gateway.ready()["pid"]))
                .ok()?
                .count() as u64,
        )
    };
    assert!(gateway.admin().metric("process_open_fds", &[])? > 10.0);
    let before = open().context("no process")?;
    let limit = Rlimit {
        current: Some(before + 20),
        maximum: Some(before + 20),
    };
    prlimit(Some(pid), Resource::Nofile, limit)?;
    let crowd: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(gateway.addr()))
        .collect::<Result<_, _>>()?;
    eventually("descriptors run out", || (open()? >= before + 19).then_some(()));
    let busy = busy_ticks(&gateway)?;
    std::thread::sleep(std::time::Duration::from_millis(700));
    let busy = busy_ticks(&gateway)? - busy;
    assert!(
        busy < 20,
        "{busy} hundredths of a second of work while there was nothing to do"
    );
    assert_eq!(
        kept.ask("GET", "/", &[], b"")?.status,
        200,
        "who is connected is served"
    );
    drop(crowd);
    eventually("others are served again", || {
        (Client::get(gateway.addr(), "/", &[]).ok()?.status == 200).then_some(())
    });
    assert!(gateway.admin().metric("tollgate_accept_paused_total", &[])? > 0.0);
    Ok(())
}

/// Hundredths of a second that the process has computed.
fn busy_ticks(gateway: &Gateway) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.ready()["pid"]))?;
    let (_, fields) = stat.rsplit_once(") ").context("no fields")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()?)
}
