//! Names: what the gateway asks, whom it believes, and that changes and failures of DNS cost no request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::{Asked, Client, Data, Dns, Gateway, GatewayBuilder, Origin, Reply, Scratch, Script, Step};

use crate::{eventually, one_route};

/// One of this machine's many addresses.
pub(crate) fn local(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// A gateway that asks this server and nobody else; `conf` is its resolv.conf.
pub(crate) fn asking(dns: &Dns, policy: impl Into<String>, conf: &str) -> Result<(GatewayBuilder, Scratch)> {
    let scratch = Scratch::new()?;
    let conf = scratch.write("resolv.conf", conf)?;
    let hosts = scratch.write("hosts", "")?;
    let builder = Gateway::builder(policy)
        .flag("--dns-resolver")
        .flag(&dns.addr().to_string())
        .flag("--dns-resolv-conf")
        .flag(&conf.display().to_string())
        .flag("--dns-hostsfile")
        .flag(&hosts.display().to_string());
    Ok((builder, scratch))
}

/// The same, started, for a service on `http://HOST:PORT`.
fn serving(dns: &Dns, host: &str, port: u16) -> Result<(Gateway, Scratch)> {
    let (builder, scratch) = asking(dns, one_route(&format!("http://{host}:{port}"), "", ""), "")?;
    Ok((builder.start()?, scratch))
}

/// Origins on several addresses of this machine and one port, which answer with the last byte of theirs.
pub(crate) fn origins(lasts: &[u8]) -> Result<Vec<Origin>> {
    'port: for _ in 0..50 {
        let mut origins: Vec<Origin> = Vec::new();
        for last in lasts {
            let port = origins.first().map_or(0, |first| first.addr().port());
            let body = last.to_string();
            match Origin::start_at((local(*last), port).into(), move |_| {
                Script::respond(200, &[], &body)
            }) {
                Ok(origin) => origins.push(origin),
                Err(_) => continue 'port,
            }
        }
        return Ok(origins);
    }
    anyhow::bail!("no port is free on all addresses")
}

/// A's answer for A questions, nothing for others.
fn addresses(asked: &Asked, ttl: u32, lasts: &[u8]) -> Vec<Reply> {
    let all: Vec<Ipv4Addr> = lasts.iter().map(|last| local(*last)).collect();
    match &*asked.kind {
        "A" => vec![Reply::addresses(asked, ttl, &all)],
        _ => vec![Reply::nothing(ttl)],
    }
}

fn get(gateway: &Gateway) -> Result<(u16, String)> {
    let response = Client::get(gateway.addr(), "/", &[])?;
    Ok((response.status, response.text()))
}

/// What comes of a request, by who answered it.
fn answers(gateway: &Gateway, count: usize) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for _ in 0..count {
        let (status, text) = get(gateway)?;
        assert_eq!(status, 200, "{text}");
        all.push(text);
    }
    all.sort();
    Ok(all)
}

#[test]
fn a_name_is_asked_once_for_all_workers_and_again_before_its_time_ends() -> Result<()> {
    let origin = Origin::echo()?;
    let hold = Arc::new(AtomicBool::new(false));
    let held = Arc::clone(&hold);
    let dns = Dns::start(move |asked| {
        while held.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        addresses(asked, 2, &[1])
    })?;
    let policy = one_route(&format!("http://web.test:{}", origin.addr().port()), "", "");
    let (builder, _scratch) = asking(&dns, policy, "options timeout:30\n")?;
    let gateway = builder.start()?;
    for _ in 0..20 {
        assert_eq!(get(&gateway)?.0, 200);
    }
    let begin = Instant::now();
    assert_eq!(dns.kinds("web.test")[..2], ["SRV", "A"], "in Kong's order");
    hold.store(true, Ordering::Release);
    let so_far = dns.kinds("web.test").len();
    eventually("it is asked again", || {
        let asked = dns.kinds("web.test").len();
        (asked > so_far).then_some(())
    });
    assert!(
        begin.elapsed() < Duration::from_millis(2500),
        "{:?}",
        begin.elapsed()
    );
    // The server holds its answer back, and the one that is known ends meanwhile: who waited would be refused.
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..20 {
        assert_eq!(get(&gateway)?.0, 200);
    }
    assert_eq!(dns.kinds("web.test").len(), so_far + 1, "once for all");
    hold.store(false, Ordering::Release);
    eventually("and again", || {
        (dns.kinds("web.test").len() > so_far + 1).then_some(())
    });
    let kinds = dns.kinds("web.test");
    assert!(
        kinds[2..].iter().all(|kind| kind == "A"),
        "the last success comes first: {kinds:?}"
    );
    let asked = dns.asked();
    assert!(asked.iter().all(|asked| asked.edns && !asked.tcp));
    let ports: std::collections::BTreeSet<u16> = asked.iter().map(|asked| asked.port).collect();
    assert!(ports.len() > 1, "{ports:?}");
    Ok(())
}

