//! Algorithms of upstreams: which target a request goes to, as the targets saw it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tests::{Client, Gateway, Origin, Script, Step};

use crate::eventually;

/// A policy whose service goes to an upstream with these fields (flow style) and equal targets.
pub(crate) fn pool(origins: &[Origin], fields: &str) -> String {
    let targets: String = origins
        .iter()
        .map(|origin| format!("{{target: '{}'}},", origin.addr()))
        .collect();
    format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, host: pool, routes: [{{name: a, paths: [/]}}]}}\n\
         upstreams:\n- {{name: pool, {fields} targets: [{targets}]}}\n"
    )
}

fn requests(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(|origin| origin.requests().len()).collect()
}

/// An origin that answers nothing while the gate is closed.
fn gated(open: &Arc<AtomicBool>) -> Result<Origin> {
    let open = Arc::clone(open);
    Origin::start(move |_| {
        if open.load(Ordering::Acquire) {
            Script::respond(200, &[], "ok")
        } else {
            Script::default().then(Step::Hold)
        }
    })
}

#[test]
fn least_connections_avoids_who_is_busy_until_the_client_leaves() -> Result<()> {
    let open = Arc::new(AtomicBool::new(false));
    let origins = [gated(&open)?, gated(&open)?];
    let gateway = Gateway::builder(pool(&origins, "algorithm: least-connections,"))
        .workers(1)
        .start()?;
    let mut waiting = Client::connect(gateway.addr())?;
    waiting.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let busy = eventually("one origin is asked", || {
        requests(&origins).iter().position(|count| *count > 0)
    });
    open.store(true, Ordering::Release);
    for _ in 0..10 {
        assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    }
    assert_eq!(requests(&origins)[busy], 1, "it still holds the first request");
    drop(waiting);
    origins[busy].wait_closed(Duration::from_secs(5))?;
    for _ in 0..10 {
        assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    }
    assert_eq!(requests(&origins)[busy], 6, "it has its share again");
    Ok(())
}

#[test]
fn a_reload_does_not_forget_what_targets_carry() -> Result<()> {
    let open = Arc::new(AtomicBool::new(false));
    let origins = [gated(&open)?, gated(&open)?];
    let policy = pool(&origins, "algorithm: least-connections,");
    let mut gateway = Gateway::builder(policy.clone()).workers(1).start()?;
    let mut waiting = Client::connect(gateway.addr())?;
    waiting.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let busy = eventually("one origin is asked", || {
        requests(&origins).iter().position(|count| *count > 0)
    });
    open.store(true, Ordering::Release);
    gateway.replace_policy(policy.replace("name: s,", "name: s, tags: [new],"))?;
    gateway.admin().reload()?;
    eventually("the new epoch", || {
        gateway.admin().epoch().ok().filter(|epoch| *epoch == 2)
    });
    for _ in 0..10 {
        assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    }
    assert_eq!(requests(&origins)[busy], 1);
    Ok(())
}

#[test]
fn latency_prefers_who_answers_sooner() -> Result<()> {
    let slow = Script::respond(200, &[], "ok").after(Step::Pause(Duration::from_millis(150)));
    let origins = [Origin::always(slow)?, Origin::echo()?];
    let gateway = Gateway::builder(pool(&origins, "algorithm: latency,"))
        .workers(1)
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    for _ in 0..40 {
        assert_eq!(client.ask("GET", "/", &[], b"")?.status, 200);
    }
    let requests = requests(&origins);
    assert!(requests[0] >= 1 && requests[0] <= 3, "{requests:?}");
    Ok(())
}
