//! Services and targets on Unix sockets, with nginx behind them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tests::{Authority, Client, Gateway, Nginx, Scratch};

use crate::eventually;

/// Says who it is and what it was asked for.
const WHO: &str = "location / { return 200 \"$server_addr $host $request_uri\"; }";

/// An nginx that listens on a Unix socket too. In its directory others may look for the socket.
struct Server {
    nginx: Option<Nginx>,
    scratch: Scratch,
}

impl Server {
    fn start(listen: &str, locations: &str) -> Result<Self> {
        let scratch = Scratch::new()?;
        let path = scratch.path().join("app.sock");
        let server = format!("listen unix:{} {listen}; {locations}", path.display());
        let nginx = Some(Nginx::start(&server)?);
        Ok(Self { nginx, scratch })
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("app.sock")
    }

    /// As a decK file has it.
    fn host(&self) -> String {
        format!("unix:{}", self.path().display())
    }
}

fn service(host: &str, fields: &str, rest: &str) -> String {
    format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, host: '{host}', {fields} routes: [{{name: a, paths: [/]}}]}}\n{rest}"
    )
}

#[test]
fn a_service_on_a_unix_socket_is_asked_as_localhost_and_kept_connected() -> Result<()> {
    let locations = "location / { return 200 \"$server_addr $http_host $request_uri $connection\"; }";
    let server = Server::start("", locations)?;
    let gateway = Gateway::builder(service(&server.host(), "path: /v1,", ""))
        .workers(1)
        .flag("--confine=strict")
        .start()?;
    let answers = (0..3)
        .map(|_| Ok(Client::get(gateway.addr(), "/x", &[])?.text()))
        .collect::<Result<Vec<_>>>()?;
    let expected = format!("unix:{} localhost /v1/x ", server.path().display());
    assert!(answers[0].starts_with(&expected), "{}", answers[0]);
    assert_eq!(answers[0], answers[1], "the same connection");
    assert_eq!(answers[1], answers[2]);
    Ok(())
}

#[test]
fn the_log_names_the_socket_of_each_try() -> Result<()> {
    let (server, logs) = (Server::start("", WHO)?, Scratch::new()?);
    let log = logs.path().join("requests.log");
    let plugin = format!(
        "plugins: [{{name: file-log, config: {{path: '{}'}}}}],",
        log.display()
    );
    let gateway = Gateway::start(service(&server.host(), &plugin, ""))?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    let line = eventually("a line", || {
        let text = std::fs::read_to_string(&log).ok()?;
        serde_json::from_str::<serde_json::Value>(text.lines().next()?).ok()
    });
    assert_eq!(line["tries"][0]["ip"], server.host());
    assert!(line["tries"][0]["port"].is_null());
    assert_eq!(line["service"]["host"], server.host());
    Ok(())
}

#[test]
fn tls_over_a_unix_socket_is_verified_for_localhost_or_the_host_header() -> Result<()> {
    let (authority, files) = (Authority::new()?, Scratch::new()?);
    let certificate = authority.issue(&["app.test"])?;
    let pem = files.write("server.pem", &certificate.certificate)?;
    let key = files.write("server.key", &certificate.key)?;
    let locations = format!(
        "ssl_certificate {}; ssl_certificate_key {}; location / {{ return 200 \"$ssl_server_name $host\"; }}",
        pem.display(),
        key.display()
    );
    let server = Server::start("ssl", &locations)?;
    let trusted = files.write("ca.pem", authority.pem())?;
    let ask = |host: &str, rest: &str| -> Result<(u16, String)> {
        let policy = service(host, "protocol: https, retries: 0, tls_verify: true,", rest);
        let gateway = Gateway::builder(policy)
            .flag(&format!("--ca-file={}", trusted.display()))
            .start()?;
        let answer = Client::get(gateway.addr(), "/", &[])?;
        Ok((answer.status, answer.text()))
    };
    assert_eq!(
        ask(&server.host(), "")?.0,
        502,
        "the certificate is not localhost's"
    );
    let pool = format!(
        "upstreams: [{{name: pool, host_header: app.test, targets: [{{target: '{}'}}]}}]",
        server.host()
    );
    assert_eq!(ask("pool", &pool)?, (200, "app.test app.test".to_owned()));
    Ok(())
}

/// `health` of each target, as `GET /status` has them.
fn health(gateway: &Gateway) -> Option<Vec<(String, String, String)>> {
    let status = gateway.admin().status().ok()?;
    let targets = status["upstreams"][0]["targets"].as_array()?.clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let each = targets.iter().map(|it| {
        let address = text(&it["addresses"][0]["address"]);
        (text(&it["target"]), address, text(&it["health"]))
    });
    Some(each.collect())
}