#[test]
fn lies_are_not_believed_and_the_truth_is_waited_for() -> Result<()> {
    let origins = origins(&[1, 2])?;
    let dns = Dns::start(|asked| {
        if asked.kind != "A" {
            return vec![Reply::nothing(60)];
        }
        let lie = Reply::addresses(asked, 60, &[local(2)]);
        let other_name = |name: &str| Reply {
            question: Some(name.to_owned()),
            ..lie.clone()
        };
        let mut unasked = Reply::addresses(asked, 60, &[local(1)]);
        unasked
            .answers
            .insert(0, ("evil.test".to_owned(), 60, Data::A(local(2))));
        unasked.delay = Duration::from_millis(50);
        vec![
            Reply {
                id_shift: 1,
                ..lie.clone()
            },
            Reply {
                id_shift: 0x8000,
                ..lie.clone()
            },
            other_name("evil.test"),
            other_name(""),
            Reply {
                is_question: true,
                ..lie
            },
            unasked,
        ]
    })?;
    let (gateway, _scratch) = serving(&dns, "web.test", origins[0].addr().port())?;
    assert_eq!(answers(&gateway, 6)?, ["1"; 6]);
    assert_eq!(origins[1].connections(), 0);
    Ok(())
}

#[test]
fn an_answer_too_long_for_a_datagram_comes_by_stream() -> Result<()> {
    let lasts: Vec<u8> = (1..=40).collect();
    let origins = origins(&lasts)?;
    let dns = Dns::start(move |asked| {
        let mut replies = addresses(asked, 60, &(1..=40).collect::<Vec<u8>>());
        if !asked.tcp && asked.kind == "A" {
            replies[0].answers.truncate(10);
            replies[0].truncated = true;
        }
        replies
    })?;
    let (builder, _scratch) = asking(
        &dns,
        one_route(&format!("http://web.test:{}", origins[0].addr().port()), "", ""),
        "",
    )?;
    let gateway = builder.workers(1).start()?;
    let mut expected: Vec<String> = lasts.iter().map(u8::to_string).collect();
    expected.sort();
    assert_eq!(answers(&gateway, 40)?, expected, "each in its turn");
    assert!(dns.asked().iter().any(|asked| asked.tcp));
    Ok(())
}

#[test]
fn no_such_name_is_believed_as_long_as_its_zone_says() -> Result<()> {
    let origin = Origin::echo()?;
    let exists = Arc::new(AtomicBool::new(false));
    let there = Arc::clone(&exists);
    let dns = Dns::start(move |asked| {
        if there.load(Ordering::Acquire) {
            addresses(asked, 60, &[1])
        } else {
            vec![Reply::no_such_name(3)]
        }
    })?;
    let (gateway, _scratch) = serving(&dns, "late.test", origin.addr().port())?;
    let refused = get(&gateway)?;
    assert_eq!(refused.0, 503);
    assert!(refused.1.contains("name resolution failed"), "{}", refused.1);
    for _ in 0..10 {
        assert_eq!(get(&gateway)?.0, 503);
    }
    assert_eq!(
        dns.kinds("late.test").len(),
        1,
        "no type of a name that does not exist"
    );
    exists.store(true, Ordering::Release);
    assert_eq!(get(&gateway)?.0, 503);
    std::thread::sleep(Duration::from_millis(3100));
    assert_eq!(get(&gateway)?.0, 200);
    Ok(())
}

