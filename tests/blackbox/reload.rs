//! Reload: by file, signal and admin call; a bad file changes nothing; load notices nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Result;
use tests::{Client, Gateway, Origin, Scratch};

use crate::{eventually, one_route};

fn marked(origin: &Origin, mark: &str) -> String {
    let plugin = format!("{{name: response-transformer, config: {{add: {{headers: ['x-mark:{mark}']}}}}}}");
    one_route(&origin.url(), &plugin, "")
}

fn mark(gateway: &Gateway) -> Result<String> {
    Ok(Client::get(gateway.addr(), "/", &[])?.header("x-mark").to_owned())
}

#[test]
fn a_replaced_file_is_noticed() -> Result<()> {
    let origin = Origin::echo()?;
    let mut gateway = Gateway::start(marked(&origin, "one"))?;
    assert_eq!((mark(&gateway)?.as_str(), gateway.admin().epoch()?), ("one", 1));
    gateway.replace_policy(marked(&origin, "two"))?;
    eventually("the new policy", || (mark(&gateway).ok()? == "two").then_some(()));
    assert_eq!(gateway.admin().epoch()?, 2);
    Ok(())
}

#[test]
fn hangup_and_admin_call_reload_too() -> Result<()> {
    let origin = Origin::echo()?;
    let mut gateway = Gateway::start(marked(&origin, "one"))?;
    gateway.replace_policy(marked(&origin, "two"))?;
    gateway.hang_up()?;
    eventually("the second policy", || {
        (mark(&gateway).ok()? == "two").then_some(())
    });
    gateway.replace_policy(marked(&origin, "three"))?;
    assert!(gateway.admin().reload()?.status < 300);
    eventually("the third policy", || {
        (mark(&gateway).ok()? == "three").then_some(())
    });
    Ok(())
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(marked(&origin, "one"))?;
    let good = std::fs::read(gateway.artifact())?;
    for at in [0, 5, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(gateway.artifact(), &bad)?;
        let answer = gateway.admin().reload()?;
        assert!(
            answer.status >= 400 && !answer.body.is_empty(),
            "bit flip at {at}: {}",
            answer.status
        );
        assert_eq!((mark(&gateway)?.as_str(), gateway.admin().epoch()?), ("one", 1));
    }
    std::fs::write(gateway.artifact(), &good[..good.len() / 2])?;
    assert!(gateway.admin().reload()?.status >= 400);
    assert_eq!(mark(&gateway)?, "one");
    Ok(())
}

#[test]
fn counts_survive_a_reload() -> Result<()> {
    let origin = Origin::echo()?;
    let limited = |mark: &str| {
        marked(&origin, mark).replace(
            "plugins: [",
            "plugins: [{name: rate-limiting, config: {year: 2}}, ",
        )
    };
    let mut gateway = Gateway::start(limited("one"))?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    gateway.replace_policy(limited("two"))?;
    gateway.admin().reload()?;
    eventually("the second policy", || {
        (gateway.admin().epoch().ok()? >= 2).then_some(())
    });
    let statuses: Result<Vec<u16>> = (0..2)
        .map(|_| Ok(Client::get(gateway.addr(), "/", &[])?.status))
        .collect();
    assert_eq!(statuses?, [200, 429]);
    Ok(())
}

#[test]
fn a_thousand_reloads_under_load_lose_no_request() -> Result<()> {
    let origin = Origin::echo()?;
    let mut gateway = Gateway::start(marked(&origin, "one"))?;
    let aside = Scratch::new()?;
    let first = std::fs::read(gateway.artifact())?;
    gateway.replace_policy(marked(&origin, "two"))?;
    let second = std::fs::read(gateway.artifact())?;
    let (addr, stop, served) = (gateway.addr(), AtomicBool::new(false), AtomicUsize::new(0));
    let load = || -> Result<()> {
        let mut client = Client::connect(addr)?;
        while !stop.load(Ordering::Relaxed) {
            let answer = client.ask("GET", "/", &[], b"")?;
            anyhow::ensure!(answer.status == 200, "status {}", answer.status);
            anyhow::ensure!(
                matches!(answer.header("x-mark"), "one" | "two"),
                "mark {:?}",
                answer.header("x-mark")
            );
            served.fetch_add(1, Ordering::Relaxed);
            if answer.header("connection") == "close" {
                client = Client::connect(addr)?;
            }
        }
        Ok(())
    };
    let reload = || -> Result<()> {
        for round in 0..1000 {
            let file = aside.write("next", if round % 2 == 0 { &first } else { &second })?;
            std::fs::rename(file, gateway.artifact())?;
            let answer = gateway.admin().reload()?;
            anyhow::ensure!(
                answer.status < 300,
                "reload {round} answered {}: {}",
                answer.status,
                answer.text()
            );
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        let reloads = reload();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no panic")?;
        }
        reloads
    })?;
    assert!(
        served.load(Ordering::Relaxed) > 1000,
        "only {served:?} requests ran beside the reloads"
    );
    assert!(gateway.admin().epoch()? >= 1000);
    Ok(())
}
