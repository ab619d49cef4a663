//! Hot restart: another process takes the listeners over, and no client notices.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{Authority, Client, Curl, Gateway, Origin, Script, Step};

use crate::tls::certificates;
use crate::{eventually, one_route};

/// Asks again and again, on connections that are kept or on a new one each time, until `stop`. Any request that is not
/// answered by 200 is an error; a connection is left when the answer says so, as every client must.
fn load(gateway: &Gateway, keep: bool, stop: &AtomicBool, served: &AtomicUsize) -> Result<()> {
    let addr = gateway.addr();
    let mut kept: Option<Client> = None;
    while !stop.load(Ordering::Relaxed) {
        let mut client = match kept.take() {
            Some(client) => client,
            None => Client::connect(addr).context("refused")?,
        };
        let answer = client.ask("GET", "/", &[], b"").context("lost")?;
        ensure!(answer.status == 200, "status {}", answer.status);
        served.fetch_add(1, Ordering::Relaxed);
        // Clients that only spin would leave no processor to the two gateways.
        std::thread::sleep(Duration::from_millis(1));
        if keep && answer.header("connection") != "close" {
            kept = Some(client);
        }
    }
    Ok(())
}

/// Runs `act` while clients ask, and gives what it gave once none of them has lost anything.
fn under_load<T>(gateway: &Gateway, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let done = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|number| {
                scope.spawn({
                    let (stop, served) = (&stop, &served);
                    move || load(gateway, number % 2 == 0, stop, served)
                })
            })
            .collect();
        let done = act();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no panic")?;
        }
        done
    })?;
    let served = served.load(Ordering::Relaxed);
    ensure!(served > 100, "only {served} requests ran");
    Ok(done)
}

#[test]
fn restarts_under_load_lose_no_request_whatever_the_workers() -> Result<()> {
    let origin = Origin::echo()?;
    let first = Gateway::start(one_route(&origin.url(), "", ""))?;
    under_load(&first, || {
        let mut running: Option<Gateway> = None;
        for workers in [2, 4, 1, 3, 2, 2] {
            std::thread::sleep(Duration::from_millis(100));
            let old = running.as_ref().unwrap_or(&first);
            let old_pid = old.ready()["pid"].clone();
            let new = old.successor(workers, &[])?;
            let status = new.admin().status()?;
            assert_eq!(
                status["pid"],
                new.ready()["pid"],
                "the admin socket is the new one's"
            );
            assert_eq!(status["took_over_from"], old_pid);
            assert_eq!(status["workers"].as_array().map(Vec::len), Some(workers));
            if let Some(mut old) = running.replace(new) {
                let ended = old.wait(Duration::from_secs(20))?;
                ensure!(ended.success(), "{ended}");
            }
        }
        Ok(running)
    })?;
    Ok(())
}

#[test]
fn the_old_process_finishes_what_runs_and_ends() -> Result<()> {
    let origin = Origin::always(
        Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            .then(Step::Pause(Duration::from_millis(800)))
            .then(Step::Send(b"3\r\ntwo\r\n0\r\n\r\n".to_vec())),
    )?;
    let mut old = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut stream = Client::connect(old.addr())?.stream("GET", "/", &[], b"")?;
    assert_eq!(stream.piece()?.as_deref(), Some(&b"one"[..]));
    let new = old.successor(2, &[])?;
    assert_eq!(Client::get(new.addr(), "/", &[])?.status, 200);
    assert_eq!(stream.rest()?, b"two");
    drop(stream);
    let ended = old.wait(Duration::from_secs(10))?;
    assert!(ended.success(), "{ended}");
    assert_eq!(
        new.admin().status()?["pid"],
        new.ready()["pid"],
        "the end of the old one leaves the socket alone"
    );
    Ok(())
}

#[test]
fn a_connection_that_waits_is_answered_once_more_by_the_old_process() -> Result<()> {
    let origin = Origin::echo()?;
    let mut old = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut client = Client::connect(old.addr())?;
    assert_eq!(client.ask("GET", "/", &[], b"")?.status, 200);
    let _new = old.successor(2, &[])?;
    std::thread::sleep(Duration::from_millis(200));
    let answer = client.ask("GET", "/", &[], b"")?;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    client.expect_close()?;
    assert!(old.wait(Duration::from_secs(10))?.success());
    Ok(())
}

#[test]
fn who_waits_for_nothing_ends_at_sigterm_though_others_wait() -> Result<()> {
    let origin = Origin::echo()?;
    let mut old = Gateway::start(one_route(&origin.url(), "", ""))?;
    let mut client = Client::connect(old.addr())?;
    assert_eq!(client.ask("GET", "/", &[], b"")?.status, 200);
    let _new = old.successor(2, &[])?;
    old.terminate()?;
    client.expect_close()?;
    assert!(old.wait(Duration::from_secs(10))?.success());
    Ok(())
}