#[test]
fn a_server_that_fails_is_passed_over_for_the_next() -> Result<()> {
    let origin = Origin::echo()?;
    let silent = Dns::start(|_| Vec::new())?;
    let failing = Dns::start(|_| vec![Reply::rcode(2)])?;
    let good = Dns::start(|asked| addresses(asked, 1, &[1]))?;
    let policy = one_route(&format!("http://web.test:{}", origin.addr().port()), "", "");
    let (builder, _scratch) = asking(&silent, policy, "options timeout:1 attempts:1\n")?;
    let gateway = builder
        .flag("--dns-resolver")
        .flag(&failing.addr().to_string())
        .flag("--dns-resolver")
        .flag(&good.addr().to_string())
        .start()?;
    assert_eq!(get(&gateway)?.0, 200);
    assert_eq!(silent.asked().len(), 1, "silence is remembered");
    eventually("it is asked again", || {
        (good.kinds("web.test").len() > 3).then_some(())
    });
    assert_eq!(silent.asked().len(), 1, "and not waited for at each refresh");
    Ok(())
}

#[test]
fn an_old_server_is_asked_without_edns() -> Result<()> {
    let origin = Origin::echo()?;
    let dns = Dns::start(|asked| {
        if asked.edns {
            let question = Some(String::new());
            return vec![Reply {
                question,
                ..Reply::rcode(1)
            }];
        }
        addresses(asked, 60, &[1])
    })?;
    let (gateway, _scratch) = serving(&dns, "web.test", origin.addr().port())?;
    assert_eq!(get(&gateway)?.0, 200);
    Ok(())
}

#[test]
fn answers_serve_beyond_their_time_while_no_server_answers_but_not_for_ever() -> Result<()> {
    let origin = Origin::echo()?;
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let dns = Dns::start(move |asked| {
        if is_down.load(Ordering::Acquire) {
            return vec![Reply::rcode(2)];
        }
        addresses(asked, 1, &[1])
    })?;
    let policy = one_route(&format!("http://web.test:{}", origin.addr().port()), "", "");
    let (builder, _scratch) = asking(&dns, policy, "")?;
    let gateway = builder.flag("--dns-stale-ttl").flag("4").start()?;
    assert_eq!(get(&gateway)?.0, 200);
    down.store(true, Ordering::Release);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(3500) {
        assert_eq!(get(&gateway)?.0, 200);
        std::thread::sleep(Duration::from_millis(20));
    }
    let admin = gateway.admin();
    assert!(admin.metric("tollgate_dns_failures_total", &[])? >= 2.0);
    assert!(admin.metric("tollgate_dns_stale_answers_total", &[])? >= 1.0);
    let names = admin.status()?["names"].clone();
    assert_eq!(names[0]["addresses"][0], "127.0.0.1");
    assert!(names[0]["failures"].as_u64().unwrap_or(0) > 0, "{names}");
    eventually("too old", || (get(&gateway).ok()?.0 == 503).then_some(()));
    down.store(false, Ordering::Release);
    eventually("it is found again", || {
        (get(&gateway).ok()?.0 == 200).then_some(())
    });
    Ok(())
}

#[test]
fn addresses_that_change_cost_no_request_and_no_connection() -> Result<()> {
    let hold = Arc::new(AtomicBool::new(true));
    let held = Arc::clone(&hold);
    let old = Origin::start(move |request| {
        if request.target == "/slow" {
            let mut script = Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
            for piece in ["a", "b", "c", "d", "e", "f"] {
                script = script
                    .then(Step::Pause(Duration::from_millis(600)))
                    .then(Step::Send(piece.into()));
            }
            return script;
        }
        assert!(held.load(Ordering::Acquire), "asked after it was left");
        Script::respond(200, &[], "1")
    })?;
    let new = Origin::start_at((local(2), old.addr().port()).into(), |_| {
        Script::respond(200, &[], "2")
    })?;
    let moved = Arc::new(AtomicBool::new(false));
    let is_moved = Arc::clone(&moved);
    let dns = Dns::start(move |asked| {
        addresses(asked, 1, &[if is_moved.load(Ordering::Acquire) { 2 } else { 1 }])
    })?;
    let (gateway, _scratch) = serving(&dns, "web.test", old.addr().port())?;
    assert_eq!(answers(&gateway, 4)?, ["1"; 4]);
    let mut slow = Client::connect(gateway.addr())?;
    slow.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")?;
    moved.store(true, Ordering::Release);
    eventually("the new address is used", || {
        let (status, text) = get(&gateway).ok()?;
        assert_eq!(status, 200);
        (text == "2").then_some(())
    });
    // The other worker is told at the same moment.
    std::thread::sleep(Duration::from_millis(200));
    hold.store(false, Ordering::Release);
    assert_eq!(answers(&gateway, 8)?, ["2"; 8]);
    assert_eq!(slow.response("GET")?.text(), "abcdef", "what runs is left alone");
    assert!(new.requests().len() >= 8);
    Ok(())
}

