//! Hedging: a second try beside one that is silent, whose answer counts, and what becomes of the other.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::{
    Authority, Client, Dns, Frame, Frames, Gateway, Nginx, Origin, Raw, Reply, Scratch, Script, Step,
    read_head,
};

use crate::balancing::pool;
use crate::dns::{asking as asking_dns, local};
use crate::eventually;
use crate::logging::lines;

const PATIENCE: Duration = Duration::from_secs(10);
const HOLD: fn() -> Script = || Script::default().then(Step::Hold);

/// Two origins that play what `play` says for the first request of a path, for the second one, and so on, whichever of the
/// two it reaches.
#[expect(clippy::disallowed_types, reason = "an origin of a test is no data path")]
fn pair(play: impl Fn(usize) -> Script + Send + Sync + 'static) -> Result<[Origin; 2]> {
    let arrivals = Arc::new(std::sync::Mutex::new(HashMap::<String, usize>::new()));
    let play = Arc::new(play);
    let origin = || {
        let (play, arrivals) = (Arc::clone(&play), Arc::clone(&arrivals));
        Origin::start(move |request| {
            let mut counts = arrivals.lock().expect("no test panics there");
            let count = counts.entry(request.target.clone()).or_default();
            *count += 1;
            let number = *count - 1;
            drop(counts);
            play(number)
        })
    };
    Ok([origin()?, origin()?])
}

/// The policy of [`pool`] with a service whose requests are hedged.
fn hedged(origins: &[Origin], after: &str, upstream: &str, service: &str) -> String {
    pool(origins, upstream).replace(
        "host: pool,",
        &format!("host: pool, tags: ['tollgate:hedge_after={after}'], {service}"),
    )
}

fn requests(origins: &[Origin]) -> usize {
    origins.iter().map(|origin| origin.requests().len()).sum()
}

/// What became of second tries: won, lost, failed, abandoned, no_target, no_budget.
fn hedges(gateway: &Gateway) -> Result<[f64; 6]> {
    let mut counts = [0.0; 6];
    let results = ["won", "lost", "failed", "abandoned", "no_target", "no_budget"];
    for (count, result) in counts.iter_mut().zip(results) {
        let label = format!("result=\"{result}\"");
        *count = gateway.admin().metric("tollgate_hedges_total", &[&label])?;
    }
    Ok(counts)
}

/// Requests that each target serves, as far as they are bounded.
fn running(gateway: &Gateway) -> Result<Vec<Value>> {
    let status = gateway.admin().status()?;
    let targets = status["upstreams"][0]["targets"].as_array().context("targets")?;
    let running = targets.iter().map(|it| it["addresses"][0]["running"].clone());
    Ok(running.collect())
}

fn asking(gateway: &Gateway) -> Result<Client> {
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    Ok(client)
}

#[test]
fn a_request_without_an_answer_goes_to_another_target_too() -> Result<()> {
    let origins = pair(|nth| {
        if nth == 0 {
            HOLD()
        } else {
            Script::respond(200, &[], "second")
        }
    })?;
    let scratch = Scratch::new()?;
    let log = scratch.path().join("access.log");
    let tags = "tags: ['tollgate:max_requests=1', 'tollgate:eject_after=1'],";
    let policy = hedged(&origins, "50ms", tags, "")
        + &format!(
            "plugins: [{{name: file-log, config: {{path: {}}}}}]\n",
            log.display()
        );
    let gateway = Gateway::builder(policy).workers(1).start()?;
    let answer = Client::get(gateway.addr(), "/x?y=1", &[("X-Mine", "yes")])?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "second"));
    assert_eq!(hedges(&gateway)?, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let ejections = gateway.admin().metric("tollgate_upstream_ejections_total", &[])?;
    assert_eq!(ejections, 0.0, "who was cancelled has not failed");
    eventually("both give back what they had", || {
        (running(&gateway).ok()? == [0, 0]).then_some(())
    });
    for origin in &origins {
        let request = origin.last();
        let seen = (
            request.target.as_str(),
            request.header("x-mine"),
            request.header("host"),
        );
        assert_eq!(seen, ("/x?y=1", "yes", origin.addr().to_string().as_str()));
        assert_eq!(origin.violations(), Vec::<String>::new());
    }
    let ids: Vec<String> = origins
        .iter()
        .map(|it| it.last().header("x-kong-request-id").to_owned())
        .collect();
    assert_eq!(ids[0], ids[1], "it is one request");
    eventually("the silent origin's connection ends", || {
        origins.iter().any(|it| it.open_connections() == 0).then_some(())
    });
    let entry = lines(&scratch, 1).remove(0);
    assert_eq!(entry["upstream_status"], "499, 200");
    let tries = &entry["tries"];
    assert_eq!(
        (&tries[0]["state"], &tries[0]["hedge"]),
        (&json!("cancelled"), &Value::Null)
    );
    assert_eq!(
        (&tries[1]["state"], &tries[1]["hedge"]),
        (&Value::Null, &json!(true))
    );
    assert_ne!(tries[0]["port"], tries[1]["port"]);
    Ok(())
}

