//! WebSockets through the gateway, with Python's `websockets` on both ends.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::{Authority, Client, Gateway, Scratch, WebSocketClients, WebSocketServer};

use crate::tls::certificates;
use crate::{eventually, one_route, routes};

struct Peers {
    server: WebSocketServer,
    clients: WebSocketClients,
}

impl Peers {
    fn start() -> Result<Self> {
        Ok(Self {
            server: WebSocketServer::start()?,
            clients: WebSocketClients::start()?,
        })
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.server.addr())
    }

    /// Opens a connection called `name`.
    fn open(&self, gateway: &Gateway, name: &str, path: &str) -> Result<Value> {
        let opened = self
            .clients
            .call("open", &json!({"name": name, "url": ws(gateway, path)}))?;
        assert_eq!(opened["status"], 101, "{opened}");
        Ok(opened)
    }

    fn refused(&self, arguments: &Value) -> Result<Value> {
        let outcome = self.clients.call("open", arguments)?;
        assert_eq!(outcome["error"]["class"], "InvalidStatus", "{outcome}");
        Ok(outcome["error"].clone())
    }

    fn ask(&self, name: &str, message: &str) -> Result<Value> {
        Ok(self
            .clients
            .call("ask", &json!({"name": name, "message": message}))?["answer"]
            .clone())
    }

    /// Waits until the server has `open` connections.
    fn wait_open(&self, open: u64) {
        eventually("the server's connections", || {
            (self.server.seen().ok()?["open"] == open).then_some(())
        });
    }
}

fn ws(gateway: &Gateway, path: &str) -> String {
    format!("ws://{}{path}", gateway.addr())
}

/// Everything that RFC 6455 knows, over one connection to /echo and /large.
fn converse(peers: &Peers, url: &str, options: &Value) -> Result<()> {
    let call = |operation: &str, arguments: Value| peers.clients.call(operation, &arguments);
    for (path, compression) in [("/echo", "deflate"), ("/echo", ""), ("/large", "")] {
        let mut arguments = json!({
            "name": "a", "url": format!("{url}{path}"), "subprotocols": ["chat"],
            "compression": if compression.is_empty() { Value::Null } else { compression.into() },
        });
        for (key, value) in options.as_object().into_iter().flatten() {
            arguments[key] = value.clone();
        }
        let opened = call("open", arguments)?;
        assert_eq!(
            (&opened["status"], &opened["subprotocol"]),
            (&json!(101), &json!("chat")),
            "{opened}"
        );
        if path == "/large" {
            let large = call("large", json!({"name": "a", "size": 20 << 20}))?;
            assert_eq!(large, json!({"same": true, "size": 20 << 20}));
        } else {
            assert_eq!(peers.ask("a", "grüße")?, "grüße");
            for size in [0, 1, 125, 126, 65_535, 65_536, 5 << 20] {
                let binary = call("binary", json!({"name": "a", "size": size}))?;
                assert_eq!(
                    binary,
                    json!({"same": true, "size": size}),
                    "{path} {compression}"
                );
            }
            assert_eq!(call("ping", json!({"name": "a"}))?, json!({}));
        }
        let closed = call("close", json!({"name": "a", "code": 1000, "reason": "done"}))?;
        assert_eq!(closed, json!({"code": 1000}));
    }
    Ok(())
}

#[test]
fn messages_of_every_size_pass_both_ways() -> Result<()> {
    let peers = Peers::start()?;
    let gateway = Gateway::start(one_route(&peers.url("http"), "", ""))?;
    converse(&peers, &ws(&gateway, ""), &Value::Null)
}

#[test]
fn messages_pass_through_tls_on_both_sides() -> Result<()> {
    let authority = Authority::new()?;
    let (scratch, certificate) = (Scratch::new()?, authority.issue(&["localhost", "127.0.0.1"])?);
    let file =
        |name: &str, text: &str| -> Result<String> { Ok(scratch.write(name, text)?.display().to_string()) };
    let chain = file("chain.pem", &certificate.certificate)?;
    let key = file("key.pem", &certificate.key)?;
    let trusted = file("authority.pem", &authority.pem())?;
    let peers = Peers {
        server: WebSocketServer::start_tls(&chain, &key)?,
        clients: WebSocketClients::start()?,
    };
    let list = certificates(&[(&certificate, &["localhost"])]);
    for (service, protocols) in [("https", "http, https"), ("wss", "ws, wss")] {
        let route = format!("{{name: all, paths: [/], protocols: [{protocols}]}}");
        let gateway = Gateway::builder(routes(&peers.url(service), &route) + &list)
            .tls()
            .start()?;
        let url = format!("wss://localhost:{}", gateway.tls_addr().port());
        converse(&peers, &url, &json!({"authority": trusted}))?;
        converse(&peers, &ws(&gateway, ""), &Value::Null)?;
    }
    Ok(())
}

