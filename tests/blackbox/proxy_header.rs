//! PROXY headers to services that want them, read by nginx and HAProxy.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::{Authority, Client, Curl, Gateway, GatewayBuilder, Nginx, Origin, Process, Scratch, program};

use crate::{eventually, on_each_worker};

/// What nginx was told, and on which of its connections.
const TOLD: &str = "location / { return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr \
                    $proxy_protocol_server_port $connection\"; }";

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// An nginx that takes connections with a PROXY header only, at the address that is given with it.
fn nginx(locations: &str) -> Result<(Nginx, SocketAddr)> {
    let address = free_port()?;
    let nginx = Nginx::start(&format!("listen {address} proxy_protocol; {locations}"))?;
    Ok((nginx, address))
}

/// A policy with a service that wants the header.
fn policy(version: &str, address: SocketAddr, fields: &str) -> String {
    format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, host: {}, port: {}, tags: [\"tollgate:proxy_protocol={version}\"], \
         retries: 0, {fields} routes: [{{name: a, paths: [/]}}]}}\n",
        address.ip(),
        address.port()
    )
}

fn on_both_families(policy: String) -> GatewayBuilder {
    Gateway::builder(policy).workers(1).flag("--listen=[::1]:0")
}

fn words(client: &mut Client) -> Result<Vec<String>> {
    let answer = client.ask("GET", "/", &[], b"")?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(answer.text().split(' ').map(str::to_owned).collect())
}

#[test]
fn nginx_learns_both_ends_in_both_versions_and_families() -> Result<()> {
    let (_nginx, address) = nginx(TOLD)?;
    for version in ["v1", "v2"] {
        let gateway = on_both_families(policy(version, address, "")).start()?;
        for listener in 0..2 {
            let at: SocketAddr = gateway.ready()["listen"][listener]
                .as_str()
                .unwrap_or_default()
                .parse()?;
            let socket = TcpStream::connect(at)?;
            let own = socket.local_addr()?;
            let mut client = Client::on(socket)?;
            let told = words(&mut client)?;
            let expected = [
                own.ip().to_string(),
                own.port().to_string(),
                at.ip().to_string(),
                at.port().to_string(),
            ];
            assert_eq!(told[..4], expected, "{version}");
        }
    }
    Ok(())
}

#[test]
fn a_connection_serves_one_client_and_ends_with_it() -> Result<()> {
    let (_nginx, address) = nginx(TOLD)?;
    let gateway = Gateway::builder(policy("v2", address, "")).workers(1).start()?;
    let (mut one, mut two) = (Client::connect(gateway.addr())?, Client::connect(gateway.addr())?);
    let (first, second) = (words(&mut one)?, words(&mut two)?);
    assert_ne!(first[1], second[1], "each its own port");
    assert_eq!(
        words(&mut one)?,
        first,
        "the same connection, though another idled too"
    );
    assert_eq!(words(&mut two)?, second);
    assert_eq!(open(address), 2);
    drop(one);
    eventually("the first one's connection is closed", || {
        (open(address) == 1).then_some(())
    });
    assert_eq!(words(&mut two)?, second);
    drop(two);
    eventually("nothing is left", || (open(address) == 0).then_some(()));
    Ok(())
}

#[test]
fn another_worker_never_gets_a_clients_connection() -> Result<()> {
    let (_nginx, address) = nginx(TOLD)?;
    let gateway = Gateway::builder(policy("v2", address, "")).workers(2).start()?;
    let mut clients = on_each_worker(&gateway, 2)?;
    let first = words(&mut clients[0])?;
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(gateway.admin().status()?["upstream_connections"]["parked"], 0);
    }
    assert_ne!(words(&mut clients[1])?[1], first[1], "each its own port");
    assert_eq!(
        words(&mut clients[0])?,
        first,
        "and its own connection, all the while"
    );
    Ok(())
}

/// Established connections to a local IPv4 address, counted at the side that opened them.
fn open(address: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let remote = format!("0100007F:{:04X}", address.port());
    let established = |line: &&str| {
        let mut words = line.split_ascii_whitespace().skip(2);
        words.next() == Some(remote.as_str()) && words.next() == Some("01")
    };
    table.lines().filter(established).count()
}

