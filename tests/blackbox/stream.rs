//! Routes for connections: tcp, tls and tls_passthrough, with peers that speak whatever they like.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::{Authority, Curl, Gateway, GatewayBuilder, Nginx, OpenSsl, Scratch};

use crate::eventually;
use crate::tls::{certificates, indented};

const PATIENCE: Duration = Duration::from_secs(10);

/// A server that says hello first, then echoes, and ends when its client has, or says `END`; the name tells several apart.
fn echo(name: &'static str) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            thread::spawn(move || {
                let mut bytes = vec![0; 64 * 1024];
                let _ = socket.write_all(name.as_bytes());
                while let Ok(count @ 1..) = socket.read(&mut bytes) {
                    if socket.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                    if bytes[..count].ends_with(b"END") {
                        break;
                    }
                }
                let _ = socket.write_all(b" bye");
            });
        }
    });
    Ok(addr)
}

fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&addr, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Everything that a server says to who says `bytes` and no more.
fn said(addr: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut socket = connect(addr)?;
    socket.write_all(bytes)?;
    let _ = socket.shutdown(Shutdown::Write);
    let mut got = Vec::new();
    // A refusal may be a reset.
    let _ = socket.read_to_end(&mut got);
    Ok(String::from_utf8_lossy(&got).into_owned())
}

/// Services in flow style and more top-level YAML.
fn policy(services: &str, rest: &str) -> String {
    format!("_format_version: \"3.0\"\nservices:\n{services}\n{rest}")
}

fn service(name: &str, to: SocketAddr, extra: &str, routes: &str) -> String {
    let (host, port) = (to.ip(), to.port());
    format!("- {{name: {name}, protocol: tcp, host: {host}, port: {port}, {extra} routes: [{routes}]}}\n")
}

fn listening(policy: String) -> GatewayBuilder {
    Gateway::builder(policy)
        .flag("--stream-listen=127.0.0.1:0")
        .flag("--stream-listen=127.0.0.1:0,ssl")
}

fn line(scratch: &Scratch, number: usize) -> Value {
    eventually("the log line", || {
        let text = std::fs::read_to_string(scratch.path().join("s.log")).ok()?;
        let line = text.lines().nth(number)?;
        serde_json::from_str(line).ok()
    })
}

/// Plugins that write down what becomes of sessions.
fn telling(scratch: &Scratch) -> String {
    let path = scratch.path().join("s.log");
    format!(
        "plugins:\n- {{name: file-log, protocols: [tcp, tls], config: {{path: {}}}}}\n- {{name: prometheus, \
         protocols: [tcp, tls], config: {{status_code_metrics: true, bandwidth_metrics: true, latency_metrics: true}}}}\n",
        path.display()
    )
}

#[test]
fn a_session_is_relayed_counted_and_logged() -> Result<()> {
    let (server, scratch) = (echo("hello ")?, Scratch::new()?);
    let routes = "{name: all, protocols: [tcp], sources: [{ip: 127.0.0.0/8}]}";
    let gateway = listening(policy(&service("echo", server, "", routes), &telling(&scratch))).start()?;
    // The server speaks first, and ends after its client.
    let mut socket = connect(gateway.stream_addr(0))?;
    let mut first = [0; 6];
    socket.read_exact(&mut first)?;
    assert_eq!(&first, b"hello ");
    socket.write_all(b"PING")?;
    socket.shutdown(Shutdown::Write)?;
    let mut rest = String::new();
    socket.read_to_string(&mut rest)?;
    assert_eq!(rest, "PING bye");
    let line = line(&scratch, 0);
    assert_eq!(line["session"]["received"], 4);
    assert_eq!(line["session"]["sent"], 14);
    assert_eq!(line["session"]["status"], 200);
    assert_eq!(line["session"]["server_port"], gateway.stream_addr(0).port());
    assert_eq!(line["session"]["tls"], Value::Null);
    assert_eq!(line["upstream"]["received"], 14);
    assert_eq!(line["client_ip"], "127.0.0.1");
    assert_eq!(line["tries"][0]["port"], server.port());
    assert_eq!(
        (line["route"]["name"].as_str(), line["service"]["name"].as_str()),
        (Some("all"), Some("echo"))
    );
    assert_eq!(line["route"]["sources"][0]["ip"], "127.0.0.0/8");
    let metric = |name: &str, labels: &[&str]| gateway.admin().metric(name, labels);
    let labels = ["route=\"all\"", "code=\"200\"", "source=\"service\""];
    assert_eq!(metric("kong_stream_sessions_total", &labels)?, 1.0);
    let labels = ["route=\"all\"", "direction=\"egress\""];
    assert_eq!(metric("kong_bandwidth_bytes", &labels)?, 14.0);
    assert_eq!(metric("kong_session_duration_ms_count", &["route=\"all\""])?, 1.0);
    Ok(())
}

