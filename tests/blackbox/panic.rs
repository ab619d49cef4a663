//! A bug in one exchange ends its connection, or its stream, and nothing else. The gateway under test must be built with
//! assertions: only then does it panic when asked to.

use anyhow::{Context, Result};
use tests::{Client, Frame, Frames, Gateway, Origin};

use crate::{eventually, one_route};

/// `INTERNAL_ERROR` or `CANCEL`.
const GIVEN_UP: [Option<u32>; 2] = [Some(2), Some(8)];

fn gateway(origin: &Origin) -> Result<Gateway> {
    Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(1)
        .env("TOLLGATE_PANIC_AT", "/panic")
        .start()
}

/// Waits until so many panics are counted and nobody but `left` is connected.
fn settled(gateway: &Gateway, panics: f64, left: u64) {
    eventually("the panics are counted", || {
        let counted = gateway.admin().metric("tollgate_panics_total", &[]).ok()?;
        (counted - panics).abs().lt(&0.5).then_some(())
    });
    eventually("the connections are gone", || {
        let status = gateway.admin().status().ok()?;
        (status["workers"][0]["connections"] == left).then_some(())
    });
}

#[test]
fn it_closes_its_connection_and_no_other() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin)?;
    let mut other = Client::connect(gateway.addr())?;
    assert_eq!(other.ask("GET", "/before", &[], b"")?.status, 200);
    for round in 1..=20_u8 {
        let mut doomed = Client::connect(gateway.addr())?;
        // Not its first request: what was served before must not be in the way.
        assert_eq!(doomed.ask("GET", "/fine", &[], b"")?.status, 200);
        doomed.send(&doomed.request("POST", "/panic", &[], b"body"))?;
        doomed.expect_close().with_context(|| format!("round {round}"))?;
        assert_eq!(other.ask("GET", "/between", &[], b"")?.status, 200);
    }
    settled(&gateway, 20.0, 1);
    let requests: Vec<String> = origin.requests().into_iter().map(|it| it.target).collect();
    assert!(!requests.iter().any(|target| target == "/panic"), "{requests:?}");
    Ok(())
}

#[test]
fn it_ends_its_stream_and_leaves_the_connection() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin)?;
    let mut frames = Frames::connect(gateway.addr())?;
    for stream in [1, 5, 9] {
        frames.push(&[
            Frame::request(stream, "GET", "/panic", true),
            Frame::request(stream + 2, "GET", "/fine", true),
        ])?;
        let (mut reset, mut answered) = (false, false);
        while !(reset && answered) {
            let frame = frames.frame()?.context("the connection stays")?;
            if frame.kind == 3 && frame.stream == stream {
                assert!(GIVEN_UP.contains(&frame.code()), "{frame:?}");
                reset = true;
            }
            answered |= frame.kind == 1 && frame.stream == stream + 2;
        }
    }
    settled(&gateway, 3.0, 1);
    Ok(())
}