#[test]
fn close_codes_pass_both_ways() -> Result<()> {
    let peers = Peers::start()?;
    let gateway = Gateway::start(one_route(&peers.url("ws"), "", ""))?;
    for code in [1000, 1001, 3999, 4001] {
        peers.open(&gateway, "a", "/close")?;
        let sent = peers
            .clients
            .call("ask", &json!({"name": "a", "message": format!("{code} because")}))?;
        assert_eq!(
            sent["error"]["class"],
            if code < 1002 {
                "ConnectionClosedOK"
            } else {
                "ConnectionClosedError"
            }
        );
        let end = peers.clients.call("end", &json!({"name": "a"}))?;
        assert_eq!(end, json!({"code": code, "reason": "because"}));
        peers.open(&gateway, "b", "/echo")?;
        peers
            .clients
            .call("close", &json!({"name": "b", "code": code, "reason": "mine"}))?;
        peers.wait_open(0);
        let seen = peers.server.seen()?;
        assert_eq!(
            seen["closed"].as_array().and_then(|all| all.last()),
            Some(&json!(code))
        );
    }
    Ok(())
}

#[test]
fn a_hundred_connections_at_once() -> Result<()> {
    let peers = Peers::start()?;
    let gateway = Gateway::start(one_route(&peers.url("http"), "", ""))?;
    let arguments = json!({"url": ws(&gateway, "/echo"), "clients": 100, "messages": 20});
    assert_eq!(peers.clients.call("crowd", &arguments)?, json!({"echoed": 2000}));
    assert_eq!(peers.server.seen()?["opened"], 100);
    peers.wait_open(0);
    Ok(())
}

#[test]
fn a_client_that_vanishes_takes_its_upstream_connection_along() -> Result<()> {
    let peers = Peers::start()?;
    let gateway = Gateway::start(one_route(&peers.url("http"), "", ""))?;
    for path in ["/echo", "/ticks"] {
        peers.open(&gateway, "a", path)?;
        peers.wait_open(1);
        peers.clients.call("vanish", &json!({"name": "a"}))?;
        peers.wait_open(0);
    }
    Ok(())
}

#[test]
fn an_upstream_that_dies_ends_its_clients() -> Result<()> {
    let Peers { server, clients } = Peers::start()?;
    let gateway = Gateway::start(one_route(&format!("http://{}", server.addr()), "", ""))?;
    clients.call("open", &json!({"name": "a", "url": ws(&gateway, "/echo")}))?;
    drop(server);
    let end = clients.call("end", &json!({"name": "a"}))?;
    assert_eq!(
        end,
        json!({"code": null, "reason": null}),
        "without a close frame"
    );
    let again = clients.call("open", &json!({"name": "b", "url": ws(&gateway, "/echo")}))?;
    assert_eq!(
        (&again["error"]["class"], &again["error"]["status"]),
        (&json!("InvalidStatus"), &json!(502))
    );
    Ok(())
}