#[test]
fn aliases_are_followed_across_answers_but_not_in_circles() -> Result<()> {
    let origin = Origin::echo()?;
    let dns = Dns::start(|asked| match &*asked.name {
        "web.test" => vec![Reply::record(asked, 60, Data::Cname("edge.test".to_owned()))],
        "edge.test" => addresses(asked, 60, &[1]),
        "one.test" => vec![Reply::record(asked, 60, Data::Cname("two.test".to_owned()))],
        _ => vec![Reply::record(asked, 60, Data::Cname("one.test".to_owned()))],
    })?;
    let (gateway, _scratch) = serving(&dns, "web.test", origin.addr().port())?;
    assert_eq!(get(&gateway)?.0, 200);
    let (circular, _scratch) = serving(&dns, "one.test", origin.addr().port())?;
    let start = Instant::now();
    assert_eq!(get(&circular)?.0, 503);
    assert!(start.elapsed() < Duration::from_secs(4));
    let asked = dns.asked().len();
    assert!((10..200).contains(&asked), "{asked} questions");
    Ok(())
}

#[test]
fn services_have_their_port_and_weight_from_srv_records() -> Result<()> {
    let origins: Vec<Origin> = ["a", "b", "c"]
        .iter()
        .map(|name| Origin::always(Script::respond(200, &[], name)))
        .collect::<Result<_>>()?;
    let ports: Vec<u16> = origins.iter().map(|origin| origin.addr().port()).collect();
    let dns = Dns::start(move |asked| {
        let service = |priority, weight, port| {
            (
                asked.name.clone(),
                60,
                Data::Srv(priority, weight, port, "host.test".to_owned()),
            )
        };
        match (&*asked.kind, &*asked.name) {
            ("SRV", _) => vec![Reply {
                answers: vec![
                    service(1, 3, ports[0]),
                    service(1, 1, ports[1]),
                    service(2, 9, ports[2]),
                ],
                ..Reply::default()
            }],
            (_, "host.test") => addresses(asked, 60, &[1]),
            _ => vec![Reply::no_such_name(60)],
        }
    })?;
    for host in ["_http._tcp.shop.test", "shop.test"] {
        let (builder, _scratch) = asking(&dns, one_route(&format!("http://{host}:9"), "", ""), "")?;
        let gateway = builder.workers(1).start()?;
        let all = answers(&gateway, 8)?;
        assert_eq!(all, ["a", "a", "a", "a", "a", "a", "b", "b"], "{host}");
        let kinds = dns.kinds(host);
        assert_eq!(kinds, ["SRV"], "{host}");
    }
    Ok(())
}

#[test]
fn kongs_order_is_the_operators() -> Result<()> {
    let origin = Origin::echo()?;
    let dns = Dns::start(|asked| addresses(asked, 1, &[1]))?;
    let policy = one_route(&format!("http://web.test:{}", origin.addr().port()), "", "");
    let (builder, _scratch) = asking(&dns, policy, "")?;
    let gateway = builder.flag("--dns-order").flag("AAAA,A").start()?;
    assert_eq!(get(&gateway)?.0, 200);
    eventually("it is asked again", || {
        (dns.kinds("web.test").len() >= 4).then_some(())
    });
    assert_eq!(
        dns.kinds("web.test")[..4],
        ["AAAA", "A", "AAAA", "A"],
        "without LAST"
    );
    Ok(())
}

#[test]
fn an_address_that_refuses_is_passed_over() -> Result<()> {
    let origins = origins(&[1, 3])?;
    let dns = Dns::start(|asked| addresses(asked, 60, &[1, 2, 3]))?;
    let url = format!("http://web.test:{}", origins[0].addr().port());
    let (builder, _scratch) = asking(&dns, one_route(&url, "", ""), "")?;
    let gateway = builder.workers(1).start()?;
    assert_eq!(
        answers(&gateway, 12)?.len(),
        12,
        "a retry goes to another address"
    );
    let once = one_route(&url, "", "").replace("  routes:", "  retries: 0\n  routes:");
    let (builder, _scratch) = asking(&dns, once, "")?;
    let gateway = builder.workers(1).start()?;
    let mut failed = 0;
    for _ in 0..12 {
        failed += usize::from(get(&gateway)?.0 == 502);
    }
    assert_eq!(failed, 1, "the first failure is remembered");
    Ok(())
}