#[test]
fn whom_a_trusted_peer_names_is_told_on_and_kept_apart() -> Result<()> {
    let (_nginx, address) = nginx(TOLD)?;
    let gateway = Gateway::builder(policy("v1", address, ""))
        .workers(1)
        .flag("--trusted-ip=127.0.0.1")
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    let mut ask = |named: &str| -> Result<Vec<String>> {
        let answer = client.ask("GET", "/", &[("X-Real-IP", named)], b"")?;
        Ok(answer.text().split(' ').map(str::to_owned).collect())
    };
    let (one, other) = (ask("192.0.2.7")?, ask("2001:db8::7")?);
    // nginx shows no port 0.
    assert_eq!(one[..3], ["192.0.2.7", "", "127.0.0.1"]);
    assert_eq!(other[..3], ["2001:db8::7", "", "::ffff:127.0.0.1"]);
    assert_eq!(ask("192.0.2.7")?, one);
    assert_eq!(ask("2001:db8::7")?, other);
    Ok(())
}

#[test]
fn whom_a_balancer_announces_is_announced_on() -> Result<()> {
    let (_nginx, address) = nginx(TOLD)?;
    let gateway = Gateway::builder(policy("v2", address, ""))
        .flag("--trusted-ip=127.0.0.1")
        .flag("--proxy-protocol")
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n")?;
    assert_eq!(words(&mut client)?[..2], ["192.0.2.7", "8080"]);
    Ok(())
}

#[test]
fn a_client_on_a_unix_socket_has_no_address_to_tell() -> Result<()> {
    let (_nginx, address) = nginx("location / { return 200 \"[$proxy_protocol_addr] $remote_addr\"; }")?;
    let scratch = Scratch::new()?;
    let path = scratch.path().join("http.sock");
    for version in ["v1", "v2"] {
        let _gateway = Gateway::builder(policy(version, address, ""))
            .flag(&format!("--listen=unix:{}", path.display()))
            .start()?;
        let answer = Curl::new("http://localhost/")?
            .args(["--unix-socket", &path.display().to_string()])
            .run()?;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "[] 127.0.0.1"),
            "{version}"
        );
    }
    Ok(())
}

#[test]
fn targets_that_want_the_header_are_probed_with_it() -> Result<()> {
    let (_nginx, address) = nginx("location / { return 200 ok; }")?;
    for version in ["v1", "v2"] {
        let policy = format!(
            "_format_version: \"3.0\"\nservices:\n- {{name: s, host: pool, tags: [\"tollgate:proxy_protocol={version}\"], \
             routes: [{{name: a, paths: [/]}}]}}\nupstreams:\n- {{name: pool, targets: [{{target: '{address}'}}], \
             healthchecks: {{active: {{healthy: {{interval: 0.1, successes: 1}}, \
             unhealthy: {{interval: 0.1, tcp_failures: 1, http_failures: 1, timeouts: 1}}}}}}}}\n"
        );
        let gateway = Gateway::start(policy)?;
        let target = format!("/upstreams/pool/targets/{address}/unhealthy");
        assert_eq!(gateway.admin().call("PUT", &target)?.status, 200);
        eventually("a probe that it answered", || {
            let answer = Client::get(gateway.addr(), "/", &[]).ok()?;
            (answer.status == 200).then_some(())
        });
    }
    Ok(())
}

#[test]
fn the_header_comes_before_tls() -> Result<()> {
    let (authority, files, address) = (Authority::new()?, Scratch::new()?, free_port()?);
    let certificate = authority.issue(&["127.0.0.1"])?;
    let pem = files.write("server.pem", &certificate.certificate)?;
    let key = files.write("server.key", &certificate.key)?;
    let _nginx = Nginx::start(&format!(
        "listen {address} ssl proxy_protocol; ssl_certificate {}; ssl_certificate_key {}; {TOLD}",
        pem.display(),
        key.display()
    ))?;
    let gateway = Gateway::start(policy("v2", address, "protocol: https, tls_verify: false,"))?;
    let mut client = Client::connect(gateway.addr())?;
    assert_eq!(words(&mut client)?[0], "127.0.0.1");
    Ok(())
}