#[test]
fn much_goes_both_ways_at_once() -> Result<()> {
    const BYTES: usize = 32 << 20;
    let server = echo("")?;
    let routes = "{name: all, protocols: [tcp], sources: [{ip: 127.0.0.1}]}";
    let gateway = listening(policy(&service("echo", server, "", routes), "")).start()?;
    let mut socket = connect(gateway.stream_addr(0))?;
    let mut writer = socket.try_clone()?;
    let writing = thread::spawn(move || -> Result<()> {
        let chunk: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
        for _ in 0..BYTES >> 20 {
            writer.write_all(&chunk)?;
        }
        Ok(writer.shutdown(Shutdown::Write)?)
    });
    let mut got = Vec::new();
    socket.read_to_end(&mut got)?;
    writing.join().expect("the writer")?;
    assert_eq!(got.len(), BYTES + " bye".len());
    let chunk: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    assert!(got[..BYTES].chunks(1 << 20).all(|piece| piece == chunk));
    Ok(())
}

#[test]
fn ends_and_names_choose_the_route() -> Result<()> {
    let (one, two) = (echo("one")?, echo("two")?);
    let services = service(
        "a",
        one,
        "",
        "{name: a, protocols: [tcp], sources: [{ip: 127.0.0.2}]}",
    ) + &service(
        "b",
        two,
        "",
        "{name: b, protocols: [tcp], sources: [{ip: 127.0.0.3}], destinations: [{ip: 127.0.0.1}]}",
    );
    let gateway = listening(policy(&services, "")).start()?;
    let from = |source: &str| -> Result<String> {
        let any = SocketAddr::new(source.parse()?, 0);
        let socket = connect_from(any, gateway.stream_addr(0))?;
        socket.shutdown(Shutdown::Write)?;
        let mut got = String::new();
        let _ = (&socket).read_to_string(&mut got);
        Ok(got)
    };
    assert_eq!(from("127.0.0.2")?, "one bye");
    assert_eq!(from("127.0.0.3")?, "two bye");
    assert_eq!(from("127.0.0.4")?, "", "no route fits");
    let unmatched = gateway.admin().metric("tollgate_unmatched_sessions_total", &[])?;
    assert_eq!(unmatched, 1.0);
    Ok(())
}

/// A connection from an address of the loopback network.
fn connect_from(from: SocketAddr, to: SocketAddr) -> Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&from.into())?;
    socket.connect(&to.into())?;
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