/// A server that answers each request with its path, whoever still listens: those to `/late` once the gate of their number
/// opens.
fn stubborn(
    arrived: &Arc<AtomicUsize>,
    gates: &Arc<[AtomicBool; 2]>,
    said: &Arc<AtomicUsize>,
) -> Result<Raw> {
    let (arrived, gates, said) = (Arc::clone(arrived), Arc::clone(gates), Arc::clone(said));
    Raw::start(move |stream, mut head, _| {
        loop {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            if path == "/late" {
                let number = arrived.fetch_add(1, Ordering::SeqCst);
                eventually("the gate opens", || {
                    gates[number].load(Ordering::SeqCst).then_some(())
                });
            }
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
            let sent = stream.write_all(answer.as_bytes());
            said.fetch_add(usize::from(path == "/late"), Ordering::SeqCst);
            sent?;
            head = read_head(stream)?.0;
        }
    })
}

#[test]
fn a_late_answer_reaches_nobody() -> Result<()> {
    for winner in [0, 1] {
        let (arrived, said) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let gates = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let servers = [
            stubborn(&arrived, &gates, &said)?,
            stubborn(&arrived, &gates, &said)?,
        ];
        let targets: Vec<String> = servers
            .iter()
            .map(|it| format!("{{target: '{}'}}", it.addr()))
            .collect();
        let policy =
            hedged(&[], "50ms", "", "").replace("targets: []", &format!("targets: [{}]", targets.join(",")));
        let gateway = Gateway::builder(policy).workers(1).start()?;
        // Both have connections that are kept.
        for path in ["/a", "/b", "/c", "/d"] {
            assert_eq!(Client::get(gateway.addr(), path, &[])?.text(), path);
        }
        let mut client = Client::connect(gateway.addr())?;
        client.send(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")?;
        eventually("both got it", || {
            (arrived.load(Ordering::SeqCst) == 2).then_some(())
        });
        gates[winner].store(true, Ordering::SeqCst);
        assert_eq!(client.response("GET")?.text(), "/late");
        // These are on their way while the late answer comes.
        let mut clients = Vec::new();
        for number in 0..4 {
            let mut client = Client::connect(gateway.addr())?;
            client.send(format!("GET /meanwhile/{number} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())?;
            clients.push(client);
        }
        gates[1 - winner].store(true, Ordering::SeqCst);
        eventually("the other one answers, too", || {
            (said.load(Ordering::SeqCst) == 2).then_some(())
        });
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.response("GET")?.text(), format!("/meanwhile/{number}"));
        }
        for number in 0..20 {
            let path = format!("/after/{number}");
            assert_eq!(client.ask("GET", &path, &[], b"")?.text(), path);
            assert_eq!(Client::get(gateway.addr(), &path, &[])?.text(), path);
        }
        let [won, lost, ..] = hedges(&gateway)?;
        assert!(if winner == 0 { lost } else { won } >= 1.0, "{won} {lost}");
    }
    Ok(())
}

#[test]
fn an_answer_in_time_is_not_asked_for_twice() -> Result<()> {
    let origins = [Origin::echo()?, Origin::echo()?];
    let gateway = Gateway::builder(hedged(&origins, "1m", "", ""))
        .workers(1)
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    for _ in 0..20 {
        assert_eq!(client.ask("GET", "/", &[], b"")?.status, 200);
    }
    assert_eq!((requests(&origins), hedges(&gateway)?), (20, [0.0; 6]));
    assert_eq!(
        origins.iter().map(Origin::connections).sum::<usize>(),
        2,
        "and connections are kept"
    );
    Ok(())
}

#[test]
fn what_may_not_be_sent_twice_is_sent_once() -> Result<()> {
    let late = || Script::respond(200, &[], "ok").after(Step::Pause(Duration::from_millis(400)));
    let origins = pair(move |_| late())?;
    let gateway = Gateway::builder(hedged(&origins, "10ms", "", ""))
        .workers(1)
        .start()?;
    let websocket = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    for (method, headers, body, sent) in [
        ("POST", &[][..], "", 1),
        ("POST", &[][..], "pay", 1),
        ("PATCH", &[][..], "", 1),
        ("PUT", &[][..], "whole", 1),
        ("GET", &[][..], "asked", 1),
        ("GET", &websocket[..], "", 1),
        ("GET", &[][..], "", 2),
        ("DELETE", &[][..], "", 2),
    ] {
        let before = requests(&origins);
        let answer = Client::fetch(gateway.addr(), method, "/", headers, body.as_bytes())?;
        let made = requests(&origins) - before;
        assert_eq!((answer.status, made), (200, sent), "{method} {headers:?} {body}");
    }
    Ok(())
}

#[test]
fn the_retry_budget_pays_for_second_tries() -> Result<()> {
    // The reserve is 100 tries.
    let patient = || Script::respond(200, &[], "first").after(Step::Pause(Duration::from_secs(2)));
    let origins = pair(move |nth| {
        if nth == 0 {
            patient()
        } else {
            Script::respond(200, &[], "second")
        }
    })?;
    let gateway = Gateway::builder(hedged(&origins, "10ms", "", ""))
        .workers(1)
        .flag("--retry-budget")
        .flag("0")
        .start()?;
    for number in 0..100 {
        let answer = Client::get(gateway.addr(), &format!("/{number}"), &[])?;
        assert_eq!(answer.text(), "second", "{number}");
    }
    assert_eq!(Client::get(gateway.addr(), "/last", &[])?.text(), "first");
    assert_eq!(hedges(&gateway)?, [100.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(requests(&origins), 201);
    Ok(())
}

/// Waits, inside an origin, until both tries have come.
fn both(arrived: &AtomicUsize) {
    arrived.fetch_add(1, Ordering::SeqCst);
    eventually("both came", || {
        (arrived.load(Ordering::SeqCst) >= 2).then_some(())
    });
}

#[test]
fn one_that_fails_leaves_the_other_to_answer() -> Result<()> {
    for failing in [0, 1] {
        let arrived = AtomicUsize::new(0);
        let origins = pair(move |nth| {
            both(&arrived);
            if nth == failing {
                Script::default().then(Step::Fin)
            } else {
                Script::respond(200, &[], nth.to_string()).after(Step::Pause(Duration::from_millis(200)))
            }
        })?;
        let gateway = Gateway::builder(hedged(&origins, "20ms", "", "retries: 0,"))
            .workers(1)
            .start()?;
        let answer = Client::get(gateway.addr(), "/", &[])?;
        assert_eq!((answer.status, answer.text()), (200, (1 - failing).to_string()));
        let (won, lost) = if failing == 0 { (1.0, 0.0) } else { (0.0, 1.0) };
        assert_eq!(hedges(&gateway)?, [won, lost, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(requests(&origins), 2);
    }
    Ok(())
}

#[test]
fn when_both_fail_the_client_is_told_once() -> Result<()> {
    for (end, status) in [(Step::Fin, 502), (Step::Hold, 504)] {
        let arrived = AtomicUsize::new(0);
        let origins = pair(move |_| {
            both(&arrived);
            Script::default().then(end.clone())
        })?;
        let gateway = Gateway::builder(hedged(&origins, "20ms", "", "retries: 0, read_timeout: 1000,"))
            .workers(1)
            .start()?;
        let mut client = asking(&gateway)?;
        assert_eq!(client.response("GET")?.status, status);
        assert_eq!(
            client.ask("POST", "/other", &[], b"x")?.status,
            status,
            "the connection goes on"
        );
        assert_eq!(hedges(&gateway)?, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(requests(&origins), 3, "{status}");
    }
    Ok(())
}

#[test]
fn a_retry_after_both_failed_is_ordinary() -> Result<()> {
    let arrived = AtomicUsize::new(0);
    let origins = pair(move |nth| {
        if nth < 2 {
            both(&arrived);
            Script::default().then(Step::Fin)
        } else {
            Script::respond(200, &[], nth.to_string()).after(Step::Pause(Duration::from_millis(200)))
        }
    })?;
    let gateway = Gateway::builder(hedged(&origins, "20ms", "", "retries: 2,"))
        .workers(1)
        .start()?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.text(), "2");
    assert_eq!(requests(&origins), 3, "a request is hedged once");
    Ok(())
}

#[test]
fn a_client_that_leaves_ends_both_tries() -> Result<()> {
    let origins = pair(|_| HOLD())?;
    let policy = hedged(&origins, "20ms", "tags: ['tollgate:max_requests=1'],", "");
    let gateway = Gateway::builder(policy).workers(1).start()?;
    let client = asking(&gateway)?;
    origins
        .iter()
        .try_for_each(|origin| origin.wait_for(1, PATIENCE))?;
    assert_eq!(running(&gateway)?, [1, 1]);
    drop(client);
    origins
        .iter()
        .try_for_each(|origin| origin.wait_closed(PATIENCE))?;
    assert_eq!(running(&gateway)?, [0, 0]);
    assert_eq!(hedges(&gateway)?, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    // A stream that is reset does the same.
    let mut frames = Frames::connect(gateway.addr())?;
    frames.push(&[Frame::request(1, "GET", "/", true)])?;
    origins
        .iter()
        .try_for_each(|origin| origin.wait_for(2, PATIENCE))?;
    frames.push(&[Frame::new(3, 0, 1, &8_u32.to_be_bytes())])?;
    origins
        .iter()
        .try_for_each(|origin| origin.wait_closed(PATIENCE))?;
    assert_eq!(running(&gateway)?, [0, 0]);
    assert_eq!(hedges(&gateway)?, [0.0, 0.0, 0.0, 2.0, 0.0, 0.0]);
    Ok(())
}

#[test]
fn the_end_of_a_drain_ends_both_tries() -> Result<()> {
    let origins = pair(|_| HOLD())?;
    let mut gateway = Gateway::builder(hedged(&origins, "20ms", "", "retries: 0,"))
        .flag("--grace=1")
        .start()?;
    let mut client = asking(&gateway)?;
    origins
        .iter()
        .try_for_each(|origin| origin.wait_for(1, PATIENCE))?;
    gateway.terminate()?;
    assert_eq!(client.response("GET")?.status, 504);
    assert!(gateway.wait(PATIENCE)?.success());
    Ok(())
}

#[test]
fn where_nobody_is_free_there_is_no_second_try() -> Result<()> {
    let late = || Script::respond(200, &[], "ok").after(Step::Pause(Duration::from_millis(300)));
    let origins = pair(move |nth| {
        if nth == 0 {
            late()
        } else {
            Script::respond(200, &[], "second")
        }
    })?;
    // One target.
    let alone = Gateway::builder(hedged(&origins[..1], "10ms", "", ""))
        .workers(1)
        .start()?;
    assert_eq!(Client::get(alone.addr(), "/alone", &[])?.text(), "ok");
    assert_eq!(hedges(&alone)?, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    // Two, one of which is at work.
    let busy = pair(|_| HOLD())?;
    let policy = hedged(
        &busy,
        "10ms",
        "tags: ['tollgate:max_requests=1'],",
        "retries: 0, read_timeout: 1000,",
    );
    let gateway = Gateway::builder(policy).workers(1).start()?;
    let mut held = Client::connect(gateway.addr())?;
    held.send(b"POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")?;
    eventually("it has a target", || (requests(&busy) == 1).then_some(()));
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 504);
    assert_eq!(hedges(&gateway)?, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    assert_eq!(requests(&busy), 2);
    // Two, one of which nobody listens on: it fails, and the first one answers.
    let dead = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let policy = hedged(&origins[..1], "10ms", "", "")
        .replace("targets: [", &format!("targets: [{{target: '{dead}'}},"));
    let gateway = Gateway::builder(policy).workers(1).start()?;
    for number in 0..4 {
        assert_eq!(
            Client::get(gateway.addr(), &format!("/dead/{number}"), &[])?.text(),
            "ok"
        );
    }
    Ok(())
}

#[test]
fn a_session_stays_with_its_target() -> Result<()> {
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = Arc::clone(&slow);
    let origins = pair(move |_| {
        let wait = if is_slow.load(Ordering::SeqCst) { 300 } else { 0 };
        Script::respond(200, &[], "ok").after(Step::Pause(Duration::from_millis(wait)))
    })?;
    let fields = "algorithm: sticky-sessions, sticky_sessions_cookie: home,";
    let gateway = Gateway::builder(hedged(&origins, "20ms", fields, ""))
        .workers(1)
        .start()?;
    let first = Client::get(gateway.addr(), "/", &[])?;
    let cookie = first.header("set-cookie").split(';').next().unwrap_or_default();
    let before = requests(&origins);
    slow.store(true, Ordering::SeqCst);
    assert_eq!(
        Client::get(gateway.addr(), "/", &[("Cookie", cookie)])?.header("set-cookie"),
        ""
    );
    assert_eq!(requests(&origins) - before, 1);
    assert_eq!(hedges(&gateway)?, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    Ok(())
}

#[test]
fn what_tls_says_of_itself_is_no_answer() -> Result<()> {
    let origins = pair(|nth| {
        if nth % 2 == 0 {
            HOLD()
        } else {
            Script::respond(200, &[], "second")
        }
    })?;
    let certificate = Authority::new()?.issue(&["localhost"])?;
    let server = |origin: &Origin| {
        // Tickets of version 1.3 come behind the handshake.
        let location = format!(
            "ssl_protocols TLSv1.3; location / {{ proxy_pass http://{}; }}",
            origin.addr()
        );
        Nginx::start_tls(&location, &certificate)
    };
    let servers = [server(&origins[0])?, server(&origins[1])?];
    let target = |nginx: &Nginx| {
        format!(
            "{{target: '127.0.0.1:{}'}}",
            nginx.tls_addr().map_or(0, |addr| addr.port())
        )
    };
    let targets = format!("targets: [{}, {}]", target(&servers[0]), target(&servers[1]));
    let policy =
        hedged(&[], "100ms", "", "protocol: https, tls_verify: false,").replace("targets: []", &targets);
    let gateway = Gateway::builder(policy).workers(1).start()?;
    // The connections are new at first, so tickets come on them.
    for number in 0..4 {
        assert_eq!(
            Client::get(gateway.addr(), &format!("/{number}"), &[])?.text(),
            "second"
        );
    }
    assert_eq!(hedges(&gateway)?, [4.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    Ok(())
}

#[test]
fn a_name_with_several_addresses_has_another_one() -> Result<()> {
    let arrived = Arc::new(AtomicUsize::new(0));
    let play = |arrived: &Arc<AtomicUsize>| {
        let arrived = Arc::clone(arrived);
        move |_: &tests::Recorded| match arrived.fetch_add(1, Ordering::SeqCst) {
            0 => HOLD(),
            _ => Script::respond(200, &[], "second"),
        }
    };
    let one = Origin::start(play(&arrived))?;
    let two = Origin::start_at((local(2), one.addr().port()).into(), play(&arrived))?;
    let dns = Dns::start(|asked| match &*asked.kind {
        "A" => vec![Reply::addresses(asked, 60, &[local(1), local(2)])],
        _ => vec![Reply::nothing(60)],
    })?;
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, url: 'http://two.test:{}', tags: ['tollgate:hedge_after=50ms'], \
         routes: [{{name: a, paths: [/]}}]}}\n",
        one.addr().port()
    );
    let (builder, _scratch) = asking_dns(&dns, policy, "")?;
    let gateway = builder.workers(1).start()?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.text(), "second");
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
    Ok(())
}

/// Passes connections on to a server, once the gate is open; counts them, and how often the first one's client said something.
fn held_back(to: SocketAddr, gate: &Arc<AtomicBool>) -> Result<(SocketAddr, Arc<[AtomicUsize; 2]>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (addr, counts) = (listener.local_addr()?, Arc::<[AtomicUsize; 2]>::default());
    let (gate, counted) = (Arc::clone(gate), Arc::clone(&counts));
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let is_first = counted[0].fetch_add(1, Ordering::SeqCst) == 0;
            let (gate, counted) = (Arc::clone(&gate), Arc::clone(&counted));
            std::thread::spawn(move || -> Result<()> {
                eventually("the gate opens", || gate.load(Ordering::SeqCst).then_some(()));
                let mut server = TcpStream::connect(to)?;
                let (mut from, mut back) = (client.try_clone()?, server.try_clone()?);
                std::thread::spawn(move || -> Result<()> {
                    let mut piece = [0; 4096];
                    loop {
                        let count = from.read(&mut piece)?;
                        back.write_all(&piece[..count])?;
                        if count == 0 {
                            return Ok(());
                        }
                        counted[1].fetch_add(usize::from(is_first), Ordering::SeqCst);
                    }
                });
                std::io::copy(&mut server, &mut client)?;
                Ok(())
            });
        }
    });
    Ok((addr, counts))
}

#[test]
fn a_connection_that_comes_too_late_is_kept() -> Result<()> {
    let certificate = Authority::new()?.issue(&["localhost"])?;
    let silent = Arc::new(AtomicBool::new(true));
    let is_silent = Arc::clone(&silent);
    let origin = Origin::start(move |_| {
        if is_silent.load(Ordering::SeqCst) {
            eventually("the second try was begun", || {
                (!is_silent.load(Ordering::SeqCst)).then_some(())
            });
        }
        Script::respond(200, &[], "first")
    })?;
    let first = Nginx::start_tls(
        &format!("location / {{ proxy_pass http://{}; }}", origin.addr()),
        &certificate,
    )?;
    let second = Nginx::start_tls(
        "ssl_protocols TLSv1.3; location / { return 200 second; }",
        &certificate,
    )?;
    let gate = Arc::new(AtomicBool::new(false));
    let (behind, counts) = held_back(second.tls_addr().context("a TLS port")?, &gate)?;
    let targets = format!(
        "targets: [{{target: '{}'}}, {{target: '{behind}'}}]",
        first.tls_addr().context("a TLS port")?
    );
    let policy =
        hedged(&[], "30ms", "", "protocol: https, tls_verify: false,").replace("targets: []", &targets);
    let gateway = Gateway::builder(policy).workers(1).start()?;
    let mut client = asking(&gateway)?;
    eventually("a connection is opened", || {
        (counts[0].load(Ordering::SeqCst) == 1).then_some(())
    });
    silent.store(false, Ordering::SeqCst);
    assert_eq!(client.response("GET")?.text(), "first");
    assert_eq!(hedges(&gateway)?, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    gate.store(true, Ordering::SeqCst);
    // A hello, the end of the handshake, and then a request: of several at once, one has it.
    eventually("a request comes on it", || {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let addr = gateway.addr();
                std::thread::spawn(move || Client::get(addr, "/", &[]).map(|answer| answer.status))
            })
            .collect();
        let statuses = clients.into_iter().map(|client| client.join().ok()?.ok());
        assert!(
            statuses
                .collect::<Vec<_>>()
                .iter()
                .all(|status| *status == Some(200))
        );
        (counts[1].load(Ordering::SeqCst) >= 3).then_some(())
    });
    Ok(())
}

#[test]
fn a_stream_that_is_not_needed_any_more_is_reset_alone() -> Result<()> {
    let origins = pair(|nth| {
        if nth == 0 {
            HOLD()
        } else {
            Script::respond(200, &[], "second")
        }
    })?;
    let server =
        |origin: &Origin| Nginx::start(&format!("location / {{ proxy_pass http://{}; }}", origin.addr()));
    let servers = [server(&origins[0])?, server(&origins[1])?];
    let targets: Vec<String> = servers
        .iter()
        .map(|it| format!("{{target: '{}'}}", it.http2_addr()))
        .collect();
    let policy = hedged(&[], "50ms", "", "")
        .replace("targets: []", &format!("targets: [{}]", targets.join(",")))
        .replace("tags: [", "tags: ['tollgate:http=2', ");
    let gateway = Gateway::builder(policy).workers(1).start()?;
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let addr = gateway.addr();
            std::thread::spawn(move || {
                Client::get(addr, &format!("/{number}"), &[]).map(|answer| answer.text())
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("a client")?, "second");
    }
    assert_eq!(hedges(&gateway)?, [8.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    // The servers see each reset, and let go of what they asked; their connections to the gateway go on.
    origins
        .iter()
        .try_for_each(|origin| origin.wait_closed(PATIENCE))?;
    for number in 0..8 {
        assert_eq!(
            Client::get(gateway.addr(), &format!("/{number}"), &[])?.text(),
            "second"
        );
    }
    for nginx in &servers {
        let log = nginx.access_log()?;
        assert!(log.lines().all(|line| line.contains("HTTP/2.0")), "{log}");
    }
    Ok(())
}