/// The real HAProxy, which takes connections with a PROXY header and tells an origin what it learned.
struct HaProxy {
    _process: Process,
    _scratch: Scratch,
    http: SocketAddr,
    tcp: SocketAddr,
}

impl HaProxy {
    fn start(origin: SocketAddr) -> Result<Self> {
        let (scratch, http, tcp) = (Scratch::new()?, free_port()?, free_port()?);
        let config = format!(
            "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             frontend http\n mode http\n bind {http} accept-proxy\n http-request return status 200 content-type text/plain \
             lf-string \"%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_authority]\"\n\
             frontend tcp\n mode tcp\n bind {tcp} accept-proxy\n default_backend origin\n\
             backend origin\n mode tcp\n server origin {origin} send-proxy\n"
        );
        let file = scratch.write("haproxy.cfg", config)?;
        let mut command = Process::command(program("haproxy")?);
        command.arg("-db").arg("-f").arg(file);
        let process = Process::start(command, &scratch.path().join("haproxy.log"))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(http).is_err() {
            ensure!(
                Instant::now() < deadline,
                "haproxy did not start: {}",
                process.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self {
            _process: process,
            _scratch: scratch,
            http,
            tcp,
        })
    }
}

#[test]
fn haproxy_learns_both_ends_and_the_server_name() -> Result<()> {
    let origin = Origin::echo()?;
    let (haproxy, authority) = (HaProxy::start(origin.addr())?, Authority::new()?);
    let certificate = authority.issue(&["a.test"])?;
    let list = crate::tls::certificates(&[(&certificate, &["a.test"])]);
    for version in ["v1", "v2"] {
        let gateway = on_both_families(policy(version, haproxy.http, "") + &list)
            .tls()
            .start()?;
        for listener in 0..2 {
            let at: SocketAddr = gateway.ready()["listen"][listener]
                .as_str()
                .unwrap_or_default()
                .parse()?;
            let socket = TcpStream::connect(at)?;
            let own = socket.local_addr()?;
            let expected = [
                own.ip().to_string(),
                own.port().to_string(),
                at.ip().to_string(),
                at.port().to_string(),
            ];
            let told = words(&mut Client::on(socket)?)?;
            assert_eq!(told[..4], expected, "{version}");
        }
        let at = gateway.tls_addr();
        let answer = Curl::new(&format!("https://a.test:{}/", at.port()))?
            .args([
                "--insecure",
                "--resolve",
                &format!("a.test:{}:127.0.0.1", at.port()),
            ])
            .run()?;
        let name = if version == "v2" { " a.test" } else { " " };
        assert!(
            answer.text().ends_with(&format!("127.0.0.1 {}{name}", at.port())),
            "{}",
            answer.text()
        );
    }
    Ok(())
}

#[test]
fn a_session_begins_with_the_header_too() -> Result<()> {
    let (_nginx, address) = nginx(TOLD)?;
    let haproxy = HaProxy::start(address)?;
    for version in ["v1", "v2"] {
        let policy = format!(
            "_format_version: \"3.0\"\nservices:\n- {{name: s, protocol: tcp, host: 127.0.0.1, port: {}, \
             tags: [\"tollgate:proxy_protocol={version}\"], routes: [{{name: a, protocols: [tcp], \
             sources: [{{ip: 127.0.0.1}}]}}]}}\n",
            haproxy.tcp.port()
        );
        let gateway = Gateway::builder(policy)
            .flag("--stream-listen=127.0.0.1:0")
            .start()?;
        let at = gateway.stream_addr(0);
        let socket = TcpStream::connect(at)?;
        let own = socket.local_addr()?;
        // HAProxy tells nginx what it was told.
        let told = words(&mut Client::on(socket)?)?;
        let expected = [
            own.ip().to_string(),
            own.port().to_string(),
            at.ip().to_string(),
            at.port().to_string(),
        ];
        assert_eq!(told[..4], expected, "{version}");
    }
    Ok(())
}