#[test]
fn tls_ends_here_by_name_or_there() -> Result<()> {
    let (authority, scratch) = (Authority::new()?, Scratch::new()?);
    let (own, theirs) = (
        authority.issue(&["ends.test"])?,
        authority.issue(&["passes.test"])?,
    );
    let nginx = Nginx::start_tls("location / { return 200 \"nginx $ssl_server_name\"; }", &theirs)?;
    let (server, far) = (echo("hello")?, nginx.tls_addr().context("nginx has TLS")?);
    let ca = "00000000-0000-4000-8000-000000000009";
    let verified = format!("protocol: tls, tls_verify: true, ca_certificates: ['{ca}']");
    let services = service("echo", server, "", "{name: ends, protocols: [tls], snis: [ends.test]}")
        + &service("pass", far, "", "{name: passes, protocols: [tls_passthrough], snis: ['*.test']}")
        // TLS ends here and begins again: what the server's certificate must be for is the service's host.
        + &format!(
            "- {{name: again, {verified}, host: localhost, port: {}, retries: 0, routes: [{{name: again, \
             protocols: [tls], snis: [again.test.org]}}]}}\n",
            far.port()
        );
    let rest = certificates(&[(&own, &["ends.test", "again.test.org"])])
        + &format!(
            "ca_certificates:\n- id: {ca}\n  cert: |\n{}",
            indented(&authority.pem())
        )
        + &telling(&scratch);
    let gateway = listening(policy(&services, &rest)).start()?;
    let addr = gateway.stream_addr(1);
    let file = scratch
        .write("authority.pem", authority.pem())?
        .display()
        .to_string();
    let verify = ["-CAfile", &file, "-verify_return_error", "-verify_hostname"];
    let (good, printed) = OpenSsl::client(addr, "ends.test", b"PING END")?
        .args(verify)
        .args(["ends.test", "-alpn", "postgresql"])
        .run()?;
    assert!(good && printed.contains("helloPING END bye"), "{printed}");
    assert!(printed.contains("No ALPN negotiated"), "{printed}");
    let logged = line(&scratch, 0);
    assert_eq!(logged["session"]["tls"]["client_verify"], "NONE");
    assert_eq!(logged["tollgate"]["server_name"], "ends.test");
    let port = addr.port();
    let far = Curl::new(&format!("https://passes.test:{port}/"))?
        .args([
            "--resolve",
            &format!("passes.test:{port}:127.0.0.1"),
            "--cacert",
            &file,
        ])
        .run()?;
    assert_eq!(
        far.text(),
        "nginx passes.test",
        "nginx's own certificate, verified by curl"
    );
    // The server's certificate is for another name than the service's host.
    let (_, printed) = OpenSsl::client(addr, "again.test.org", b"GET / HTTP/1.0\r\n\r\n")?.run()?;
    assert!(!printed.contains("nginx"), "{printed}");
    assert_eq!(
        line(&scratch, 1)["session"]["tls"],
        Value::Null,
        "it passed through"
    );
    assert_eq!(line(&scratch, 2)["session"]["status"], 502);
    let (_, printed) = OpenSsl::client(addr, "nobody.org", b"x")?.run()?;
    assert!(!printed.contains("hello"));
    Ok(())
}

#[test]
fn tls_to_the_service_is_verified() -> Result<()> {
    let authority = Authority::new()?;
    let nginx = Nginx::start_tls(
        "location / { return 200 secret; }",
        &authority.issue(&["localhost"])?,
    )?;
    let port = nginx.tls_addr().map_or(0, |addr| addr.port());
    let ca = "00000000-0000-4000-8000-000000000009";
    for (trusted, answer) in [(&authority, true), (&Authority::new()?, false)] {
        let services = format!(
            "- {{name: a, protocol: tls, host: localhost, port: {port}, tls_verify: true, ca_certificates: ['{ca}'], retries: 0, \
             routes: [{{name: a, protocols: [tcp], sources: [{{ip: 127.0.0.1}}]}}]}}\n"
        );
        let rest = format!(
            "ca_certificates:\n- id: {ca}\n  cert: |\n{}",
            indented(&trusted.pem())
        );
        let gateway = listening(policy(&services, &rest)).start()?;
        let got = said(gateway.stream_addr(0), b"GET / HTTP/1.0\r\n\r\n")?;
        assert_eq!(got.ends_with("secret"), answer, "{got}");
    }
    Ok(())
}

#[test]
fn addresses_are_judged_and_refusals_are_silent() -> Result<()> {
    let (server, scratch) = (echo("hello")?, Scratch::new()?);
    let plugin = "plugins: [{name: ip-restriction, config: {deny: [127.0.0.2]}}]";
    let routes = format!("{{name: all, protocols: [tcp], sources: [{{ip: 127.0.0.0/8}}], {plugin}}}");
    let gateway = listening(policy(&service("echo", server, "", &routes), &telling(&scratch))).start()?;
    let refused = connect_from("127.0.0.2:0".parse()?, gateway.stream_addr(0))?;
    let mut got = Vec::new();
    let _ = (&refused).read_to_end(&mut got);
    assert_eq!(got, b"");
    let line = line(&scratch, 0);
    assert_eq!(line["session"]["status"], 403);
    assert_eq!(
        (&line["tries"], &line["client_ip"]),
        (&Value::Array(Vec::new()), &"127.0.0.2".into())
    );
    assert_eq!(said(gateway.stream_addr(0), b"")?, "hello bye");
    Ok(())
}

