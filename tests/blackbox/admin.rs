//! The admin socket and the commands around a running gateway.

use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use tests::{Driver, Gateway, Origin};

use crate::one_route;

#[test]
fn ready_line_and_status_tell_what_runs() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(2)
        .start()?;
    let driver = if Driver::under_test() == Driver::Epoll {
        "epoll"
    } else {
        "io_uring"
    };
    assert_eq!(gateway.ready()["driver"], driver);
    assert_eq!(gateway.ready()["workers"], 2);
    assert_eq!(gateway.ready()["epoch"], 1);
    let status = gateway.admin().status()?;
    assert_eq!(status["epoch"], 1);
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(2), "{status}");
    Ok(())
}

#[test]
fn only_the_owner_may_use_the_socket() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mode = std::fs::metadata(gateway.scratch().path().join("admin"))?
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "mode {mode:o}");
    Ok(())
}

#[test]
fn the_data_port_has_no_admin_paths() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(crate::routes(&origin.url(), "{name: a, paths: [/a]}"))?;
    for path in ["/status", "/metrics", "/reload", "/drain"] {
        assert_eq!(
            tests::Client::get(gateway.addr(), path, &[])?.status,
            404,
            "{path}"
        );
    }
    Ok(())
}

#[test]
fn unknown_calls_are_refused() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    assert_eq!(gateway.admin().call("GET", "/nonsense")?.status, 404);
    assert!(matches!(
        gateway.admin().call("GET", "/reload")?.status,
        404 | 405
    ));
    assert_eq!(gateway.admin().epoch()?, 1);
    Ok(())
}
