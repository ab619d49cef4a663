//! Drain: what runs is finished, nothing new is taken, the process ends well.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;
use tests::{Client, Gateway, Origin, Script, Step};

use crate::{eventually, one_route};

fn slow_origin() -> Result<Origin> {
    Origin::always(
        Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            .then(Step::Pause(Duration::from_millis(800)))
            .then(Step::Send(b"3\r\ntwo\r\n0\r\n\r\n".to_vec())),
    )
}

fn drains(start: impl FnOnce(&Gateway) -> Result<()>) -> Result<()> {
    let origin = slow_origin()?;
    let mut gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut idle = Client::connect(gateway.addr())?;
    let mut stream = Client::connect(gateway.addr())?.stream("GET", "/", &[], b"")?;
    assert_eq!(stream.piece()?.as_deref(), Some(&b"one"[..]));
    start(&gateway)?;
    eventually("new connections are refused", || {
        TcpStream::connect(gateway.addr()).err()
    });
    idle.expect_close()?;
    assert_eq!(stream.rest()?, b"two", "the running request is finished");
    let status = gateway.wait(Duration::from_secs(10))?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[test]
fn sigterm_drains() -> Result<()> {
    drains(Gateway::terminate)
}

#[test]
fn the_admin_call_drains() -> Result<()> {
    drains(|gateway| gateway.admin().drain().map(drop))
}