#[test]
fn a_dead_target_is_passed_over_and_taken_out() -> Result<()> {
    let (server, scratch) = (echo("alive")?, Scratch::new()?);
    let dead = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let services = "- {name: pool, protocol: tcp, host: pool, retries: 1, routes: [{name: all, protocols: [tcp], sources: \
                    [{ip: 127.0.0.1}]}]}\n";
    let upstream = format!(
        "upstreams:\n- {{name: pool, targets: [{{target: '{server}'}}, {{target: '{dead}'}}], healthchecks: {{passive: {{type: \
         tcp, unhealthy: {{tcp_failures: 1}}}}}}}}\n"
    );
    let gateway = listening(policy(services, &(upstream + &telling(&scratch))))
        .workers(1)
        .start()?;
    for _ in 0..4 {
        assert_eq!(said(gateway.stream_addr(0), b"")?, "alive bye");
    }
    let tries = |number| line(&scratch, number)["tries"].as_array().map_or(0, Vec::len);
    let all: Vec<usize> = (0..4).map(tries).collect();
    assert_eq!(
        all.iter().sum::<usize>(),
        5,
        "it was tried once, and failed: {all:?}"
    );
    Ok(())
}

#[test]
fn nobody_to_connect_to_ends_the_session() -> Result<()> {
    let scratch = Scratch::new()?;
    let dead = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let routes = "{name: all, protocols: [tcp], sources: [{ip: 127.0.0.1}]}";
    let gateway = listening(policy(
        &service("dead", dead, "retries: 2,", routes),
        &telling(&scratch),
    ))
    .start()?;
    assert_eq!(said(gateway.stream_addr(0), b"x")?, "");
    let line = line(&scratch, 0);
    assert_eq!(line["session"]["status"], 502);
    let states: Vec<&Value> = (0..3).map(|number| &line["tries"][number]["state"]).collect();
    assert_eq!(states, ["next", "next", "failed"]);
    let labels = ["route=\"all\"", "code=\"502\"", "source=\"kong\""];
    assert_eq!(
        gateway.admin().metric("kong_stream_sessions_total", &labels)?,
        1.0
    );
    Ok(())
}

#[test]
fn silence_ends_a_session() -> Result<()> {
    let server = echo("hello")?;
    let routes = "{name: all, protocols: [tcp], sources: [{ip: 127.0.0.1}]}";
    let gateway = listening(policy(&service("echo", server, "read_timeout: 300,", routes), "")).start()?;
    let mut socket = connect(gateway.stream_addr(0))?;
    let mut got = String::new();
    let _ = socket.read_to_string(&mut got);
    assert_eq!(got, "hello", "the session ended, and not by this client");
    Ok(())
}

#[test]
fn every_start_of_a_hello_and_junk_are_survived() -> Result<()> {
    let authority = Authority::new()?;
    let nginx = Nginx::start_tls("location / { return 200 fine; }", &authority.issue(&["a.test"])?)?;
    let far = nginx.tls_addr().context("nginx has TLS")?;
    let routes = "{name: all, protocols: [tls_passthrough], snis: [a.test]}";
    let gateway = listening(policy(&service("pass", far, "", routes), "")).start()?;
    let addr = gateway.stream_addr(1);
    let hello = recorded_hello()?;
    for length in (0..hello.len()).step_by(37) {
        assert_eq!(said(addr, &hello[..length])?, "", "{length}");
    }
    for junk in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0",
        b"\x16\x03\x01\x00\x00",
        &[255; 4096],
    ] {
        assert_eq!(said(addr, junk)?, "");
    }
    let failed = gateway
        .admin()
        .metric("tollgate_tls_handshakes_failed_total", &[])?;
    assert!(failed >= 4.0, "{failed}");
    // The same hello, a few bytes a record and slowly.
    let cut: Vec<Vec<u8>> = hello[5..]
        .chunks(60)
        .map(|piece| [&[22, 3, 1, 0, u8::try_from(piece.len()).unwrap_or(0)], piece].concat())
        .collect();
    let mut socket = connect(addr)?;
    for record in cut {
        socket.write_all(&record)?;
        thread::sleep(Duration::from_millis(5));
    }
    let mut answer = [0; 3];
    socket.read_exact(&mut answer)?;
    assert_eq!(answer, [22, 3, 3], "nginx answers to what it was passed");
    Ok(())
}