fn becomes(gateway: &Gateway, expected: [(&Server, &str); 2]) {
    let expected = expected.map(|(server, word)| (server.host(), server.host(), word.to_owned()));
    eventually(&format!("{expected:?}"), || {
        (health(gateway)? == expected).then_some(())
    });
}

#[test]
fn targets_on_unix_sockets_are_balanced_probed_and_shown() -> Result<()> {
    let [one, mut two] = [Server::start("", WHO)?, Server::start("", WHO)?];
    let checks = "healthchecks: {active: {http_path: /probe, healthy: {interval: 0.1, successes: 1}, \
                  unhealthy: {interval: 0.1, tcp_failures: 1, http_failures: 1}}}";
    let rest = format!(
        "upstreams: [{{name: pool, {checks}, targets: [{{target: '{}'}}, {{target: '{}'}}]}}]\n\
         plugins: [{{name: prometheus, config: {{upstream_health_metrics: true}}}}]",
        one.host(),
        two.host()
    );
    let gateway = Gateway::start(service("pool", "", &rest))?;
    let ask = || -> Result<String> {
        let answer = Client::get(gateway.addr(), "/", &[])?;
        assert_eq!(answer.status, 200);
        Ok(answer.text())
    };
    let answers = (0..8).map(|_| ask()).collect::<Result<Vec<_>>>()?;
    for server in [&one, &two] {
        let own = |answer: &&String| answer.starts_with(&server.host());
        assert!(answers.iter().filter(own).count() >= 2, "{answers:?}");
    }
    becomes(&gateway, [(&one, "HEALTHY"), (&two, "HEALTHY")]);
    two.nginx = None;
    becomes(&gateway, [(&one, "HEALTHY"), (&two, "UNHEALTHY")]);
    for _ in 0..8 {
        assert!(ask()?.starts_with(&one.host()));
    }
    let target = format!("target=\"{}\"", two.host());
    let labels = [target.as_str(), "state=\"unhealthy\""];
    assert_eq!(
        gateway.admin().metric("kong_upstream_target_health", &labels)?,
        1.0
    );
    let path = format!("/upstreams/pool/targets/{}/unhealthy", one.host());
    assert_eq!(gateway.admin().call("PUT", &path)?.status, 200);
    eventually("nobody is left", || {
        let answer = Client::get(gateway.addr(), "/", &[]).ok()?;
        (answer.status == 503).then_some(())
    });
    Ok(())
}

#[test]
fn a_socket_that_is_not_there_is_a_bad_gateway_until_it_is() -> Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.path().join("late.sock");
    let gateway = Gateway::start(service(&format!("unix:{}", path.display()), "retries: 0,", ""))?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 502);
    let _nginx = Nginx::start(&format!("listen unix:{}; {WHO}", path.display()))?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    Ok(())
}

#[test]
fn a_socket_whose_queue_is_full_is_waited_for_as_long_as_a_connection_may_take() -> Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.path().join("full.sock");
    let (listener, waiting) = full(&path)?;
    let host = format!("unix:{}", path.display());
    let gateway = Gateway::start(service(&host, "retries: 0, connect_timeout: 300,", ""))?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 504);
    drop(gateway);
    let gateway = Gateway::start(service(&host, "retries: 0, connect_timeout: 10000,", ""))?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(&client.request("GET", "/", &[], b""))?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    // Those that were queued first say nothing.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            use std::io::{Read as _, Write as _};
            let mut head = [0; 4096];
            if stream.read(&mut head).is_ok_and(|count| count > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    });
    drop(waiting);
    assert_eq!(client.response("GET")?.text(), "ok");
    Ok(())
}

/// A listener that nobody accepts from, and as many connections as it queues.
fn full(path: &Path) -> Result<(std::os::unix::net::UnixListener, Vec<std::os::fd::OwnedFd>)> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, listen, socket_with};
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listen(&listener, 1)?;
    let address = SocketAddrUnix::new(path)?;
    let mut waiting = Vec::new();
    loop {
        let client = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        match connect(&client, &address) {
            Ok(()) => waiting.push(client),
            Err(rustix::io::Errno::AGAIN) => return Ok((listener, waiting)),
            Err(error) => return Err(error.into()),
        }
    }
}

#[test]
fn sessions_are_passed_on_to_unix_sockets() -> Result<()> {
    let server = Server::start("", WHO)?;
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, protocol: tcp, host: '{}', routes: [{{name: a, protocols: [tcp], \
         destinations: [{{ip: 127.0.0.1}}]}}]}}\n",
        server.host()
    );
    let gateway = Gateway::builder(policy)
        .flag("--stream-listen=127.0.0.1:0")
        .start()?;
    let address = gateway.ready()["stream_listen"][0]
        .as_str()
        .unwrap_or_default()
        .parse()?;
    assert!(Client::get(address, "/", &[])?.text().starts_with(&server.host()));
    Ok(())
}
