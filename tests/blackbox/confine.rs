//! A confined gateway: what it needs still works, what it does not need is gone.
//!
//! Every other black-box test runs confined too wherever the kernel can, since that is the default. Here it is demanded.

use anyhow::{Context, Result};
use rustix::process::Signal;
use tests::{Client, Gateway, Origin, Scratch};

use crate::process::of_process;
use crate::{eventually, one_route};

fn file_log(path: &std::path::Path) -> String {
    format!("{{name: file-log, config: {{path: '{}'}}}}", path.display())
}

fn lines(path: &std::path::Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn names_logs_reloads_and_take_overs_work_under_confinement() -> Result<()> {
    let (origin, logs) = (Origin::echo()?, Scratch::new()?);
    let (log, moved) = (
        logs.path().join("requests.log"),
        logs.path().join("requests.log.1"),
    );
    let url = origin.url().replace("127.0.0.1", "localhost");
    let mut gateway = Gateway::builder(one_route(&url, &file_log(&log), ""))
        .flag("--confine=strict")
        .start()?;
    assert_eq!(of_process(&gateway, "Seccomp:")?, "2");
    assert_eq!(of_process(&gateway, "NoNewPrivs:")?, "1");
    assert_eq!(gateway.admin().status()?["confined"]["files"], true);
    assert_eq!(
        gateway
            .admin()
            .metric("tollgate_confined", &[("by=\"landlock\"")])?,
        1.0
    );
    assert_eq!(
        gateway
            .admin()
            .metric("tollgate_confined", &[("by=\"seccomp\"")])?,
        1.0
    );
    assert_eq!(
        Client::get(gateway.addr(), "/", &[])?.status,
        200,
        "a name is resolved"
    );
    eventually("the line", || (lines(&log) == 1).then_some(()));
    std::fs::rename(&log, &moved)?;
    gateway.replace_policy(one_route(&origin.url(), &file_log(&log), ""))?;
    gateway.signal(Signal::HUP)?;
    eventually("the next policy", || {
        (gateway.admin().epoch().ok()? >= 2).then_some(())
    });
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    eventually("a line in a new file", || (lines(&log) == 1).then_some(()));
    let new = gateway.successor(3, &[])?;
    gateway.wait(std::time::Duration::from_secs(20))?;
    assert_eq!(Client::get(new.addr(), "/", &[])?.status, 200);
    eventually("a line of the new process", || (lines(&log) == 2).then_some(()));
    assert!(new.log().contains("confined: files by Landlock"), "{}", new.log());
    new.terminate()?;
    Ok(())
}

#[test]
fn a_log_elsewhere_is_refused_at_load_unless_its_folder_was_named() -> Result<()> {
    let (origin, elsewhere) = (Origin::echo()?, Scratch::new()?);
    let log = elsewhere.path().join("requests.log");
    for named in [false, true] {
        let builder = Gateway::builder(one_route(&origin.url(), "", "")).flag("--confine=strict");
        let mut gateway = match named {
            true => builder
                .flag(&format!("--log-dir={}", elsewhere.path().display()))
                .start()?,
            false => builder.start()?,
        };
        gateway.replace_policy(one_route(&origin.url(), &file_log(&log), ""))?;
        let answer = gateway.admin().reload()?;
        if named {
            assert_eq!(answer.status, 200, "{}", answer.text());
            eventually("the policy", || {
                let status = Client::get(gateway.addr(), "/", &[]).ok()?.status;
                (status == 200 && lines(&log) > 0).then_some(())
            });
        } else {
            assert_eq!(answer.status, 422);
            assert!(
                answer.text().contains("outside of the folders"),
                "{}",
                answer.text()
            );
            assert_eq!(gateway.admin().epoch()?, 1);
            assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
            assert!(!log.exists());
        }
    }
    Ok(())
}

#[test]
fn the_running_gateway_cannot_open_a_file_elsewhere() -> Result<()> {
    let (origin, elsewhere) = (Origin::echo()?, Scratch::new()?);
    for (flag, opened) in [("--confine=strict", false), ("--confine=off", true)] {
        let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
            .flag(flag)
            .start()?;
        // A good policy, which is reached through a link that leads out of the gateway's folders.
        let good = elsewhere.path().join("good.toll");
        std::fs::copy(gateway.artifact(), &good)?;
        std::fs::remove_file(gateway.artifact())?;
        std::os::unix::fs::symlink(&good, gateway.artifact())?;
        let answer = gateway.admin().reload()?;
        assert_eq!(answer.status < 300, opened, "{flag}: {}", answer.text());
        if !opened {
            assert!(answer.text().contains("Permission denied"), "{}", answer.text());
        }
        assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    }
    Ok(())
}

#[test]
fn a_gateway_that_compiles_is_left_free_or_refused() -> Result<()> {
    let origin = Origin::echo()?;
    let start = |flag: &str| {
        Gateway::builder(one_route(&origin.url(), "", ""))
            .flag(flag)
            .uncompiled()
            .start()
    };
    let error = start("--confine=strict").err().context("it started")?.to_string();
    assert!(error.contains("tollc compile"), "{error}");
    let mut gateway = start("--confine=auto")?;
    assert!(gateway.log().contains("not confined"), "{}", gateway.log());
    assert_eq!(of_process(&gateway, "Seccomp:")?, "0");
    gateway.replace_policy(one_route(
        &origin.url(),
        "{name: request-termination, config: {status_code: 418}}",
        "",
    ))?;
    eventually("the next policy", || {
        (Client::get(gateway.addr(), "/", &[]).ok()?.status == 418).then_some(())
    });
    Ok(())
}