/// The first bytes of a real client that asks for `a.test`.
fn recorded_hello() -> Result<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let recording = thread::spawn(move || -> Result<Vec<u8>> {
        let (mut socket, _) = listener.accept()?;
        let mut bytes = vec![0; 16 * 1024];
        let count = socket.read(&mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    });
    OpenSsl::client(addr, "a.test", b"")?.run()?;
    recording.join().expect("the recorder")
}

#[test]
fn a_reload_and_a_drain_leave_sessions_alone() -> Result<()> {
    let (one, two) = (echo("one")?, echo("two")?);
    let routes = "{name: all, protocols: [tcp], sources: [{ip: 127.0.0.1}]}";
    let mut gateway = listening(policy(&service("echo", one, "", routes), ""))
        .flag("--grace=20")
        .start()?;
    let mut socket = connect(gateway.stream_addr(0))?;
    let mut bytes = [0; 3];
    socket.read_exact(&mut bytes)?;
    gateway.replace_policy(policy(&service("echo", two, "", routes), ""))?;
    assert!(gateway.admin().reload()?.status < 300);
    eventually("the reload", || {
        (said(gateway.stream_addr(0), b"").ok()? == "two bye").then_some(())
    });
    let mut ping = |text: &[u8; 3]| -> Result<()> {
        socket.write_all(text)?;
        socket.read_exact(&mut bytes)?;
        assert_eq!(&bytes, text);
        Ok(())
    };
    ping(b"abc")?;
    gateway.terminate()?;
    eventually("no more sessions", || {
        connect(gateway.stream_addr(0)).is_err().then_some(())
    });
    ping(b"xyz")?;
    assert!(gateway.process().is_running(), "it waits for the session");
    drop(socket);
    assert!(gateway.wait(PATIENCE)?.success());
    Ok(())
}

#[test]
fn a_balancer_names_the_client() -> Result<()> {
    let (server, scratch) = (echo("hello")?, Scratch::new()?);
    let routes = "{name: all, protocols: [tcp], sources: [{ip: 192.0.2.7}]}";
    let gateway = listening(policy(&service("echo", server, "", routes), &telling(&scratch)))
        .flag("--trusted-ip=127.0.0.1")
        .flag("--proxy-protocol")
        .start()?;
    let got = said(
        gateway.stream_addr(0),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\nPING",
    )?;
    assert_eq!(got, "helloPING bye");
    assert_eq!(line(&scratch, 0)["client_ip"], "192.0.2.7");
    assert_eq!(said(gateway.stream_addr(0), b"PING, and no more")?, "");
    Ok(())
}

#[test]
fn clients_of_tls_sessions_prove_who_they_are() -> Result<()> {
    let (server, authority, scratch) = (echo("hello")?, Authority::new()?, Scratch::new()?);
    let (own, known) = (authority.issue(&["a.test"])?, authority.issue(&["worker-7"])?);
    let routes = "{name: all, protocols: [tls], snis: [a.test]}";
    let rest = certificates(&[(&own, &["a.test"])]) + &telling(&scratch);
    let file = scratch.write("clients.pem", authority.pem())?;
    let gateway = listening(policy(&service("echo", server, "", routes), &rest))
        .flag(&format!("--client-ca={}", file.display()))
        .start()?;
    let client = || OpenSsl::client(gateway.stream_addr(1), "a.test", b"END");
    let (_, printed) = client()?.run()?;
    assert!(!printed.contains("hello"), "{printed}");
    let (_, printed) = client()?.showing(&known)?.run()?;
    assert!(printed.contains("hello"), "{printed}");
    let line = line(&scratch, 0);
    assert_eq!(line["session"]["tls"]["client_verify"], "SUCCESS");
    assert_eq!(line["tollgate"]["client_certificate"]["subject"], "CN=worker-7");
    Ok(())
}