#[test]
fn a_successor_that_fails_changes_nothing() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "", ""))?;
    let good = std::fs::read(gateway.artifact())?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let busy = taken.local_addr()?.to_string();
    under_load(&gateway, || {
        for attempt in 0..3 {
            std::fs::write(gateway.artifact(), &good[..good.len() / 2])?;
            ensure!(
                gateway.successor(2, &[]).is_err(),
                "attempt {attempt}: half a policy was accepted"
            );
            std::fs::write(gateway.artifact(), &good)?;
            let refused = gateway.successor(2, &["--metrics-listen", &busy]);
            ensure!(
                refused.is_err(),
                "attempt {attempt}: an address that is taken was bound"
            );
        }
        Ok(())
    })?;
    let status = gateway.admin().status()?;
    assert_eq!(
        status["pid"],
        gateway.ready()["pid"],
        "the admin socket is still its own"
    );
    eventually("the same gateway hands over after all", || {
        gateway.successor(2, &[]).ok()
    });
    Ok(())
}

#[test]
fn tls_and_metrics_go_along() -> Result<()> {
    let (origin, authority) = (Origin::echo()?, Authority::new()?);
    let certificate = authority.issue(&["localhost"])?;
    let list = certificates(&[(&certificate, &["localhost"])]);
    let old = Gateway::builder(one_route(&origin.url(), "", &list))
        .tls()
        .metrics()
        .start()?;
    let node = |metrics: &str| Some(metrics.split_once("node_id=\"")?.1.split('"').next()?.to_owned());
    let before = node(&old.admin().metrics()?).context("no node id")?;
    let new = old.successor(2, &[])?;
    let authority_file = new.scratch().write("authority.pem", authority.pem())?;
    let port = new.tls_addr().port();
    assert_eq!(port, old.tls_addr().port());
    drop(old);
    let answer = Curl::new(&format!("https://localhost:{port}/"))?
        .args(["--resolve", &format!("localhost:{port}:127.0.0.1"), "--cacert"])
        .args([&authority_file])
        .run()?;
    assert_eq!(answer.status, 200);
    let own = node(&new.admin().metrics()?);
    let address = new.ready()["metrics_listen"].as_str().context("no address")?;
    let scraped = node(&Client::get(address.parse()?, "/metrics", &[])?.text());
    assert_eq!(scraped, own);
    assert_ne!(scraped.as_deref(), Some(before.as_str()));
    Ok(())
}

#[test]
fn metrics_are_the_new_process_own_while_the_old_one_drains() -> Result<()> {
    let origin = Origin::echo()?;
    let old = Gateway::builder(one_route(&origin.url(), "", ""))
        .metrics()
        .start()?;
    let mut waits = Client::connect(old.addr())?;
    assert_eq!(waits.ask("GET", "/", &[], b"")?.status, 200);
    let new = old.successor(2, &[])?;
    std::thread::sleep(Duration::from_millis(100));
    let address = new.ready()["metrics_listen"]
        .as_str()
        .context("no address")?
        .parse()?;
    for _ in 0..20 {
        let page = Client::get(address, "/metrics", &[])?.text();
        assert!(page.contains("kong_nginx_connections_total"), "{page}");
        assert!(
            !page.contains("state=\"waiting\"} 1\n"),
            "the old process' connection: {page}"
        );
    }
    Ok(())
}

#[test]
fn nobody_to_take_over_from_is_an_error() -> Result<()> {
    let origin = Origin::echo()?;
    let started = Gateway::builder(one_route(&origin.url(), "", ""))
        .flag("--take-over")
        .start();
    let error = started.err().context("it started")?.to_string();
    assert!(error.contains("start without --take-over"), "{error}");
    Ok(())
}

#[test]
fn a_socket_of_the_service_manager_is_used_with_what_it_has_queued() -> Result<()> {
    let origin = Origin::echo()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut early = Client::connect(listener.local_addr()?)?;
    let gateway = Gateway::builder(one_route(&origin.url(), "", ""))
        .workers(3)
        .passed(listener)
        .start()?;
    assert_eq!(early.ask("GET", "/", &[], b"")?.status, 200);
    for _ in 0..20 {
        assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    }
    let new = gateway.successor(2, &[])?;
    assert_eq!(Client::get(new.addr(), "/", &[])?.status, 200);
    Ok(())
}