#[test]
fn policy_judges_the_handshake() -> Result<()> {
    let peers = Peers::start()?;
    let consumers = "consumers: [{username: ada, keyauth_credentials: [{key: ada-key}]}]\n";
    let plugins = "{name: key-auth, config: {hide_credentials: true}}";
    let gateway = Gateway::start(one_route(&peers.url("http"), plugins, consumers))?;
    let url = ws(&gateway, "/headers");
    for headers in [json!({}), json!({"apikey": "eve"})] {
        let refused = peers.refused(&json!({"name": "a", "url": url, "headers": headers}))?;
        assert_eq!(refused["status"], 401, "{refused}");
    }
    assert_eq!(peers.server.seen()?["opened"], 0);
    let opened = peers.clients.call(
        "open",
        &json!({"name": "a", "url": url, "headers": {"apikey": "ada-key"}}),
    )?;
    assert_eq!(opened["status"], 101);
    let headers = peers.clients.call("ask", &json!({"name": "a", "message": ""}))?;
    let headers = headers["answer"].as_str().context("headers")?.to_lowercase();
    assert!(headers.contains(r#"["x-consumer-username", "ada"]"#), "{headers}");
    assert!(!headers.contains("ada-key"), "{headers}");
    Ok(())
}

#[test]
fn a_rate_limit_counts_handshakes_and_not_messages() -> Result<()> {
    let peers = Peers::start()?;
    let limit = "{name: rate-limiting, config: {year: 2}}";
    let gateway = Gateway::start(one_route(&peers.url("http"), limit, ""))?;
    for name in ["a", "b"] {
        peers.open(&gateway, name, "/echo")?;
    }
    let refused = peers.refused(&json!({"name": "c", "url": ws(&gateway, "/echo")}))?;
    assert_eq!(refused["status"], 429);
    for round in 0..5 {
        assert_eq!(peers.ask("a", &round.to_string())?, round.to_string());
    }
    Ok(())
}

#[test]
fn a_reload_does_not_cut_what_runs() -> Result<()> {
    let peers = Peers::start()?;
    let mut gateway = Gateway::start(one_route(&peers.url("http"), "", ""))?;
    peers.open(&gateway, "a", "/echo")?;
    let closed = "{name: request-termination, config: {status_code: 403}}";
    gateway.replace_policy(one_route(&peers.url("http"), closed, ""))?;
    gateway.admin().reload()?;
    eventually("the second policy", || {
        (Client::get(gateway.addr(), "/", &[]).ok()?.status == 403).then_some(())
    });
    assert_eq!(peers.ask("a", "still here")?, "still here");
    let refused = peers.refused(&json!({"name": "b", "url": ws(&gateway, "/echo")}))?;
    assert_eq!(refused["status"], 403);
    Ok(())
}

/// What drains has its tunnels until the grace period is over; then they end, and are logged.
fn drains(path: &str) -> Result<()> {
    let (peers, scratch) = (Peers::start()?, Scratch::new()?);
    let log = scratch.path().join("access.log");
    let plugin = format!("{{name: file-log, config: {{path: {}}}}}", log.display());
    let mut gateway = Gateway::builder(one_route(&peers.url("http"), &plugin, ""))
        .flag("--grace=2")
        .start()?;
    peers.open(&gateway, "a", path)?;
    peers.open(&gateway, "b", "/echo")?;
    gateway.terminate()?;
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(peers.ask("b", "in the grace period")?, "in the grace period");
    let status = gateway.wait(Duration::from_secs(4))?;
    assert!(status.success(), "{status}");
    for name in ["a", "b"] {
        let end = peers.clients.call("end", &json!({"name": name}))?;
        assert_eq!(end["code"], Value::Null, "{end}");
    }
    let lines = std::fs::read_to_string(&log)?;
    let statuses: Vec<Value> = lines
        .lines()
        .map(|line| Ok(serde_json::from_str::<Value>(line)?["response"]["status"].clone()))
        .collect::<Result<_>>()?;
    assert_eq!(statuses, [101, 101], "{lines}");
    Ok(())
}

#[test]
fn a_drain_ends_idle_tunnels_at_its_deadline() -> Result<()> {
    drains("/echo")
}

#[test]
fn a_drain_ends_busy_tunnels_at_its_deadline() -> Result<()> {
    drains("/ticks")
}

const GOOD: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[test]
fn a_route_for_websockets_takes_good_handshakes_only() -> Result<()> {
    let peers = Peers::start()?;
    let route = "{name: sockets, paths: [/], protocols: [ws, wss]}";
    let gateway = Gateway::start(routes(&peers.url("ws"), route))?;
    peers.open(&gateway, "a", "/echo")?;
    assert_eq!(peers.ask("a", "hello")?, "hello");
    let without =
        |name: &str| -> Vec<(&str, &str)> { GOOD.into_iter().filter(|(known, _)| *known != name).collect() };
    let with = |name: &'static str, value: &'static str| -> Vec<(&str, &str)> {
        let mut all = without(name);
        all.push((name, value));
        all
    };
    for headers in [
        vec![],
        without("Upgrade"),
        without("Connection"),
        with("Upgrade", "foo"),
    ] {
        let answer = Client::get(gateway.addr(), "/echo", &headers)?;
        assert_eq!(answer.status, 426, "{headers:?}");
        assert_eq!(answer.header("Upgrade"), "websocket");
        assert_eq!(answer.json()["message"], "Please use WebSocket protocol");
    }
    for headers in [
        without("Sec-WebSocket-Version"),
        with("Sec-WebSocket-Version", "8"),
    ] {
        let answer = Client::get(gateway.addr(), "/echo", &headers)?;
        assert_eq!(
            (answer.status, answer.header("Sec-WebSocket-Version")),
            (400, "13"),
            "{headers:?}"
        );
    }
    let answer = Client::get(gateway.addr(), "/echo", &without("Sec-WebSocket-Key"))?;
    assert_eq!(answer.status, 400);
    let post = Client::fetch(gateway.addr(), "POST", "/echo", &GOOD, b"body")?;
    assert_eq!(post.status, 426);
    assert_eq!(peers.server.seen()?["opened"], 1);
    Ok(())
}

#[test]
fn a_route_for_wss_wants_tls() -> Result<()> {
    let peers = Peers::start()?;
    let route = "{name: sockets, paths: [/], protocols: [wss]}";
    let gateway = Gateway::start(routes(&peers.url("ws"), route))?;
    let answer = Client::get(gateway.addr(), "/echo", &GOOD)?;
    assert_eq!(
        (answer.status, answer.header("Upgrade")),
        (426, "TLS/1.2, HTTP/1.1")
    );
    assert_eq!(answer.json()["message"], "Please use HTTPS protocol");
    assert_eq!(peers.server.seen()?["opened"], 0);
    Ok(())
}