#[test]
fn the_hosts_file_and_the_search_list_come_first() -> Result<()> {
    let origins = origins(&[1, 2])?;
    let port = origins[0].addr().port();
    let dns = Dns::start(|asked| match &*asked.name {
        "web.b.test" => addresses(asked, 60, &[2]),
        _ => vec![Reply::no_such_name(60)],
    })?;
    let policy = one_route(&format!("http://web:{port}"), "", "");
    let (builder, scratch) = asking(&dns, policy, "search a.test b.test\noptions ndots:2\n")?;
    let gateway = builder.start()?;
    assert_eq!(answers(&gateway, 2)?, ["2"; 2]);
    let asked: Vec<String> = dns.asked().into_iter().map(|asked| asked.name).collect();
    assert_eq!(asked, ["web.a.test", "web.b.test", "web.b.test"]);
    scratch.write("hosts", format!("{} other web # comment\n", local(1)))?;
    let policy = one_route(&format!("http://WEB:{port}"), "", "");
    let gateway = Gateway::builder(policy)
        .flag("--dns-resolver")
        .flag(&dns.addr().to_string())
        .flag("--dns-hostsfile")
        .flag(&scratch.path().join("hosts").display().to_string())
        .start()?;
    assert_eq!(answers(&gateway, 2)?, ["1"; 2]);
    assert_eq!(dns.asked().len(), 3);
    Ok(())
}

#[test]
fn a_time_of_zero_is_a_second() -> Result<()> {
    let origin = Origin::echo()?;
    let dns = Dns::start(|asked| addresses(asked, 0, &[1]))?;
    let (gateway, _scratch) = serving(&dns, "web.test", origin.addr().port())?;
    let begin = Instant::now();
    let mut requests = 0;
    while begin.elapsed() < Duration::from_secs(3) {
        assert_eq!(get(&gateway)?.0, 200);
        requests += 1;
    }
    let asked = dns.kinds("web.test").len();
    assert!(
        (3..=6).contains(&asked),
        "{asked} questions for {requests} requests"
    );
    Ok(())
}

#[test]
fn a_first_request_waits_for_a_slow_server_and_for_a_silent_one_not_long() -> Result<()> {
    let origin = Origin::echo()?;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let dns = Dns::start(move |asked| {
        counted.fetch_add(1, Ordering::AcqRel);
        if asked.name == "never.test" {
            return Vec::new();
        }
        let mut replies = addresses(asked, 60, &[1]);
        replies[0].delay = Duration::from_millis(300);
        replies
    })?;
    let (gateway, _scratch) = serving(&dns, "slow.test", origin.addr().port())?;
    assert_eq!(get(&gateway)?.0, 200);
    let (silent, _scratch) = serving(&dns, "never.test", origin.addr().port())?;
    let start = Instant::now();
    assert_eq!(get(&silent)?.0, 503);
    let took = start.elapsed();
    assert!(
        (Duration::from_secs(3)..Duration::from_secs(7)).contains(&took),
        "{took:?}"
    );
    Ok(())
}

#[test]
fn names_are_shown_to_operators() -> Result<()> {
    let origin = Origin::echo()?;
    let dns = Dns::start(|asked| addresses(asked, 77, &[1]))?;
    let (gateway, _scratch) = serving(&dns, "web.test", origin.addr().port())?;
    assert_eq!(get(&gateway)?.0, 200);
    let names = gateway.admin().status()?["names"].clone();
    let shown = names.get(0).context("a name")?;
    let addresses: SocketAddr =
        format!("{}:80", shown["addresses"][0].as_str().unwrap_or_default()).parse()?;
    assert_eq!(addresses.ip(), local(1));
    assert_eq!(
        (&shown["name"], &shown["type"]),
        (&"web.test".into(), &"A".into())
    );
    assert_eq!((&shown["ttl_s"], &shown["failures"]), (&77.into(), &0.into()));
    assert!(shown["age_s"].as_u64().unwrap_or(99) < 10);
    assert!(gateway.admin().metric("tollgate_dns_questions_total", &[])? >= 2.0);
    Ok(())
}
